"""Orders that somebody replaced at the broker, and orders that were made there: adopted, or to be cancelled."""

from typing import Any
from uuid import uuid4

import pytest

from db import commands
from tests.property.authority.invariants import Watch

ALICE = "Alice trend daily"


def replaced(resting, **changes: Any) -> list[dict[str, Any]]:
    """What the broker says once somebody has replaced a resting order: the end of the old one, and the new one."""
    new = resting.says("new", at="15:03") | {
        "client_order_id": str(uuid4()), "broker_order_id": str(uuid4()), "replaces": resting.broker_id,
        "limit_price": "100.40", "legs": [],
    }  # fmt: skip
    return [resting.says("replaced", at="15:02") | {"legs": []}, new | changes]


def successor(db) -> dict[str, Any]:
    row = db.execute(
        "select state::text, cancel_requested_at is not null, reserved_usd from orders where replaces_id is not null"
    ).fetchone()
    return dict(zip(("state", "to_cancel", "reserved_usd"), row, strict=True))


def external(engine, **changes: Any) -> dict[str, Any]:
    return {
        "client_order_id": "by-hand-1", "broker_order_id": str(uuid4()), "status": "new", "symbol": "IBM",
        "side": "buy", "qty": "10", "type": "limit", "order_class": "simple", "limit_price": "100", "filled_qty": "0",
        "filled_avg_price": None, "updated_at": "2007-01-03T15:00:00Z", "submitted_at": "2007-01-03T15:00:00Z",
        "legs": [],
    } | changes  # fmt: skip


def adopt(engine, *orders: dict[str, Any]) -> list[dict[str, Any]]:
    arguments = {"p_shard": engine.shard, "p_token": engine.token, "p_orders": list(orders)}
    return engine.client.rpc("adopt_orders", arguments).execute().data


class TestReplacedEntries:
    def test_it_takes_over_the_capital_and_goes_on(self, engine, db):
        engine.update(*replaced(engine.working(ALICE)))

        assert successor(db) == {"state": "working", "to_cancel": False, "reserved_usd": 1004}
        assert Watch(db).breaches() == []

    def test_one_that_asks_for_more_is_to_be_cancelled(self, engine, db):
        engine.update(*replaced(engine.working(ALICE), qty="11"))

        assert successor(db) == {"state": "working", "to_cancel": True, "reserved_usd": 0}

    def test_one_whose_predecessor_a_pause_cancels_does_not_rest_through_the_pause(self, engine, sign_in, db):
        resting = engine.working(ALICE)
        commands.pause_trading(sign_in("admin"), reason="Stop")

        engine.update(*replaced(resting))

        assert successor(db) == {"state": "working", "to_cancel": True, "reserved_usd": 0}


class TestAdoptedOrders:
    @pytest.fixture(autouse=True)
    def adopting(self, engine, sign_in, db):
        db.execute("update profiles set active = false where name <> %s", (ALICE,))
        commands.set_external_order_policy(
            sign_in("admin"), policy="adopt", reason="We trade by hand too", request_id=uuid4(),
            broker_account="main", profile_id=engine.profiles[ALICE],
        )  # fmt: skip

    def test_what_was_bought_by_hand_is_a_trade_of_the_profile(self, engine, db):
        (answer,) = adopt(engine, external(engine, status="filled", filled_qty="10", filled_avg_price="99"))

        assert answer["adopted"], answer
        assert db.execute("select symbol, qty, cost_usd from positions").fetchall() == [("IBM", 10, 990)]
        assert Watch(db).breaches() == []

    def test_what_rests_reserves_its_capital(self, engine, db):
        assert adopt(engine, external(engine))[0]["adopted"]

        reserved = "select reserved_usd from profile_capital where profile_id = %s"
        assert db.execute(reserved, (engine.profiles[ALICE],)).fetchone() == (1000,)
        assert Watch(db).breaches() == []

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"qty": "300"}, "not enough capital"),
            ({"type": "iceberg"}, "type are not known"),
            ({"qty": "0"}, "no quantity"),
            ({"type": "market", "limit_price": None}, "no price yet"),
        ],
    )
    def test_what_does_not_fit_stays_outside_with_the_reason(self, engine, db, changes, why):
        (answer,) = adopt(engine, external(engine, **changes))

        assert (answer["adopted"], why in answer["reason"]) == (False, True)
        assert db.execute("select count(*) from orders").fetchone() == (0,)

    def test_nothing_is_adopted_as_an_entry_while_trading_is_paused(self, engine, sign_in):
        commands.pause_trading(sign_in("admin"), reason="Stop")

        assert adopt(engine, external(engine))[0]["reason"] == "trading is not running"

    def test_the_same_order_is_adopted_once(self, engine):
        order = external(engine)

        assert [answer["adopted"] for answer in adopt(engine, order, order)] == [True, False]


@pytest.mark.parametrize("claims", ["nothing", "to replace another trade's order"])
def test_an_order_that_nobody_asked_for_and_nobody_adopted_breaks_the_trail(engine, db, claims):
    other = engine.working("Bob dips daily", symbol="IBM")

    db.execute(
        "insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,"
        " limit_price, state, trade_id, replaces_id) select n.id, f.owner_id, f.id, f.shard, 'AAPL', 'buy', 'long',"
        " 'entry', 1, 'limit', 1, 'working', n.id, %s from profiles f, (values (gen_random_uuid())) n (id)"
        " where f.id = %s",
        (None if claims == "nothing" else other.id, engine.profiles[ALICE]),
    )

    assert {name.split()[0] for name, _ in Watch(db).breaches()} >= {"I4", "each"}
