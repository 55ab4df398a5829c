"""Dataclasses to SQLite rows and back, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, get_args, get_type_hints


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Row = TypeVar("Row", bound=_Dataclass)


class Table(Generic[Row]):
    """One SQLite table whose columns are the fields of a dataclass, the first one its key."""

    def __init__(self, name: str, row_type: type[Row]) -> None:
        self._type = row_type
        self._names = [field.name for field in fields(row_type)]
        hints = get_type_hints(row_type)
        self._values = attrgetter(*self._names)
        self._encoders = _where_needed(_encoder, [hints[column] for column in self._names])
        self._decoders = _where_needed(_decoder, [hints[column] for column in self._names])
        columns, marks = ", ".join(self._names), ", ".join("?" * len(self._names))
        updates = ", ".join(f"{column} = excluded.{column}" for column in self._names[1:])
        self.select = f"select {columns} from {name}"
        self.upsert = (
            f"insert into {name} ({columns}) values ({marks}) on conflict ({self._names[0]}) do update set {updates}"
        )

    def to_row(self, value: Row) -> list[Any]:
        values = list(self._values(value))
        for position, encode_one in self._encoders:
            if (raw := values[position]) is not None:
                values[position] = encode_one(raw)
        return values

    def from_row(self, row: tuple[Any, ...]) -> Row:
        values = list(row)
        for position, decode in self._decoders:
            if (raw := values[position]) is not None:
                values[position] = decode(raw)
        return self._type(**dict(zip(self._names, values, strict=True)))


def encode(value: Any) -> Any:
    """Return a value as SQLite stores it; times become texts that sort as the times do."""
    if isinstance(value, Decimal):
        return _text(value)
    if isinstance(value, datetime):
        return _sortable(value)
    return value


def _text(value: Decimal) -> str:
    return format(value, "f")


@lru_cache(maxsize=4096)  # an order is written again and again, and few of its times change
def _sortable(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _where_needed(
    convert: Callable[[Any], Callable[[Any], Any] | None], hints: Iterable[Any]
) -> list[tuple[int, Callable[[Any], Any]]]:
    """Return the positions of the columns whose values are converted, each with what does it."""
    found = ((position, convert(hint)) for position, hint in enumerate(hints))
    return [(position, change) for position, change in found if change]


def _encoder(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a column's value of a field's; None where they are the same.

    SQLite takes a member of an enum or a bool too, but asks for an adapter of each first.
    """
    kind = _kind(hint)
    if kind is Decimal:
        return _text
    if kind is datetime:
        return _sortable
    if kind is bool:
        return int
    return str.__str__ if issubclass(kind, StrEnum) else None


def _decoder(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a field's value of a column's; None where they are the same."""
    kind = _kind(hint)
    if kind is datetime:
        return datetime.fromisoformat
    if kind is Decimal or kind is bool:
        return cast("Callable[[Any], Any]", kind)
    return {member.value: member for member in kind}.__getitem__ if issubclass(kind, StrEnum) else None


def _kind(hint: Any) -> Any:
    """Return the type of a field's values, None left out."""
    return next((arg for arg in get_args(hint) if arg is not NoneType), hint)
