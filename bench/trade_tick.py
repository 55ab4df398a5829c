"""One trade tick of many profiles: real daily bars, the real strategies, layers and gate; nothing is sent."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from bench.harness import Bench, Row, durations_ms, percentile
from engine.adapters.supabase_authority import ShardSession, SupabaseLeases, SupabaseOrderDesk, SupabaseStateStore
from engine.adapters.supabase_signals import SupabaseSignalLog
from engine.adapters.system_clock import SystemClock
from engine.domain.broker_types import NEW_YORK, Bar, MarketTime, Quote
from engine.domain.strategies import StrategyRegistry
from engine.service.auto_trader import AutoTrader
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.judgement import Judgement
from engine.service.lease import Lease
from engine.service.local_brake import LocalBrake
from engine.service.views import Book
from local.exchange.market.tape import Tape, load_tape

SHARD = "bench tick"
PROFILES, TICKS, WARM_UP = 1_000, 9, 2
TICK_S_MAX = 3.0
# Twice the profiles may take twice the time, and a fifth more for what a small machine adds.
GROWTH_MAX = 2.4
LAST_SESSIONS = 60  # every symbol has a long history by then
SIZES = {"position_pct": "0.02", "stop_loss_pct": "0.05", "take_profit_pct": "0.1"}
ENDED = "update orders set state = 'canceled' where shard = %s and state = 'ready'"


def measured(bench: Bench) -> list[Row]:
    """Measure half the profiles and all of them, sharing parameters or each with its own."""
    log_level = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        half_s, all_s, shared_s = (
            _tick_s(bench, count, distinct=distinct)
            for count, distinct in ((PROFILES // 2, True), (PROFILES, True), (PROFILES, False))
        )
    finally:
        structlog.configure(wrapper_class=log_level)
    (asked,) = bench.db.execute("select count(*) from orders where shard = %s", [SHARD]).fetchone() or (0,)
    ticks = 3 * (TICKS + WARM_UP)
    return [
        Row(
            f"one trade tick, {PROFILES:,} profiles x 5 symbols, each with parameters of its own: p50",
            f"{all_s:.2f} s",
            f"<= {TICK_S_MAX:.0f} s",
            f"{shared_s:.2f} s with shared parameters; each a new bar and {asked / ticks:.0f} entries for the gate",
            all_s <= TICK_S_MAX and shared_s <= TICK_S_MAX,
        ),
        Row(
            f"one trade tick, {PROFILES:,} profiles / {PROFILES // 2}",
            f"{all_s / half_s:.2f} x",
            f"<= {GROWTH_MAX} x",
            f"{all_s:.2f} s / {half_s:.2f} s",
            all_s <= GROWTH_MAX * half_s,
        ),
    ]


def _tick_s(bench: Bench, count: int, *, distinct: bool) -> float:
    """Return the median duration of a tick in seconds, each with a new daily bar of every symbol."""
    _make_profiles(bench, count, distinct=distinct)
    market = _Sessions(load_tape())
    with _trader(bench, market) as (trader, book):
        trader.tick(market.time)

        def next_bar() -> None:
            bench.db.execute(ENDED, [SHARD])
            book.outdate()
            market.session += 1

        taken = durations_ms(lambda: trader.tick(market.time), WARM_UP + TICKS, before=next_bar)
    bench.db.execute(ENDED, [SHARD])
    return percentile(taken[WARM_UP:], 0.5) / 1000


@contextmanager
def _trader(bench: Bench, market: "_Sessions") -> Iterator[tuple[AutoTrader, Book]]:
    clock = SystemClock()
    session = ShardSession(bench.new_client(), SHARD, clock)
    store, desk = SupabaseStateStore(session), SupabaseOrderDesk(session)
    health = HealthTracker(clock, LocalBrake(Path("no such brake")), control_age_max_s=600)
    lease = Lease(SupabaseLeases(session), health, clock)
    if not SupabaseLeases(session).acquire(lease.holder, 300):
        raise RuntimeError(f"the lease of shard {SHARD!r} is taken")
    book, history = Book(store, clock, age_max_s=600), BarHistory(market, store)
    judgement = Judgement(history, StrategyRegistry())
    log, exits = SupabaseSignalLog(session), ExitDesk(desk, book, clock)
    unsent: Any = _Unsent()
    yield AutoTrader(market, desk, log, exits, history, judgement, book, health, unsent), book
    SupabaseLeases(session).release()


class _Unsent:
    """Stands for the executor: entries are put to the gate, and what passes stays where it is."""

    def submit_asked(self, ask: Callable[[int], object]) -> int:
        ask(0)
        return 0

    def submit_ready(self) -> int:
        return 0


class _Sessions:
    """Market data from the tape, one session after the other, each after its close."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.session = tape.last_session - LAST_SESSIONS

    @property
    def time(self) -> MarketTime:
        return MarketTime(self._began(self.session) + timedelta(hours=17), is_open=False)

    def clock(self) -> MarketTime:
        return self.time

    def bars(self, symbols: Iterable[str], timeframe: str, start: datetime) -> list[Bar]:
        first = self._tape.calendar.index_from(start.astimezone(NEW_YORK).date())
        return [
            Bar(symbol, timeframe, self._began(n), bar.open, bar.high, bar.low, bar.close, Decimal(bar.volume))
            for symbol in symbols
            for n in range(first, self.session + 1)
            if (bar := self._tape.bar(symbol, n)) is not None
        ]

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        bars = {symbol: self._tape.bar(symbol, self.session) for symbol in symbols}
        return {s: Quote(s, bar.close, bar.close, self.time.now) for s, bar in bars.items() if bar is not None}

    def _began(self, session: int) -> datetime:
        day = self._tape.calendar[session].date
        return datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)


def _make_profiles(bench: Bench, count: int, *, distinct: bool) -> None:
    """Make `count` active profiles of the shard in place of those before."""
    bench.db.execute("update profiles set active = false, shard = 'bench past' where shard = %s", [SHARD])
    with bench.db.cursor() as cursor:
        cursor.executemany(
            "insert into profiles (owner_id, name, strategy, symbols, timeframe, shard, capital_usd, params)"
            " select m.user_id, %s, %s, array['AAPL', 'FB', 'GOOG', 'IBM', 'MSFT'], '1Day', %s, 1000000, %s"
            " from (select user_id from members order by email) m offset %s limit 1",
            [(f"tick {count} {distinct} {n}", *_strategy(n, n // 4 if distinct else 0), n % 4) for n in range(count)],
        )


def _strategy(n: int, variant: int) -> tuple[str, str, Jsonb]:
    """Return the n-th profile's strategy, shard and parameters; no two of 250 variants are alike."""
    fine, coarse = variant % 50, variant // 50
    params: dict[str, Any]
    name, params = (
        ("ma_crossover", {"fast": 2 + fine, "slow": 60 + 20 * coarse}),
        ("rsi_reversion", {"period": 2 + fine, "low": 20 + coarse, "high": 70}),
        ("donchian_breakout", {"entry_window": 10 + fine, "exit_window": 5 + coarse}),
        ("cross_sectional_momentum", {"lookback": 10 + fine, "skip": coarse, "top": 2}),
    )[n % 4]
    return name, SHARD, Jsonb(params | SIZES)
