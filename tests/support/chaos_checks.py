"""What must hold once things have settled, asked of the exchange and of the database: I1, I3 to I6, I8, I10, I12."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import psycopg

from tests.property.authority.invariants import CHECKS, Watch
from tests.support.books import differences

OVER = ("filled", "canceled", "expired", "replaced", "rejected")
GAP = "select coalesce(sum(case side when 'long' then qty else -qty end), 0) from positions where symbol = %s"
ASKED_FOR = ("I1 ", "I4 ", "I5 ", "I6 ", "I12 ", "I8 each control event", "I8 the events of a control")


def problems(db: psycopg.Connection, ledger: Mapping[str, Any], *, foreign: Collection[str] = ()) -> list[str]:
    """Return everything that does not hold now.

    Parameters
    ----------
    ledger : what the exchange says at `/_sim/ledger`
    foreign : the exchange's ids of orders that a test has made beside the engine
    """
    orders = [o for o in ledger["orders"] if o["id"] not in foreign and o["parent_id"] not in foreign]
    with db.transaction():
        # All of it at one moment: an engine goes on writing meanwhile.
        db.execute("set transaction isolation level repeatable read")
        return [
            *ledger["problems"],
            *doubled(db, orders),
            *unsettled(db),
            *apart(db, orders),
            *(() if foreign else gaps(db, ledger["positions"])),
            *differences(db),
            *breaches(db),
            *naked(db),
        ]


def breaches(db: psycopg.Connection) -> list[str]:
    """What the invariants of the authority say; an exit that is told from a journal begins as sent."""
    told = {str(row[0]) for row in db.execute("select id from orders where purpose in ('exit', 'stop_loss')")}
    return [
        f"{name}: {row}"
        for name, row in Watch(db).breaches()
        if name.startswith(ASKED_FOR) and not (row.endswith(" ->submitting") and row.split()[0] in told)
    ]


def doubled(db: psycopg.Connection, orders: Sequence[Mapping[str, Any]]) -> list[str]:
    """I3: one intent, at most one order at the broker, and none there that no intent stands for."""
    own = [order for order in orders if order["parent_id"] is None]
    ids = {row[0] for row in db.execute("select id::text from orders union select broker_order_id from orders")}
    found = [f"I3 nobody asked for {o}" for o in own if o["client_order_id"] not in ids and o["id"] not in ids]
    found += [f"I3 {id} was sent {n} times" for id, n in Counter(o["client_order_id"] for o in own).items() if n > 1]
    intents = db.execute(
        "select o.profile_id, o.symbol, o.position_side, s.bar_at from orders o join signals s on s.id = o.signal_id"
        " where o.purpose = 'entry' and o.broker_order_id is not null group by 1, 2, 3, 4 having count(*) > 1"
    ).fetchall()
    return found + [f"I3 one decision became several orders: {row}" for row in intents]


def unsettled(db: psycopg.Connection) -> list[str]:
    """I4: nothing waits for an answer any more."""
    rows = db.execute(
        "select id, purpose, state from orders where state in ('awaiting_approval', 'ready', 'submitting', 'unknown')"
    ).fetchall()
    return [f"I4 not settled: {row}" for row in rows]


def apart(db: psycopg.Connection, orders: Sequence[Mapping[str, Any]]) -> list[str]:
    """I10: each order is in our books as the exchange has it."""
    theirs = {order["id"]: order for order in orders}
    ours = {row[0]: row[1:] for row in db.execute(
        "select broker_order_id, state::text, private.is_terminal(state), filled_qty from orders"
        " where broker_order_id is not null").fetchall()}  # fmt: skip
    found = [f"I10 nobody knows {order}" for id, order in theirs.items() if id not in ours]
    for id, (state, is_over, filled) in ours.items():
        order = theirs.get(id)
        if order is None:
            found += [] if is_over else [f"I10 {id} is {state} in our books and not at the exchange"]
        elif filled != Decimal(order["filled_qty"]) or is_over != (order["status"] in OVER):
            found.append(f"I10 {order} is {state} with {filled} filled in our books")
    return found


def gaps(db: psycopg.Connection, held: Mapping[str, str]) -> list[str]:
    """I10: our positions add up to what the account holds."""
    symbols = {row[0] for row in db.execute("select symbol from positions")} | set(held)
    ours = {symbol: db.execute(GAP, [symbol]).fetchone()[0] for symbol in symbols}  # type: ignore[index]
    return [
        f"I10 {symbol}: {ours[symbol]} in our books, {held.get(symbol, 0)} at the exchange"
        for symbol in sorted(symbols)
        if ours[symbol] != Decimal(held.get(symbol, 0))
    ]


def naked(db: psycopg.Connection) -> list[str]:
    """Positions whose stops, `held` legs included, do not cover them, and which nothing is closing."""
    rows = db.execute("""
        select p.symbol, p.qty, coalesce(sum(o.qty - o.filled_qty), 0) from positions p
        left join orders o on o.trade_id = p.trade_id and o.purpose = 'stop_loss'
             and o.state in ('working', 'partially_filled')
        where not exists (select 1 from orders e where e.trade_id = p.trade_id and e.purpose in ('exit', 'entry')
                          and e.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))
        group by p.trade_id, p.symbol, p.qty having coalesce(sum(o.qty - o.filled_qty), 0) < p.qty""").fetchall()
    return [f"unprotected: {row}" for row in rows]


assert all(any(name.startswith(start) for name in CHECKS) for start in ASKED_FOR), "the checks have been renamed"
