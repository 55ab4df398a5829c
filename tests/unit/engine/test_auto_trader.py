from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engine.domain.book import OrderState, Profile, Snapshot
from engine.domain.broker_types import MarketTime
from engine.domain.control import ControlMode
from engine.domain.errors import AuthorityUnavailable
from engine.domain.requests import Answer
from engine.domain.strategies import Bars, Params, Strategy, StrategyRegistry, Verdicts
from engine.domain.submission import Outcome
from engine.service.auto_trader import AutoTrader
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.judgement import Judgement
from engine.service.order_sync import OrderSync
from engine.service.trade_executor import TradeExecutor
from engine.service.views import Book
from tests.unit.engine.builders import (
    MARKET,
    NOON,
    a_profile,
    a_quote,
    a_snapshot,
    an_entry_request,
    hourly_bars,
    protected_trade,
)
from tests.unit.engine.fakes import FakeAuthority, FakeBroker, FakeMarketData, ManualClock, a_control, a_lease, a_permit

FALLING, RISING = (10, 9, 8), (8, 9, 10)


@pytest.fixture
def trader(market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker) -> AutoTrader:
    market_data.prices = {"AAPL": a_quote("8")}
    return a_trader(market_data, authority, book, health)


def a_trader(
    market_data: FakeMarketData,
    authority: FakeAuthority,
    book: Book,
    health: HealthTracker,
    own: tuple[Strategy[Any], ...] = (),
) -> AutoTrader:
    history = BarHistory(market_data, authority)
    judgement = Judgement(history, StrategyRegistry(own))
    clock, broker = ManualClock(), FakeBroker()
    exits, lease = ExitDesk(authority, book, clock), a_lease(FakeAuthority(), health, clock)
    sync = OrderSync(broker, authority, book)
    executor = TradeExecutor(broker, authority, book, sync, health, lease, clock, senders=1)
    return AutoTrader(market_data, authority, authority, exits, history, judgement, book, health, executor)


def test_one_entry_is_asked_for_when_a_new_bar_says_so(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),))
    market_data.history = hourly_bars(*FALLING)

    trader.tick(MARKET)
    trader.tick(MARKET)  # the same bar again

    (request,) = authority.entries
    assert (request.symbol, request.side, request.reference_price) == ("AAPL", "buy", Decimal(8))
    assert request.stop_loss_price < request.limit_price < request.take_profit_price


def test_the_same_bar_gives_the_same_id_when_the_engine_was_restarted(
    market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),))
    market_data.history, market_data.prices = hourly_bars(*FALLING), {"AAPL": a_quote("8")}

    for _ in range(2):
        a_trader(market_data, authority, book, health).tick(MARKET)

    first, second = authority.entries
    assert first.id == second.id


@pytest.mark.parametrize(
    ("profile", "prices"),
    [
        (a_profile(active=False), FALLING),
        (a_profile(), RISING),  # an exit signal, but nothing is held
        (a_profile(capital_usd=Decimal(1)), FALLING),  # not one share fits
        (a_profile(strategy="unknown"), FALLING),
        (a_profile(symbols=("FB",)), FALLING),  # no bars
    ],
)
def test_nothing_is_asked_for_when_there_is_no_reason_to(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, profile: Profile, prices: tuple[int, ...]
) -> None:
    authority.book = a_snapshot(profiles=(profile,))
    market_data.history = hourly_bars(*prices)

    trader.tick(MARKET)

    assert not authority.entries
    assert not authority.exits


def test_an_exit_is_asked_for_when_the_signal_turns_and_a_trade_is_open(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),))
    market_data.history = hourly_bars(*RISING)
    market_data.prices = {}  # not needed to leave

    trader.tick(MARKET)

    (request,) = authority.exits
    assert (request.trade_id, request.exit_reason) == ("entry", "signal")


OPEN_TRADE = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),))


def seconds_on(seconds: float) -> MarketTime:
    return MarketTime(MARKET.now + timedelta(seconds=seconds), is_open=True)


