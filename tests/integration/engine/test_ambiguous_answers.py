"""What the broker may answer, or not answer, to an order: sent once, and never forgotten."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.engine import SteppedEngine


def entry(db: psycopg.Connection) -> tuple[str, str | None]:
    row = db.execute("select state::text, code from orders where purpose = 'entry'").fetchone()
    assert row is not None
    return row[0], row[1]


def arm(stepped: SteppedEngine, kind: str) -> None:
    stepped.exchange.sim("POST", "faults", route="POST /v2/orders", kind=kind, count=1)


@pytest.mark.parametrize("kind", ["504_after_accept", "reset_after_accept", "hang_after_accept"])
def test_the_order_is_adopted_when_the_answer_was_lost_after_acceptance(
    kind: str, stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    arm(stepped, kind)

    stepped.act()

    assert entry(clean_db) == ("working", None)
    sent = [order for order in stepped.orders_at_exchange() if order["parent_id"] is None]
    assert len(sent) == 1


def test_the_symbol_is_locked_when_an_order_is_unknown(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    arm(stepped, "500_before")
    stepped.act()
    assert entry(clean_db) == ("unknown", "HTTP_500")
    clean_db.execute("update profiles set active = true, symbols = '{AAPL}' where name = 'Bob trend hourly'")
    clean_db.execute(
        "update profiles set strategy = 'rsi_reversion', params = (select params from profiles where "
        "name = 'Alice dips hourly') where name = 'Bob trend hourly'"
    )

    stepped.act()

    row = clean_db.execute("select code from orders where state = 'denied'").fetchone()
    assert row == ("ORDER_UNKNOWN",)


def test_the_order_is_rejected_when_the_broker_says_a_definitive_no(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    row = clean_db.execute("select private.default_risk_config()").fetchone()
    assert row is not None
    wide = row[0]
    wide["order_limits"] |= {"qty_max": "100000000", "notional_max_usd": "9000000"}
    wide["position_limits"] |= {"position_notional_max_usd": "9000000"}
    wide["sector_exposure"]["max_pct"] = "10"
    clean_db.execute("update risk_configs set config = %s", [Jsonb(wide)])
    clean_db.execute('update profiles set capital_usd = 9000000, params = params || \'{"position_pct": "1"}\'')

    stepped.act()

    assert entry(clean_db) == ("rejected", "40310000")  # insufficient buying power
    row = clean_db.execute("select sum(reserved_usd) from profile_capital").fetchone()
    assert row == (0,)
