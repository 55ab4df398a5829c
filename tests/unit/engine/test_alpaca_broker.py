from decimal import Decimal

import pytest
import requests
from alpaca.common.exceptions import APIError

from engine.adapters.alpaca_broker import order_ticket, parse_order
from engine.adapters.alpaca_http import code_and_message, read_errors
from engine.domain.book import Purpose
from engine.domain.errors import BrokerRefused, BrokerUnavailable
from tests.unit.engine.builders import an_order

BODY = {
    "id": "b1", "client_order_id": "c1", "status": "held_in_orbit", "symbol": "AAPL", "side": "buy", "qty": "1.5",
    "type": "limit", "order_class": "", "filled_qty": "0", "filled_avg_price": None, "limit_price": "10.10",
    "submitted_at": "2007-01-03T15:00:00.123456789Z", "updated_at": "2007-01-03T15:00:01Z", "legs": None,
    "something_new": 1,
}  # fmt: skip


def api_error(status: int, body: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(body, requests.HTTPError(response=response))


def test_amounts_go_out_as_exact_text_when_an_order_is_sent() -> None:
    order = an_order(
        qty=Decimal("10.000000000"), limit_price=Decimal("100.500000"), take_profit_price=Decimal("1E+2"),
        stop_loss_price=Decimal("90"),
    )  # fmt: skip

    ticket = order_ticket(order)

    assert (ticket["qty"], ticket["limit_price"]) == ("10", "100.5")
    assert ticket["take_profit"] == {"limit_price": "100"}
    assert ticket["stop_loss"] == {"stop_price": "90"}
    assert ticket["client_order_id"] == "entry"


def test_no_class_is_sent_when_the_order_is_a_simple_one() -> None:
    ticket = order_ticket(an_order(purpose=Purpose.EXIT, order_type="market", order_class="simple"))

    assert "order_class" not in ticket
    assert "limit_price" not in ticket


def test_an_order_is_read_when_its_status_and_fields_are_unknown() -> None:
    order = parse_order(BODY)

    assert order.status == "held_in_orbit"
    assert order.is_open
    assert (order.qty, order.limit_price, order.order_class) == (Decimal("1.5"), Decimal("10.10"), "simple")
    assert order.submitted_at.microsecond == 123456


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"code": 40310000, "message": "no"}', ("40310000", "no")),
        ('{"message": "forbidden."}', (None, "forbidden.")),  # no code at all
        ("<html>gateway</html>", (None, "<html>gateway</html>")),
        ("[]", (None, "[]")),
    ],
)
def test_an_error_is_read_when_its_body_has_any_shape(body: str, expected: tuple[str | None, str]) -> None:
    assert code_and_message(api_error(403, body)) == expected


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (api_error(401, ""), BrokerRefused),
        (api_error(403, ""), BrokerRefused),
        (api_error(429, ""), BrokerUnavailable),
        (api_error(503, ""), BrokerUnavailable),
        (requests.ConnectTimeout(), BrokerUnavailable),
        (requests.exceptions.JSONDecodeError("bad", "", 0), BrokerUnavailable),
        (api_error(404, ""), APIError),  # for the caller to judge
    ],
)
def test_read_errors_are_told_apart_by_status(error: Exception, translated: type[Exception]) -> None:
    with pytest.raises(translated), read_errors():
        raise error
