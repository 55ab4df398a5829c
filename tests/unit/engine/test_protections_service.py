from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.broker_types import Bar, MarketTime, Quote
from engine.domain.errors import AuthorityUnavailable, Refused
from engine.domain.news import Headline
from engine.domain.protections import ClosedTrade, LockoutPlan, ProtectionFacts
from engine.service.housekeeping import PARTS_MAX, Housekeeping
from engine.service.protections import NEWS_OVERLAP, Protections
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_profile, a_quote, a_snapshot, a_trade
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData

FRAUD = Headline(id="7", at=NOON - timedelta(minutes=5), text="Fraud at Apple", symbols=("AAPL",))
STOPPED = ClosedTrade(
    trade_id="1", profile_id="profile", symbol="AAPL", exit_reason="stop_loss", pnl_usd=Decimal(-10), closed_at=NOON,
    age_s=Decimal(1),
)  # fmt: skip


@dataclass
class FakeGuards:
    known: ProtectionFacts = field(default_factory=ProtectionFacts)
    asked: list[datetime] = field(default_factory=list)
    locked: list[LockoutPlan] = field(default_factory=list)

    def facts(self, since: datetime) -> ProtectionFacts:
        self.asked.append(since)
        return self.known

    def lock_out(self, plan: LockoutPlan) -> None:
        self.locked.append(plan)


@pytest.fixture
def guards() -> FakeGuards:
    return FakeGuards()


@pytest.fixture
def protections(market_data: FakeMarketData, guards: FakeGuards, authority: FakeAuthority, book: Book) -> Protections:
    authority.book = a_snapshot(profiles=(a_profile(),))
    return Protections(market_data, guards, book)


def configured(authority: FakeAuthority, **config: Any) -> None:
    authority.book = replace(authority.book, risk_config=config)


def day_bars(*closes: int) -> list[Bar]:
    """Return daily bars of the days before NOON's."""
    days = [NOON - timedelta(days=n) for n in range(len(closes), 0, -1)]
    return [Bar("AAPL", "1Day", at, *[Decimal(c)] * 4, volume=Decimal(1)) for at, c in zip(days, closes, strict=True)]


def test_an_alarming_headline_locks_its_symbol_for_everyone_and_once(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData
) -> None:
    market_data.articles = [FRAUD]

    assert [protections.run(MARKET), protections.run(MARKET)] == [1, 0]

    (plan,) = guards.locked
    assert (plan.lockout_type, plan.ticker, plan.profile_id, plan.minutes) == ("news_shock", "AAPL", None, 60)


def test_each_look_continues_where_the_last_one_ended_with_some_overlap(
    protections: Protections, market_data: FakeMarketData
) -> None:
    later = MarketTime(NOON + timedelta(hours=20), is_open=False)

    protections.run(MARKET)
    protections.run(later)

    assert market_data.asked_news == [NOON - timedelta(hours=1), NOON - NEWS_OVERLAP]


def test_an_abnormal_move_locks_its_symbol(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData
) -> None:
    market_data.history = day_bars(*[100, 101] * 11)
    market_data.prices = {"AAPL": a_quote("90")}

    protections.run(MARKET)

    (plan,) = guards.locked
    assert plan.cause == "move:AAPL:2007-01-03:down"


def test_a_gap_is_seen_once_todays_bar_has_begun(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData
) -> None:
    market_data.history = day_bars(*[100, 101] * 11)
    market_data.prices = {"AAPL": a_quote("101")}
    protections.run(MARKET)
    assert guards.locked == []

    market_data.history.append(Bar("AAPL", "1Day", NOON, *[Decimal(112)] * 4, volume=Decimal(1)))
    protections.run(MARKET)

    assert [plan.cause for plan in guards.locked] == ["gap:AAPL:2007-01-03:up"]


