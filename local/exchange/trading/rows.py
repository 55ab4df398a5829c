"""Dataclasses to SQLite rows and back, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from types import NoneType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_type_hints


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Row = TypeVar("Row", bound=_Dataclass)


class Table(Generic[Row]):
    """One SQLite table whose columns are the fields of a dataclass, the first one its key."""

    def __init__(self, name: str, row_type: type[Row]) -> None:
        self._type = row_type
        self._names = [field.name for field in fields(row_type)]
        hints = get_type_hints(row_type)
        self._decoders = [_decoder(hints[column]) for column in self._names]
        columns, marks = ", ".join(self._names), ", ".join("?" * len(self._names))
        updates = ", ".join(f"{column} = excluded.{column}" for column in self._names[1:])
        self.select = f"select {columns} from {name}"
        self.upsert = (
            f"insert into {name} ({columns}) values ({marks}) on conflict ({self._names[0]}) do update set {updates}"
        )

    def to_row(self, value: Row) -> list[Any]:
        return [encode(getattr(value, name)) for name in self._names]

    def from_row(self, row: tuple[Any, ...]) -> Row:
        values = {
            name: None if raw is None else decode(raw)
            for name, decode, raw in zip(self._names, self._decoders, row, strict=True)
        }
        return self._type(**values)


def encode(value: Any) -> Any:
    """Return a value as SQLite stores it; times become texts that sort as the times do."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


def _decoder(hint: Any) -> Callable[[Any], Any]:
    kind = next((arg for arg in get_args(hint) if arg is not NoneType), hint)
    if kind is datetime:
        return datetime.fromisoformat
    if kind is Decimal or kind is bool or issubclass(kind, StrEnum):
        return lambda raw: kind(raw)
    return lambda raw: raw
