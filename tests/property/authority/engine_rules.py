"""What becomes of engines: they crash, are replaced, act on after they were, and compare books."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db import commands
from db.errors import LeaseLost
from tests.property.authority.machine import ANY, ORDER, SHARD, Authority
from tests.property.authority.world import SHARDS, attempt, said


class EngineRules(Authority):
    """What engines do to each other."""

    @rule(shard=SHARD)
    def engine_crashes(self, shard: str) -> None:
        lost = self.world.engines[shard]
        other = commands.acquire_lease(self.world.engine_client, shard=shard, holder="another", ttl_s=10)
        assert not other.acquired, "one engine per shard"
        self.world.let_lease_run_out(shard)
        self.world.engines[shard] = self.world.new_engine(shard)
        assert self.world.engines[shard].token > lost.token
        self.stale.append(lost)
        self.note("crash")

    @precondition(lambda self: self.stale)
    @rule(n=ANY)
    def stale_engine_acts(self, n: int) -> None:
        if not self.stale:
            return
        engine = self.stale[n % len(self.stale)]
        lease: Any = {"shard": engine.shard, "token": engine.token}
        client = self.world.engine_client
        orders = self.world.rows(ORDER + "where shard = %s order by id limit 1", engine.shard)
        order = orders[0] if orders else (self.next_id(), "AAPL", "buy", 1, "simple")
        acts = [
            lambda: engine.ask_one(next(p for p, s in SHARDS.items() if s == engine.shard), id=str(self.next_id())),
            engine.claim,
            lambda: engine.record(order[0], "not_sent"),
            lambda: engine.update(said(order, "filled", filled=Decimal(order[3]), price=Decimal(100))),
            lambda: engine.exit(order[0]),
            engine.reconcile,
            engine.show_alive,
            lambda: commands.expire_stale_approvals(client, **lease),
            lambda: commands.save_bot_state(client, **lease, state={}),
            lambda: commands.load_bot_state(client, **lease),
            lambda: commands.engine_snapshot(client, **lease),
            lambda: commands.record_marks(client, **lease, marks=[]),
            lambda: commands.record_bars(client, **lease, bars=[]),
            lambda: commands.engine_lockout(client, **lease, ticker="IBM", reason="Old news", duration_minutes=5,
                                            lockout_type="cooldown"),
        ]  # fmt: skip
        before = self.world.state()
        for act in acts:
            assert isinstance(attempt(act), LeaseLost)
        assert not commands.release_lease(client, **lease)
        assert self.world.state() == before, "a stale holder changes nothing"
        self.note("stale refused")

    @rule(shard=SHARD, breaks=st.booleans())
    def engine_reconciles(self, shard: str, breaks: bool) -> None:
        finding = {"key": "qty:IBM", "kind": "quantity", "symbol": "IBM", "status": "open"}
        self.world.engines[shard].reconcile(*([finding] if breaks else []))
        self.note("reconciled")
