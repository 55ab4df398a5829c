"""Sweep: page through the broker's orders, and take over what is new in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from engine.domain.broker_types import BrokerOrder, MarketTime
from engine.domain.reconcile import newest
from engine.ports.broker import Broker
from engine.ports.ledger import Ledger, RunKind
from engine.service.order_sync import OrderSync

T = TypeVar("T")
# How far behind its cursor an incremental sweep begins: an order may become visible late (market time).
OVERLAP: Final = timedelta(minutes=5)
# What ended longer ago than this and is not ours explains nothing of today.
FOREIGN_MAX_AGE: Final = timedelta(days=5)


@dataclass(slots=True)
class Swept:
    """What a sweep went through; `foreign` are orders that nobody here made."""

    checked: int = 0
    changed: int = 0
    foreign: dict[str, BrokerOrder] = field(default_factory=dict)


class Sweep:
    """A full sweep reads the account's whole history, an incremental one what came since the cursor.

    Whatever the length, it holds one page at a time.
    """

    def __init__(self, broker: Broker, ledger: Ledger, sync: OrderSync) -> None:
        self._broker = broker
        self._ledger = ledger
        self._sync = sync
        self.cursor: datetime | None = None

    def run(self, kind: RunKind, market: MarketTime, on_page: Callable[[], object]) -> Swept:
        """Compare every order of the span; call `on_page` after each page."""
        swept = Swept()
        after = None if kind == "full" else (self.cursor or market.now - FOREIGN_MAX_AGE) - OVERLAP
        for page in _ahead(self._broker.order_pages(after)):
            self._take(page, swept, market)
            on_page()
        if kind == "incremental":
            # A replaced leg comes within its group, and the group is older than the cursor.
            for page in self._broker.order_pages(after, nested=False):
                self._take_successors(page, swept)
                on_page()
        return swept

    def _take(self, page: Sequence[BrokerOrder], swept: Swept, market: MarketTime) -> None:
        parents = {leg.broker_order_id: order for order in page for leg in order.legs}
        answer = self._ledger.compare([each for order in page for each in (order, *order.legs)])
        unknown = {order.broker_order_id for order in answer.unknown}
        # Told with its group, a leg that we do not know becomes an order of ours.
        news = {
            parent.broker_order_id: parent
            for order in [*answer.news, *answer.unknown]
            if (parent := parents.get(order.broker_order_id, order)).broker_order_id not in unknown
            or parent.replaces is not None
        }
        if news:
            swept.changed += self._sync.record(list(news.values()))
        for order in page:
            if order.broker_order_id in unknown and order.replaces is None and _matters(order, market):
                swept.foreign[order.broker_order_id] = order
        swept.checked += len(page)
        self.cursor = newest(page, self.cursor)

    def _take_successors(self, page: Sequence[BrokerOrder], swept: Swept) -> None:
        successors = [order for order in page if order.replaces is not None]
        if successors:
            unknown = self._ledger.compare(successors).unknown
            swept.changed += self._sync.record(unknown)


def _matters(order: BrokerOrder, market: MarketTime) -> bool:
    return order.is_open or (order.filled_qty > 0 and market.now - order.submitted_at < FOREIGN_MAX_AGE)


def _ahead(pages: Iterator[T]) -> Iterator[T]:
    """Fetch the next page while the last one is looked at."""
    with ThreadPoolExecutor(1, thread_name_prefix="pages") as pool:
        coming = pool.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = pool.submit(next, pages, None)
            yield page
