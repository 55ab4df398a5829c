"""A person closes an open position: staff only, past every pause, never past a halt, once per request."""

from uuid import UUID, uuid4

import psycopg
import pytest

from db import commands
from db.errors import Conflict, Forbidden, Invalid, NotFound
from tests.db.conftest import Engine
from tests.support.clients import SignIn


@pytest.fixture
def trade_id(engine: Engine, db: psycopg.Connection) -> UUID:
    """The trade of a position that is held."""
    engine.held()
    row = db.execute("select trade_id from positions").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("mode", ["running", "paused"])
@pytest.mark.parametrize("who", ["operator", "admin"])
def test_the_engine_may_send_the_exit_at_once_whether_or_not_trading_is_paused(
    engine: Engine, sign_in: SignIn, trade_id: UUID, who: str, mode: str
) -> None:
    if mode == "paused":
        commands.pause_trading(sign_in("admin"), reason="News")

    asked = commands.close_position(sign_in(who), trade_id=trade_id, reason="Leaving early")

    assert (asked.state, asked.symbol, asked.qty) == ("ready", "AAPL", 10)
    (claimed,) = engine.claim()
    assert (claimed.id, claimed.purpose, claimed.side, claimed.exit_reason) == (
        asked.order_id,
        "exit",
        "sell",
        "manual",
    )


def test_it_is_refused_while_trading_is_halted(engine: Engine, sign_in: SignIn, trade_id: UUID) -> None:
    commands.halt_trading(sign_in("admin"), reason="Incident")

    with pytest.raises(Conflict, match="nothing but cancels") as refusal:
        commands.close_position(sign_in("admin"), trade_id=trade_id, reason="Leaving")

    assert refusal.value.code == "TRADING_HALTED"
    assert engine.claim() == []


def test_a_request_sent_twice_asks_once_and_another_one_conflicts(sign_in: SignIn, trade_id: UUID) -> None:
    request_id = uuid4()

    first, second = (
        commands.close_position(sign_in("operator"), trade_id=trade_id, reason="Leaving", request_id=request_id)
        for _ in range(2)
    )

    assert first == second
    with pytest.raises(Conflict, match="already under way"):
        commands.close_position(sign_in("operator"), trade_id=trade_id, reason="Leaving")


def test_an_analyst_may_not_and_the_attempt_is_recorded(
    sign_in: SignIn, trade_id: UUID, db: psycopg.Connection
) -> None:
    with pytest.raises(Forbidden, match="Only operators and admins"):
        commands.close_position(sign_in("alice"), trade_id=trade_id, reason="Mine")

    query = "select actor_email, outcome from audit_log where action = 'close_position'"
    assert db.execute(query).fetchall() == [("alice@interlock.local", "refused")]


def test_a_trade_that_is_not_open_and_an_empty_reason_are_refused(sign_in: SignIn, trade_id: UUID) -> None:
    with pytest.raises(NotFound):
        commands.close_position(sign_in("admin"), trade_id=uuid4(), reason="Leaving")
    with pytest.raises(Invalid):
        commands.close_position(sign_in("admin"), trade_id=trade_id, reason=" ")


def test_it_is_recorded_in_the_owners_log(sign_in: SignIn, trade_id: UUID, db: psycopg.Connection) -> None:
    asked = commands.close_position(sign_in("operator"), trade_id=trade_id, reason="Leaving early")

    query = (
        "select a.reason, a.detail ->> 'order_id', p.owner_id = a.tenant "
        "from audit_log a join positions p on true where a.action = 'close_position'"
    )
    assert db.execute(query).fetchone() == ("Leaving early", str(asked.order_id), True)
