"""Exit desk: the one place that asks for exits, so that each attempt has its own derived id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import structlog

from engine.domain.book import Purpose
from engine.domain.requests import Answer, ExitRequest, exit_id
from engine.ports.authority import OrderDesk
from engine.service.views import Book

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A wish to close a trade at market, or to protect `qty` of it with a stop at `stop_price`."""

    trade_id: str
    exit_reason: str
    reason: str
    purpose: Purpose = Purpose.EXIT
    qty: Decimal | None = None
    stop_price: Decimal | None = None


class ExitDesk:
    """Attempts count up only when the authority says that the last one is over.

    The counter need not survive: after a restart the old ids answer as over and are passed by.
    """

    def __init__(self, desk: OrderDesk, book: Book) -> None:
        self._desk = desk
        self._book = book
        self._attempts: dict[tuple[str, Purpose], int] = {}

    def request(self, exits: Sequence[Exit], market_at: datetime) -> int:
        """Ask for exits; return how many are under way now."""
        if not exits:
            return 0
        answers = self._desk.request_exits([self._request(wish, market_at) for wish in exits])
        self._book.outdate()
        for wish, answer in zip(exits, answers, strict=True):
            self._note(wish, answer)
        return sum(answer.state.is_open for answer in answers)

    def _request(self, wish: Exit, market_at: datetime) -> ExitRequest:
        attempt = self._attempts.get((wish.trade_id, wish.purpose), 0)
        return ExitRequest(
            id=exit_id(trade_id=wish.trade_id, purpose=wish.purpose, attempt=attempt),
            trade_id=wish.trade_id,
            exit_reason=wish.exit_reason,
            reason=wish.reason,
            market_at=market_at,
            purpose=wish.purpose,
            order_type="stop" if wish.stop_price is not None else "market",
            qty=wish.qty,
            stop_price=wish.stop_price,
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
        if not answer.state.is_open and answer.code not in ("NO_POSITION", "DUPLICATE_ORDER", "TRADING_HALTED"):
            self._attempts[wish.trade_id, wish.purpose] = self._attempts.get((wish.trade_id, wish.purpose), 0) + 1
