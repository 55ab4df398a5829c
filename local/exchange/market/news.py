"""Headlines about the market, all of them synthetic and labelled so.

What they say of prices is true of this market at the time they appear; opinions in them are drawn
by lot and mean nothing. The same seed gives the same headlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.market import Market
from local.exchange.market.path import seeded

SOURCE = "synthetic"
AUTHOR = "paper exchange"
LABEL = "[synthetic]"
OPINION_PROBABILITY = 0.3
_OPINIONS = (
    "An imaginary analyst praises {}",
    "An imaginary analyst worries about {}",
    "Rumours about {} circulate; none is confirmed",
    "{} says nothing new at a conference",
    "A made-up fund adds to its holding of {}",
    "A made-up fund trims its holding of {}",
)


@dataclass(frozen=True, slots=True)
class Headline:
    """One article; `number` is unique and the same in every run of a seed."""

    number: int
    at: datetime
    text: str
    symbols: tuple[str, ...]
    summary: str
    content: str


def synthetic_headlines(market: Market, symbols: Iterable[str], start: datetime, end: datetime) -> list[Headline]:
    """Return the headlines of a time, both ends included, oldest first."""
    found = [each for symbol in symbols for each in _of_symbol(market, symbol, start, end)]
    return sorted((each for each in found if start <= each.at <= end), key=lambda each: (each.at, each.number))


def _of_symbol(market: Market, symbol: str, start: datetime, end: datetime) -> Iterator[Headline]:
    if symbol in market.crypto:
        yield from _of_pair(market, symbol, start, end)
        return
    calendar = market.calendar
    first = calendar.index_from(start.astimezone(NEW_YORK).date())
    last = calendar.index_from(end.astimezone(NEW_YORK).date() + timedelta(days=1))
    for session in range(max(first, market.tape.first_session(symbol)), min(last, market.tape.last_session + 1)):
        yield from _of_session(market, symbol, session)


def _of_session(market: Market, symbol: str, session: int) -> Iterator[Headline]:
    day, cents = market.calendar[session], market.path(symbol, session).prices_cents
    before = market.close_before(symbol, session)
    if before:
        change = _percent(cents[0] / 100 / float(before) - 1)
        yield _headline(market, symbol, 1, day.opens + timedelta(minutes=1), f"{symbol} opens {change}")
        change = _percent(cents[-1] / 100 / float(before) - 1)
        closed = f"{symbol} ends the day at ${cents[-1] / 100:,.2f}, {change}"
        yield _headline(market, symbol, 4, day.closes + timedelta(minutes=5), closed)
    yield from _about_actions(market, symbol, session)
    rng = seeded(market.seed, "news", symbol, day.date.isoformat())
    if rng.random() < OPINION_PROBABILITY:
        minute = rng.randrange(30, (day.closes - day.opens) // timedelta(minutes=1) - 5)
        opinion = rng.choice(_OPINIONS).format(symbol)
        yield _headline(market, symbol, 3, day.opens + timedelta(minutes=minute), opinion)


def _about_actions(market: Market, symbol: str, session: int) -> Iterator[Headline]:
    day, tape = market.calendar[session], market.tape
    early = day.opens - timedelta(minutes=90)
    ratio, dividend = tape.split_ratio(symbol, session), tape.actions.dividends.get(symbol, {}).get(day.date)
    if ratio != 1:
        yield _headline(market, symbol, 0, early, f"{symbol} splits {ratio} for 1 today")
    if dividend:
        yield _headline(market, symbol, 2, early, f"{symbol} trades without its dividend of ${dividend.normalize():f}")


def _of_pair(market: Market, symbol: str, start: datetime, end: datetime) -> Iterator[Headline]:
    series = market.crypto[symbol]
    for index in range(series.index_of(start) - 1, series.index_of(end)):
        if index < 0:
            continue
        cents = market.crypto_day(symbol, index).path.prices_cents
        text = f"{symbol} ends the day at ${cents[-1] / 100:,.2f}, {_percent(cents[-1] / cents[0] - 1)}"
        yield _headline(market, symbol, 4, series.starts(index + 1) + timedelta(minutes=5), text)


def _headline(market: Market, symbol: str, kind: int, at: datetime, text: str) -> Headline:
    number = (int(at.timestamp()) * 1000 + market.tape.symbols.index(symbol)) * 10 + kind
    label = f"{LABEL} {text}"
    body = f"{label}. This article was made by the paper exchange from its simulated market; nobody wrote it."
    return Headline(number, at, label, (symbol.replace("/", ""),), label, f"<p>{body}</p>")


def _percent(change: float) -> str:
    direction = "up" if change >= 0 else "down"
    return f"{direction} {abs(change):.2%}"