def test_an_exit_that_came_to_nothing_is_asked_for_again_until_its_trade_is_closed(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, clock: ManualClock
) -> None:
    market_data.history = hourly_bars(*RISING)
    works, ended = (replace(OPEN_TRADE, trades=(protected_trade(exit_working=works),)) for works in (True, False))
    closed = replace(OPEN_TRADE, trades=())

    for at_s, book, asked in (
        (0, ended, 1), (5, works, 1), (10, ended, 1), (15, ended, 2), (30, ended, 2), (45, ended, 3), (900, closed, 3),
    ):  # fmt: skip
        clock.sleep(1)
        authority.book = book
        trader.tick(seconds_on(at_s))
        assert len(authority.exits) == asked, at_s

    assert not authority.entries  # the bar that said so says nothing else


def test_an_exit_that_came_to_nothing_is_given_up_once_a_newer_bar_says_nothing_of_it(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, clock: ManualClock
) -> None:
    authority.book = OPEN_TRADE
    market_data.history = hourly_bars(*RISING)
    trader.tick(MARKET)
    assert len(authority.exits) == 1

    clock.sleep(1)
    market_data.history = [replace(bar, at=bar.at + timedelta(hours=1)) for bar in hourly_bars(8, 9, 8)]
    trader.tick(seconds_on(3600))

    assert len(authority.exits) == 1


def test_no_second_position_is_opened_when_the_profile_holds_the_symbol(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),))
    market_data.history = hourly_bars(*FALLING)

    trader.tick(MARKET)

    assert not authority.entries


def test_a_short_position_is_asked_for_at_the_bid_when_the_profile_allows_it(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    short = a_profile(params=a_profile().params | {"allow_short": True})
    authority.book = a_snapshot(profiles=(short,))
    market_data.history = hourly_bars(*RISING)
    market_data.prices = {"AAPL": replace(a_quote("8"), ask=Decimal("8.50"))}

    trader.tick(MARKET)

    (request,) = authority.entries
    assert (request.side, request.reference_price) == ("sell", Decimal(8))
    assert request.take_profit_price < request.limit_price < request.stop_loss_price


@pytest.mark.parametrize(("prices", "asked"), [(FALLING, ["entry"]), (RISING, [])])
def test_a_short_position_is_closed_by_what_opens_a_long_one(
    trader: AutoTrader,
    authority: FakeAuthority,
    market_data: FakeMarketData,
    prices: tuple[int, ...],
    asked: list[str],
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(side="short"),))
    market_data.history = hourly_bars(*prices)

    trader.tick(MARKET)

    assert [request.trade_id for request in authority.exits] == asked
    assert not authority.entries


@pytest.mark.parametrize(("prices", "asked"), [(FALLING, ["s"]), (RISING, ["l"])])
def test_long_and_short_trades_of_one_symbol_are_closed_each_by_its_own_wish(
    trader: AutoTrader,
    authority: FakeAuthority,
    market_data: FakeMarketData,
    prices: tuple[int, ...],
    asked: list[str],
) -> None:
    both = (protected_trade(trade_id="l"), protected_trade(trade_id="s", side="short"))
    authority.book = a_snapshot(profiles=(a_profile(),), trades=both)
    market_data.history = hourly_bars(*prices)

    trader.tick(MARKET)

    assert [request.trade_id for request in authority.exits] == asked


