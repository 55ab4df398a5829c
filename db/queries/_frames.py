"""From PostgREST's rows to data frames with known columns and types, whatever the rows hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from postgrest import SyncSelectRequestBuilder
from supabase import Client

from db.errors import translated

Kind = Literal["text", "number", "flag", "time", "date", "object"]
Columns = Mapping[str, Kind]
Request = SyncSelectRequestBuilder

# Supabase answers with at most 1,000 rows at a time, whatever was asked for.
PAGE_ROWS = 1000

_TEXT = pd.StringDtype(na_value=np.nan)  # what pandas calls "str"
_FLAG = pd.BooleanDtype()
_TIME = pd.DatetimeTZDtype("us", "UTC")


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
    # Arrays and not series: pandas would look for what the indexes of all of them have in common.
    return pd.DataFrame({name: _array(_values(found, name), kind) for name, kind in columns.items()})


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


def _values(found: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    inner = name.removeprefix("profile_")
    if inner == name:
        return [row.get(name) for row in found]
    profiles = [held if isinstance(held := row.get("profile"), dict) else {} for row in found]
    return [profile.get(inner, row.get(name)) for row, profile in zip(found, profiles, strict=True)]


def _array(values: list[Any], kind: Kind) -> Any:
    match kind:
        case "number":
            return np.array(values, dtype="float64")
        case "text":
            return pd.array(values, dtype=_TEXT)
        case "flag":
            return pd.array(values, dtype=_FLAG)
        case "date":
            return np.array(values, dtype="datetime64[us]")
        case "time":  # no cache: times that are told apart by microseconds seldom come twice
            return pd.to_datetime(values, utc=True, format="ISO8601", cache=False).astype(_TIME)
    return pd.Series(values, dtype="object").array
