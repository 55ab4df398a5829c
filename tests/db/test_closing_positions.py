"""What closing a position by hand does to everything around it, and what a refusal tells the person."""

import pytest

from db import commands
from db.errors import Conflict, NotFound


@pytest.fixture
def operator(sign_in):
    return sign_in("operator")


def close(client, order):
    return commands.close_position(client, trade_id=order.id, reason="Earnings tonight")


def test_the_rest_of_an_entry_that_still_fills_is_cancelled(engine, operator, db):
    order = engine.working()
    engine.update(order.says("partially_filled", filled="4", price="100"))

    answer = close(operator, order)

    asked_for = "select cancel_requested_at is not null from orders where id = %s"
    assert answer.qty == 4
    assert db.execute(asked_for, (order.id,)).fetchone() == (True,)
    assert db.execute(asked_for, (answer.order_id,)).fetchone() == (False,)


def test_the_exit_carries_who_asked_for_it_and_why(engine, operator, db):
    answer = close(operator, engine.held())

    assert db.execute("select reason from orders where id = %s", (answer.order_id,)).fetchone() == (
        "Closed by operator@interlock.local: Earnings tonight",
    )


def test_a_second_exit_is_refused_and_the_person_is_sent_to_the_first(engine, operator, db):
    order = engine.held()
    close(operator, order)

    with pytest.raises(Conflict) as refused:
        close(operator, order)

    assert refused.value.code == "DUPLICATE_ORDER"
    assert "Orders" in (refused.value.hint or "")
    assert db.execute("select count(*) from orders where purpose = 'exit'").fetchone() == (1,)


def test_what_was_closed_meanwhile_is_refused_and_the_person_is_sent_to_the_list(engine, operator):
    order = engine.held()
    engine.update(order.leg("stop", "filled", filled="10", price="94.5"), order.leg("limit", "canceled"))

    with pytest.raises(NotFound) as refused:
        close(operator, order)

    assert "look at the list" in (refused.value.hint or "")