@pytest.mark.parametrize(
    ("quote", "market"),
    [
        (None, MARKET),
        (Quote("AAPL", Decimal(90), Decimal(90), NOON - timedelta(hours=1)), MARKET),  # stale
        (a_quote("90"), MarketTime(NOON, is_open=False)),
    ],
)
def test_a_price_that_says_nothing_is_no_move(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData, quote: Quote | None, market: MarketTime
) -> None:
    market_data.history = day_bars(*[100, 101] * 11)
    market_data.prices = {} if quote is None else {"AAPL": quote}

    protections.run(market)

    assert guards.locked == []


def test_daily_bars_are_read_once_a_session(protections: Protections, market_data: FakeMarketData) -> None:
    market_data.history = [*day_bars(100, 101), Bar("AAPL", "1Day", NOON, *[Decimal(101)] * 4, volume=Decimal(1))]

    for _ in range(3):
        protections.run(MARKET)

    assert len(market_data.asked_bars) == 1


@pytest.mark.parametrize("off", [{"enabled": False}, {"headlines": False, "moves": False}])
def test_nothing_is_read_where_it_is_switched_off(
    protections: Protections, authority: FakeAuthority, market_data: FakeMarketData, off: dict[str, Any]
) -> None:
    configured(authority, news_lockout=off)

    protections.run(MARKET)

    assert (market_data.asked_news, market_data.asked_bars) == ([], [])


def test_closed_trades_are_looked_at_before_anything_is_entered_when_one_has_ended(
    protections: Protections, guards: FakeGuards, authority: FakeAuthority, book: Book
) -> None:
    config = {"cooldown_lockout": {"enabled": True}}
    authority.book = replace(authority.book, trades=(a_trade(),), risk_config=config)
    assert protections.heed_exits(MARKET) == 0  # its first look: trades may have ended before it
    guards.known = ProtectionFacts(trades=(STOPPED,))
    assert protections.heed_exits(MARKET) == 0
    assert len(guards.asked) == 1

    authority.book = replace(authority.book, trades=())
    book.outdate()
    assert protections.heed_exits(MARKET) == 1
    assert protections.heed_exits(MARKET) == 0

    assert [plan.lockout_type for plan in guards.locked] == ["cooldown"]


def test_what_ended_before_the_engine_started_is_looked_at_before_its_first_entry(
    protections: Protections, guards: FakeGuards, authority: FakeAuthority
) -> None:
    configured(authority, cooldown_lockout={"enabled": True})
    guards.known = ProtectionFacts(trades=(STOPPED,))

    assert protections.heed_exits(MARKET) == 1


def test_a_lockout_that_is_refused_keeps_no_other_from_being_set(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_first(plan: LockoutPlan) -> None:
        if plan.cause == "headline:7":
            raise Refused("INVALID", "no")
        guards.locked.append(plan)

    monkeypatch.setattr(guards, "lock_out", refuse_first)
    market_data.articles = [FRAUD, replace(FRAUD, id="8")]

    protections.run(MARKET)

    assert [plan.cause for plan in guards.locked] == ["headline:8"]


def test_a_lockout_is_asked_for_again_when_the_authority_was_away(
    protections: Protections, guards: FakeGuards, market_data: FakeMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(plan: LockoutPlan) -> None:
        raise AuthorityUnavailable("gone")

    market_data.articles = [FRAUD]
    with monkeypatch.context() as patch, pytest.raises(AuthorityUnavailable):
        patch.setattr(guards, "lock_out", away)
        protections.run(MARKET)

    protections.run(MarketTime(NOON + timedelta(minutes=50), is_open=False))

    assert [plan.cause for plan in guards.locked] == ["headline:7"]


class FakeUpkeep:
    def __init__(self, *parts: int) -> None:
        self.parts = list(parts)

    def expire_approvals(self) -> int:
        return 2

    def prune_history(self) -> int:
        return self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]


def test_history_is_pruned_until_nothing_is_left() -> None:
    assert Housekeeping(FakeUpkeep(5, 4, 0)).prune_history() == 9


def test_one_run_of_pruning_ends_even_when_more_keeps_coming() -> None:
    assert Housekeeping(FakeUpkeep(1)).prune_history() == PARTS_MAX


def test_approvals_that_ran_out_are_ended() -> None:
    assert Housekeeping(FakeUpkeep(0)).expire_approvals() == 2
