"""Exit desk: the one place that asks for exits, so that each attempt has its own derived id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.requests import Answer, ExitRequest, exit_id
from engine.ports.authority import CancelRequest, OrderDesk
from engine.ports.clock import Clock
from engine.service.views import Book

# After a restart the ids of earlier attempts answer as over; they are passed by at once, up to here.
PASSED_BY_MAX: Final = 20
REFUSED_WAIT_MAX_S: Final = 30
log = structlog.get_logger(__name__)


Subject = tuple[str, Purpose, str | None]


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often in a row the broker has refused an exit, and when it is asked for next (monotonic)."""

    count: int
    next_at_s: int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A wish to close a trade at market, or to protect `qty` of it with a stop at `stop_price`.

    With `replaces_broker_id` the stop takes the place of a resting one, for as many shares.
    """

    trade_id: str
    exit_reason: str
    reason: str
    purpose: Purpose = Purpose.EXIT
    qty: Decimal | None = None
    stop_price: Decimal | None = None
    replaces_broker_id: str | None = None

    @property
    def subject(self) -> Subject:
        """What attempts are counted of."""
        return self.trade_id, self.purpose, self.replaces_broker_id


class ExitDesk:
    """Attempts count up only when the authority says that the last one is over.

    The counter need not survive: after a restart the old ids answer as over and are passed by.
    """

    def __init__(self, desk: OrderDesk, book: Book, clock: Clock) -> None:
        self._desk = desk
        self._book = book
        self._clock = clock
        self._attempts: dict[Subject, int] = {}
        self._refusals: dict[Subject, Refusals] = {}

    def request(self, exits: Sequence[Exit], market_at: datetime) -> int:
        """Ask for exits; return how many are under way now.

        What the broker refuses again and again is asked for less and less often.
        """
        now_s = self._clock.monotonic_s()
        under_way, wishes = 0, [wish for wish in exits if self._is_due(wish, now_s)]
        for n in range(PASSED_BY_MAX):
            if not wishes:
                break
            answers = self._desk.request_exits([self._request(wish, market_at) for wish in wishes])
            self._book.outdate()
            for wish, answer in zip(wishes, answers, strict=True):
                self._note(wish, answer)
                if n == 0:
                    self._count_refusals(wish, answer, now_s)
            under_way += sum(answer.state.is_open for answer in answers)
            wishes = [wish for wish, answer in zip(wishes, answers, strict=True) if _is_earlier(answer)]
        return under_way

    def cancel(self, orders: Sequence[tuple[Order, str]]) -> int:
        """Have orders cancelled at the broker, each with its reason; return how many it concerns."""
        if not orders:
            return 0
        for order, why in orders:
            log.warning("cancel asked for", order_id=order.id, symbol=order.symbol, purpose=order.purpose, why=why)
        asked = self._desk.request_cancels([CancelRequest(id=order.id, reason=why) for order, why in orders])
        self._book.outdate()
        return asked

    def _is_due(self, wish: Exit, now_s: int | float) -> bool:
        refusals = self._refusals.get(wish.subject)
        return refusals is None or now_s >= refusals.next_at_s

    def _count_refusals(self, wish: Exit, answer: Answer, now_s: int | float) -> None:
        """Wait twice as long after each refusal of the broker's; an attempt that ends otherwise starts anew."""
        if answer.state is OrderState.REJECTED:
            before = self._refusals.get(wish.subject)
            count = 1 if before is None else before.count + 1
            self._refusals[wish.subject] = Refusals(count, now_s + min(2 ** (count - 1), REFUSED_WAIT_MAX_S))
        elif _is_earlier(answer):
            self._refusals.pop(wish.subject, None)

    def _request(self, wish: Exit, market_at: datetime) -> ExitRequest:
        attempt = self._attempts.get(wish.subject, 0)
        return ExitRequest(
            id=exit_id(trade_id=wish.trade_id, purpose=wish.purpose, attempt=attempt, replaces=wish.replaces_broker_id),
            trade_id=wish.trade_id,
            exit_reason=wish.exit_reason,
            reason=wish.reason,
            market_at=market_at,
            purpose=wish.purpose,
            order_type="stop" if wish.stop_price is not None else "market",
            qty=wish.qty,
            stop_price=wish.stop_price,
            replaces_broker_id=wish.replaces_broker_id,
        )

    def _note(self, wish: Exit, answer: Answer) -> None:
        log.info(
            "exit asked for",
            trade_id=wish.trade_id,
            purpose=wish.purpose,
            why=wish.reason,
            state=answer.state,
            code=answer.code,
        )
        if _is_earlier(answer):
            self._attempts[wish.subject] = self._attempts.get(wish.subject, 0) + 1


def _is_earlier(answer: Answer) -> bool:
    """Tell an attempt that was made before and is over; what is denied now was never made."""
    return not answer.state.is_open and answer.state is not OrderState.DENIED
