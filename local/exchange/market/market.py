"""What a symbol trades at, at any moment of simulated time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from local.exchange.market.calendar import TICK, Moment, SessionCalendar
from local.exchange.market.crypto import LOTS, CryptoDay, CryptoSeries
from local.exchange.market.halts import Halt, Halts
from local.exchange.market.intraday import MINUTE, MINUTES, MinutePath, Print, ask_size, bid_size, by_minute, prints
from local.exchange.market.path import SessionPath, seeded, synthesize
from local.exchange.market.tape import CENT, CRYPTO, Tape

# A path costs about 5 kB and 0.1 ms; this holds three years of five symbols for hourly bars.
PATHS_CACHED = 4096
MINUTES_CACHED = 256  # 25 kB each
TICKS_CACHED = 64  # each order asks several times for the present one of its symbol


@dataclass(frozen=True, slots=True)
class Tick:
    """Last trade and quote of one symbol; prices in US dollars, sizes in shares or coins."""

    symbol: str
    at: datetime
    trade: Decimal
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    size: int


@dataclass(frozen=True, slots=True)
class Shock:
    """A test's own disturbance: prices times (1 + pct) from `since` to that session's end."""

    symbol: str
    since: Moment
    pct: Decimal


class Market:
    """Prices of all symbols as a function of time; holds no state but the shocks and the halts."""

    def __init__(self, tape: Tape, seed: int) -> None:
        self.tape = tape
        self.seed = seed
        first, last = tape.calendar[0].date, tape.calendar.sessions[-1].date
        self.crypto = {symbol: CryptoSeries(symbol, seed, first, last) for symbol in CRYPTO}
        self._shocks: dict[tuple[str, int], list[Shock]] = {}
        self.halts = Halts()
        self.path = lru_cache(PATHS_CACHED)(self._path)
        self.minutes = lru_cache(MINUTES_CACHED)(self._minutes)
        self._known_tick = lru_cache(TICKS_CACHED)(self._find_tick)

    @property
    def calendar(self) -> SessionCalendar:
        return self.tape.calendar

    def disturb(self, shocks: Iterable[Shock]) -> None:
        """Replace all shocks by `shocks`."""
        wanted: dict[tuple[str, int], list[Shock]] = {}
        for shock in shocks:
            wanted.setdefault((shock.symbol, shock.since.session), []).append(shock)
        if wanted != self._shocks:
            self._shocks = wanted
            self.path.cache_clear()
            self.minutes.cache_clear()
            self._known_tick.cache_clear()

    def suspend(self, halts: Iterable[Halt]) -> None:
        """Replace all halts by `halts`; crypto pairs have none."""
        self.halts = Halts(halts)
        self._known_tick.cache_clear()

    def is_as_on_tape(self, symbol: str, session: int) -> bool:
        """Tell whether a session's real bar holds: nothing moved its prices and no halt silenced it."""
        day = self.calendar[session]
        return (symbol, session) not in self._shocks and not self.halts.touch(symbol, day.opens, day.closes)

    def is_disturbed(self, symbol: str) -> bool:
        """Tell whether any session of a symbol is shocked."""
        return any(name == symbol for name, _ in self._shocks)

    def is_listed(self, symbol: str, moment: Moment) -> bool:
        return symbol in self.crypto or moment >= Moment(self.tape.first_session(symbol), 0)

    def tick(self, symbol: str, moment: Moment, after: int = 0) -> Tick:
        """Return the last tick of a listed symbol at or before `moment`.

        `after` counts the five-minute ticks since, outside of regular hours: shares stand still
        there, crypto pairs do not. While a share is halted, its last tick is the one it was halted on.
        """
        return self._known_tick(symbol, moment, after)

    def _find_tick(self, symbol: str, moment: Moment, after: int) -> Tick:
        if symbol in self.crypto:
            at = self.calendar.time_of(moment) + after * TICK
            day = self.crypto_day(symbol, self.crypto[symbol].index_of(at))
            found = _tick(symbol, at, day.path, min((at - day.starts) // TICK, len(day.path.volumes)))
            return replace(found, bid_size=found.bid_size // 100, ask_size=found.ask_size // 100, size=1)
        session, number = moment.session, moment.tick
        if number < 0:
            session -= 1
            number = self.calendar[session].last_tick
        at = self.calendar[session].time_of(number)
        halt = self.halts.silencing(symbol, at)
        if halt is None:
            return _tick(symbol, at, self.path(symbol, session), number)
        halted_on = self.calendar.moment_at(halt.since)
        ratio = self.tape.splits_between(symbol, after=halted_on.session, until=session)
        return _in_new_shares(self.tick(symbol, halted_on), ratio)

    def price_within(self, symbol: str, moment: Moment, minutes: int) -> Decimal:
        """Return what a listed symbol trades at some minutes (0 to 4) after a tick of regular hours."""
        at = self.calendar.time_of(moment) + minutes * MINUTE
        if symbol in self.crypto:
            day = self.crypto_day(symbol, self.crypto[symbol].index_of(at))
            return _dollars(day.minutes.prices_cents[(at - day.starts) // MINUTE])
        if self.halts.silencing(symbol, at):
            return self.tick(symbol, moment).trade
        number = moment.tick * MINUTES + minutes
        return _dollars(self.minutes(symbol, moment.session).prices_cents[number])

    def last_printed(self, symbol: str, moment: Moment) -> Moment:
        """Return `moment`, or the tick a share was halted on if it has printed nothing since."""
        halt = self.halts.silencing(symbol, self.calendar.time_of(moment))
        return self.calendar.moment_at(halt.since) if halt else moment

    def close_before(self, symbol: str, session: int) -> Decimal | None:
        """Return the close of the session before `session`, adjusted for a split since."""
        if symbol in self.crypto:
            before = session - 1
            return self.tick(symbol, Moment(before, self.calendar[before].last_tick)).trade if session else None
        bar = self.tape.bar(symbol, session - 1) if session else None
        if bar is None:
            return None
        last = Moment(session - 1, self.calendar[session - 1].last_tick)
        close = bar.close if self.is_as_on_tape(symbol, session - 1) else self.tick(symbol, last).trade
        return close / self.tape.split_ratio(symbol, session)

    def prints(self, symbol: str, session: int, minute: int) -> list[Print]:
        """Return the trades of one minute of a session, with the quotes of their times; none in a halt."""
        day = self.calendar[session]
        rng = seeded(self.seed, symbol, day.date.isoformat(), "prints", minute)
        starts = day.opens + minute * TICK / 5
        found = prints(rng, self.path(symbol, session), self.minutes(symbol, session), minute, starts)
        return [each for each in found if not self.halts.silencing(symbol, each.at)]

    def crypto_prints(self, symbol: str, index: int, minute: int) -> list[Print]:
        """Return the trades of one minute of a crypto day."""
        day = self.crypto_day(symbol, index)
        rng = seeded(self.seed, symbol, day.starts.isoformat(), "prints", minute)
        return list(prints(rng, day.path, day.minutes, minute, day.starts + minute * TICK / 5))

    def crypto_day(self, symbol: str, index: int) -> CryptoDay:
        """Return one day of a crypto pair, with the shocks that fall into it."""
        series = self.crypto[symbol]
        day = series.day(index)
        shocks = [shock for (name, _), found in self._shocks.items() if name == symbol for shock in found]
        for shock in shocks:
            day = self._shocked_day(series, index, day, shock)
        return day

    def _shocked_day(self, series: CryptoSeries, index: int, day: CryptoDay, shock: Shock) -> CryptoDay:
        first = (self.calendar.time_of(shock.since) - day.starts) // TICK
        last = (self.calendar[shock.since.session].closes - day.starts) // TICK
        if last < 0 or first > len(day.path.volumes):
            return day
        path = _shocked(day.path, shock.pct, first, last)
        rng = seeded(self.seed, series.symbol, (series.starts(index)).isoformat(), "shocked")
        return CryptoDay(day.starts, path, by_minute(rng, path))

    def _path(self, symbol: str, session: int) -> SessionPath:
        day = self.calendar[session]
        if symbol in self.crypto:
            return self._crypto_path(symbol, session)
        bar = self.tape.bar(symbol, session)
        if bar is None:
            raise LookupError(f"{symbol} has no bar in session {session}")
        path = synthesize(seed=self.seed, symbol=symbol, day=day.date, bar=bar, intervals=day.last_tick)
        for shock in self._shocks.get((symbol, session), []):
            path = _shocked(path, shock.pct, shock.since.tick, day.last_tick)
        return path

    def _crypto_path(self, symbol: str, session: int) -> SessionPath:
        """Return what a crypto pair does during the hours of a session; volumes in coins."""
        opens, count = self.calendar[session].opens, self.calendar[session].last_tick
        day = self.crypto_day(symbol, self.crypto[symbol].index_of(opens))
        first = (opens - day.starts) // TICK
        return SessionPath(
            prices_cents=day.path.prices_cents[first : first + count + 1],
            half_spreads_cents=day.path.half_spreads_cents[first : first + count + 1],
            volumes=tuple(lots // LOTS for lots in day.path.volumes[first : first + count]),
        )

    def _minutes(self, symbol: str, session: int) -> MinutePath:
        rng = seeded(self.seed, symbol, self.calendar[session].date.isoformat(), "minutes")
        return by_minute(rng, self.path(symbol, session))


def _tick(symbol: str, at: datetime, path: SessionPath, number: int) -> Tick:
    cents, half_spread = path.prices_cents[number], path.half_spreads_cents[number]
    size = path.volumes[max(0, number - 1)]
    return Tick(
        symbol=symbol,
        at=at,
        trade=_dollars(cents),
        bid=_dollars(max(1, cents - half_spread)),
        ask=_dollars(cents + half_spread),
        bid_size=bid_size(size),
        ask_size=ask_size(size),
        size=100 + size % 400,
    )


def _in_new_shares(tick: Tick, ratio: Decimal | int) -> Tick:
    """Return a tick of before a split in the shares of after it, in whole cents."""
    if ratio == 1:
        return tick
    trade, bid, ask = (max(CENT, (price / ratio).quantize(CENT)) for price in (tick.trade, tick.bid, tick.ask))
    return replace(tick, trade=trade, bid=bid, ask=ask)


def _shocked(path: SessionPath, pct: Decimal, first: int, last: int) -> SessionPath:
    """Return a path whose ticks from `first` to `last` have moved by `pct`."""
    prices = tuple(
        max(2, round(cents * (1 + pct))) if first <= number <= last else cents
        for number, cents in enumerate(path.prices_cents)
    )
    return SessionPath(prices, path.half_spreads_cents, path.volumes)


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
