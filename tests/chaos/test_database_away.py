"""A running engine loses its database: positions stay protected, nothing is opened, everything is told afterwards."""

import psycopg
import pytest

from engine.adapters.alpaca_broker import AlpacaBroker
from engine.domain.book import Purpose
from engine.domain.requests import exit_id
from local.stack import Stack
from tests.chaos.conftest import StartEngine
from tests.chaos.test_engine_killed import sent_ids, states, wait_for
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(180)


def test_a_position_that_loses_its_stops_gets_one_from_a_running_engine_without_its_database(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange, stack: Stack
) -> None:
    broker = AlpacaBroker(
        base_url=exchange.url,
        api_key=exchange.env["ALPACA_API_KEY"],
        secret_key=exchange.env["ALPACA_SECRET_KEY"],
    )
    engine = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")
    exchange.sim("POST", "step", minutes=30)
    seen = "select trade_id::text from positions where marked_at is not null and protected_qty = qty"
    wait_for(lambda: clean_db.execute(seen).fetchone() is not None, timeout_s=30, what="position seen and protected")
    ((trade_id,),) = clean_db.execute(seen).fetchall()
    stop_id = exit_id(trade_id=trade_id, purpose=Purpose.STOP_LOSS, attempt=0)
    stack.gateway.stop(1.0)
    try:
        for leg in broker.open_orders():
            broker.cancel(leg.broker_order_id)

        wait_for(lambda: stop_id in sent_ids(exchange), timeout_s=30, what="a stop placed without the database")
    finally:
        stack.start_gateway()

    known = "select state::text from orders where id = %s"
    wait_for(
        lambda: clean_db.execute(known, [stop_id]).fetchone() == ("working",), timeout_s=30, what="the stop told of"
    )
    assert sent_ids(exchange) == [trade_id, stop_id]
    assert engine.exit_code is None
