"""When a person has to approve an entry: the rule as a function, and the rule over real rows of the database.

Two groups, as the feature was specified: what the bypass of paper orders must no longer do, and what the
switch for paper orders must leave as it was.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from db import commands
from db.errors import Invalid
from db.models import Answer
from engine.domain.risk_config import PortfolioRiskConfig, TradingMode, requires_approval
from tests.property.authority.world import SHARDS, SYMBOLS, World, release_leases

per_property = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

USD = st.integers(1, 10**12).map(str)
MODES = st.sampled_from(list(TradingMode))
PROFILES = st.sampled_from(sorted(SHARDS))
APPROVAL_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "auto_approve_paper": st.booleans(),
    "require_approval_for_live": st.booleans(),
    "approval_timeout_minutes": st.integers(1, 1440),
    "four_eyes": st.booleans(),
    "notional_above_usd": st.none() | USD,
    "first_trade_in_symbol": st.booleans(),
    "off_hours": st.booleans(),
    "after_loss_streak": st.none() | st.integers(1, 1000),
}
# Without NUL, which no JSON in the database can hold: such a call is refused before anything sees it.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
NONSENSE = st.one_of(
    st.dictionaries(st.sampled_from(["auto_approve", "AUTO_APPROVE_PAPER", "limits"]), st.booleans(), min_size=1),
    st.fixed_dictionaries({"auto_approve_paper": st.none() | WORDS | st.integers()}),
    st.fixed_dictionaries({"approval_timeout_minutes": st.integers(max_value=0) | st.integers(1441, 10**9)}),
)
# The switches by mode alone, without the rules that ask for other reasons.
BY_MODE = {name: APPROVAL_KEYS[name] for name in ("auto_approve_paper", "require_approval_for_live", "four_eyes")}


def some_of(keys: dict[str, st.SearchStrategy[Any]], **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Draw some of the keys and leave the others out; those that are fixed are always there."""
    rest = {name: values for name, values in keys.items() if name not in fixed}
    return st.fixed_dictionaries({name: st.just(value) for name, value in fixed.items()}, optional=rest)


