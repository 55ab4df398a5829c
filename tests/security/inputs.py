"""Arguments for any function, made from its signature."""

from typing import Any
from uuid import uuid4

import pytest

from tests.security.catalogue import Function


def least(function: Function) -> dict[str, Any]:
    """Return the arguments that a call cannot do without, each the simplest value of its type."""
    return {argument.name: simplest(argument.type) for argument in function.arguments if not argument.optional}


def simplest(kind: str) -> Any:
    """Return a value of a type, as JSON."""
    if kind.endswith("[]"):
        return [simplest(kind.removesuffix("[]"))]
    values: dict[str, Any] = {
        "text": "x",
        "uuid": str(uuid4()),
        "integer": 1,
        "bigint": 1,
        "numeric": "1",
        "boolean": True,
        "jsonb": {},
        "date": "2030-01-02",
        "timestamp with time zone": "2030-01-02T15:00:00Z",
        "time without time zone": "12:00",
    }
    if kind not in values:
        pytest.fail(f"No value of type {kind} is known: teach tests/security/inputs.py one.")
    return values[kind]
