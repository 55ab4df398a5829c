"""Dataclasses to SQLite rows and back, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def to_row(value: Any) -> list[Any]:
    """Return the fields of a dataclass as SQLite values, in declared order."""
    return [encode(getattr(value, name)) for name in column_names(type(value))]


def from_row(cls: type[T], row: tuple[Any, ...]) -> T:
    """Build a dataclass from the SQLite values of its fields, in declared order."""
    values = {
        name: None if raw is None else decode(raw)
        for (name, decode), raw in zip(_decoders(cls), row, strict=True)
    }
    return cls(**values)


@cache
def column_names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


@cache
def insert_statement(cls: type[Any], table: str) -> str:
    """Return the statement that writes one row, whether or not it is there already."""
    names = column_names(cls)
    marks = ", ".join("?" * len(names))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    return (
        f"insert into {table} ({', '.join(names)}) values ({marks}) "
        f"on conflict ({names[0]}) do update set {updates}"
    )


def encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return encode_time(value)
    return value


def encode_time(value: datetime) -> str:
    """Write a time so that the order of the texts is the order of the times."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


@cache
def _decoders(cls: type[Any]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    hints = get_type_hints(cls)
    return tuple((name, _decoder(hints[name])) for name in column_names(cls))


def _decoder(hint: Any) -> Callable[[Any], Any]:
    kind = next((arg for arg in get_args(hint) if arg is not NoneType), hint)
    if kind is datetime:
        return datetime.fromisoformat
    if kind is Decimal or kind is bool or issubclass(kind, StrEnum):
        return kind  # type: ignore[no-any-return]  # each of them is its own constructor
    return lambda raw: raw
