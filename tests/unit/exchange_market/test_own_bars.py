"""A user's own bars: read as they are, or refused with the line that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.exchange.http.keys import Access
from local.exchange.market.calendar import Moment
from local.exchange.market.history import last_share_print
from local.exchange.market.market import Market
from local.exchange.market.own_bars import BarsProblem, load_own_tape
from local.exchange.settings import Setup, SetupProblem
from local.exchange.trading.matching import FillProfile

HEADER = "symbol,date,open,high,low,close,volume,split,dividend"
# A week with a holiday in it: the fourth of July 2024.
DAYS = ("2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08")
GOOD = [f"ACME,{day},10.00,11.00,9.00,10.50,5000,," for day in DAYS]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a CSV file of a header and lines."""

    def to_file(*lines: str, header: str = HEADER, name: str = "bars.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join((header, *lines)) + "\n")
        return path

    return to_file


def changed(line: int, text: str) -> list[str]:
    """Return the good lines with one of them replaced (the header is line 1)."""
    return [text if number == line else good for number, good in enumerate(GOOD, 2)]


class TestGoodFile:
    def test_becomes_a_tape_of_its_symbols_and_days(self, write: Callable[..., Path]) -> None:
        tape = load_own_tape(write(*GOOD, *(line.replace("ACME", "B.2") for line in GOOD[2:])))

        assert tape.equities == ["ACME", "B.2"]
        assert [tape.calendar[n].date.isoformat() for n in range(5)] == list(DAYS)
        assert (tape.first_session("ACME"), tape.first_session("B.2"), tape.last_session) == (0, 2, 4)

    def test_may_come_in_any_order_and_with_more_digits_than_cents(self, write: Callable[..., Path]) -> None:
        odd = "ACME,2024-07-01,10.004999,11.0000001,9,10.5,5000.0,1,0"

        tape = load_own_tape(write(*GOOD[:0:-1], odd))

        bar = tape.bar("ACME", 0)
        assert bar is not None
        assert [str(price) for price in (bar.open, bar.high, bar.low, bar.close)] == ["10.00", "11.00", "9.00", "10.50"]
        assert bar.volume == 5000

    def test_brings_its_splits_and_dividends(self, write: Callable[..., Path]) -> None:
        lines = changed(4, "ACME,2024-07-03,5.00,5.50,4.50,5.25,10000,2,")
        lines[-1] = "ACME,2024-07-08,5.00,5.50,4.50,5.25,10000,,0.25"

        tape = load_own_tape(write(*lines))

        assert tape.split_ratio("ACME", 2) == 2
        assert tape.splits_between("ACME", after=0, until=4) == 2
        assert tape.dividends_between("ACME", after=0, until=4) == 1 - Decimal("0.25") / Decimal("10.50")

    @pytest.mark.parametrize(
        "as_date",
        [
            date.fromisoformat,
            str,
            lambda day: datetime.fromisoformat(f"{day}T00:00"),
            lambda day: datetime.fromisoformat(f"{day}T04:00Z"),  # as Alpaca dates its own daily bars
        ],
    )
    def test_of_parquet_is_the_same_as_of_csv(
        self, write: Callable[..., Path], tmp_path: Path, as_date: Callable[[str], object]
    ) -> None:
        count = len(DAYS)
        columns = {
            "symbol": ["ACME"] * count,
            "date": pa.array([as_date(day) for day in DAYS]),
            "open": [10.0] * count,
            "high": [11.0] * count,
            "low": [9.0] * count,
            "close": [10.5] * count,
            "volume": [5000] * count,
        }
        path = tmp_path / "bars.parquet"
        pq.write_table(pa.table(columns), path)

        of_parquet, of_csv = load_own_tape(path), load_own_tape(write(*GOOD))

        assert [of_parquet.bar("ACME", n) for n in range(count)] == [of_csv.bar("ACME", n) for n in range(count)]

    def test_of_parquet_is_refused_when_its_bars_are_shorter_than_a_day(self, tmp_path: Path) -> None:
        columns = {name: ["1"] for name in ("open", "high", "low", "close", "volume")}
        path = tmp_path / "minutes.parquet"
        pq.write_table(
            pa.table(columns | {"symbol": ["ACME"], "date": [datetime(2024, 7, 1, 9, 31, tzinfo=UTC)]}), path
        )

        with pytest.raises(BarsProblem, match=r"line 1: it is of 2024-07-01 09:31:00[^ ]*, a time of day"):
            load_own_tape(path)

    def test_has_trades_as_few_as_its_volume(self, write: Callable[..., Path]) -> None:
        lines = [line.replace(",5000,", ",3,") for line in GOOD]
        tape = load_own_tape(write(*lines))
        market = Market(tape, seed=1)

        sizes = [each.size for minute in range(390) for each in market.prints("ACME", 1, minute)]
        last = last_share_print(market, "ACME", Moment(2, 0))

        assert sum(sizes) == 3
        assert last is not None
        assert last.at < tape.calendar[2].opens + timedelta(minutes=1)


class TestBadFile:
    @pytest.mark.parametrize(
        ("line", "text", "said"),
        [
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50", "does not have as many values"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,5000,,,9", "does not have as many values"),
            (3, "acme,2024-07-02,10.00,11.00,9.00,10.50,5000,,", "symbol 'acme': write it as 1 to 10 capitals"),
            (3, "BTC/USD,2024-07-02,10.00,11.00,9.00,10.50,5000,,", "symbol 'BTC/USD'"),
            (3, "ACME,02.07.2024,10.00,11.00,9.00,10.50,5000,,", "'02.07.2024': write it as 2024-01-31"),
            (3, "ACME,2024-07-02,ten,11.00,9.00,10.50,5000,,", "open 'ten': write a number"),
            (3, "ACME,2024-07-02,10.00,$11,9.00,10.50,5000,,", "high '$11': write a number"),
            (3, "ACME,2024-07-02,10.00,nan,9.00,10.50,5000,,", "high 'nan': write a number"),
            (3, "ACME,2024-07-02,10.00,11.00,0,10.50,5000,,", "low 0: a price lies between 0.01"),
            (3, "ACME,2024-07-02,10.00,11.00,-9.00,10.50,5000,,", "low '-9.00': write a number"),
            (3, "ACME,2024-07-02,10.00,10.20,9.00,10.50,5000,,", "high 10.20 and low 9.00 that do not enclose"),
            (3, "ACME,2024-07-02,8.00,11.00,9.00,10.50,5000,,", "do not enclose the others"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,0,,", "volume 0: write a whole number from 1"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,1.5,,", "volume 1.5: write a whole number"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,5000,0.5,", "split 0.5, a reverse split, which is not"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,5000,1.5,", "split 1.5: write a whole number from 1"),
            (3, "ACME,2024-07-02T14:30,10.00,11.00,9.00,10.50,5000,,", "a time of day: give one bar a day"),
            (3, "ACME,2024-07-02 9:30,10.00,11.00,9.00,10.50,5000,,", "a time of day: give one bar a day"),
            (3, "ACME,2024-07-02,10.00,11.00,9.00,10.50,5000,,12", "dividend of 12, more than a share costs"),
            (3, "ACME,2024-07-04,10.00,11.00,9.00,10.50,5000,,", "2024-07-04, when the New York Stock Exchange was"),
            (3, "ACME,2024-07-01,10.00,11.00,9.00,10.50,5000,,", "repeats ACME on 2024-07-01, which line 2 has"),
        ],
    )  # fmt: skip
    def test_is_refused_with_its_line_and_what_to_do(
        self, write: Callable[..., Path], line: int, text: str, said: str
    ) -> None:
        path = write(*changed(line, text))

        with pytest.raises(BarsProblem) as refused:
            load_own_tape(path)

        assert str(refused.value).startswith(f"{path}, line {line}: it ")
        assert said in str(refused.value)

    def test_is_refused_when_a_day_is_missing(self, write: Callable[..., Path]) -> None:
        with pytest.raises(BarsProblem, match=r"line 4: it follows a gap: there is no bar of ACME on 2024-07-03"):
            load_own_tape(write(*GOOD[:2], *GOOD[3:]))

    def test_is_refused_when_a_symbol_ends_before_the_others(self, write: Callable[..., Path]) -> None:
        other = "B,2024-07-01,10.00,11.00,9.00,10.50,5000,,"

        with pytest.raises(BarsProblem, match=r"line 7: it is the last of B, but the file goes on until 2024-07-08"):
            load_own_tape(write(*GOOD, other))

    @pytest.mark.parametrize(
        ("header", "said"),
        [
            ("symbol,date,open,high,low,close", "line 1: it must name the columns .*: volume is missing"),
            (f"{HEADER},divident", "line 1: it names columns that are not known: rename or remove divident"),
        ],
    )
    def test_is_refused_when_its_columns_are_not_those(
        self, write: Callable[..., Path], header: str, said: str
    ) -> None:
        with pytest.raises(BarsProblem, match=said):
            load_own_tape(write(*GOOD, header=header))

    def test_is_refused_when_it_is_empty_short_absent_or_something_else(
        self, write: Callable[..., Path], tmp_path: Path
    ) -> None:
        (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "noise.parquet").write_bytes(b"not parquet")
        cases = {
            write(): "has no bars",
            write(GOOD[0], name="one.csv"): "has one session alone",
            tmp_path / "absent.csv": "cannot be read: No such file",
            tmp_path / "bars.xlsx": "is neither .csv nor .parquet",
            tmp_path / "noise.csv": "line 1: it is not CSV in UTF-8",
            tmp_path / "noise.parquet": "is not a Parquet file",
        }

        for path, said in cases.items():
            with pytest.raises(BarsProblem, match=said):
                load_own_tape(path)


