"""What the database says about itself: tables, functions, and a checksum of everything they hold."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

# Refused attempts are recorded here, so these change although nothing else does.
RECORDS = frozenset({"public.audit_log", "private.audit_chain_heads"})

_COLUMNS = """
    select c.relname, a.attname, format_type(a.atttypid, null), a.attnotnull, a.atthasdef,
           a.attidentity <> '' or a.attgenerated <> '' as made, coalesce(a.attnum = any (k.conkey), false) as is_key,
           array(select e.enumlabel::text from pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder),
           (select pg_get_constraintdef(h.oid) from pg_constraint h
            where h.conrelid = c.oid and h.contype = 'c' and h.conkey = array[a.attnum]
              and pg_get_constraintdef(h.oid) like '%%ANY (ARRAY[%%' limit 1)
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
    where c.relnamespace = 'public'::regnamespace and c.relkind = any (%s)
      and not exists (select from pg_inherits i where i.inhrelid = c.oid)
    order by c.relname, a.attnum
"""
_FUNCTIONS = """
    select p.proname, p.provolatile = 'v', n.ordinal > p.pronargs - p.pronargdefaults, n.name, format_type(n.type, null)
    from pg_proc p
    left join lateral unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[])
        with ordinality n (name, type, ordinal) on true
    where p.pronamespace = 'public'::regnamespace
    order by p.proname, n.ordinal
"""
_LEAVES = """
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'private') and c.relkind = 'r' order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `labels` are the only values it takes, if these are listed; the database itself makes a `made` one."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    made: bool
    is_key: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table or a view."""

    name: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(column.name for column in self.columns if column.is_key)

    def identity(self, row: dict[str, Any]) -> tuple[str, ...]:
        """Return what tells a row from the others, as text."""
        return tuple(str(row[name]) for name in self.key or (self.columns[0].name,))


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a function."""

    name: str
    type: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A function that PostgREST exposes."""

    name: str
    volatile: bool
    arguments: tuple[Argument, ...]


def tables(db: psycopg.Connection, kinds: str = "rp") -> dict[str, Table]:
    """Return the tables of `public` by name; with `kinds` "v" its views."""
    columns: dict[str, list[Column]] = {}
    for name, *column, labels, check in db.execute(_COLUMNS, [list(kinds)]).fetchall():
        columns.setdefault(name, []).append(Column(*column, tuple(labels) or _listed(check)))
    return {name: Table(name, tuple(found)) for name, found in columns.items()}


def functions(db: psycopg.Connection) -> dict[str, Function]:
    """Return the functions of `public` by name."""
    found: dict[str, Function] = {}
    for name, volatile, optional, argument, kind in db.execute(_FUNCTIONS).fetchall():
        before = found.get(name, Function(name, volatile, ()))
        more = (Argument(argument, kind, optional),) if argument else ()
        found[name] = Function(name, volatile, before.arguments + more)
    return found


class Checksum:
    """Tells whether any table changed."""

    def __init__(self, db: psycopg.Connection) -> None:
        self._db = db
        leaves = db.execute(_LEAVES).fetchall()
        one = sql.SQL("select {name}, sum(hashtextextended(t::text, 0)) from {table} t")
        parts = [one.format(name=".".join(leaf), table=sql.Identifier(*leaf)) for leaf in leaves]
        self._query = sql.SQL(" union all ").join(parts)

    def __call__(self) -> dict[str, Decimal | None]:
        """Return a checksum per table, but for the record of attempts."""
        return {name: sum for name, sum in self._db.execute(self._query).fetchall() if name not in RECORDS}


class NoNumbers:
    """Tells in which columns NaN or an infinity stands where a number should."""

    def __init__(self, db: psycopg.Connection) -> None:
        self._db = db
        one = sql.SQL(
            "select {name} where exists (select from {table} where {column} in ('NaN', 'Infinity', '-Infinity'))"
        )
        parts = [
            one.format(
                name=f"{table.name}.{column.name}", table=sql.Identifier(table.name), column=sql.Identifier(column.name)
            )
            for table in tables(db).values()
            for column in table.columns
            if column.type == "numeric"
        ]
        self._query = sql.SQL(" union all ").join(parts)

    def __call__(self) -> set[str]:
        """Return the columns as table.column."""
        return {name for (name,) in self._db.execute(self._query).fetchall()}


def rows(db: psycopg.Connection, table: str) -> list[dict[str, Any]]:
    """Return a table's rows as JSON shows them."""
    query = sql.SQL("select to_jsonb(t) from {} t").format(sql.Identifier(table))
    return [row for (row,) in db.execute(query).fetchall()]


def _listed(check: str | None) -> tuple[str, ...]:
    """Return the texts of a check such as `status = ANY (ARRAY['open'::text, 'closed'::text])`."""
    return tuple(check.split("'")[1::2]) if check else ()
