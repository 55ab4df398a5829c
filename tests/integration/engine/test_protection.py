"""Positions stay protected, over the real database and the real exchange."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.engine import EAGER_TO_ENTER, SteppedEngine, only_profile, stepped_engine
from tests.support.exchange import RunningExchange

PROFILE = "Alice dips hourly"


@pytest.fixture
def holding(stepped: SteppedEngine, clean_db: psycopg.Connection) -> SteppedEngine:
    """An engine that holds AAPL and enters nothing more."""
    stepped.act()
    stepped.step(10)
    clean_db.execute("update profiles set active = false")
    return stepped


def rules(db: psycopg.Connection, **params: Any) -> None:
    only_profile(db, PROFILE, params=EAGER_TO_ENTER | params)
    db.execute("update profiles set active = false")


def position(db: psycopg.Connection) -> tuple[Decimal, Decimal, Decimal]:
    row = db.execute("select qty, protected_qty, stop_price from positions").fetchone()
    assert row is not None
    return row


def resting(stepped: SteppedEngine) -> list[dict[str, Any]]:
    """Return the open orders at the exchange, as it counts them."""
    over = {"filled", "canceled", "expired", "rejected", "replaced"}
    return [order for order in stepped.orders_at_exchange() if order["status"] not in over]


def test_a_trailing_stop_follows_the_price_at_the_broker_and_closes_with_a_gain(
    holding: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    rules(clean_db, trailing_stop_pct="0.05")
    _, _, planned = position(clean_db)

    holding.exchange.sim("POST", "price", symbol="AAPL", pct="0.15")
    holding.step(10)
    holding.step(5)

    qty, protected, stop = position(clean_db)
    assert stop > planned and protected == qty
    (moved,) = clean_db.execute(
        "select state::text, broker_status, stop_price, exit_reason from orders where replaces_broker_id is not null"
    ).fetchall()
    assert moved == ("working", "held", stop, "trailing_stop")
    assert [order["status"] for order in resting(holding)] == ["new", "held"]  # target and moved stop, no third
    replaced = clean_db.execute("select count(*) from orders where state = 'replaced'").fetchone()
    assert replaced == (1,)

    holding.exchange.sim("POST", "price", symbol="AAPL", pct="-0.1")
    holding.step(10)
    holding.step(5)

    (trade,) = clean_db.execute("select exit_reason, realized_pnl_usd, qty_entered = qty_exited from trades").fetchall()
    assert trade[0] == "trailing_stop" and trade[1] > 0 and trade[2]
    assert resting(holding) == []


def test_a_trailed_stop_is_kept_by_the_next_engine(
    holding: SteppedEngine, clean_db: psycopg.Connection, env: dict[str, str], tmp_path: Path
) -> None:
    rules(clean_db, trailing_stop_pct="0.05")
    _, _, planned = position(clean_db)
    holding.exchange.sim("POST", "price", symbol="AAPL", pct="0.15")
    holding.step(10)
    _, _, reached = position(clean_db)
    assert reached > planned
    holding.engine.lease.release()

    following = stepped_engine(env, holding.exchange, tmp_path / "next")
    following.start()
    following.exchange.sim("POST", "price", symbol="AAPL", pct="-0.03")
    following.step(5)

    qty, protected, stop = position(clean_db)
    assert (stop, protected) == (reached, qty)
    following.engine.lease.release()


def test_a_position_is_closed_when_its_time_is_over(holding: SteppedEngine, clean_db: psycopg.Connection) -> None:
    rules(clean_db, bars_held_max=2)

    holding.step(60)
    assert clean_db.execute("select count(*) from positions").fetchone() == (1,)
    holding.step(60)
    holding.step(10)

    assert clean_db.execute("select exit_reason from trade_history").fetchall() == [("time_stop",)]
    assert resting(holding) == []


def test_only_one_order_sells_when_trading_in_the_symbol_is_halted(
    holding: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    """Orders in a halted symbol are accepted and wait: the exit waits with them, and is asked for once."""
    rules(clean_db, bars_held_max=1)
    holding.exchange.sim("POST", "halt", symbol="AAPL")

    for _ in range(3):
        holding.step(60)

    assert clean_db.execute("select count(*) from orders where purpose = 'exit'").fetchone() == (1,)
    (waiting,) = resting(holding)
    assert Decimal(waiting["qty"]) == position(clean_db)[0]

    holding.exchange.sim("POST", "halt", symbol="AAPL", halted=False)
    holding.step(10)

    assert clean_db.execute("select exit_reason from trade_history").fetchall() == [("time_stop",)]
    assert holding.exchange.sim("GET", "ledger")["positions"] == {}


def test_protection_is_there_again_when_a_part_of_it_was_cancelled_after_hours(
    holding: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    holding.sim.step_to_close()
    holding.act()
    assert not holding.now().is_open
    for order in resting(holding):
        holding.engine.executor._broker.cancel(order["id"])

    holding.act()
    holding.act()

    qty, protected, _ = position(clean_db)
    assert protected == qty
    assert [Decimal(order["qty"]) for order in resting(holding)] == [qty]


def test_a_position_that_falls_through_its_stop_overnight_is_closed_at_the_opening(
    holding: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    holding.sim.step_to_close()
    holding.act()
    for order in resting(holding):
        holding.engine.executor._broker.cancel(order["id"])
    holding.exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")

    for _ in range(3):
        holding.act()
    assert not holding.now().is_open
    assert [Decimal(order["qty"]) for order in resting(holding)] == [position(clean_db)[0]]
    holding.step(10)
    holding.step(5)

    assert clean_db.execute("select exit_reason from trade_history").fetchall() == [("stop_loss",)]
    assert holding.exchange.sim("GET", "ledger")["positions"] == {}


def test_the_rest_of_an_entry_is_cancelled_and_its_part_protected_when_it_stays_partly_filled(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.exchange.sim("POST", "faults", kind="partial_fill", fraction=0.5)
    stepped.act()
    stepped.sim.step_minutes(5)
    stepped.engine.sync.run(stepped.now())
    clean_db.execute("update profiles set active = false")
    state = "select state::text from orders where purpose = 'entry'"
    assert clean_db.execute(state).fetchone() == ("partially_filled",)

    stepped.engine.monitor.run(stepped.now())
    stepped.engine.monitor._partial_since = dict.fromkeys(stepped.engine.monitor._partial_since, 0.0)
    for _ in range(4):
        stepped.act()

    assert clean_db.execute(state).fetchone() == ("canceled",)
    qty, protected, _ = position(clean_db)
    assert protected == qty == Decimal(stepped.exchange.sim("GET", "ledger")["positions"]["AAPL"])


def test_a_short_position_is_protected_and_trails_the_falling_price(
    profile_id: str, clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    only_profile(clean_db, PROFILE, params={"period": 14, "low": 1, "high": 2, "allow_short": True})
    stepped = stepped_engine(env, exchange, tmp_path / "home")
    stepped.sim.step_minutes(120)
    stepped.start()
    stepped.act()
    stepped.step(10)
    rules(clean_db, trailing_stop_pct="0.05", allow_short=True)
    held, protected, planned = position(clean_db)
    assert clean_db.execute("select side::text from positions").fetchone() == ("short",)
    assert protected == held

    exchange.sim("POST", "price", symbol="AAPL", pct="-0.15")
    stepped.step(10)
    stepped.step(5)
    assert position(clean_db)[2] < planned
    assert position(clean_db)[1] == held
    exchange.sim("POST", "price", symbol="AAPL", pct="0.1")
    stepped.step(10)
    stepped.step(5)

    (trade,) = clean_db.execute("select exit_reason, realized_pnl_usd > 0 from trade_history").fetchall()
    assert trade == ("trailing_stop", True)
    assert resting(stepped) == []
    stepped.engine.lease.release()
