"""Recognition: exits of ours at the broker that our books do not know.

An engine that was cut off from the database may have sent them, and its journal may be on another machine, or
lost. Their ids are derived from their trades, so any engine can tell whose they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import structlog

from engine.domain.book import OpenTrade, Purpose
from engine.domain.broker_types import BrokerOrder
from engine.domain.errors import BrokerUnavailable
from engine.domain.journal import OfflineExit
from engine.domain.offline import gaps
from engine.domain.requests import exit_id
from engine.domain.submission import Outcome, Submission
from engine.ports.authority import OfflineLedger
from engine.ports.broker import Broker
from engine.service.views import Book

ATTEMPTS: Final = 8
LOOK_UP: Final = 4
log = structlog.get_logger(__name__)


class Recognition:
    """Looks at what differs from the books alone, so that it costs two calls of the broker when nothing does.

    A trade is looked into once for each difference in its symbol, and never with the calls that are kept for exits:
    what the broker's limit does not let through waits for the next run. Others may hold the symbol too, another
    shard or a person, so no difference tells by its sign that it is no exit of ours.
    """

    def __init__(self, broker: Broker, ledger: OfflineLedger, book: Book) -> None:
        self._broker = broker
        self._ledger = ledger
        self._book = book
        self.is_complete = True  # nothing was left for the next run
        self._looked_into: dict[str, Decimal] = {}  # by trade: the difference for which it was

    def run(self) -> int:
        """Tell the authority of exits that it does not know; return how many orders it was told of."""
        snapshot = self._book.read()
        if not snapshot.trades:
            self.is_complete = True
            return 0
        known = {order.id for order in snapshot.orders} | {order.broker_order_id for order in snapshot.orders}
        strange = {
            order.client_order_id: order
            for order in self._broker.open_orders()
            if not {order.client_order_id, order.broker_order_id} & known
        }
        told = [*_recognised(snapshot.trades, strange)] if strange else []
        open_gaps = gaps(snapshot, self._broker.positions())
        differ = {trade.trade_id: open_gaps[trade.symbol] for trade in snapshot.trades if trade.symbol in open_gaps}
        looked_into = {id: gap for id, gap in self._looked_into.items() if differ.get(id) == gap}
        for trade in [snapshot.trades_by_id[id] for id in differ if id not in looked_into]:
            try:
                told += self._looked_up(trade, known)
            except BrokerUnavailable as error:
                log.warning("exits could not be looked up, the rest waits", trade_id=trade.trade_id, error=str(error))
                break
            looked_into[trade.trade_id] = differ[trade.trade_id]
        if told:
            self._ledger.record_offline_exits(told)
            self._book.outdate()
            log.warning("exits recognised that the books did not know", orders=[exit_.id for exit_, _ in told])
        self.is_complete = len(looked_into) == len(differ)
        self._looked_into = looked_into  # only now: what could not be told is looked for again
        return len(told)

    def _looked_up(self, trade: OpenTrade, known: set[str | None]) -> list[tuple[OfflineExit, Submission]]:
        """Ask for a trade's first attempts by id: what has filled or ended is in no list."""
        told: list[tuple[OfflineExit, Submission]] = []
        for id, purpose in _ids(trade, LOOK_UP):
            order = None if id in known else self._broker.order_by_client_id(id, urgent=False)
            if order is not None:
                told.append(_told(trade, purpose, order))
        return told


def _recognised(
    trades: Iterable[OpenTrade], strange: dict[str, BrokerOrder]
) -> Iterable[tuple[OfflineExit, Submission]]:
    for trade in trades:
        for id, purpose in _ids(trade, ATTEMPTS):
            if id in strange:
                yield _told(trade, purpose, strange[id])


def _ids(trade: OpenTrade, attempts: int) -> Iterable[tuple[str, Purpose]]:
    for purpose in (Purpose.EXIT, Purpose.STOP_LOSS):
        for attempt in range(attempts):
            yield exit_id(trade_id=trade.trade_id, purpose=purpose, attempt=attempt), purpose


def _told(trade: OpenTrade, purpose: Purpose, order: BrokerOrder) -> tuple[OfflineExit, Submission]:
    exit_ = OfflineExit(
        id=order.client_order_id,
        trade_id=trade.trade_id,
        symbol=trade.symbol,
        side=order.side,
        purpose=purpose,
        qty=order.qty,
        order_type=order.type,
        stop_price=order.stop_price,
        exit_reason=str(purpose),
        reason="Sent by an engine that could not reach the database; recognised by its id.",
        market_at=order.submitted_at,
    )
    return exit_, Submission(id=exit_.id, outcome=Outcome.ACCEPTED, order=order)
