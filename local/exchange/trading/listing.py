"""Which orders and fills a list request selects: filters to SQL, values as parameters."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import Any

from local.exchange.trading.account import Fill
from local.exchange.trading.book import Book
from local.exchange.trading.order import Order, Side, Status
from local.exchange.trading.store import Store, time_key


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


class Wanted(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Selection of `GET /v2/orders`; `after` and `until` exclude the time they name."""

    status: Wanted = Wanted.OPEN
    limit: int = 50
    after: datetime | None = None
    until: datetime | None = None
    after_seq: int | None = None
    before_seq: int | None = None
    direction: Direction = Direction.DESC
    side: Side | None = None
    symbols: Sequence[str] = ()
    nested: bool = False


@dataclass(slots=True)
class _Where:
    terms: list[str] = field(default_factory=list)
    args: list[Any] = field(default_factory=list)

    def add(self, term: str, *args: Any) -> None:
        self.terms.append(term)
        self.args += args

    def ordered(self, direction: Direction, limit: int, *, key: str = "seq") -> str:
        return f"{' and '.join(self.terms) or 'true'} order by {key} {direction} limit {limit}"


# Held legs are open, but Alpaca's open list does not show them.
_STATUS = {
    Wanted.OPEN: "status not in ('filled', 'canceled', 'expired', 'replaced', 'rejected') and status <> 'held'",
    Wanted.CLOSED: "status in ('filled', 'canceled', 'expired', 'replaced', 'rejected')",
    Wanted.ALL: "true",
}


def list_open(book: Book, wanted: OrderFilter) -> list[Order]:
    """Return one page of open orders as the book has them, thousands of which may be listed again and again."""
    orders, key = list(book), attrgetter("seq")
    first = 0 if wanted.after_seq is None else bisect_right(orders, wanted.after_seq, key=key)
    end = len(orders) if wanted.before_seq is None else bisect_left(orders, wanted.before_seq, key=key)
    within = orders[first:end]
    if wanted.direction is Direction.DESC:
        within.reverse()
    return list(islice((order for order in within if _is_listed(order, wanted)), wanted.limit))


def _is_listed(order: Order, wanted: OrderFilter) -> bool:
    return (
        order.status is not Status.HELD
        and (wanted.after is None or order.submitted_at > wanted.after)
        and (wanted.until is None or order.submitted_at < wanted.until)
        and (wanted.side is None or order.side is wanted.side)
        and (not wanted.symbols or order.symbol in wanted.symbols)
    )


def list_orders(store: Store, wanted: OrderFilter) -> list[Order]:
    """Return one page of orders, without legs when they are to be nested.

    Nested and open, a group is listed as long as any of its orders is open (the entry of a live
    bracket has long been filled). Alpaca does not say; this way no protection is overlooked.
    """
    where = _Where()
    where.add(_status_term(wanted))
    if wanted.nested:
        where.add("parent_id is null")
    if wanted.after is not None:
        where.add("submitted_at > ?", time_key(wanted.after))
    if wanted.until is not None:
        where.add("submitted_at < ?", time_key(wanted.until))
    if wanted.after_seq is not None:
        where.add("seq > ?", wanted.after_seq)
    if wanted.before_seq is not None:
        where.add("seq < ?", wanted.before_seq)
    if wanted.side is not None:
        where.add("side = ?", wanted.side)
    if wanted.symbols:
        where.add(f"symbol in ({', '.join('?' * len(wanted.symbols))})", *wanted.symbols)
    # By time or by number, orders come in one sequence. Sorted by what bounds the page, an index
    # leads to its first row; by the other, every page would read all those before it.
    by_time = wanted.after is not None or wanted.until is not None
    key = "submitted_at" if by_time else "seq"
    return list(store.orders(where.ordered(wanted.direction, wanted.limit, key=key), where.args))


def list_fills(
    store: Store,
    *,
    after: datetime | None,
    until: datetime | None,
    beyond_seq: int | None,
    direction: Direction,
    limit: int,
) -> list[Fill]:
    """Return one page of fills; `beyond_seq` is where the page before it ended."""
    where = _Where()
    if after is not None:
        where.add("at > ?", time_key(after))
    if until is not None:
        where.add("at < ?", time_key(until))
    if beyond_seq is not None:
        where.add("seq > ?" if direction is Direction.ASC else "seq < ?", beyond_seq)
    return list(store.fills(where.ordered(direction, limit), where.args))


def _status_term(wanted: OrderFilter) -> str:
    term = _STATUS[wanted.status]
    if wanted.nested and wanted.status is Wanted.OPEN:
        legs = f"select parent_id from orders where parent_id is not null and ({term})"
        return f"({term} or id in ({legs}))"
    return term
