"""The whole authority in every order of events: a state machine over a real database, all invariants after each step.

AUTHORITY_EXAMPLES sets how many examples of 50 steps are run; by default as many as fit into about 45 seconds.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from db import commands
from tests.property.authority.engine_rules import EngineRules
from tests.property.authority.machine import PROFILE
from tests.property.authority.people_rules import PeopleRules
from tests.property.authority.time_rules import TimeRules
from tests.property.authority.trading_rules import TradingRules
from tests.property.authority.world import SYMBOLS

EXAMPLES = int(os.environ.get("AUTHORITY_EXAMPLES", "60"))
STEPS = 50
FIRST = st.lists(
    st.tuples(PROFILE, st.sampled_from(SYMBOLS), st.just("buy"), st.sampled_from([7, 40]), st.just("100.50")),
    max_size=5,
)


class AuthorityMachine(TradingRules, TimeRules, PeopleRules, EngineRules):
    """Everything that can happen to the authority."""

    @initialize(first=FIRST, fills=st.integers(0, 3), asks=st.booleans())
    def start(self, first: list[tuple[str, str, str, int, str]], fills: int, asks: bool) -> None:
        self.begin()
        if first:
            self.ask(first)
            self.send_what_is_ready(["accepted"])
            for n in range(fills):
                self.broker_reports(n, "filled", 1)
        if asks:
            commands.update_approval_config(self.world.client("admin"), patch={"auto_approve_paper": False})

    @rule(profile=PROFILE, symbol=st.sampled_from(SYMBOLS), scope=st.sampled_from(["global", "profile", "symbol"]))
    def pause_leaves_an_entry_waiting(self, profile: str, symbol: str, scope: str) -> None:
        self.ask([(profile, symbol, "buy", 1, "99")])
        key = {"global": None, "profile": profile, "symbol": symbol}[scope]
        self.pause((scope, key), halt=False, cancel=False, ends=False)

    # Named twice, drawn twice as often: life goes on more often than anything else happens.
    ask_more = TradingRules.ask
    send_more = TradingRules.send_what_is_ready
    report_more = TradingRules.broker_reports
    decide_more = PeopleRules.decide


# What a run of some length has met: without these it has proved little.
MUST_BE_SEEN = {
    "asked: ready", "asked: submitting", "asked: awaiting_approval", "asked: TRADING_PAUSED", "asked: TRADING_HALTED",
    "asked again",
    "asked: SYMBOL_LOCKED", "asked: DUPLICATE_ORDER", "claimed: entry", "claimed: exit", "submitted: accepted",
    "submitted: rejected", "submitted: unknown", "submitted: not_sent", "broker: partially_filled", "broker: filled",
    "late news", "leg filled: limit", "leg filled: stop", "exit while RUNNING: ready", "window: PAUSED",
    "window: HALTED", "window over: RUNNING", "control again", "refused: operator", "refused: alice", "locked",
    "unlocked", "decided: ready", "config changed", "operator is analyst", "crash", "stale refused", "reconciled",
}  # fmt: skip


@pytest.mark.timeout(120 + EXAMPLES * 3)
def test_every_invariant_holds_after_every_step_in_any_order_of_events(world):
    seen: Counter[str] = Counter()
    machine = type("Machine", (AuthorityMachine,), {"world": world, "seen": seen})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

    print("\n".join(f"{count:6} {what}" for what, count in sorted(seen.items())))
    if EXAMPLES >= 100:
        assert set(seen) >= MUST_BE_SEEN, f"never met: {sorted(MUST_BE_SEEN - set(seen))}"
