"""Dataclasses to SQLite rows and back, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    """One SQLite table whose columns are the fields of a dataclass, the first one its key.

    `fixed` names those besides the key that never change once they are written: an update leaves
    them, and with them the indexes that they are in, alone.
    """

    def __init__(self, name: str, row_type: type[Row], *, fixed: Collection[str] = ()) -> None:
        self._type = row_type
        self._names = [field.name for field in fields(row_type)]
        hints = get_type_hints(row_type)
        key, *others = self._names
        changing = [column for column in others if column not in fixed]
        self._decoders = _where_needed(_decoder, [hints[column] for column in self._names])
        columns, marks = ", ".join(self._names), ", ".join("?" * len(self._names))
        self.select = f"select {columns} from {name}"
        self.insert = f"insert into {name} ({columns}) values ({marks})"
        overwrites = ", ".join(f"{column} = excluded.{column}" for column in others)
        self.upsert = f"{self.insert} on conflict ({key}) do update set {overwrites}"
        self.update = f"update {name} set {', '.join(f'{column} = ?' for column in changing)} where {key} = ?"
        self.to_row = _reader(self._names, hints)  # the values of `insert` and `upsert`
        self.to_changes = _reader([*changing, key], hints)  # the values of `update`

    def from_row(self, row: tuple[Any, ...]) -> Row:
        values = list(row)
        for position, decode in self._decoders:
            if (raw := values[position]) is not None:
                values[position] = decode(raw)
        return self._type(**dict(zip(self._names, values, strict=True)))


def encode(value: Any) -> Any:
    """Return a value as SQLite stores it; times become texts that sort as the times do."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return _sortable(value)
    return value


@lru_cache(maxsize=4096)  # an order is written again and again, and few of its times change
def _sortable(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _reader(columns: Sequence[str], hints: Mapping[str, Any]) -> Callable[[Any], list[Any]]:
    """Return what reads some fields of a dataclass as SQLite stores them."""
    read = attrgetter(*columns)
    encoders = _where_needed(_encoder, [hints[column] for column in columns])

    def row(value: Any) -> list[Any]:
        values = list(read(value))
        for position, encode_one in encoders:
            if (raw := values[position]) is not None:
                values[position] = encode_one(raw)
        return values

    return row


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
        return "{:f}".format
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