def configs(approval: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw stored configurations: sections that are there or not, limits that are set or not, keys nobody knows."""
    return st.fixed_dictionaries(
        {"operator_approval": approval},
        optional={
            "position_limits": some_of({"positions_max": st.integers(1, 99), "position_notional_max_usd": USD}),
            "sector_exposure": some_of({"max_pct": st.sampled_from(["0.5", "1"]), "sectors": st.just({"IBM": "tech"})}),
            "order_rate": some_of({"per_minute_max": st.integers(0, 99), "of_later": WORDS}),
            "signal_layers": some_of({"macro": st.booleans()}),
            "of_another_time": st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans(), max_size=3),
        },
    )


@pytest.fixture(scope="module")
def world(env, _baseline) -> Iterator[World]:
    world = World(env["DATABASE_URL"], _baseline)
    yield world
    world.close()


class Desk:
    """One engine and one admin over a clean database; each request comes on a market day of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin = world.client("admin")
        self._day = datetime(2007, 1, 3, 15, tzinfo=UTC)

    def configure(self, approval: dict[str, Any]) -> None:
        """Make the shipped configuration with these approval settings, and no other ones, the active one."""
        shipped = self.world.rows("select private.default_risk_config()")[0][0]
        active = commands.risk_config(self.admin)
        config = shipped | {"operator_approval": approval}
        commands.update_risk_config(self.admin, config=config, expected_version=active.version, reason="Example")

    def ask(self, profile: str, mode: TradingMode, symbol: str = "AAPL", qty: int = 10) -> Answer:
        """Put one entry to the gate, with nothing else open."""
        self.world.rows(
            "update orders set state = 'canceled' where state in ('ready', 'awaiting_approval') returning id"
        )
        self.world.rows(
            "update profiles set trading_mode = %s where id = %s returning id", mode, self.world.profiles[profile]
        )
        return self.ask_too(profile, symbol, qty)

    def ask_too(self, profile: str, symbol: str, qty: int = 10) -> Answer:
        """Put one entry to the gate beside what is open."""
        self._day += timedelta(days=1)
        at = self._day.isoformat()
        engine = self.world.engines[SHARDS[profile]]
        return engine.ask_one(profile, symbol=symbol, qty=str(qty), market_at=at, quote_at=at, signal=None)

    def approvals(self, order: Answer) -> list[tuple[Any, ...]]:
        """Return (status, reasons, minutes to decide) of the order's approval."""
        return self.world.rows(
            "select status::text, reasons, round(extract(epoch from expires_at - requested_at) / 60)::int"
            " from operator_approvals where order_id = %s", order.id
        )  # fmt: skip


@pytest.fixture
def desk(world) -> Iterator[Desk]:
    world.fresh()
    yield Desk(world)
    release_leases(world)


class TestPaperOrdersNoLongerBypassApproval:
    @per_property
    @given(config=configs(some_of(APPROVAL_KEYS, auto_approve_paper=False)))
    def test_every_paper_order_needs_approval_when_paper_is_not_auto_approved(self, config):
        assert requires_approval(PortfolioRiskConfig.from_db_json(config), TradingMode.PAPER) is True

    @per_property
    @given(approval=some_of(APPROVAL_KEYS, auto_approve_paper=False), profile=PROFILES, symbol=st.sampled_from(SYMBOLS),
           qty=st.integers(1, 100))  # fmt: skip
    def test_a_paper_entry_waits_and_cannot_be_claimed_when_paper_is_not_auto_approved(
        self, desk, approval, profile, symbol, qty
    ):
        desk.configure(approval)

        answer = desk.ask(profile, TradingMode.PAPER, symbol, qty)

        assert answer.state == "awaiting_approval"
        ((status, reasons, minutes),) = desk.approvals(answer)
        assert status == "pending" and "mode" in reasons
        assert minutes == approval.get("approval_timeout_minutes", 15)
        assert desk.world.engines[SHARDS[profile]].claim() == []

    @per_property
    @given(before=some_of(BY_MODE, auto_approve_paper=True), profile=PROFILES)
    def test_the_switch_holds_for_the_next_order_and_leaves_the_last_one_alone(self, desk, before, profile):
        desk.configure(before)
        first = desk.ask(profile, TradingMode.PAPER, "AAPL")

        commands.update_approval_config(desk.admin, patch={"auto_approve_paper": False})
        second = desk.ask_too(profile, "IBM")

        assert (first.state, second.state) == ("ready", "awaiting_approval")
        assert desk.world.rows("select state::text from orders where id = %s", first.id) == [("ready",)]
        assert [order.id for order in desk.world.engines[SHARDS[profile]].claim()] == [first.id]
        desk.world.engines[SHARDS[profile]].record(first.id, "not_sent")

    @per_property
    @given(
        profile=PROFILES, decision=st.sampled_from(["approve", "reject"]), who=st.sampled_from(["admin", "operator"])
    )
    def test_a_waiting_entry_is_sent_only_when_a_person_approves_it(self, desk, profile, decision, who):
        desk.configure({"auto_approve_paper": False})
        answer = desk.ask(profile, TradingMode.PAPER)
        ((approval, shown),) = desk.world.rows(
            "select id, shown_hash from operator_approvals where order_id = %s", answer.id
        )

        commands.decide_approval(
            desk.world.client(who), approval_id=approval, decision=decision, reason="Seen", shown_hash=shown
        )

        engine = desk.world.engines[SHARDS[profile]]
        claimed = [order.id for order in engine.claim()]
        assert claimed == ([answer.id] if decision == "approve" else [])
        assert desk.approvals(answer)[0][0] == ("approved" if decision == "approve" else "rejected")
        if claimed:
            engine.record(answer.id, "not_sent")


class TestWhatTheSwitchPreserves:
    def test_an_empty_configuration_auto_approves_paper_and_asks_for_live(self):
        config = PortfolioRiskConfig.from_db_json({})

        assert (config.operator_approval.auto_approve_paper, config.operator_approval.require_approval_for_live) == (
            True,
            True,
        )
        assert config.operator_approval.approval_timeout_minutes == 15

    @per_property
    @given(config=configs(some_of(APPROVAL_KEYS)))
    def test_live_follows_its_own_switch_whatever_paper_does(self, config):
        expected = config["operator_approval"].get("require_approval_for_live", True)

        assert requires_approval(PortfolioRiskConfig.from_db_json(config), TradingMode.LIVE) is expected

    @per_property
    @given(config=configs(some_of(APPROVAL_KEYS)))
    def test_a_disabled_profile_never_asks(self, config):
        assert requires_approval(PortfolioRiskConfig.from_db_json(config), TradingMode.DISABLED) is False

    @per_property
    @given(config=configs(some_of(APPROVAL_KEYS, auto_approve_paper=True)))
    def test_paper_does_not_ask_when_it_is_auto_approved(self, config):
        assert requires_approval(PortfolioRiskConfig.from_db_json(config), TradingMode.PAPER) is False

    @per_property
    @given(config=configs(some_of(APPROVAL_KEYS)), mode=MODES)
    def test_the_database_and_the_engine_agree_on_every_configuration(self, world, config, mode):
        ((in_sql,),) = world.rows("select private.requires_approval(%s, %s)", Jsonb(config), mode.value)

        assert in_sql is requires_approval(PortfolioRiskConfig.from_db_json(config), mode)

    @per_property
    @given(approval=some_of(BY_MODE), profile=PROFILES, mode=MODES)
    def test_an_entry_goes_the_way_that_its_mode_decides(self, desk, approval, profile, mode):
        desk.configure(approval)

        answer = desk.ask(profile, mode)

        asks = requires_approval(PortfolioRiskConfig.from_db_json({"operator_approval": approval}), mode)
        if mode == TradingMode.DISABLED:
            assert (answer.state, answer.code) == ("denied", "MODE_DISABLED")
        else:
            assert answer.state == ("awaiting_approval" if asks else "ready")
        assert [row[:2] for row in desk.approvals(answer)] == ([("pending", ["mode"])] if asks else [])

    @per_property
    @given(approval=some_of(APPROVAL_KEYS), profile=PROFILES, mode=MODES, qty=st.integers(300, 20_000))
    def test_what_fails_a_risk_check_is_denied_before_anyone_is_asked(self, desk, approval, profile, mode, qty):
        desk.configure(approval)

        answer = desk.ask(profile, mode, qty=qty)

        expected = "MODE_DISABLED" if mode == TradingMode.DISABLED else None
        assert answer.code == (expected or ("ORDER_QTY_MAX" if qty > 10_000 else "ORDER_NOTIONAL_MAX"))
        assert desk.approvals(answer) == []

    @per_property
    @given(before=configs(some_of(APPROVAL_KEYS)), patch=some_of(APPROVAL_KEYS).filter(bool))
    def test_a_change_of_approval_settings_touches_no_other_key(self, desk, before, patch):
        active = commands.risk_config(desk.admin)
        commands.update_risk_config(desk.admin, config=before, expected_version=active.version, reason="Example")

        answer = commands.update_approval_config(desk.admin, patch=patch)

        merged = before["operator_approval"] | patch
        ((stored,),) = desk.world.rows("select config from risk_configs where active")
        assert stored == before | {"operator_approval": merged}
        assert answer.config == stored
        defaults = desk.world.rows("select private.default_risk_config() -> 'operator_approval'")[0][0]
        shown = commands.approval_config(desk.world.client("operator"))
        assert {key: shown[key] for key in APPROVAL_KEYS} == defaults | merged

    @per_property
    @given(missing=st.sets(st.sampled_from(sorted(APPROVAL_KEYS))), whole=st.booleans())
    def test_missing_keys_take_their_defaults_here_and_there(self, desk, missing, whole):
        defaults = desk.world.rows("select private.default_risk_config() -> 'operator_approval'")[0][0]
        active = commands.risk_config(desk.admin)
        kept = {key: value for key, value in defaults.items() if key not in missing}
        config = {"position_limits": {"positions_max": len(missing)}} | ({} if whole else {"operator_approval": kept})

        commands.update_risk_config(desk.admin, config=config, expected_version=active.version, reason="Example")

        shown = commands.approval_config(desk.admin)
        assert {key: shown[key] for key in defaults} == defaults
        read = PortfolioRiskConfig.from_db_json(config).operator_approval.model_dump()
        assert {key: read[key] for key in defaults} == defaults

    @per_property
    @given(patch=NONSENSE)
    def test_a_setting_that_makes_no_sense_is_refused_and_changes_nothing(self, desk, patch):
        before, rows = desk.world.state(), desk.world.audit_rows("refused")

        with pytest.raises(Invalid):
            commands.update_approval_config(desk.admin, patch=patch, request_id=uuid4())

        assert desk.world.state() == before
        assert desk.world.audit_rows("refused") == rows + 1
