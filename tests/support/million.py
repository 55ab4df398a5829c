"""A database of its own with a million orders and everything that goes with them, made set-based.

It is built from the migrations in the server that the tests' stack runs. Ids follow from numbers, so a
test can name the rows it wants. Blocks of three orders, numbered from 0, belong together: every third
block holds three denied entries, the others an entry that was filled with its two legs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import sql

from local import migrations, postgres
from local.stack import Stack

NAME = "million_orders"
ROWS = Path(__file__).with_suffix(".sql")
ORDERS = 1_000_000
BLOCKS = ORDERS // 3
PROFILES = 40  # of ten busy analysts; one more belongs to an analyst with few orders
OWNERS = 11  # of them all
SMALL_EVERY = 2000  # blocks: how seldom that one trades
FIRST_DAY = datetime(2024, 11, 1, tzinfo=UTC)

ADMIN, OPERATOR, BUSY, SMALL = (UUID(int=n) for n in (1, 2, 10, 99))


def order_id(n: int) -> UUID:
    """Return the id of the n-th order; the first of a traded block is its trade's id as well."""
    return UUID(int=n)


def entry_of(block: int) -> UUID:
    """Return the id of a block's first order."""
    return order_id(3 * block)


@contextmanager
def million_orders(stack: Stack, owner: psycopg.Connection) -> Iterator[str]:
    """Build the database and yield its name; it is dropped at the end."""
    drop = sql.SQL("drop database if exists {}").format(sql.Identifier(NAME))
    owner.execute(drop)
    owner.execute(sql.SQL("create database {}").format(sql.Identifier(NAME)))
    try:
        migrations.lay_ground(url(stack, postgres.SUPERUSER))
        migrations.migrate(url(stack, postgres.OWNER))
        with psycopg.connect(url(stack, postgres.SUPERUSER), autocommit=True) as connection:
            _fill(connection)
        yield NAME
    finally:
        owner.execute(drop)  # sends a vacuum worker away by itself


def url(stack: Stack, user: str) -> str:
    """Return the connection URL of the big database for a database user."""
    return f"postgresql://{user}@/{NAME}?host={stack.home.sockets}"


def _fill(connection: psycopg.Connection) -> None:
    """Load the rows without triggers, log and secondary indexes, and bring the indexes back."""
    connection.execute("set session_replication_role = replica")
    connection.execute("set maintenance_work_mem = '512MB'")
    connection.execute("set work_mem = '128MB'")
    connection.execute("set synchronous_commit = off")
    # From those that refer to the ones referred to: a kept table may not refer to an unlogged one.
    for table in _UNLOGGED:
        connection.execute(sql.SQL("alter table {} set unlogged").format(sql.Identifier(table)))
    indexes = connection.execute(_SECONDARY_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("drop index public.{}").format(sql.Identifier(name)))
    connection.execute(_rows())
    for user in (ADMIN, BUSY, SMALL):  # each is signed in
        connection.execute("insert into auth.sessions (id, user_id) values (%s, %s)", (user, user))
    for _, definition in indexes:
        connection.execute(definition)
    connection.execute("vacuum (analyze, parallel 2)")


def _rows() -> str:
    text = ROWS.read_text()
    numbers = {"blocks": BLOCKS, "profiles": PROFILES, "small_every": SMALL_EVERY, "orders": ORDERS}
    for name, value in (numbers | {"first_day": FIRST_DAY.isoformat()}).items():
        text = text.replace(f":{name}", str(value))
    return text


_UNLOGGED = (
    "fills", "positions", "operator_approvals", "trades", "orders", "order_events", "decisions", "signals",
    "equity_snapshots", "equity_daily", "trade_months", "audit_log", "price_bars", "symbol_lockouts", "gate_overrides",
    "reconciliation_findings", "reconciliation_runs", "trading_control_events",
)  # fmt: skip

# All but those that carry a constraint.
_SECONDARY_INDEXES = """
    select c.relname, pg_get_indexdef(i.indexrelid)
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
    where t.relnamespace = 'public'::regnamespace and t.relkind = 'r'
      and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
    order by t.relname, c.relname
"""
