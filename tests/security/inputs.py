"""Arguments for any function, good and bad, made from its signature."""

import json
from collections.abc import Iterator
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

LEASE = frozenset({"p_shard", "p_token"})
NUMBERS: list[Any] = [
    None, 0, 1, -1, 7, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 10**40, 1e308, 5e-324, 0.1 + 0.2, -0.0, 0.5,
    "NaN", "Infinity", "-Infinity", "1e400", "0x1F", "0", "-1", "1e-200", "999999999999999999999999", "1" * 20_000,
]  # fmt: skip
TIMES: list[Any] = [
    None, "infinity", "-infinity", "today", "epoch", "1999-01-01T00:00:00Z", "2007-02-30", "99999-01-01",
    "4714-11-25 BC", "294276-12-31", "294277-01-01", "2007-01-03T15:00:00", "2031-01-02T15:00:00+99:00",
    "2031-01-02T15:00:00 Nowhere/Town", "25:00", "24:00:00", "00:00", "23:59:60", "2031-01-02", "",
]  # fmt: skip
JUNK: list[Any] = [
    *NUMBERS, *TIMES, True, False, float("nan"), float("inf"), float("-inf"), " ",
    "00000000-0000-0000-0000-000000000000", "not-an-id", "RUNNING", "PAUSED", "admin", "analyst", "buy", "sell",
    [], {}, [[]], [None], [{}], {"": None}, {"a": {"b": []}}, [1, "1", None, True, {}], _DEEP,
]  # fmt: skip
TYPED: dict[str, list[Any]] = {
    **dict.fromkeys(("integer", "bigint", "numeric"), NUMBERS),
    **dict.fromkeys(("date", "timestamp with time zone", "time without time zone"), TIMES),
    "integer[]": [None, [], [0], [8], [1, 1], [None], [[1, 2]], [2**31], list(range(500)), "{1,2}"],
    "date[]": [None, [], ["2007-01-03"], ["infinity"], [None], ["2031-01-02"] * 500, ["2031-01-02", "-infinity"]],
    "uuid[]": [None, [], [None], [str(uuid4())] * 300, ["x"], [[str(uuid4())]]],
}
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
    kinds = {argument.name: argument.type for argument in function.arguments}
    # What a document holds goes wrong in more ways than a number does; a wrong lease stops the call early.
    names = [
        name for name, kind in kinds.items() for _ in range(6 if kind == "jsonb" else 2 if name not in LEASE else 1)
    ]

    @st.composite
    def call(draw: st.DrawFn) -> dict[str, Any]:
        arguments = dict(example)
        for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
            if draw(st.integers(0, 19)) == 0:
                arguments.pop(name, None)
            elif isinstance(arguments.get(name), dict | list):
                arguments[name] = draw(changed(arguments[name], ids))
            else:
                arguments[name] = draw(junk(ids, kinds[name]))
        return arguments

    return call() if names else st.sampled_from([{}, {"p_unknown": 1}])


def junk(ids: list[str], kind: str = "") -> st.SearchStrategy[Any]:
    """Return values that an argument of this type hardly takes, most of them of the type."""
    typed = TYPED.get(kind, NAUGHTY if kind == "text" else ids if kind == "uuid" else JUNK)
    anything = [*JUNK, *ids, *NAUGHTY]
    return st.integers(0, 29).flatmap(lambda n: st.sampled_from(HUGE if n == 0 else anything if n < 10 else typed))


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


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every leaf of a JSON value."""
    if isinstance(value, dict | list) and value:
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, name))
    else:
        yield path


def put_at(value: Any, path: tuple[str | int, ...], put: Any) -> Any:
    """Return a copy of a JSON value with `put` at this path."""
    if not path:
        return put
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = put_at(copy[path[0]] if len(path) > 1 else None, path[1:], put)
    return copy
