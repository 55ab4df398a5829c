"""Put the database back to how it was after set-up, between tests."""

import psycopg
from psycopg import sql

from local import postgres
from local.stack import Stack

# What set-up has put into tables: members, demo profiles, shipped settings, lookup rows.
BASELINE = "test_baseline"

_TABLES = """
    select n.nspname, c.relname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'private') and c.relkind in ('r', 'p') and not c.relispartition
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
            tables = [sql.Identifier(*row) for row in connection.execute(_TABLES).fetchall()]
            self._all = sql.SQL(", ").join(tables)
            self._refill = [query for table in tables if (query := _copied(connection, table))]

    def restore(self) -> None:
        """Empty every table and fill those that had rows at set-up."""
        with psycopg.connect(self._url) as connection:
            connection.execute("set local lock_timeout = '10s'")
            # No triggers: an append-only table must let the tests start afresh.
            connection.execute("set local session_replication_role = replica")
            connection.execute(sql.SQL("truncate {} restart identity cascade").format(self._all))
            for query in self._refill:
                connection.execute(query)


def _copied(connection: psycopg.Connection, table: sql.Identifier) -> sql.Composed | None:
    """Copy a table's rows and return the statement that brings them back, or None when it has none."""
    name = table.as_string(connection)
    if not connection.execute(sql.SQL("select exists (select from {})").format(table)).fetchone()[0]:  # type: ignore[index]
        return None
    copy = sql.Identifier(BASELINE, name)
    connection.execute(sql.SQL("create table {} as table {}").format(copy, table))
    rows = connection.execute(_COLUMNS, (name,)).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(row[0]) for row in rows)
    return sql.SQL("insert into {} ({}) overriding system value select {} from {}").format(
        table, columns, columns, copy
    )
