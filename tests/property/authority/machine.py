"""What all rules share: the world they move, what people were told, and what must hold after every step."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from hypothesis.strategies._internal.featureflags import FeatureFlags

from db import commands
from db.errors import AuthorityError, Forbidden
from tests.db.conftest import Engine
from tests.property.authority.invariants import Watch
from tests.property.authority.world import SHARDS, World, attempt, release_leases

SHARD = st.sampled_from(sorted(set(SHARDS.values())))
PROFILE = st.sampled_from(sorted(SHARDS))
SCOPE = st.sampled_from([("global", None), ("symbol", "AAPL"), ("symbol", "IBM"), *(("profile", p) for p in SHARDS)])
ANY = st.integers(0, 40)  # which of several; there are rarely more
RANK = ["RUNNING", "PAUSED", "HALTED"]
ORDER = "select id, symbol, side::text, qty, order_class from orders "


class Authority(RuleBasedStateMachine):
    """Moves everything that moves the authority; keeps only what a person was told."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        # Two examples in three may use every rule: with some of them switched off, which is what Hypothesis
        # does in each, orders seldom get far.
        some = self._rules_strategy.enabled_rules_strategy
        every = st.builds(FeatureFlags)
        self._rules_strategy.enabled_rules_strategy = st.shared(
            st.sampled_from([0, 1, 2]).flatmap(lambda n: every if n else some), key=("enabled rules", self)
        )

    def begin(self) -> None:
        """Start over, with nothing said and nothing asked."""
        self.world.fresh()
        self.watch = Watch(self.world.db)
        self.stale: list[Engine] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reported: list[tuple[str, dict[str, Any]]] = []
        self.controlled: list[tuple[Any, dict[str, Any], Any]] = []
        self.held: dict[tuple[str, str], str] = {}  # what a person has set and nobody has lifted
        self.windows: list[tuple[UUID, tuple[str, str]]] = []
        self.operator_is = "operator"
        self.ids = 0
        self.minute = 0

    @invariant()
    def everything_holds(self) -> None:
        assert self.watch.breaches() == []

    @invariant()
    def what_a_person_stopped_stays_stopped(self) -> None:
        for scope, mode in self.held.items():
            assert RANK.index(self.mode(*scope)) >= RANK.index(mode), f"{scope} was set to {mode} by a person"

    def teardown(self) -> None:
        if hasattr(self, "watch"):
            assert commands.verify_audit_chain(self.world.client("admin")).ok
            release_leases(self.world)

    def entry(self, engine: Engine, profile: str, symbol: str, side: str, qty: int, price: str) -> dict[str, Any]:
        at = datetime(2007, 1, 3, 15, tzinfo=UTC) + timedelta(minutes=self.minute)
        return engine.entry(
            profile, id=str(self.next_id()), symbol=symbol, side=side, qty=str(qty), limit_price=price,
            market_at=at.isoformat(), quote_at=at.isoformat(), signal=None,
        )  # fmt: skip

    def next_id(self) -> UUID:
        self.ids += 1
        return UUID(int=self.ids)

    def target(self, scope: tuple[str, str | None]) -> tuple[str, str]:
        kind, key = scope
        return kind, str(self.world.profiles[key]) if kind == "profile" and key else key or "*"

    def mode(self, scope: str, key: str) -> str:
        found = self.world.rows(
            "select mode::text from trading_controls where scope = %s::control_scope and scope_key = %s", scope, key
        )
        return str(found[0][0]) if found else "RUNNING"

    def effective(self, profile: UUID, symbol: str) -> str:
        modes = [self.mode("global", "*"), self.mode("profile", str(profile)), self.mode("symbol", symbol)]
        return max(modes, key=RANK.index)

    def pending(self) -> list[tuple[Any, ...]]:
        return self.world.rows(
            "select a.id, a.order_id, o.shard, a.shown_hash from operator_approvals a"
            " join orders o on o.id = a.order_id where a.status = 'pending' order by a.order_id"
        )

    def decide_as(self, who: str, approval: UUID, decision: Any, shown: str) -> Any:
        return commands.decide_approval(
            self.world.client(who), approval_id=approval, decision=decision, reason="Seen", shown_hash=shown
        )

    def refused(self, act: Any, kind: type[AuthorityError] = Forbidden) -> None:
        """Assert that an act is refused, that the attempt is on record, and that nothing else has changed."""
        before, rows = self.world.state(), self.world.audit_rows("refused")
        assert isinstance(attempt(act), kind)
        assert self.world.state() == before
        assert self.world.audit_rows("refused") == rows + 1

    def note(self, what: str) -> None:
        self.seen[what] += 1
