"""Exits that go on while the authority is away: their ids, what was asked, and what the broker says of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.domain.book import OpenTrade, Order, OrderState, Purpose
from engine.domain.broker_types import BrokerOrder, MarketTime, Side
from engine.domain.journal import OfflineExit
from engine.domain.requests import Answer, ExitRequest, exit_id
from engine.domain.submission import Outcome, Submission

ATTEMPTS_MAX: Final = 100
LOOK_AHEAD: Final = 3


def later_ids(trade: OpenTrade, request: ExitRequest, order_id: str) -> list[str]:
    """Return the ids of the attempts after this one: another engine may be some steps ahead of us."""
    for attempt in range(ATTEMPTS_MAX):
        if exit_id(trade_id=trade.trade_id, purpose=request.purpose, attempt=attempt) == order_id:
            later = range(attempt + 1, attempt + 1 + LOOK_AHEAD)
            return [exit_id(trade_id=trade.trade_id, purpose=request.purpose, attempt=n) for n in later]
    return []


def offline_exit(trade: OpenTrade, request: ExitRequest, *, order_id: str, qty: Decimal) -> OfflineExit:
    """Return the exit of `qty` shares of a trade that is written down before it is sent under `order_id`."""
    return OfflineExit(
        id=order_id,
        trade_id=trade.trade_id,
        symbol=trade.symbol,
        side=Side.SELL if trade.is_long else Side.BUY,
        purpose=request.purpose,
        qty=qty,
        order_type=request.order_type,
        stop_price=request.stop_price,
        exit_reason=request.exit_reason,
        reason=request.reason,
        market_at=request.market_at,
        replaces_broker_id=request.replaces_broker_id,
    )


def waits_to_be_sent(order: Order) -> bool:
    """Tell an exit or a stop that the authority has accepted and nobody has sent yet."""
    return order.state is OrderState.READY and order.purpose in (Purpose.EXIT, Purpose.STOP_LOSS)


def as_request(order: Order, market: MarketTime) -> ExitRequest:
    """Return what was asked for by an exit that the authority has accepted."""
    return ExitRequest(
        id=order.id,
        trade_id=order.trade_id or order.id,
        exit_reason=str(order.purpose),
        reason="It was asked for before the database went away.",
        market_at=market.now,
        purpose=order.purpose,
        order_type=order.order_type,
        qty=order.qty,
        stop_price=order.stop_price,
    )


def answer_of(order_id: str, found: BrokerOrder) -> Answer:
    """Say what an exit that the broker knows means for whoever asks for it."""
    if found.is_open:
        return Answer(order_id, OrderState.WORKING, None, None)
    if found.status == "filled":
        return Answer(order_id, OrderState.DENIED, "NO_POSITION", "The exit has been filled.")
    return Answer(order_id, OrderState.CANCELED, found.status.upper(), "The exit ended at the broker.")


def answer_to(submission: Submission) -> Answer:
    """A rejection leaves the id free: the next look tries it again, so that no second id is ever in play."""
    if submission.order is not None:
        return answer_of(submission.id, submission.order)
    state = OrderState.UNKNOWN if submission.outcome is Outcome.UNKNOWN else OrderState.DENIED
    return Answer(submission.id, state, submission.code, submission.reason)