def test_profiles_that_differ_in_nothing_a_strategy_looks_at_are_judged_in_one_pass(
    market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker
) -> None:
    seen: list[tuple[str, ...]] = []

    def always(bars: Bars, _: Params) -> Verdicts:
        seen.append(bars.symbols)
        up = np.ones_like(bars.close)
        return Verdicts(long=up, short=-up, strength=up)

    own = Strategy(name="always", about="Enters.", params=Params, judge=always, bars_needed=lambda _: 1)
    sizes = {"position_pct": "0.5", "stop_loss_pct": "0.05", "take_profit_pct": "0.1"}
    authority.book = a_snapshot(
        profiles=(
            a_profile(id="a", strategy="always", params=sizes),
            a_profile(id="b", strategy="always", params=sizes | {"position_pct": "0.2"}, symbols=("IBM", "AAPL")),
            a_profile(id="c", strategy="always", params=sizes | {"allow_short": True}),
        )
    )
    market_data.history = hourly_bars(8, 8) + hourly_bars(5, 5, symbol="IBM")
    market_data.prices = {"AAPL": a_quote("8"), "IBM": a_quote("5", "IBM")}

    a_trader(market_data, authority, book, health, (own,)).tick(MARKET)

    assert seen == [("AAPL", "IBM"), ("AAPL",)]
    asked = [(request.profile_id, request.symbol) for request in authority.entries]
    assert asked == [("a", "AAPL"), ("b", "IBM"), ("b", "AAPL"), ("c", "AAPL")]


def test_the_others_are_judged_when_one_strategy_is_at_fault(
    market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker
) -> None:
    def broken(bars: Bars, _: Params) -> Verdicts:
        raise ZeroDivisionError

    own = Strategy(name="broken", about="Breaks.", params=Params, judge=broken, bars_needed=lambda _: 1)
    authority.book = a_snapshot(profiles=(a_profile(id="a", strategy="broken"), a_profile(id="b")))
    market_data.history, market_data.prices = hourly_bars(*FALLING), {"AAPL": a_quote("8")}

    a_trader(market_data, authority, book, health, (own,)).tick(MARKET)

    assert [request.profile_id for request in authority.entries] == ["b"]


def test_symbols_are_compared_once_all_have_their_bar(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    momentum = {"lookback": 1, "top": 1, "position_pct": "0.5", "stop_loss_pct": "0.05", "take_profit_pct": "0.1"}
    profile = a_profile(strategy="cross_sectional_momentum", params=momentum, symbols=("AAPL", "IBM"))
    authority.book = a_snapshot(profiles=(profile,))
    early = hourly_bars(8, 8) + hourly_bars(5, 5, symbol="IBM")
    market_data.history, market_data.prices = early, {"AAPL": a_quote("9"), "IBM": a_quote("9", "IBM")}
    trader.tick(MARKET)
    later = MarketTime(NOON + timedelta(hours=1), is_open=True)

    market_data.history = [*early, replace(early[1], at=NOON, close=Decimal(9), high=Decimal(9))]
    trader.tick(later)
    assert not authority.entries
    market_data.history += [replace(early[3], at=NOON)]
    trader.tick(later)

    assert [request.symbol for request in authority.entries] == ["AAPL"]


@dataclass
class AuthorityThatMayBeAway(FakeAuthority):
    is_away: bool = False

    def snapshot(self) -> Snapshot:
        if self.is_away:
            raise AuthorityUnavailable
        return super().snapshot()


def test_exits_go_on_and_entries_wait_while_the_authority_is_away(
    market_data: FakeMarketData, clock: ManualClock, health: HealthTracker
) -> None:
    authority = AuthorityThatMayBeAway()
    book = Book(authority, clock, age_max_s=0)
    trader = a_trader(market_data, authority, book, health)
    authority.book = a_snapshot(profiles=(a_profile(symbols=("AAPL", "IBM")),), trades=(protected_trade(),))
    market_data.history, market_data.prices = hourly_bars(8, 9, 8), {"IBM": a_quote("8", "IBM")}
    trader.tick(MARKET)

    authority.is_away = True
    book.outdate()
    aapl, ibm = hourly_bars(*RISING), hourly_bars(*FALLING, symbol="IBM")
    market_data.history = [replace(bar, at=bar.at + timedelta(hours=1)) for bar in aapl + ibm]
    later = MarketTime(NOON + timedelta(hours=1), is_open=True)
    trader.tick(later)
    assert [request.trade_id for request in authority.exits] == ["entry"]
    assert not authority.entries

    authority.is_away = False
    authority.book = a_snapshot(profiles=authority.book.profiles, trades=(protected_trade(exit_working=True),))
    trader.tick(later)
    assert [request.symbol for request in authority.entries] == ["IBM"]
    assert len(authority.exits) == 1


def test_entries_wait_while_nothing_may_be_entered(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),))
    market_data.history = hourly_bars(*FALLING)

    trader.tick(MARKET, may_enter=False)
    assert not authority.entries
    trader.tick(MARKET)

    assert len(authority.entries) == 1


