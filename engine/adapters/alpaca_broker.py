"""Alpaca's trading API behind the Broker port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

from engine.adapters.alpaca_http import (
    code_and_message,
    decimal,
    last_request_id,
    maybe_decimal,
    moment,
    read_errors,
    status_of,
    tame,
)
from engine.domain.book import Order
from engine.domain.broker_types import BrokerOrder, BrokerPosition
from engine.domain.submission import Outcome, Submission, judge_refusal

PAGE: Final = 500
BLOCKED_BY: Final = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


class AlpacaBroker:
    """Raw bodies, parsed here once: alpaca-py's own models refuse values they do not know."""

    def __init__(self, *, base_url: str, api_key: str, secret_key: str) -> None:
        self._client = TradingClient(api_key, secret_key, raw_data=True, url_override=base_url.rstrip("/"))
        tame(self._client, base_url)

    def submit(self, order: Order) -> Submission:
        """Send an order under its own id, once; ambiguous answers come back as unknown.

        A stop that takes another's place is sent as that one's replacement, so that neither both
        rest nor none.
        """
        try:
            body: Any = (
                self._client.patch(f"/orders/{order.replaces_broker_id}", _move(order))
                if order.replaces_broker_id
                else self._client.post("/orders", order_ticket(order))
            )
            accepted = parse_order(body)
        except APIError as error:
            code, message = code_and_message(error)
            return judge_refusal(
                order.id, status=status_of(error), code=code, message=message, request_id=last_request_id()
            )
        except (requests.RequestException, TypeError, KeyError, ArithmeticError, ValueError) as error:
            # No answer, or a 200 that cannot be read: it may have been accepted.
            return judge_refusal(
                order.id,
                status=None,
                code=None,
                message=f"no usable answer: {type(error).__name__}",
                request_id=last_request_id(),
            )
        return Submission(id=order.id, outcome=Outcome.ACCEPTED, order=accepted, request_id=last_request_id())

    def cancel(self, broker_order_id: str) -> None:
        """Ask for the cancellation; an order that is over already is no error."""
        try:
            with read_errors(passing=(404, 422)):
                self._client.delete(f"/orders/{broker_order_id}")
        except APIError:
            return

    def order(self, broker_order_id: str) -> BrokerOrder | None:
        """Return an order with its legs; None when the broker does not know it."""
        return self._one(f"/orders/{broker_order_id}", {"nested": "true"})

    def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """Return the order that was sent under one of our ids; None when there is none."""
        return self._one("/orders:by_client_order_id", {"client_order_id": client_order_id, "nested": "true"})

    def open_orders(self) -> Sequence[BrokerOrder]:
        """Return every open order of the account, legs as orders of their own."""
        return self._all({"status": "open"})

    def orders_since(self, after: datetime) -> Sequence[BrokerOrder]:
        """Return every order submitted after a market time, with its legs, whatever its status."""
        return self._all({"status": "all", "after": after.isoformat(), "nested": "true"})

    def positions(self) -> Sequence[BrokerPosition]:
        """Return what the account holds."""
        with read_errors():
            return [BrokerPosition(row["symbol"], decimal(row["qty"])) for row in self._client.get("/positions")]

    def is_blocked(self) -> bool:
        """Tell whether the broker or its user has stopped the account from trading."""
        with read_errors():
            account: Any = self._client.get("/account")
            return account["status"] != "ACTIVE" or any(account[reason] for reason in BLOCKED_BY)

    def _one(self, path: str, query: Mapping[str, str]) -> BrokerOrder | None:
        try:
            with read_errors():
                body: Any = self._client.get(path, dict(query))
                return parse_order(body)
        except APIError:
            return None

    def _all(self, query: Mapping[str, str]) -> list[BrokerOrder]:
        """Page through a list oldest first; pages overlap by time, so repeats are dropped."""
        orders: dict[str, BrokerOrder] = {}
        page: dict[str, str] = {**query, "direction": "asc", "limit": str(PAGE)}
        while True:
            with read_errors():
                rows = [parse_order(row) for row in self._client.get("/orders", page)]
            fresh = [order for order in rows if order.broker_order_id not in orders]
            orders |= {order.broker_order_id: order for order in fresh}
            if len(rows) < PAGE or not fresh:
                return list(orders.values())
            # `after` leaves out what was submitted at the very time it names: continue by id.
            page.pop("after", None)
            page["after_order_id"] = rows[-1].broker_order_id


def order_ticket(order: Order) -> dict[str, Any]:
    """Return the body of a submit; amounts as text, so that no float touches them."""
    ticket: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": _plain(order.qty),
        "side": order.side,
        "type": order.order_type,
        "time_in_force": order.time_in_force,
        "client_order_id": order.id,
    }
    if order.limit_price is not None:
        ticket["limit_price"] = _plain(order.limit_price)
    if order.stop_price is not None:
        ticket["stop_price"] = _plain(order.stop_price)
    if order.order_class != "simple":
        ticket["order_class"] = order.order_class
        if order.take_profit_price is not None:
            ticket["take_profit"] = {"limit_price": _plain(order.take_profit_price)}
        if order.stop_loss_price is not None:
            ticket["stop_loss"] = {"stop_price": _plain(order.stop_loss_price)}
    return ticket


def _move(order: Order) -> dict[str, Any]:
    """Return the body of a replacement; the quantity stays what the broker knows is left."""
    return {"stop_price": _plain(order.stop_price), "client_order_id": order.id}


def parse_order(row: Mapping[str, Any]) -> BrokerOrder:
    """Read an order's body; unknown statuses and extra fields are welcome."""
    submitted_at = moment(row.get("submitted_at") or row["created_at"])
    return BrokerOrder(
        broker_order_id=str(row["id"]),
        client_order_id=str(row["client_order_id"]),
        status=str(row["status"]),
        symbol=str(row["symbol"]),
        side=str(row["side"]),
        qty=decimal(row["qty"]),
        type=str(row.get("type") or row["order_type"]),
        order_class=str(row.get("order_class") or "simple"),
        filled_qty=decimal(row.get("filled_qty") or 0),
        submitted_at=submitted_at,
        updated_at=moment(row["updated_at"]) if row.get("updated_at") else submitted_at,
        limit_price=maybe_decimal(row.get("limit_price")),
        stop_price=maybe_decimal(row.get("stop_price")),
        filled_avg_price=maybe_decimal(row.get("filled_avg_price")),
        legs=tuple(parse_order(leg) for leg in row.get("legs") or ()),
    )


def _plain(value: Any) -> str:
    """Write an amount without exponent and without trailing zeros, which count as sub-penny."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
