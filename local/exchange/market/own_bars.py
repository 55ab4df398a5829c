"""A user's own daily bars, from CSV or Parquet, checked before anything trades on them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from local.exchange.market.calendar import NEW_YORK, SessionCalendar, new_york_sessions
from local.exchange.market.tape import CALENDAR_MARGIN, CENT, Actions, DailyBar, Tape, whole_cents

REQUIRED = ("symbol", "date", "open", "high", "low", "close", "volume")
OPTIONAL = ("split", "dividend")
PRICE_MAX = Decimal(10_000_000)
VOLUME_MAX = 10**12
SPLIT_MAX = 1000
_TIME_OF_DAY = re.compile(r"\d[T ]\d{1,2}:\d\d")
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,9}")


class BarsProblem(Exception):
    """The file cannot be used: the message names the line and says what to do."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the file, read but not yet held against the others."""

    line: int
    symbol: str
    day: date
    bar: DailyBar
    split: int
    dividend: Decimal


def load_own_tape(path: Path) -> Tape:
    """Read a tape from a `.csv` or `.parquet` file of daily bars.

    Raises
    ------
    BarsProblem if the file cannot be read, or a line of it makes no sense
    """
    try:
        rows = [_row(path, line, values) for line, values in _lines(path)]
    except OSError as error:
        raise BarsProblem(f"{path} cannot be read: {error.strerror or error}") from error
    if not rows:
        raise BarsProblem(f"{path} has no bars: the first line names the columns, each other one is a bar")
    first, last = min(row.day for row in rows), max(row.day for row in rows)
    calendar = new_york_sessions(first, last + CALENDAR_MARGIN)
    bars = _by_session(path, rows, calendar)
    _check_complete(path, rows, calendar)
    return Tape(calendar, bars, _actions(path, rows))


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the file's rows with their line (of Parquet: their row, counted from 1)."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix.lower() == ".csv":
        yield from _csv_lines(path)
    else:
        raise BarsProblem(f"{path} is neither .csv nor .parquet")


def _csv_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="", strict=True)
        try:
            _check_columns(path, reader.fieldnames or ())
            for values in reader:
                if "" in values or None in values.values():
                    _refuse(path, reader.line_num, "does not have as many values as there are columns")
                yield reader.line_num, values
        except (csv.Error, UnicodeDecodeError) as error:
            _refuse(path, reader.line_num + 1, f"is not CSV in UTF-8 ({error})")


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Imported here: it takes a while to load, and most starts do not need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise BarsProblem(f"{path} is not a Parquet file: {error}") from error
    _check_columns(path, table.column_names)
    yield from enumerate(table.to_pylist(), 1)


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    found = list(columns)
    missing = [name for name in REQUIRED if name not in found]
    unknown = [name for name in found if name not in (*REQUIRED, *OPTIONAL)]
    if missing:
        _refuse(path, 1, f"must name the columns {','.join(REQUIRED)}: {', '.join(missing)} is missing")
    if unknown:
        _refuse(path, 1, f"names columns that are not known: rename or remove {', '.join(map(str, unknown))}")


def _row(path: Path, line: int, values: Mapping[str, Any]) -> _Row:
    symbol = str(values["symbol"])
    if not _SYMBOL.fullmatch(symbol):
        _refuse(path, line, f"has the symbol {symbol!r}: write it as 1 to 10 capitals, digits or dots")
    prices = {name: _price(path, line, name, values[name]) for name in ("open", "high", "low", "close")}
    volume = _whole(path, line, "volume", values["volume"], 1, VOLUME_MAX)
    bar = DailyBar(**prices, volume=volume)
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        inside = "low <= open, close <= high"
        _refuse(path, line, f"has high {bar.high} and low {bar.low} that do not enclose the others: {inside}")
    return _Row(
        line=line,
        symbol=symbol,
        day=_day(path, line, values["date"]),
        bar=bar,
        split=_split(path, line, values.get("split") or "1"),
        dividend=_amount(path, line, "dividend", values.get("dividend") or "0"),
    )


def _price(path: Path, line: int, name: str, value: object) -> Decimal:
    amount = _amount(path, line, name, value)
    if not CENT <= amount <= PRICE_MAX:
        _refuse(path, line, f"has {name} {value}: a price lies between {CENT} and {PRICE_MAX} dollars")
    return whole_cents(amount)


