"""Everything a test of the authority moves: people, engines, the broker's words, and the hands of the clock."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from db import commands
from db.errors import AuthorityError
from tests.db.conftest import Engine
from tests.property.authority.direct import DirectClient
from tests.support.database import Baseline

SHARDS = {  # one owner in two shards, and each shard with two owners
    "Alice trend daily": "main",
    "Alice dips hourly": "east",
    "Bob trend hourly": "main",
    "Bob dips daily": "east",
}
SYMBOLS = ["AAPL", "IBM", "GOOG"]  # what every profile trades

# Whatever a refused or repeated call must leave as it was; its audit rows and leases' clocks are not part.
_STATE = """
    select md5(string_agg(t.digest, ',' order by t.digest)) from (
        select 'o' || md5(string_agg(o::text, '|' order by o.id)) as digest from orders o
        union all select 'c' || md5(string_agg(c::text, '|' order by c.profile_id)) from profile_capital c
        union all select 'f' || md5(string_agg(p::text, '|' order by p.id)) from profiles p
        union all select 't' || md5(string_agg(t::text, '|' order by t.scope, t.scope_key)) from trading_controls t
        union all select 'a' || md5(string_agg(a::text, '|' order by a.id)) from operator_approvals a
        union all select 'l' || md5(string_agg(l::text, '|' order by l.id)) from symbol_lockouts l
        union all select 'n' || md5(string_agg(n::text, '|' order by n.trade_id)) from positions n
        union all select 'r' || md5(string_agg(r::text, '|' order by r.version)) from risk_configs r
        union all select 'm' || md5(string_agg(m::text, '|' order by m.user_id)) from members m
        union all select 'e' || md5(string_agg(e.shard || e.token || e.holder, '|' order by e.shard))
            from engine_leases e
        union all select 's' || md5(string_agg(s::text, '|' order by s.id)) from control_schedules s
        union all select 'k' || md5(concat((select count(*) from order_events), (select count(*) from fills),
            (select count(*) from decision_log), (select count(*) from trading_control_events),
            (select count(*) from bot_state_snapshots), (select count(*) from reconciliation_runs),
            (select count(*) from signals)))) t
"""


class World:
    """Connections for every actor, made once and used for every example."""

    def __init__(self, url: str, baseline: Baseline) -> None:
        self.url = url
        self._baseline = baseline
        self.db = psycopg.connect(url, autocommit=True)
        self.db.execute("set jit = off")
        self.db.execute("set synchronous_commit = off")
        self.db.execute("set plan_cache_mode = force_generic_plan")
        self.people: dict[str, UUID] = {
            email.split("@")[0]: id for email, id in self.db.execute("select email, user_id from members").fetchall()
        }
        self.profiles: dict[str, UUID] = dict(self.db.execute("select name, id from profiles").fetchall())
        self._clients = {name: DirectClient(url, id) for name, id in self.people.items()}
        self.engine_client = DirectClient(url)
        self.engines: dict[str, Engine] = {}

    def close(self) -> None:
        for client in (self.engine_client, *self._clients.values()):
            client.close()
        self.db.close()

    def fresh(self) -> None:
        """Start over: every table as after set-up, the profiles in their shards, an engine for each shard."""
        self._baseline.restore()
        for name, shard in SHARDS.items():
            self.db.execute("update profiles set shard = %s where id = %s", (shard, self.profiles[name]))
        self.engines = {shard: self.new_engine(shard) for shard in sorted(set(SHARDS.values()))}

    def client(self, name: str) -> Any:
        """Return the connection of a signed-in person."""
        return self._clients[name]

    def new_engine(self, shard: str) -> Engine:
        return Engine(self.engine_client, self.profiles, shard)  # type: ignore[arg-type]

    def let_lease_run_out(self, shard: str) -> None:
        self.db.execute("update engine_leases set expires_at = clock_timestamp() where shard = %s", (shard,))

    def state(self) -> str:
        """Return a digest of everything that a refused call has to leave alone."""
        row = self.db.execute(_STATE, prepare=True).fetchone()
        assert row is not None
        return str(row[0])

    def audit_rows(self, outcome: str) -> int:
        row = self.db.execute("select count(*) from audit_log where outcome = %s", (outcome,)).fetchone()
        assert row is not None
        return int(row[0])

    def rows(self, question: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(question, arguments, prepare=True).fetchall()

    def beat(self) -> None:
        """Let every engine show that it lives and that its books agree."""
        for engine in self.engines.values():
            engine.show_alive()


def attempt(call: Callable[[], Any]) -> Any:
    """Return a call's answer, or the error with which it was refused."""
    try:
        return call()
    except AuthorityError as e:
        return e


def said(
    order: Any, status: str, *, filled: Decimal = Decimal(0), price: Decimal | None = None, at: str = "15:01"
) -> dict[str, Any]:
    """Return the broker's word on an order of ours, with the legs of a bracket once it has filled."""
    id, symbol, side, qty, order_class = order
    update = {
        "client_order_id": str(id), "broker_order_id": f"broker-{id}", "status": status, "symbol": symbol, "side": side,
        "qty": str(qty), "type": "limit", "filled_qty": str(filled), "filled_avg_price": str(price) if price else None,
        "updated_at": f"2007-01-03T{at}:00+00:00",
    }  # fmt: skip
    if order_class == "bracket" and status == "filled":
        update["legs"] = [leg_said(order, "limit", "new"), leg_said(order, "stop", "held")]
    return update


def leg_said(order: Any, kind: str, status: str, *, price: Decimal | None = None) -> dict[str, Any]:
    """Return the broker's word on one leg of a bracket."""
    id, symbol, side, qty, _ = order
    return {
        "client_order_id": f"made-by-broker-{kind}-{id}", "broker_order_id": f"{kind}-{id}", "status": status,
        "symbol": symbol, "side": "sell" if side == "buy" else "buy", "qty": str(qty), "type": kind,
        "limit_price": "110" if kind == "limit" else None, "stop_price": "95" if kind == "stop" else None,
        "filled_qty": str(qty) if price else "0", "filled_avg_price": str(price) if price else None,
        "updated_at": "2007-01-03T16:00:00+00:00",
    }  # fmt: skip


def release_leases(world: World) -> None:
    for engine in world.engines.values():
        commands.release_lease(world.engine_client, shard=engine.shard, token=engine.token)  # type: ignore[arg-type]
