"""From PostgREST's rows to data frames with known columns and types, whatever the rows hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from postgrest import SyncSelectRequestBuilder
from supabase import Client

from db.errors import translated

Kind = Literal["text", "number", "flag", "time", "date", "object"]
Columns = Mapping[str, Kind]
Request = SyncSelectRequestBuilder

# Supabase answers with at most 1,000 rows at a time, whatever was asked for.
PAGE_ROWS = 1000

_DTYPES = {"text": "str", "number": "float64", "flag": "boolean", "object": "object"}


def rows(request: Request) -> list[dict[str, Any]]:
    """Return the rows of one request."""
    with translated():
        answer = request.execute()
    return [dict(row) for row in answer.data]  # type: ignore[arg-type]


def answered(function: str, client: Client, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a reading function of the database answers with; it is not allowed to write."""
    with translated():
        answer = client.rpc(function, dict(arguments), get=True).execute()
    return [dict(row) for row in answer.data]  # type: ignore[union-attr, arg-type]


def all_rows(request: Request) -> list[dict[str, Any]]:
    """Return every row of a request with a stable order, page by page."""
    return [row for page in _pages(request) for row in page]


def narrowed(request: Request, wanted: Mapping[str, Sequence[str]]) -> Request:
    """Return a request narrowed to the values that are wanted of each column; no values want all.

    A single value is asked for as equal: rows that match any of a list come out of no index in order.
    """
    for column, values in wanted.items():
        if len(values) == 1:
            request = request.eq(column, values[0])
        elif values:
            request = request.in_(column, list(values))
    return request


def frame(found: Sequence[Mapping[str, Any]], columns: Columns) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns, in this order, with their types.

    A column named `profile_name` may be given by an embedded `profile: {name}`.
    """
    flat = [_flat(row) for row in found]
    return pd.DataFrame({name: _series([row.get(name) for row in flat], kind) for name, kind in columns.items()})


def _pages(request: Request) -> Iterator[list[dict[str, Any]]]:
    start = 0
    whole = request.request.params
    while True:
        request.request.params = whole  # `range` adds to the parameters, it does not replace them
        page = rows(request.range(start, start + PAGE_ROWS - 1))
        yield page
        if len(page) < PAGE_ROWS:
            return
        start += PAGE_ROWS


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    embedded = {f"{key}_{inner}": value for key, held in row.items() if isinstance(held, dict) and key == "profile"
                for inner, value in held.items()}  # fmt: skip
    return {**row, **embedded}


def _series(values: list[Any], kind: Kind) -> "pd.Series[Any]":
    if kind == "time":
        return pd.Series(pd.to_datetime(values, utc=True, format="ISO8601"), dtype="datetime64[us, UTC]")
    if kind == "date":
        return pd.Series(pd.to_datetime(values, format="ISO8601"), dtype="datetime64[us]")
    return pd.Series(values, dtype=_DTYPES[kind])
