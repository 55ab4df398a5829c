"""Alpaca's trading API behind the Broker port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, datetime, time
from typing import Any, Final

import requests
import structlog
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
    urgent,
)
from engine.adapters.alpaca_rate import AlpacaRateLimit, RateLimited
from engine.domain.book import Order, Purpose
from engine.domain.broker_types import NEW_YORK, AccountState, BrokerOrder, BrokerPosition, Split
from engine.domain.submission import Outcome, Submission, judge_refusal

PAGE: Final = 500
BLOCKED_BY: Final = ("trading_blocked", "account_blocked")
OPENS_AT: Final = time(9, 30, tzinfo=NEW_YORK)  # a split takes effect with the session of its ex-date
log = structlog.get_logger(__name__)


class AlpacaBroker:
    """Raw bodies, parsed here once: alpaca-py's own models refuse values they do not know."""

    def __init__(self, *, base_url: str, api_key: str, secret_key: str, rate: AlpacaRateLimit | None = None) -> None:
        self._client = TradingClient(api_key, secret_key, raw_data=True, url_override=base_url.rstrip("/"))
        self._rate = rate or AlpacaRateLimit()
        tame(self._client, base_url, self._rate)

    def submit(self, order: Order) -> Submission:
        """Send an order under its own id, once; ambiguous answers come back as unknown.

        A stop that takes another's place is sent as that one's replacement, so that neither both
        rest nor none.
        """
        try:
            with nullcontext() if order.purpose is Purpose.ENTRY else urgent():
                accepted = parse_order(self._send(order))
        except RateLimited as error:
            return Submission(id=order.id, outcome=Outcome.NOT_SENT, code="RATE_LIMITED", reason=str(error))
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
            with urgent(), read_errors(passing=(404, 422)):
                self._client.delete(f"/orders/{broker_order_id}")
        except APIError:
            return

    def order(self, broker_order_id: str, *, urgent: bool = False) -> BrokerOrder | None:
        """Return an order with its legs; None when the broker does not know it.

        `urgent` for an exit that waits for the answer: it may use what is kept of the rate limit.
        """
        return self._one(f"/orders/{broker_order_id}", {"nested": "true"}, is_urgent=urgent)

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = True) -> BrokerOrder | None:
        """Return the order that was sent under one of our ids; None when there is none."""
        query = {"client_order_id": client_order_id, "nested": "true"}
        return self._one("/orders:by_client_order_id", query, is_urgent=urgent)

    def open_orders(self) -> Sequence[BrokerOrder]:
        """Return every open order of the account, legs as orders of their own."""
        return [order for page in self._pages({"status": "open"}) for order in page]

    def order_pages(
        self, after: datetime | None, *, nested: bool = True, patient: bool = True
    ) -> Iterator[Sequence[BrokerOrder]]:
        """Return all orders submitted after a market time, oldest first; patient, it waits for the rate limit."""
        query = {"status": "all", "nested": "true" if nested else "false"}
        return self._pages(query if after is None else query | {"after": after.isoformat()}, patient=patient)

    def positions(self) -> Sequence[BrokerPosition]:
        """Return what the account holds."""
        with read_errors():
            return [BrokerPosition(row["symbol"], decimal(row["qty"])) for row in self._client.get("/positions")]

    def state(self) -> AccountState:
        """Tell whether the broker or its user has stopped the account from trading."""
        with read_errors():
            account: Any = self._client.get("/account")
            inactive = [] if account["status"] == "ACTIVE" else [f"status {account['status']}"]
            blocked_by = [reason for reason in BLOCKED_BY if account[reason]]
            return AccountState((*inactive, *blocked_by), bool(account["trade_suspended_by_user"]))

    def splits(self, since: date, until: date) -> Sequence[Split]:
        """Return the splits of shares that took effect in a span of at most 90 days."""
        query = {"ca_types": "split", "since": since.isoformat(), "until": until.isoformat()}
        with read_errors(passing=()):
            rows: Any = self._client.get("/corporate_actions/announcements", query)
            return [_split(row) for row in rows]

    def _send(self, order: Order) -> Any:
        if order.replaces_broker_id:
            return self._client.patch(f"/orders/{order.replaces_broker_id}", _move(order))
        return self._client.post("/orders", order_ticket(order))

    def _one(self, path: str, query: Mapping[str, str], *, is_urgent: bool) -> BrokerOrder | None:
        try:
            with urgent() if is_urgent else nullcontext(), read_errors():
                body: Any = self._client.get(path, dict(query))
                return parse_order(body)
        except APIError:
            return None

    def _pages(self, query: Mapping[str, str], *, patient: bool = False) -> Iterator[list[BrokerOrder]]:
        """Page through a list oldest first; what two pages share comes once."""
        page: dict[str, str] = {**query, "direction": "asc", "limit": str(PAGE)}
        last_ids: set[str] = set()
        while True:
            rows = self._page(page, patient=patient)
            ids = {str(row["id"]) for row in rows}
            yield [order for row in rows if str(row["id"]) not in last_ids and (order := _readable(row)) is not None]
            if len(rows) < PAGE or ids <= last_ids:
                return
            # `after` leaves out what was submitted at the very time it names: continue by id.
            page.pop("after", None)
            page["after_order_id"] = str(rows[-1]["id"])
            last_ids = ids

    def _page(self, query: Mapping[str, str], *, patient: bool) -> list[Mapping[str, Any]]:
        while True:
            try:
                with read_errors(passing=()):
                    rows: Any = self._client.get("/orders", dict(query))
                    return [row for row in rows if row["id"]]
            except RateLimited:
                if not patient:
                    raise
                self._rate.wait()


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