class TestLedgerOfOwnBars:
    def setup(self, home: Path, bars: Path | None) -> Setup:
        return Setup(
            home=home,
            port=0,
            first_day=None,
            seed=7,
            seconds_per_session=60,
            profile=FillProfile.IDEAL,
            access=Access("PKTEST", "secret"),
            bars=bars,
        )

    def test_begins_on_the_second_day_when_no_start_is_named(self, write: Callable[..., Path], tmp_path: Path) -> None:
        assert self.setup(tmp_path, write(*GOOD)).start == date(2024, 7, 2)

    def test_is_refused_when_the_bars_are_others_than_it_began_with(
        self, write: Callable[..., Path], tmp_path: Path
    ) -> None:
        first = self.setup(tmp_path, write(*GOOD))
        assert first.tape.equities == ["ACME"]
        first.ledger_path.touch()

        others = write(*(line.replace("10.50", "10.60") for line in GOOD), name="others.csv")

        assert self.setup(tmp_path, write(*GOOD)).tape.equities == ["ACME"]
        with pytest.raises(SetupProblem, match=r"was begun with bars.csv, as it was then: start it with those bars"):
            _ = self.setup(tmp_path, others).tape
        with pytest.raises(SetupProblem, match="or choose another --home"):
            _ = self.setup(tmp_path, None).tape
