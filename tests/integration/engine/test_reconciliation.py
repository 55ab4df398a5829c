"""Our books against the broker's: differences are found once, and late orders do not live."""

from decimal import Decimal

import psycopg

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.submission import Outcome, Submission
from tests.support.engine import SteppedEngine


def order(order_id: str, symbol: str = "AAPL") -> Order:
    return Order(
        id=order_id,
        profile_id="",
        symbol=symbol,
        side="buy",
        purpose=Purpose.ENTRY,
        qty=Decimal(7),
        order_type="market",
        order_class="simple",
        time_in_force="day",
        state=OrderState.SUBMITTING,
    )


def findings(db: psycopg.Connection) -> list[tuple[str, str, str | None]]:
    query = "select kind, status, symbol from reconciliation_findings order by kind"
    return [(str(kind), str(status), symbol) for kind, status, symbol in db.execute(query).fetchall()]


def test_a_foreign_order_and_its_position_are_found_once_when_somebody_trades_by_hand(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    clean_db.execute("update profiles set active = false")
    stepped.engine.executor._broker.submit(order("by-hand", "MSFT"))
    stepped.engine.reconciler.run(stepped.now(), "full")
    assert findings(clean_db) == [("ORDER_NOT_OURS", "open", "MSFT")]

    market = stepped.step(10)
    stepped.engine.reconciler.run(market, "full")
    stepped.engine.reconciler.run(market, "full")

    assert findings(clean_db) == [("ORDER_NOT_OURS", "repaired", "MSFT"), ("POSITION_MISMATCH", "open", "MSFT")]


def test_nothing_is_found_when_the_books_agree(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    stepped.act()
    stepped.step(10)

    assert stepped.engine.reconciler.run(stepped.now(), "full") == []
    assert findings(clean_db) == []


def test_a_late_entry_is_cancelled_and_reported_when_it_was_given_up(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    engine, claimed = stepped.engine, stepped.claim_one()
    given_up = Submission(id=claimed.id, outcome=Outcome.NOT_SENT)
    engine.executor._desk.record_submissions([given_up])
    engine.executor._broker.submit(claimed)  # a frozen sender wakes up

    reported = engine.reconciler.run(stepped.now(), "incremental")

    assert [(finding.kind, finding.action) for finding in reported] == [("LATE_ORDER", "Cancelled at the broker.")]
    assert {o["status"] for o in stepped.orders_at_exchange()} == {"canceled"}
