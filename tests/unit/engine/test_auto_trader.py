from decimal import Decimal
from typing import Any

import pytest

from engine.domain.book import OrderState, Profile
from engine.domain.control import ControlMode
from engine.domain.requests import Answer
from engine.domain.strategies import Strategy, StrategyRegistry
from engine.service.auto_trader import AutoTrader
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.judgement import Judgement
from engine.service.views import Book
from tests.unit.engine.builders import (
    MARKET,
    a_profile,
    a_quote,
    a_snapshot,
    an_entry_request,
    hourly_bars,
    protected_trade,
)
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData, a_control

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
    exits = ExitDesk(authority, book)
    return AutoTrader(market_data, authority, authority, exits, history, judgement, book, health)


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

    trader.tick(MARKET)

    (request,) = authority.exits
    assert (request.trade_id, request.exit_reason) == ("entry", "signal")


def test_no_second_position_is_opened_when_the_profile_holds_the_symbol(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),))
    market_data.history = hourly_bars(*FALLING)

    trader.tick(MARKET)

    assert not authority.entries


def test_handle_signal_puts_the_denial_on_record_and_answers_none_when_paused(
    trader: AutoTrader, authority: FakeAuthority, health: HealthTracker
) -> None:
    health.record_trading_control(a_control(ControlMode.PAUSED))
    authority.answers = [Answer("entry", OrderState.DENIED, "TRADING_PAUSED", "paused")]

    answer = trader.handle_signal(an_entry_request())

    assert answer is None
    assert len(authority.entries) == 1


def test_handle_signal_answers_what_the_gate_said_when_trading_runs(trader: AutoTrader) -> None:
    answer = trader.handle_signal(an_entry_request())

    assert answer is not None
    assert answer.state is OrderState.READY