def _amount(path: Path, line: int, name: str, value: object) -> Decimal:
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0 or amount.adjusted() > 15:
        _refuse(path, line, f"has {name} {value!r}: write a number such as 12.34, without a currency or commas")
    return amount


def _whole(path: Path, line: int, name: str, value: object, least: int, most: int) -> int:
    amount = _amount(path, line, name, value)
    if amount != amount.to_integral_value() or not least <= amount <= most:
        _refuse(path, line, f"has {name} {value}: write a whole number from {least} to {most}")
    return int(amount)


def _split(path: Path, line: int, value: object) -> int:
    if 0 < _amount(path, line, "split", value) < 1:
        remedy = "divide the prices before it by it, multiply the volumes, and leave split empty"
        _refuse(path, line, f"has split {value}, a reverse split, which is not simulated: {remedy}")
    return _whole(path, line, "split", value, 1, SPLIT_MAX)


def _day(path: Path, line: int, value: object) -> date:
    if isinstance(value, datetime):
        # Alpaca dates its own daily bars with New York's midnight, in UTC.
        for local in (value, value.astimezone(NEW_YORK) if value.tzinfo else value):
            if local.time() == time():
                return local.date()
    if isinstance(value, datetime) or _TIME_OF_DAY.search(str(value)):
        _refuse(path, line, f"is of {value}, a time of day: give one bar a day, what is inside it is made up here")
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        _refuse(path, line, f"has the date {value!r}: write it as 2024-01-31")


def _by_session(path: Path, rows: Iterable[_Row], calendar: SessionCalendar) -> dict[str, dict[int, DailyBar]]:
    bars: dict[str, dict[int, DailyBar]] = {}
    lines: dict[tuple[str, date], int] = {}
    for row in rows:
        session = calendar.index_from(row.day)
        if calendar[session].date != row.day:
            _refuse(path, row.line, f"is of {row.day}, when the New York Stock Exchange was closed: remove it")
        earlier = lines.setdefault((row.symbol, row.day), row.line)
        if earlier != row.line:
            _refuse(path, row.line, f"repeats {row.symbol} on {row.day}, which line {earlier} has: remove one of them")
        bars.setdefault(row.symbol, {})[session] = row.bar
    return bars


def _check_complete(path: Path, rows: Iterable[_Row], calendar: SessionCalendar) -> None:
    """Refuse gaps: from its first bar on, a symbol trades in every session until the file's last one."""
    by_symbol: dict[str, list[_Row]] = {}
    for row in rows:
        by_symbol.setdefault(row.symbol, []).append(row)
    last = max(row.day for row in rows)
    for symbol, of_symbol in by_symbol.items():
        ordered = sorted(of_symbol, key=lambda row: row.day)
        for before, after in pairwise(ordered):
            expected = calendar[calendar.index_from(before.day) + 1].date
            if after.day != expected:
                remedy = f"add it, or leave out {symbol} before {after.day}"
                _refuse(path, after.line, f"follows a gap: there is no bar of {symbol} on {expected}; {remedy}")
        end = ordered[-1]
        if end.day != last:
            remedy = f"add the rest, or leave out {symbol}"
            _refuse(path, end.line, f"is the last of {symbol}, but the file goes on until {last}: {remedy}")
    if calendar.index_from(last) < 1:
        raise BarsProblem(f"{path} has one session alone: give at least two, the first one is history")


def _actions(path: Path, rows: Iterable[_Row]) -> Actions:
    splits: dict[str, dict[date, int]] = {}
    dividends: dict[str, dict[date, Decimal]] = {}
    for row in rows:
        if row.split != 1:
            splits.setdefault(row.symbol, {})[row.day] = row.split
        if row.dividend:
            if row.dividend >= row.bar.low:
                _refuse(path, row.line, f"has a dividend of {row.dividend}, more than a share costs: check its unit")
            dividends.setdefault(row.symbol, {})[row.day] = row.dividend
    return Actions(splits, dividends)


def _refuse(path: Path, line: int, what: str) -> NoReturn:
    raise BarsProblem(f"{path}, line {line}: it {what}")
