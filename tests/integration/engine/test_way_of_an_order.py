"""The way of an order over the real database and the real exchange."""

from decimal import Decimal

import psycopg
from psycopg.rows import dict_row

from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_LEAVE, SteppedEngine, only_profile


def rows(db: psycopg.Connection, query: str) -> list[dict[str, object]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()  # type: ignore[arg-type]  # fixed text of the tests


def entries(db: psycopg.Connection) -> list[tuple[str, str | None]]:
    query = "select state::text, code from orders where purpose = 'entry' order by created_at, id"
    return [(str(state), code) for state, code in db.execute(query).fetchall()]


def test_a_position_is_open_and_protected_when_a_signal_was_filled(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.act()
    stepped.step(10)

    (position,) = rows(clean_db, "select * from positions")
    assert (
        position["protected_qty"]
        == position["qty"]
        == Decimal(stepped.exchange.sim("GET", "ledger")["positions"]["AAPL"])
    )
    legs = rows(
        clean_db, "select purpose::text, state::text, broker_status from orders where parent_id is not null order by 1"
    )
    assert [(leg["purpose"], leg["state"], leg["broker_status"]) for leg in legs] == [
        ("stop_loss", "working", "held"),
        ("take_profit", "working", "new"),
    ]


def test_capital_is_free_again_when_the_stop_has_closed_the_trade(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.act()
    stepped.step(10)
    clean_db.execute("update profiles set active = false")

    stepped.exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")
    stepped.step(10)

    (trade,) = rows(clean_db, "select * from trade_history")
    assert trade["exit_reason"] == "stop_loss"
    assert trade["realized_pnl_usd"] < 0
    assert trade["realized_pnl_usd"] == trade["exit_notional_usd"] - trade["entry_notional_usd"]
    capital = rows(clean_db, f"select * from profile_capital where profile_id = '{trade['profile_id']}'")[0]
    assert (capital["reserved_usd"], capital["used_usd"]) == (0, 0)
    assert capital["realized_usd"] == trade["realized_pnl_usd"]


def test_entries_are_denied_and_the_stop_goes_through_when_trading_is_paused(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    stepped.act()
    stepped.step(10)
    sign_in("admin").rpc("pause_trading", {"p_reason": "test"}).execute()

    stepped.exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")
    stepped.step(60)
    stepped.step(60)

    (trade,) = rows(clean_db, "select exit_reason from trade_history")
    assert trade["exit_reason"] == "stop_loss"
    first, *later = entries(clean_db)
    assert first == ("filled", None)
    assert later and set(later) == {("denied", "TRADING_PAUSED")}


def test_entries_flow_again_when_trading_is_resumed(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    sign_in("admin").rpc("pause_trading", {"p_reason": "test"}).execute()
    stepped.act()
    sign_in("admin").rpc("resume_trading", {"p_reason": "test"}).execute()

    stepped.act()
    assert entries(clean_db) == [("denied", "TRADING_PAUSED")]  # the same bar is not decided twice
    stepped.step(60)

    assert entries(clean_db)[1:] == [("working", None)]


def test_a_resting_entry_is_cancelled_at_the_broker_when_trading_is_paused(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    stepped.act()
    assert entries(clean_db) == [("working", None)]

    sign_in("admin").rpc("pause_trading", {"p_reason": "test"}).execute()
    stepped.act()
    stepped.act()

    assert entries(clean_db) == [("canceled", None)]
    assert {order["status"] for order in stepped.orders_at_exchange()} == {"canceled"}


def test_protective_orders_stay_when_trading_is_paused(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    stepped.act()
    stepped.step(10)

    sign_in("admin").rpc("pause_trading", {"p_reason": "test"}).execute()
    stepped.step(10)

    assert sorted(order["status"] for order in stepped.orders_at_exchange()) == ["filled", "held", "new"]


def test_a_signal_exit_sells_once_when_protective_orders_hold_the_shares(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.act()
    stepped.step(10)
    only_profile(clean_db, "Alice dips hourly", params=EAGER_TO_LEAVE)

    stepped.step(60)
    stepped.step(10)

    (trade,) = rows(clean_db, "select * from trade_history")
    assert trade["exit_reason"] == "signal"
    assert trade["qty_exited"] == trade["qty_entered"]
    assert "AAPL" not in stepped.exchange.sim("GET", "ledger")["positions"]
    exits = [o for o in stepped.orders_at_exchange() if o["parent_id"] is None][1:]
    assert [order["status"] for order in exits] == ["filled"]


def test_a_position_gets_a_new_stop_when_its_protection_was_cancelled_by_hand(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.act()
    stepped.step(10)
    clean_db.execute("update profiles set active = false")
    leg = next(order for order in stepped.orders_at_exchange() if order["status"] == "new")
    stepped.engine.executor._broker.cancel(leg["id"])

    stepped.act()
    stepped.act()

    (position,) = rows(clean_db, "select * from positions")
    assert position["protected_qty"] == position["qty"]
    stepped.exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")
    stepped.step(10)
    (trade,) = rows(clean_db, "select exit_reason from trade_history")
    assert trade["exit_reason"] == "stop_loss"


def test_nothing_is_sent_when_the_local_brake_is_on(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    brake = stepped.engine.settings.brake_path
    brake.parent.mkdir(parents=True, exist_ok=True)
    brake.touch()

    stepped.act()

    assert stepped.orders_at_exchange() == []
    assert entries(clean_db) == [("ready", None)]