def parse_order(row: Any) -> BrokerOrder:
    """Read an order's body; unknown statuses and extra fields are welcome.

    Raises
    ------
    TypeError, KeyError, ArithmeticError or ValueError if it is none
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"an order is no {type(row).__name__}")
    submitted_at = moment(row.get("submitted_at") or row["created_at"])
    return BrokerOrder(
        broker_order_id=str(row["id"]),
        client_order_id=str(row["client_order_id"]),
        status=str(row["status"]),
        symbol=str(row["symbol"]),
        side=str(row["side"]),
        qty=decimal(row.get("qty") or row.get("filled_qty") or 0),  # an order in dollars has none
        type=str(row.get("type") or row["order_type"]),
        order_class=str(row.get("order_class") or "simple"),
        filled_qty=decimal(row.get("filled_qty") or 0),
        submitted_at=submitted_at,
        updated_at=moment(row["updated_at"]) if row.get("updated_at") else submitted_at,
        limit_price=maybe_decimal(row.get("limit_price")),
        stop_price=maybe_decimal(row.get("stop_price")),
        filled_avg_price=maybe_decimal(row.get("filled_avg_price")),
        legs=tuple(parse_order(leg) for leg in row.get("legs") or ()),
        replaces=row.get("replaces"),
        replaced_by=row.get("replaced_by"),
    )


def _readable(row: Mapping[str, Any]) -> BrokerOrder | None:
    """Read an order of a list; one that cannot be read must not hide the others."""
    try:
        return parse_order(row)
    except (TypeError, KeyError, ArithmeticError, ValueError) as error:
        log.error("an order in the broker's list cannot be read", broker_order_id=row["id"], error=repr(error))
        return None


def _split(row: Mapping[str, Any]) -> Split:
    effective_at = datetime.combine(date.fromisoformat(row["ex_date"]), OPENS_AT)
    return Split(row["target_symbol"], decimal(row["new_rate"]) / decimal(row["old_rate"]), effective_at)


def _plain(value: Any) -> str:
    """Write an amount without exponent and without trailing zeros, which count as sub-penny."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
