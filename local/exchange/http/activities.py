"""The activities of an account: executions, crypto fees and splits in one list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from local.exchange.http.render import activity_body, fee_body, split_body
from local.exchange.trading.errors import invalid
from local.exchange.trading.listing import Direction, list_fills
from local.exchange.trading.store import Store

Activity = tuple[tuple[int, int], dict[str, Any]]


def list_activities(
    store: Store,
    *,
    kinds: set[str],
    after: datetime | None,
    until: datetime | None,
    direction: Direction,
    limit: int,
    page_token: str | None,
) -> list[dict[str, Any]]:
    """Return one page of activities; `page_token` is the id of the last one of the page before.

    Raises
    ------
    Refusal if no activity has the page token as its id
    """
    beyond = _position(store, page_token) if page_token is not None else None
    rows = list(_fills(store, kinds, after, until, beyond, direction, limit))
    if "SPLIT" in kinds:
        rows += [row for row in _splits(store) if _is_between(row, after, until)]
    rows.sort(key=lambda row: row[0], reverse=direction is Direction.DESC)
    if beyond is not None:
        rows = [row for row in rows if (row[0] > beyond if direction is Direction.ASC else row[0] < beyond)]
    return [body for _, body in rows[:limit]]


def _fills(
    store: Store,
    kinds: set[str],
    after: datetime | None,
    until: datetime | None,
    beyond: tuple[int, int] | None,
    direction: Direction,
    limit: int,
) -> Iterator[Activity]:
    """Yield executions and, right after each, its fee."""
    if not kinds & {"FILL", "CFEE"}:
        return
    # A page may begin between an execution and its fee: the execution is read again.
    edge = None if beyond is None else beyond[0] + (-1 if direction is Direction.ASC else 1)
    fills = list_fills(store, after=after, until=until, beyond_seq=edge, direction=direction, limit=limit + 1)
    for fill in fills:
        if "FILL" in kinds:
            yield (fill.seq, 0), activity_body(fill)
        if "CFEE" in kinds and fill.fee:
            yield (fill.seq, 1), fee_body(fill)


def _splits(store: Store) -> Iterator[Activity]:
    for split in store.splits():
        yield (split.seq, 0), split_body(split)


def _is_between(row: Activity, after: datetime | None, until: datetime | None) -> bool:
    day = row[1]["date"]
    return (after is None or day >= after.date().isoformat()) and (until is None or day <= until.date().isoformat())


def _position(store: Store, token: str) -> tuple[int, int]:
    """Return where in the list the activity with an id stands."""
    name = token.rpartition("::")[2]
    # A fee's id is that of its execution but for the last letter.
    for fill in store.fills("id = ? or id like ?", [name, f"{name[:-1]}_"]):
        if activity_body(fill)["id"] == token:
            return fill.seq, 0
        if fill.fee and fee_body(fill)["id"] == token:
            return fill.seq, 1
    for position, body in _splits(store):
        if body["id"] == token:
            return position
    raise invalid("invalid page_token")
