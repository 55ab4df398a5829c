"""Arguments for any function, good and bad, made from its signature."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st

from tests.security.catalogue import Function

NAUGHTY_CLASSES: dict[str, list[str]] = json.loads((Path(__file__).parent / "naughty_strings.json").read_text())
NAUGHTY = [string for strings in NAUGHTY_CLASSES.values() for string in strings]

_DEEP: Any = []
for _ in range(200):
    _DEEP = [_DEEP]

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, -(2**31) - 1, 2**63, 10**40, 1e308, 5e-324, 0.1 + 0.2, -0.0,
    float("nan"), float("inf"), float("-inf"), "NaN", "Infinity", "-Infinity", "infinity", "-infinity", "1e400", "0x1F",
    "", " ", "0", "-1", "1e-200", "999999999999999999999999", "1" * 200_000, "today", "epoch", "1999-01-01T00:00:00Z",
    "2007-02-30", "99999-01-01", "4714-11-25 BC", "294277-01-01", "2007-01-03T15:00:00", "25:00", "24:00:00",
    "00000000-0000-0000-0000-000000000000", "not-an-id", "RUNNING", "PAUSED", "admin", "analyst", "buy", "sell",
    [], {}, [[]], [None], [{}], {"": None}, {"a": {"b": []}}, [1, "1", None, True, {}], _DEEP,
]  # fmt: skip
HUGE: list[Any] = ["x" * 1_000_000, "ä" * 300_000, list(range(50_000)), {str(n): n for n in range(20_000)}]


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


def damaged(function: Function, example: dict[str, Any], ids: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return calls that depart from the example in one or two arguments.

    Parameters
    ----------
    ids : ids of other tenants and of things that the call is not about
    """

    @st.composite
    def call(draw: st.DrawFn) -> dict[str, Any]:
        arguments = dict(example)
        names = [argument.name for argument in function.arguments]
        for name in draw(st.lists(st.sampled_from([*names, "p_unknown"]), min_size=1, max_size=2, unique=True)):
            if draw(st.integers(0, 9)) == 0:
                arguments.pop(name, None)
            elif isinstance(arguments.get(name), dict | list):
                arguments[name] = draw(changed(arguments[name], ids))
            else:
                arguments[name] = draw(junk(ids))
        return arguments

    return call()


def junk(ids: list[str]) -> st.SearchStrategy[Any]:
    """Return values that hardly any argument takes."""
    ordinary = [*JUNK, *ids] * 3 + NAUGHTY
    return st.integers(0, 29).flatmap(lambda n: st.sampled_from(HUGE if n == 0 else ordinary))


@st.composite
def changed(draw: st.DrawFn, value: Any, ids: list[str]) -> Any:
    """Return a JSON value with something amiss somewhere inside."""
    if not value or draw(st.integers(0, 5)) == 0 or not isinstance(value, dict | list):
        return draw(junk(ids))
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        inner = draw(changed(value[at], ids))
        return draw(st.sampled_from([[*value[:at], inner, *value[at + 1 :]], [*value, inner], [*value, value[at]]]))
    name = draw(st.sampled_from(sorted(value)))
    rest = {other: kept for other, kept in value.items() if other != name}
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return rest
    if kind == 1:
        return value | {draw(st.sampled_from(NAUGHTY)): draw(junk(ids))}
    return rest | {name: draw(changed(value[name], ids))}
