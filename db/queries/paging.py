"""Pages of long lists, found by key and not by counting rows: the last page costs what the first one does."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from db.queries._frames import Request, rows

EXPORT_ROWS_MAX = 50_000
_EXPORT_PAGE_ROWS = 999  # and one more to see whether there is another page: as many as Supabase answers at once


@dataclass(frozen=True)
class Cursor:
    """The last row of a page: the next page starts behind it."""

    at: datetime
    id: str


@dataclass(frozen=True)
class Page:
    """One page of a list and where the next one starts; None on the last."""

    found: pd.DataFrame
    next: Cursor | None


def rows_by_key(
    request: Request, column: str, after: Cursor | None, size: int
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """Return at most `size` rows, the latest in `column` first, and where the next page starts."""
    request = request.order(column, desc=True).order("id")
    if after:
        at = after.at.isoformat()
        # The `or` alone bounds no index; that nothing is later than the cursor follows from it, and does.
        request = request.lte(column, at)
        request = request.or_(f'{column}.lt."{at}",and({column}.eq."{at}",id.gt.{after.id})')
    found = rows(request.limit(size + 1))
    if len(found) <= size:
        return found, None
    last = found[size - 1]
    return found[:size], Cursor(datetime.fromisoformat(last[column]), str(last["id"]))


def day_in_zone(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return when a day begins in a zone, and when the next one does."""
    start, end = (datetime.combine(at, time(), ZoneInfo(zone)) for at in (day, day + timedelta(days=1)))
    return start, end


def all_pages(
    page: Callable[[Cursor | None, int], Page], *, rows_max: int | None = EXPORT_ROWS_MAX, size: int = _EXPORT_PAGE_ROWS
) -> pd.DataFrame:
    """Return every row of a list, about `rows_max` at most; `page` gives the one behind a cursor, of a size."""
    read = page(None, size)
    pages = [read.found]
    while read.next and (rows_max is None or len(pages) * size < rows_max):
        read = page(read.next, size)
        pages.append(read.found)
    return pd.concat(pages, ignore_index=True)
