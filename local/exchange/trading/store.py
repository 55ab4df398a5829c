"""The ledger on disk: one SQLite file, one owner, one transaction per change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from local.exchange.market.calendar import Moment
from local.exchange.market.halts import Halt
from local.exchange.market.market import Shock
from local.exchange.trading.account import OPENING_CASH, Account, Fill, Position, Settings, Split
from local.exchange.trading.order import Order
from local.exchange.trading.rows import Row, Table, encode

_SCHEMA = Path(__file__).with_name("schema.sql")
_OPEN = "status not in ('filled', 'canceled', 'expired', 'replaced', 'rejected')"


class LedgerDamaged(Exception):
    """The ledger cannot be trusted: a person must restore it or start a new one."""


class LedgerInUse(Exception):
    """Another process owns the ledger: a person must stop one of the two."""


@dataclass(slots=True, kw_only=True)
class State:
    """What the exchange is, apart from its orders and positions; one row.

    `session` and `tick` name the last tick of regular hours; `after` counts the five-minute ticks
    since, where the time outside of them is walked through (see `session`).
    """

    id: int = 1
    ledger_id: str
    seed: int
    first_session: int
    session: int
    tick: int
    stamp: datetime
    next_seq: int
    mode: str
    seconds_per_session: float
    account_id: str
    created_at: datetime
    cash: Decimal
    last_equity: Decimal
    settings: str
    after: int = 0
    controls: str = "{}"
    opening_cash: Decimal = OPENING_CASH


@dataclass(frozen=True, slots=True)
class Close:
    """Equity of the account at one session's close."""

    session: int
    at: datetime
    equity: Decimal


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A further account: its key id, the digest of its secret, and the cash it began with."""

    key_id: str
    secret_digest: str
    cash: Decimal


@dataclass(slots=True)
class Changes:
    """What one transaction writes; collected in memory, written at once."""

    state: State
    orders: Collection[Order] = ()
    regrouped: Sequence[Order] = ()
    fills: Sequence[Fill] = ()
    splits: Sequence[Split] = ()
    closes: Sequence[Close] = ()
    shocks: Sequence[Shock] = ()
    halts: Sequence[Halt] = ()
    positions: Sequence[Position] = ()
    positions_closed: Iterable[str] = ()


STATE = Table("state", State, fixed=("ledger_id", "seed", "first_session", "account_id", "created_at", "opening_cash"))
# To SQLite an order that gets another parent is a changed key: every index would be written anew with
# each order that is. `Changes.regrouped` tells of the few that do.
ORDERS = Table(
    "orders",
    Order,
    fixed=("seq", "client_order_id", "symbol", "side", "type", "order_class", "intent", "submitted_at", "parent_id"),
)
FILLS = Table("fills", Fill)
SPLITS = Table("splits", Split)
POSITIONS = Table("positions", Position)
CLOSES = Table("closes", Close)
ACCOUNTS = Table("accounts", AccountRow)


class Store:
    """Reads and writes of the ledger file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _connect(path)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise LedgerInUse(f"{path} is in use by another exchange") from error
            raise LedgerDamaged(f"{path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise LedgerDamaged(f"{path} is damaged: {error}") from error
        known = self._db.execute("select next_seq from state").fetchone()
        self._next_seq: int | None = known and known[0]  # as written last; None in a ledger that is empty

    def close(self) -> None:
        self._db.close()

    def write(self, changes: Changes) -> None:
        """Write all of `changes` or nothing."""
        self._db.execute("begin immediate")
        try:
            self._write(changes)
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
        self._next_seq = changes.state.next_seq

    def _write(self, changes: Changes) -> None:
        self._write_state(changes.state)
        self._write_orders(changes.orders)
        for order in changes.regrouped:
            self._db.execute("update orders set parent_id = ? where id = ?", [order.parent_id, order.id])
        for table, values in (
            (FILLS, changes.fills),
            (SPLITS, changes.splits),
            (CLOSES, changes.closes),
            (POSITIONS, changes.positions),
        ):
            if values:
                self._upsert(table, values)
        for symbol in changes.positions_closed:
            self._db.execute("delete from positions where symbol = ?", [symbol])
        for shock in changes.shocks:
            row = [shock.symbol, shock.since.session, shock.since.tick, format(shock.pct, "f")]
            self._db.execute("insert into shocks values (?, ?, ?, ?)", row)
        for halt in changes.halts:
            row = [halt.symbol, encode(halt.since), encode(halt.until)]
            self._db.execute("insert or replace into halts values (?, ?, ?)", row)

    def _write_state(self, state: State) -> None:
        if self._next_seq is None:
            self._db.execute(STATE.insert, STATE.to_row(state))
        else:
            self._db.execute(STATE.update, STATE.to_changes(state))

    def _write_orders(self, orders: Collection[Order]) -> None:
        """Insert the orders that were numbered since the last write, and update the others."""
        first_new = self._next_seq or 0
        new = [ORDERS.to_row(order) for order in orders if order.seq >= first_new]
        known = [ORDERS.to_changes(order) for order in orders if order.seq < first_new]
        for statement, rows in ((ORDERS.insert, new), (ORDERS.update, known)):
            if rows:
                self._db.executemany(statement, rows)

    def _upsert(self, table: Table[Row], values: Iterable[Row]) -> None:
        self._db.executemany(table.upsert, map(table.to_row, values))

    def state(self) -> State | None:
        return next(self._select(STATE), None)

    def positions(self) -> Iterator[Position]:
        return self._select(POSITIONS)

    def shocks(self) -> list[Shock]:
        rows = self._db.execute("select symbol, session, tick, pct from shocks order by rowid")
        return [Shock(row[0], Moment(row[1], row[2]), Decimal(row[3])) for row in rows]

    def halts(self) -> list[Halt]:
        rows = self._db.execute("select symbol, since, until from halts order by since, symbol")
        return [Halt(row[0], *(at and datetime.fromisoformat(at) for at in row[1:])) for row in rows]

    def closes(self) -> Iterator[Close]:
        return self._select(CLOSES, "true order by session")

    def open_orders(self) -> Iterator[Order]:
        return self._select(ORDERS, f"{_OPEN} order by seq")

    def order(self, order_id: str) -> Order | None:
        return next(self._select(ORDERS, "id = ?", [order_id]), None)

    def order_by_client_id(self, client_order_id: str) -> Order | None:
        return next(self._select(ORDERS, "client_order_id = ?", [client_order_id]), None)

    def has_client_id(self, client_order_id: str) -> bool:
        """Tell whether any order, open or long ended, has an id of the client's."""
        found = self._db.execute("select 1 from orders where client_order_id = ?", [client_order_id])
        return found.fetchone() is not None

    def legs(self, parent_id: str) -> list[Order]:
        return list(self._select(ORDERS, "parent_id = ? order by seq", [parent_id]))

    def legs_by_parent(self, parent_ids: Sequence[str]) -> dict[str, list[Order]]:
        """Return the legs of many orders in one read, by the parent's id."""
        found: dict[str, list[Order]] = {}
        wanted = f"parent_id in ({', '.join('?' * len(parent_ids))}) order by seq"
        for leg in self._select(ORDERS, wanted, parent_ids) if parent_ids else ():
            found.setdefault(leg.parent_id or "", []).append(leg)
        return found

    def orders(self, where: str, args: Sequence[Any]) -> Iterator[Order]:
        """Select orders; `where` is written by `trading.listing`, values come in `args` only."""
        return self._select(ORDERS, where, args)

    def fills(self, where: str = "true order by seq", args: Sequence[Any] = ()) -> Iterator[Fill]:
        return self._select(FILLS, where, args)

    def splits(self) -> Iterator[Split]:
        return self._select(SPLITS, "true order by seq")

    def accounts(self) -> Iterator[AccountRow]:
        return self._select(ACCOUNTS, "true order by rowid")

    def write_account(self, row: AccountRow) -> None:
        self._upsert(ACCOUNTS, [row])

    def dump(self) -> Iterator[str]:
        """Yield the whole ledger as SQL, to be compared with another."""
        return self._db.iterdump()

    def count_orders(self) -> int:
        return int(self._db.execute("select count(*) from orders").fetchone()[0])

    def _select(self, table: Table[Row], where: str = "true", args: Sequence[Any] = ()) -> Iterator[Row]:
        for row in self._db.execute(f"{table.select} where {where}", args):
            yield table.from_row(row)


def load_account(state: State, positions: Iterable[Position]) -> Account:
    """Return the account as the ledger has it."""
    return Account(
        id=state.account_id,
        created_at=state.created_at,
        cash=state.cash,
        last_equity=state.last_equity,
        positions={position.symbol: position for position in positions},
        settings=_settings(state.settings),
    )


def dump_settings(settings: Settings) -> str:
    return json.dumps({item.name: getattr(settings, item.name) for item in fields(settings)})


def time_key(at: datetime) -> str:
    """Return `at` as the ledger stores times, for comparisons in SQL."""
    return str(encode(at))


def _settings(text: str) -> Settings:
    stored = json.loads(text)
    return Settings(**{item.name: stored[item.name] for item in fields(Settings)})


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    # One process owns the ledger: a second exchange on the same file is told so at once.
    db.execute("pragma locking_mode = exclusive")
    # An order changes a page of every index: small ones make less to write. An old ledger keeps its own size.
    db.execute("pragma page_size = 2048")
    db.execute("pragma journal_mode = wal")
    db.execute("pragma wal_autocheckpoint = 4000")
    # NORMAL syncs at checkpoints only. A killed process loses nothing, since the operating
    # system still holds its writes; a power cut may lose the last moments, which a simulator can
    # afford for answering an order in a millisecond.
    db.execute("pragma synchronous = normal")
    db.execute("pragma foreign_keys = on")
    verdict = db.execute("pragma quick_check").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    db.executescript(_SCHEMA.read_text())
    for table, columns in _ADDED.items():
        _add_missing(db, table, columns)
    return db


# Columns that a ledger of an earlier version lacks; what they say is right for it.
_ADDED = {
    "state": {
        "after": "integer not null default 0",
        "controls": "text not null default '{}'",
        "opening_cash": "text not null default '100000'",
    },
    "orders": {
        "notional": "text",
        "trail_price": "text",
        "trail_percent": "text",
        "hwm": "text",
        "awaits": "text",
        "due": "integer",
        "failed_at": "text",
    },
    "fills": {"fee": "text not null default '0'"},
    "positions": {
        "lots": "text not null default '[]'",
        "opened_qty": "text not null default '0'",
        "opened_cost": "text not null default '0'",
        "closed_qty": "text not null default '0'",
    },
}


def _add_missing(db: sqlite3.Connection, table: str, columns: dict[str, str]) -> None:
    present = {row[1] for row in db.execute(f"pragma table_info({table})")}
    for name, kind in columns.items():
        if name not in present:
            db.execute(f"alter table {table} add column {name} {kind}")
