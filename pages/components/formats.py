"""How values are written: money with separators and sign, times in one zone, ages in words."""

from datetime import datetime, timedelta
from math import isinf, isnan
from zoneinfo import ZoneInfo

NOTHING = "–"


def money(value: float | None) -> str:
    """Return an amount in USD: $12,345.67, -$5.00."""
    if value is None or isnan(value):
        return NOTHING
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def signed_money(value: float | None) -> str:
    """Return a gain or a loss in USD with its sign: +$12.00, -$5.00, $0.00."""
    if value is None or isnan(value):
        return NOTHING
    return f"+{money(value)}" if round(value, 2) > 0 else money(value)


def short_money(value: float | None) -> str:
    """Return a gain or a loss in USD in few characters: +$120, -$1.2k, +$3.4M."""
    if value is None or isnan(value):
        return NOTHING
    size = abs(value)
    unit, by = next(((unit, by) for unit, by in (("M", 1e6), ("k", 1e3)) if size >= 0.9995 * by), ("", 1.0))
    sign = "+" if value > 0 and size >= 0.5 else "-" if value < 0 and size >= 0.5 else ""
    return f"{sign}${size / by:,.{1 if unit else 0}f}{unit}"


def ratio(value: float | None) -> str:
    """Return a plain number to two places: 1.95; ∞ when nothing stands against it."""
    if value is None or isnan(value):
        return NOTHING
    return "∞" if isinf(value) else f"{value:,.2f}"


def signed_percent(fraction: float | None) -> str:
    """Return a fraction as a signed percentage: 0.0123 is +1.23 %."""
    return NOTHING if fraction is None or isnan(fraction) else f"{fraction * 100:+.2f} %"


def share(fraction: float) -> str:
    """Return a fraction as a percentage without needless zeros: 0.25 is 25 %."""
    return f"{fraction * 100:.2f}".rstrip("0").rstrip(".") + " %"


def quantity(value: float | None) -> str:
    """Return a quantity without needless zeros: 10, 0.25."""
    return NOTHING if value is None or isnan(value) else f"{value:,.9f}".rstrip("0").rstrip(".")


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    """Return a time to the second, with its zone: 21 Nov 2026, 14:03:05 UTC."""
    return NOTHING if at is None or at != at else f"{at.astimezone(zone):%d %b %Y, %H:%M:%S %Z}"


def clock_time(at: datetime, zone: ZoneInfo) -> str:
    """Return the time of day to the second, with its zone."""
    return f"{at.astimezone(zone):%H:%M:%S %Z}"


def age(span: timedelta) -> str:
    """Return how long something has lasted, coarsely: 12 s, 3 min, 2 h 5 min, 4 days."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 90:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days"


def latency(span: timedelta) -> str:
    """Return a short span finely: 3.2 ms, 1.25 s; a longer one as `age` does."""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else age(span)


def words(code: str | None) -> str:
    """Return a code as words: stop_loss is Stop loss."""
    return NOTHING if not isinstance(code, str) or not code else code.replace("_", " ").capitalize()


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 position, 3 positions; entry and entries."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
