"""Put the database back to how it was after set-up, between tests."""

import psycopg
from psycopg import sql

from local import postgres
from local.stack import Stack

# What set-up has put into tables: members, demo profiles, shipped settings, lookup rows.
BASELINE = "test_baseline"

# Leaf tables that hold something: an empty table has no pages.
_IN_USE = """
    select n.nspname, c.relname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'private') and c.relkind = 'r' and pg_relation_size(c.oid) > 0
    order by 1, 2
"""
_COLUMNS = """
    select attname from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = ''
    order by attnum
"""


class Baseline:
    """A copy of every table's rows as they are now."""

    def __init__(self, stack: Stack) -> None:
        self._url = postgres.url(stack.home, postgres.SUPERUSER)
        with psycopg.connect(self._url) as connection:
            connection.execute(sql.SQL("create schema {}").format(sql.Identifier(BASELINE)))
            self._kept = _in_use(connection)
            self._refill = [_copied(connection, table) for table in self._kept]

    def restore(self) -> None:
        """Empty every table and fill those that had rows at set-up."""
        with psycopg.connect(self._url) as connection:
            connection.execute("set local lock_timeout = '10s'")
            connection.execute("set local synchronous_commit = off")
            # No triggers: an append-only table must let the tests start afresh.
            connection.execute("set local session_replication_role = replica")
            used_since = [table for table in _in_use(connection) if table not in self._kept]
            if used_since:
                connection.execute(sql.SQL("truncate {} cascade").format(sql.SQL(", ").join(used_since)))
            # These are small: deleting is quicker than truncating, which makes new files.
            for table, refill in zip(self._kept, self._refill, strict=True):
                connection.execute(sql.SQL("delete from {}").format(table))
                connection.execute(refill)


def _in_use(connection: psycopg.Connection) -> list[sql.Identifier]:
    return [sql.Identifier(*row) for row in connection.execute(_IN_USE).fetchall()]


def _copied(connection: psycopg.Connection, table: sql.Identifier) -> sql.Composed:
    """Copy a table's rows and return the statement that brings them back."""
    name = table.as_string(connection)
    copy = sql.Identifier(BASELINE, name)
    connection.execute(sql.SQL("create table {} as table {}").format(copy, table))
    rows = connection.execute(_COLUMNS, (name,)).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(row[0]) for row in rows)
    return sql.SQL("insert into {} ({}) overriding system value select {} from {}").format(
        table, columns, columns, copy
    )
