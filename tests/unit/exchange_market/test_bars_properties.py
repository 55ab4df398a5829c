"""What holds for every bar of every symbol at every moment, whatever the seed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.exchange.market.bar import Bar, Timeframe, merge
from local.exchange.market.bars import bars
from local.exchange.market.calendar import Moment
from local.exchange.market.crypto_bars import crypto_bars
from local.exchange.market.history import crypto_prints, share_prints
from local.exchange.market.intraday import Print
from local.exchange.market.market import Market, Shock
from local.exchange.market.path import SessionPath, synthesize
from local.exchange.market.tape import CRYPTO, DailyBar, Tape

SHARES = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
INTRADAY = ("1Min", "3Min", "5Min", "15Min", "1Hour", "4Hour")
MINUTE = timedelta(minutes=1)


@st.composite
def sessions(draw: st.DrawFn, tape: Tape, symbols: tuple[str, ...] = SHARES) -> tuple[str, int]:
    symbol = draw(st.sampled_from(symbols))
    return symbol, draw(st.integers(tape.first_session(symbol) + 1, tape.last_session))


@st.composite
def daily_bars(draw: st.DrawFn) -> DailyBar:
    """Any bar that a file of bars may hold, however odd."""
    low, *inside, high = sorted(draw(st.lists(st.integers(1, 10_000_000), min_size=4, max_size=4)))
    first, last = draw(st.permutations(inside))
    prices = (Decimal(cents).scaleb(-2) for cents in (first, high, low, last))
    return DailyBar(*prices, draw(st.integers(1, 10**9)))


def read(market: Market, symbol: str, text: str, session: int, tick: int | None = None, **adjusted: bool) -> list[Bar]:
    """Return the bars of one session as they are known at one of its ticks (by default its last)."""
    day = market.calendar[session]
    now = Moment(session, day.last_tick if tick is None else tick)
    options = {"split_adjusted": False} | adjusted
    start = day.opens - timedelta(hours=15)
    return list(bars(market, symbol, Timeframe.parse(text), now=now, start=start, end=day.closes, **options))


def ohlcv(parts: list[Bar]) -> tuple[object, ...]:
    whole = merge(parts[0].at, parts)
    return whole.open, whole.high, whole.low, whole.close, whole.volume


def of_prints(found: list[Print]) -> tuple[object, ...]:
    prices = [Decimal(each.cents).scaleb(-2) for each in found]
    return prices[0], max(prices), min(prices), prices[-1], sum(each.size for each in found)


@given(data=st.data(), text=st.sampled_from((*INTRADAY, "1Day", "1Week", "1Month")), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_prices_of_a_bar_lie_between_its_low_and_its_high(
    market: Market, tape: Tape, data: st.DataObject, text: str, share: float
) -> None:
    symbol, session = data.draw(sessions(tape))
    tick = max(1, int(share * tape.calendar[session].last_tick))

    found = read(market, symbol, text, session, tick, split_adjusted=True, dividend_adjusted=True)

    for bar in found:
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.low <= bar.vwap <= bar.high
        assert bar.volume > 0 < bar.trades
        assert bar.at < tape.calendar[session].time_of(tick)


@given(data=st.data(), text=st.sampled_from(INTRADAY))
@settings(max_examples=60, deadline=None)
def test_shorter_bars_come_to_the_real_day_exactly(market: Market, tape: Tape, data: st.DataObject, text: str) -> None:
    symbol, session = data.draw(sessions(tape))
    real = tape.bar(symbol, session)
    assert real is not None

    parts = read(market, symbol, text, session)

    assert ohlcv(parts) == (real.open, real.high, real.low, real.close, real.volume)


@given(data=st.data(), tick=st.integers(1, 78))
@settings(max_examples=30, deadline=None)
def test_minutes_come_to_the_day_so_far_at_every_tick(
    market: Market, tape: Tape, data: st.DataObject, tick: int
) -> None:
    symbol, session = data.draw(sessions(tape))
    tick = min(tick, tape.calendar[session].last_tick)

    minutes, (day,) = read(market, symbol, "1Min", session, tick), read(market, symbol, "1Day", session, tick)

    assert len(minutes) == 5 * tick
    assert ohlcv(minutes) == ohlcv([day])


@given(bar=daily_bars(), seed=st.integers(0, 10**6), intervals=st.integers(42, 288))
@settings(max_examples=100, deadline=None)
def test_a_path_inside_any_bar_touches_its_prices_and_loses_no_share(
    tape: Tape, bar: DailyBar, seed: int, intervals: int
) -> None:
    day = tape.calendar[0].date

    path = synthesize(seed=seed, symbol="ANY", day=day, bar=bar, intervals=intervals)

    prices = [Decimal(cents).scaleb(-2) for cents in path.prices_cents]
    assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
    assert sum(path.volumes) == bar.volume
    assert min(path.volumes) >= 0
    assert len(path.volumes) == len(prices) - 1 == intervals


@given(data=st.data(), minute=st.integers(0, 209))
@settings(max_examples=30, deadline=None)
def test_trades_of_a_minute_come_to_its_bar(market: Market, tape: Tape, data: st.DataObject, minute: int) -> None:
    symbol, session = data.draw(sessions(tape))
    bar = read(market, symbol, "1Min", session)[minute]
    span = {"start": bar.at, "end": bar.at + MINUTE - timedelta(microseconds=1)}

    found = list(share_prints(market, symbol, now=Moment(session, 78), **span))

    assert of_prints(found) == ohlcv([bar])
    assert len(found) == bar.trades
    assert all(before.number < after.number for before, after in pairwise(found))
    assert found[::-1] == list(share_prints(market, symbol, now=Moment(session, 78), descending=True, **span))


@given(data=st.data(), text=st.sampled_from(["1Day", "1Week", "1Month"]))
@settings(max_examples=40, deadline=None)
def test_split_adjustment_keeps_what_was_traded_in_dollars_and_leaves_no_jump(
    market: Market, tape: Tape, data: st.DataObject, text: str
) -> None:
    day = data.draw(st.sampled_from([(s, d) for s, splits in tape.actions.splits.items() for d in splits]))
    symbol, session = day[0], tape.calendar.index_from(day[1]) + data.draw(st.integers(0, 40))
    span = {"start": tape.calendar[session - 60].opens, "end": tape.calendar[session].closes}
    now = Moment(session, tape.calendar[session].last_tick)

    raw, adjusted = (
        list(bars(market, symbol, Timeframe.parse(text), now=now, split_adjusted=split, **span))
        for split in (False, True)
    )

    assert [bar.at for bar in adjusted] == [bar.at for bar in raw]
    for before, after in pairwise(adjusted):
        assert Decimal("0.6") < after.open / before.close < Decimal("1.6")
    if text == "1Day":
        for old, new in zip(raw, adjusted, strict=True):
            assert float(new.close * new.volume) == pytest.approx(float(old.close * old.volume), rel=1e-4)


@given(pair=st.sampled_from(CRYPTO), day=st.integers(1, 4_000), text=st.sampled_from(INTRADAY), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_crypto_bars_and_trades_come_to_their_day(tape: Tape, pair: str, day: int, text: str, seed: int) -> None:
    market = Market(tape, seed)
    series = market.crypto[pair]
    span = {"start": series.starts(day), "end": series.starts(day + 1) - timedelta(microseconds=1)}
    now = series.starts(day + 3)

    (whole,) = crypto_bars(market, pair, Timeframe.parse("1Day"), now=now, **span)
    parts = list(crypto_bars(market, pair, Timeframe.parse(text), now=now, **span))
    minute = next(crypto_bars(market, pair, Timeframe.parse("1Min"), now=now, **span))
    trades = list(crypto_prints(market, pair, now=now, start=minute.at, end=minute.at + MINUTE * 0.99999))

    assert ohlcv(parts) == ohlcv([whole])
    assert whole.low <= whole.vwap <= whole.high
    *prices, size = of_prints(trades)
    assert (*prices, Decimal(size) / 10_000) == ohlcv([minute])


@given(data=st.data(), pct=st.decimals("-0.9", "2", places=2), tick=st.integers(0, 41))
@settings(max_examples=20, deadline=None)
def test_bars_still_fit_together_when_a_shock_was_ordered(
    tape: Tape, data: st.DataObject, pct: Decimal, tick: int
) -> None:
    symbol, session = data.draw(sessions(tape))
    market = Market(tape, seed=3)
    market.disturb([Shock(symbol, Moment(session, tick), pct)])

    minutes, (day,) = read(market, symbol, "1Min", session), read(market, symbol, "1Day", session)

    assert ohlcv(minutes) == ohlcv([day])
    path: SessionPath = market.path(symbol, session)
    assert day.close == Decimal(path.prices_cents[-1]).scaleb(-2)
