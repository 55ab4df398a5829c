"""A row of both tenants in every table that has tenants, and one row in every other.

What an engine writes comes from an engine; what is still missing is made up from the columns' types, so
that a new table takes part without anybody thinking of it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.db.conftest import Engine
from tests.security import catalogue
from tests.security.catalogue import Column, Table
from tests.security.expectations import TABLES

START = datetime(2026, 1, 5, 15, tzinfo=UTC)
# What a table's checks ask for, and a type alone does not tell.
FIXED: dict[tuple[str, str], Any] = {("splits", "ratio"): 2, ("external_order_policies", "policy"): "lock"}


def trade_a_little(engine: Engine) -> None:
    """Give both analysts an open and a closed trade, each with all that belongs to it."""
    for profile, symbol in (("Alice trend daily", "AAPL"), ("Bob dips daily", "IBM")):
        closed = engine.held(profile, symbol=symbol)
        engine.update(closed.leg("stop", "filled", filled="10", price="94.5"), closed.leg("limit", "canceled"))
        engine.held(profile, symbol="GOOG")


def fill_gaps(superuser: psycopg.Connection, tenants: list[str]) -> None:
    """Make up the rows that are still missing. `superuser` may leave triggers and foreign keys aside."""
    profile_of = dict(superuser.execute("select owner_id::text, min(id::text) from profiles group by 1").fetchall())
    for table in catalogue.tables(superuser).values():
        rule = TABLES.get(table.name)
        if rule is None:
            continue  # the test of the expectations says so
        have = catalogue.rows(superuser, table.name)
        owners = [*tenants, None] if rule.shared else tenants if rule.own else []
        missing = [owner for owner in owners if not any(row[name] == owner for row in have for name in rule.own)]
        if not owners and not have:
            missing = tenants[:1]
        for owner in missing:
            known = dict.fromkeys(rule.own, owner) | {"profile_id": profile_of[owner or tenants[0]]}
            _insert(superuser, table, known, number=len(have) + len(owners) + tenants.index(owner or tenants[0]))


def _insert(superuser: psycopg.Connection, table: Table, known: dict[str, Any], *, number: int) -> None:
    values = {
        column.name: known[column.name]
        if column.name in known
        else FIXED.get((table.name, column.name), _value(column, number, position))
        for position, column in enumerate(table.columns)
        if not column.made and (column.name in known or (column.not_null and not column.has_default))
    }
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    try:
        superuser.execute(statement, list(values.values()))
    except psycopg.Error as e:
        pytest.fail(f"No row could be made up for {table.name} ({e}). Teach tests/security/seed.py its values.")


def _value(column: Column, number: int, position: int) -> Any:
    """Return a value that the column takes, another one for each number; times follow each other."""
    if column.type.endswith("[]"):
        return []
    if column.labels:
        return column.labels[0]
    match column.type:
        case "uuid":
            return str(uuid5(NAMESPACE_OID, f"{number}"))
        case "text":
            return f"SEED{number}"
        case "boolean":
            return False
        case "jsonb":
            return Jsonb({})
        case "bytea":
            return b"seed"
        case "date":
            return START.date() + timedelta(days=number)
        case "timestamp with time zone":
            return START + timedelta(days=number, hours=position)
        case _:
            return number
