"""Results on the calendar: a month whose days are links to what was traded on them, and the months of each year."""

from calendar import Calendar, month_abbr
from datetime import date
from html import escape

import pandas as pd
import streamlit as st

from pages.components.formats import short_money, signed_money, signed_percent

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
STYLE = """<style>
.il-cal { width: 100%; border-collapse: separate; border-spacing: 4px; table-layout: fixed; font-size: 14px }
.il-cal th { font-weight: 600; opacity: .75; text-align: left; padding: 2px 6px; border: 0 }
.il-cal td { padding: 0; border: 0; height: 54px; vertical-align: top; border-radius: 6px;
  background: rgba(132, 146, 166, .10) }
.il-cal td.il-none { background: transparent }
.il-cal a, .il-cal .il-day { display: block; height: 100%; padding: 4px 6px; color: inherit; text-decoration: none;
  border-radius: 6px; overflow: hidden }
.il-cal a:hover, .il-cal a:focus-visible { outline: 2px solid #3B82F6 }
.il-cal b { display: block; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap }
.il-cal small { opacity: .75 }
.il-scroll { overflow-x: auto } .il-months { min-width: 760px } .il-months td { height: 34px }
.il-months .il-day { text-align: right; padding: 7px 6px }
@media (max-width: 640px) { .il-cal { border-spacing: 2px; font-size: 11px }
  .il-cal a, .il-cal .il-day { padding: 2px 3px } }
</style>"""
GAIN, LOSS = "14, 159, 110", "224, 83, 61"


def calendar(results_usd: pd.Series, month: date) -> None:
    """Show the results of one month's sessions, week by week.

    Parameters
    ----------
    results_usd : USD by session date (midnight, no zone); days without a session are left out
    month : any day of the month
    """
    st.html(calendar_html(results_usd, month))


def calendar_html(results_usd: pd.Series, month: date) -> str:
    """Return the calendar; each session says its result in figures, and leads to its trades."""
    by_day = {at.date(): float(result) for at, result in results_usd.items()}
    inside = {day: result for day, result in by_day.items() if (day.year, day.month) == (month.year, month.month)}
    width = 7 if any(day.weekday() > 4 for day in inside) else 5
    strongest = max((abs(result) for result in inside.values()), default=0.0)
    heads = "".join(f'<th scope="col">{name}</th>' for name in (*_DAYS[:width], "Week"))
    weeks = Calendar().monthdatescalendar(month.year, month.month)
    rows = "".join(_week(week[:width], month, inside, strongest) for week in weeks)
    head = f"<thead><tr>{heads}</tr></thead>"
    label = f"Results of {month:%B %Y} by session"
    return f'{STYLE}<table class="il-cal" aria-label="{label}">{head}<tbody>{rows}</tbody></table>'


def months(returns: pd.DataFrame) -> None:
    """Show the months of each year as a heat map that says each in figures.

    Parameters
    ----------
    returns : as `engine.domain.metrics.monthly_returns`, at least one row
    """
    st.html(months_html(returns))


def months_html(returns: pd.DataFrame) -> str:
    """Return the months' heat map, each year with what its months together brought."""
    strongest = float(returns.abs().max(axis=None))
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Year", *month_abbr[1:], "Together"))
    rows = ""
    for year, row in returns.iterrows():
        whole = float((1 + row.dropna()).prod() - 1)
        cells = "".join(_month(value, strongest) for value in row)
        total = f'<td class="il-none"><span class="il-day"><b>{signed_percent(whole)}</b></span></td>'
        rows += f'<tr><th scope="row">{year}</th>{cells}{total}</tr>'
    return (
        f'{STYLE}<div class="il-scroll"><table class="il-cal il-months" aria-label="Return of each month">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _month(value: float, strongest: float) -> str:
    if pd.isna(value):
        return _blank()
    tint = f"rgba({GAIN if value >= 0 else LOSS}, {_strength(value, strongest)})"
    return f'<td style="background: {tint}"><span class="il-day"><b>{value * 100:+.1f} %</b></span></td>'


def _week(week: list[date], month: date, inside: dict[date, float], strongest: float) -> str:
    if all(day.month != month.month for day in week):
        return ""
    days = "".join(_day(day, inside.get(day), strongest) if day.month == month.month else _blank() for day in week)
    traded = [inside[day] for day in week if day in inside]
    return f"<tr>{days}{_sum(sum(traded)) if traded else _blank()}</tr>"


def _day(day: date, result: float | None, strongest: float) -> str:
    if result is None:
        return f'<td class="il-none"><span class="il-day"><small>{day.day}</small></span></td>'
    said = f"{day:%d %B %Y}: {signed_money(result)}. Show the trades of that day."
    return (
        f'<td style="background: rgba({GAIN if result >= 0 else LOSS}, {_strength(result, strongest)})">'
        f'<a href="/trades?trades_day={day.isoformat()}" title="{escape(said)}" aria-label="{escape(said)}">'
        f"<small>{day.day}</small><b>{escape(short_money(result))}</b></a></td>"
    )


def _sum(result: float) -> str:
    return (
        f'<td class="il-none"><span class="il-day"><small>Sum</small><b>{escape(short_money(result))}</b></span></td>'
    )


def _blank() -> str:
    return '<td class="il-none"></td>'


def _strength(result: float, strongest: float) -> str:
    return f"{0.08 + 0.42 * abs(result) / strongest:.2f}" if strongest else "0.08"
