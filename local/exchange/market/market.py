"""What a symbol trades at, at any moment of simulated time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from local.exchange.market.calendar import Moment, SessionCalendar
from local.exchange.market.path import SessionPath, synthesize
from local.exchange.market.tape import Tape

# A path costs about 5 kB and 0.1 ms; this holds three years of five symbols for hourly bars.
PATHS_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Tick:
    """Last trade and quote of one symbol; prices in US dollars, sizes in shares."""

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
    """Prices of all symbols as a function of time; holds no state but the shocks."""

    def __init__(self, tape: Tape, seed: int) -> None:
        self.tape = tape
        self.seed = seed
        self._shocks: dict[tuple[str, int], list[Shock]] = {}
        self.path = lru_cache(PATHS_CACHED)(self._path)

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

    def is_shocked(self, symbol: str, session: int) -> bool:
        return (symbol, session) in self._shocks

    def is_listed(self, symbol: str, moment: Moment) -> bool:
        return moment >= Moment(self.tape.first_session(symbol), 0)

    def tick(self, symbol: str, moment: Moment) -> Tick:
        """Return the last tick of a listed symbol at or before `moment`."""
        session, number = moment.session, moment.tick
        if number < 0:
            session -= 1
            number = self.calendar[session].last_tick
        path = self.path(symbol, session)
        cents, half_spread = path.prices_cents[number], path.half_spreads_cents[number]
        size = path.volumes[max(0, number - 1)]
        return Tick(
            symbol=symbol,
            at=self.calendar[session].time_of(number),
            trade=_dollars(cents),
            bid=_dollars(max(1, cents - half_spread)),
            ask=_dollars(cents + half_spread),
            bid_size=100 + size % 9 * 100,
            ask_size=100 + size // 9 % 9 * 100,
            size=100 + size % 400,
        )

    def close_before(self, symbol: str, session: int) -> Decimal | None:
        """Return the close of the session before `session`, adjusted for a split since."""
        bar = self.tape.bar(symbol, session - 1) if session else None
        if bar is None:
            return None
        return bar.close / self.tape.split_ratio(symbol, session)

    def _path(self, symbol: str, session: int) -> SessionPath:
        bar = self.tape.bar(symbol, session)
        if bar is None:
            raise LookupError(f"{symbol} has no bar in session {session}")
        day = self.calendar[session]
        path = synthesize(seed=self.seed, symbol=symbol, day=day.date, bar=bar, intervals=day.last_tick)
        for shock in self._shocks.get((symbol, session), []):
            path = _shocked(path, shock)
        return path


def _shocked(path: SessionPath, shock: Shock) -> SessionPath:
    prices = tuple(
        max(2, round(cents * (1 + shock.pct))) if number >= shock.since.tick else cents
        for number, cents in enumerate(path.prices_cents)
    )
    return SessionPath(prices, path.half_spreads_cents, path.volumes)


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
