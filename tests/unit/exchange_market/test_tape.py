"""The built-in tape: real, whole, and with the splits and dividends that happened."""

from __future__ import annotations

import csv
import gzip
import hashlib
import subprocess
import sys
from datetime import date
from decimal import Decimal
from importlib.resources import files

import pytest

from local.exchange.market.calendar import Moment
from local.exchange.market.corporate import known_actions
from local.exchange.market.market import Market
from local.exchange.market.news import synthetic_headlines
from local.exchange.market.tape import Tape

# Prints what a market of seed 11 does in a few sessions, in another process.
_PRINT_TAPE = """
from local.exchange.market.market import Market
from local.exchange.market.tape import load_tape
from tests.unit.exchange_market.test_tape import digest_of
print(digest_of(Market(load_tape(), seed=11)))
"""


def digest_of(market: Market) -> str:
    """Return a digest of everything that a seed decides: prices, minutes, trades, news."""
    session = market.calendar.index_from(date(2008, 9, 15))
    parts: list[object] = []
    for symbol in market.tape.symbols:
        if market.is_listed(symbol, Moment(session, 0)):
            parts += [market.path(symbol, session), market.minutes(symbol, session)]
            parts += [market.prints(symbol, session, minute) for minute in (0, 100, 389)]
            parts += [market.tick(symbol, Moment(session, tick)) for tick in (-1, 0, 40, 78)]
    day = market.calendar[session]
    parts += [market.crypto_day(pair, 2_000) for pair in market.crypto]
    parts += synthetic_headlines(market, market.tape.symbols, day.opens, day.closes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class TestTape:
    def test_has_a_bar_of_every_session_from_a_symbols_first_one_on(self, tape: Tape) -> None:
        for symbol in tape.equities:
            sessions = range(tape.first_session(symbol), tape.last_session + 1)
            assert all(tape.bar(symbol, session) for session in sessions)

    def test_knows_the_dividends_that_were_paid(self, tape: Tape) -> None:
        found = tape.actions.dividends

        assert found["AAPL"] == {
            date(2012, 8, 9): Decimal("2.65"),
            date(2012, 11, 7): Decimal("2.65"),
            date(2013, 2, 7): Decimal("2.65"),
        }
        assert found["MSFT"][date(2004, 11, 15)] == Decimal("3.08")
        assert {symbol: len(paid) for symbol, paid in found.items()} == {"AAPL": 3, "IBM": 52, "MSFT": 37}

    @pytest.mark.parametrize("symbol", ["AAPL", "GOOG", "IBM", "MSFT"])
    def test_adjusts_to_the_returns_that_the_source_reports(self, tape: Tape, symbol: str) -> None:
        packed = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
        rows = [row for row in csv.DictReader(gzip.decompress(packed).decode().splitlines()) if row["Ticker"] == symbol]
        adjusted = {date.fromisoformat(row["Date"]): float(row["Adj Close"]) for row in rows}
        last = tape.last_session

        for session in range(tape.first_session(symbol), last, 101):
            ratio = tape.splits_between(symbol, after=session, until=last)
            factor = tape.dividends_between(symbol, after=session, until=last)
            bar, final = tape.bar(symbol, session), tape.bar(symbol, last)
            assert bar is not None
            assert final is not None
            ours = float(bar.close * factor / ratio / final.close)
            theirs = adjusted[tape.calendar[session].date] / adjusted[tape.calendar[last].date]
            assert ours == pytest.approx(theirs, rel=0.005)

    def test_announces_a_split_two_weeks_before_it(self, tape: Tape) -> None:
        early, late = (known_actions(tape, day) for day in (date(2005, 2, 13), date(2005, 2, 14)))

        assert {action.symbol for action in set(late) - set(early)} == {"AAPL"}


class TestSeed:
    def test_gives_the_same_market_byte_for_byte_in_another_process(self, tape: Tape) -> None:
        there = subprocess.run(
            [sys.executable, "-c", _PRINT_TAPE], capture_output=True, text=True, check=True, timeout=60
        )

        assert there.stdout.strip() == digest_of(Market(tape, seed=11))

    def test_decides_what_happens_inside_a_day(self, tape: Tape) -> None:
        assert digest_of(Market(tape, seed=11)) != digest_of(Market(tape, seed=12))