def test_nothing_is_done_when_the_books_were_never_read(
    market_data: FakeMarketData, clock: ManualClock, health: HealthTracker
) -> None:
    authority = AuthorityThatMayBeAway(is_away=True)

    assert a_trader(market_data, authority, Book(authority, clock, age_max_s=0), health).tick(MARKET) == 0


def test_exits_pass_and_entries_do_not_when_the_risk_configuration_cannot_be_read(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    profiles = (a_profile(symbols=("AAPL", "IBM")),)
    broken = {"signal_layers": {"macro": "perhaps"}}
    authority.book = replace(a_snapshot(profiles=profiles, trades=(protected_trade(),)), risk_config=broken)
    market_data.history = hourly_bars(*RISING) + hourly_bars(*FALLING, symbol="IBM")

    with pytest.raises(ValidationError):
        trader.tick(MARKET)

    assert [request.trade_id for request in authority.exits] == ["entry"]
    assert not authority.entries


def test_more_entries_than_one_call_takes_go_in_several(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.service.auto_trader.ENTRIES_PER_CALL", 2)

    answers = trader.handle_signals([an_entry_request(id=str(n)) for n in range(5)])

    assert [answer.id for answer in answers if answer] == ["0", "1", "2", "3", "4"]


def test_handle_signal_puts_the_denial_on_record_and_answers_none_when_paused(
    trader: AutoTrader, authority: FakeAuthority, health: HealthTracker
) -> None:
    health.record_trading_control(a_control(ControlMode.PAUSED))
    authority.answers = [Answer("entry", OrderState.DENIED, "TRADING_PAUSED", "paused")]

    answer = trader.handle_signal(an_entry_request())

    assert answer is None
    assert len(authority.entries) == 1


def test_handle_signal_sends_what_the_gate_lets_pass_and_answers_what_it_said(
    trader: AutoTrader, authority: FakeAuthority
) -> None:
    answer = trader.handle_signal(an_entry_request())

    assert answer is not None
    assert answer.state is OrderState.SUBMITTING
    assert [(sent.id, sent.outcome) for sent in authority.submissions] == [(answer.id, Outcome.ACCEPTED)]


def test_permits_come_with_the_last_call_alone_and_the_rest_is_claimed(
    trader: AutoTrader, authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.service.auto_trader.ENTRIES_PER_CALL", 2)
    authority.claimable = [a_permit("0"), a_permit("1")]

    answers = trader.handle_signals([an_entry_request(id=str(n)) for n in range(4)])

    assert [answer.state for answer in answers if answer] == [OrderState.READY] * 2 + [OrderState.SUBMITTING] * 2
    assert [sent.id for sent in authority.submissions] == ["2", "3", "0", "1"]


def test_exits_of_a_tick_are_sent_before_its_entries_are_asked_for(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = (a_profile(symbols=("AAPL", "IBM")),)
    authority.book = a_snapshot(profiles=profiles, trades=(protected_trade(),))
    market_data.history = hourly_bars(*RISING) + hourly_bars(*FALLING, symbol="IBM")
    market_data.prices = {"IBM": a_quote("8", symbol="IBM")}
    steps = []
    monkeypatch.setattr(authority, "claim", lambda **_: steps.append("claim") or [])
    request = authority.request_entries
    monkeypatch.setattr(authority, "request_entries", lambda *a, **k: steps.append("gate") or request(*a, **k))

    trader.tick(MARKET)

    assert steps == ["claim", "gate"]
