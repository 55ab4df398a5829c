"""Dataclasses to SQLite rows and back, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
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
        decoders = [(position, _decoder(hints[column])) for position, column in enumerate(self._names)]
        self._decoders = [(position, decode) for position, decode in decoders if decode]
        columns, marks = ", ".join(self._names), ", ".join("?" * len(self._names))
        updates = ", ".join(f"{column} = excluded.{column}" for column in self._names[1:])
        self.select = f"select {columns} from {name}"
        self.upsert = (
            f"insert into {name} ({columns}) values ({marks}) on conflict ({self._names[0]}) do update set {updates}"
        )

    def to_row(self, value: Row) -> list[Any]:
        return [encode(getattr(value, name)) for name in self._names]

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
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


def _decoder(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a field's value of a column's; None where they are the same."""
    kind = next((arg for arg in get_args(hint) if arg is not NoneType), hint)
    if kind is datetime:
        return datetime.fromisoformat
    if kind is Decimal or kind is bool:
        return cast("Callable[[Any], Any]", kind)
    return {member.value: member for member in kind}.__getitem__ if issubclass(kind, StrEnum) else None
