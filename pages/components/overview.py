"""What the overview is made of: the figures at its top, exposure against limits, open risk, and the engine's jobs."""

from datetime import timedelta

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from db.queries.controls import latest_pauses
from db.queries.equity import equity_curve, in_market_time, profit_by_profile
from db.queries.jobs import job_health
from db.queries.lockouts import latest_lockouts
from db.queries.positions import open_positions, sector_exposure
from pages.charts.equity import LINES_MAX, equity_figure, equity_in_words, profiles_figure
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, age, count, money, signed_money, signed_percent, words
from pages.components.messages import page_boundary, show_empty
from pages.components.meters import Meter, meters
from pages.session.guard import Session, require_session
from pages.session.profiles import known_profiles
from pages.session.status import Reading, database_time, read_status

TICK_S = 5
PAUSES_MAX, LOCKOUTS_MAX, RISKS_MAX = 8, 40, 8
POINTS_MAX = 1000  # rows in one answer


@st.fragment(run_every=TICK_S)
def key_figures(curve: pd.DataFrame, just_read: list[pd.DataFrame]) -> None:
    """Show equity, today's result, open positions, open risk and the engine's heartbeat, and renew them.

    Parameters
    ----------
    curve : as `db.queries.equity.equity_curve`, at least one row; its last session is read again by each later run
    just_read : the open positions that the page has read with the curve; the first run takes them out
    """
    with page_boundary("overview"):
        client = require_session().client
        if just_read:
            positions = just_read.pop()
        else:
            latest = equity_curve(client, since=curve["session_date"].iloc[-1].date())
            curve = pd.concat([curve, latest]).drop_duplicates("session_date", keep="last")
            positions = open_positions(client)
        figures([_equity(curve), _today(curve), *_positions(positions), _engine(read_status(client))], min_width=170)


def equity_chart(session: Session, curve: pd.DataFrame) -> None:
    """Show the equity curve with what kept entries out drawn on it. `curve`: at least one row."""
    kept_out = [latest_pauses(session.client).tail(PAUSES_MAX), latest_lockouts(session.client, LOCKOUTS_MAX)]
    pauses, lockouts = in_market_time(session.client, kept_out)
    st.plotly_chart(equity_figure(curve, pauses, lockouts), key="equity", alt=equity_in_words(curve))
    drawn = ["Shaded: trading was paused."] * (not pauses.empty)
    drawn += ["Lines beneath equity: symbols that were locked out, with the reason."] * (not lockouts.empty)
    if drawn:
        st.caption(" ".join(drawn))


def profiles_chart(session: Session, curve: pd.DataFrame) -> None:
    """Show the profiles beside each other, at as many sessions as one answer of the database can hold."""
    known = known_profiles(session)
    sessions = spread(curve["session_date"], POINTS_MAX // max(len(known), 1))
    names = dict(zip(known["id"], known["name"], strict=True))
    found = profit_by_profile(session.client, [at.date() for at in sessions], names)
    st.plotly_chart(profiles_figure(found), key="by_profile", alt="Profit of each profile over what it started with")
    if found["profile_name"].nunique() > LINES_MAX:
        st.caption(f"The {LINES_MAX} profiles that gained or lost the most.")


def spread(values: pd.Series, most: int) -> pd.Series:
    """Return at most so many values (at least the first and the last), as evenly spread as they can be."""
    places = np.linspace(0, len(values) - 1, min(len(values), max(most, 2))).round().astype(int)
    return values.iloc[np.unique(places)]


def exposure_by_sector(session: Session, positions: pd.DataFrame) -> None:
    """Show what is held and being entered in each sector, against the limit that the gate judges by."""
    exposure = sector_exposure(session.client, positions)
    if exposure.empty:
        show_empty("Nothing is held or being entered.")
        return
    meters(sector_meters(exposure))
    owners = exposure["owner_id"].nunique()
    st.caption(
        "At cost, with entries that wait or rest. The limit is a share of an owner's capital"
        + (f"; of {owners} owners the one nearest to it counts." if owners > 1 else ".")
    )


def sector_meters(exposure: pd.DataFrame) -> list[Meter]:
    """Return one meter per sector, the largest first; the owner that is nearest to the limit says how full it is."""
    exposure = exposure.assign(usd=exposure["held_usd"] + exposure["entering_usd"])
    found = []
    for sector, own in exposure.groupby("sector"):
        used = (own["usd"] / own["limit_usd"]).max()
        entering = own["entering_usd"].sum()
        held = f"{money(own['held_usd'].sum())} held" + (f", {money(entering)} being entered" if entering else "")
        limit = f", limit {money(own['limit_usd'].sum())}" if len(own) == 1 and own["limit_usd"].notna().all() else ""
        found.append(
            (own["usd"].sum(), Meter(words(str(sector)), held + limit, None if pd.isna(used) else float(used)))
        )
    return [meter for _, meter in sorted(found, key=lambda pair: -pair[0])]


def open_risk(positions: pd.DataFrame) -> None:
    """Show which positions would give back the most if their stops were hit."""
    if positions.empty:
        show_empty("No open positions, so nothing is at risk.")
        return
    meters(risk_meters(positions))
    st.caption(
        "Distance from mark to stop × quantity, in USD. A gap can cost more."
        + (f" The {RISKS_MAX} largest of {len(positions)}." if len(positions) > RISKS_MAX else "")
    )


def risk_meters(positions: pd.DataFrame) -> list[Meter]:
    """Return one meter per position, those without a stop first, then the largest risk."""
    largest = positions["risk_usd"].max()
    ordered = positions.sort_values("risk_usd", ascending=False, na_position="first").head(RISKS_MAX)
    return [
        Meter(
            f"{row['symbol']} {row['side']}, {row['profile_name']}",
            "NO STOP: all of it" if pd.isna(row["risk_usd"])
            else f"{money(row['risk_usd'])}, {row['stop_distance'] * 100:.1f} % to the stop",
            1.0 if pd.isna(row["risk_usd"]) else row["risk_usd"] / largest if largest else 0.0,
            is_limit=False,
        )
        for row in ordered.to_dict("records")
    ]  # fmt: skip


def jobs_table(session: Session) -> None:
    """Show the engine's jobs, those that are late first; when the engine is silent, nothing of them is known."""
    reading, jobs = read_status(session.client), job_health(session.client)
    if jobs.empty:
        show_empty("No engine has told of its jobs yet.")
        return
    silence = database_time(reading) - jobs["beat_at"].min()
    alive = reading.status is not None and reading.status.engine.alive
    if not alive:
        st.warning(f"The engine is silent for {age(silence)}: how its jobs do is not known. Below: its last word.",
                   icon=":material/heart_broken:")  # fmt: skip
    st.dataframe(
        jobs.sort_values(["healthy", "job"]).assign(
            state=jobs["healthy"].map({True: "✓ in time", False: "✗ LATE"}) if alive else "? unknown",
            job=jobs["job"].map(words),
            last_error=jobs["last_error"].fillna(""),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="jobs_table",
        height=300,
        alt="The engine's jobs with their last good run and the age that counts as dead",
        column_order=["state", "job", "age_s", "limit_s", "failures", "last_error"],
        column_config={
            "state": TextColumn("State", pinned=True, width="small"),
            "job": TextColumn("Job"),
            "age_s": NumberColumn("Last good run (s)", format="%.1f", help="Seconds before the heartbeat"),
            "limit_s": NumberColumn("Late after (s)", format="%.0f"),
            "failures": NumberColumn("Failures", format="%d", help="In a row"),
            "last_error": TextColumn("Last error"),
        },
    )


def _equity(curve: pd.DataFrame) -> Figure:
    first, last = curve["equity_usd"].iloc[0], curve["equity_usd"].iloc[-1]
    return Figure(
        "Equity",
        money(last),
        "Capital plus realised and unrealised profit of all profiles that you may see. Beneath: its change over "
        f"{count(len(curve), 'session')}.",
        signed_percent(last / first - 1 if first else None),
        "good" if last > first else "bad" if last < first else "plain",
    )


def _today(curve: pd.DataFrame) -> Figure:
    """Return the present session's result: the change of profit since the session before."""
    profit, last = curve["realized_usd"] + curve["unrealized_usd"], curve.iloc[-1]
    change = profit.iloc[-1] - profit.iloc[-2] if len(curve) > 1 else None
    base = last["equity_usd"] - change if change is not None else None
    return Figure(
        "Today's result",
        signed_money(change),
        f"Session of {last['session_date']:%d %b %Y}, market time: profit now, realised and unrealised, minus at "
        "the end of the session before.",
        signed_percent(change / base) if base and change is not None else None,
        "good" if change and change > 0 else "bad" if change and change < 0 else "plain",
    )


def _positions(positions: pd.DataFrame) -> list[Figure]:
    unprotected = int((~positions["is_protected"]).sum())
    held = (positions["qty"] * positions["mark_price"].fillna(positions["avg_entry_price"])).sum()
    protection = f"{unprotected} NOT PROTECTED" if unprotected else "all protected" if len(positions) else None
    return [
        Figure("Open positions", f"{len(positions):,}",
               "Protected: working stops at the broker cover the whole quantity.", protection,
               "bad" if unprotected else "good"),
        Figure("Open risk", money(positions["risk_usd"].sum()),
               "Distance from mark to stop × quantity: what is given back if every stop is hit at its price. "
               "A gap can cost more.", f"{money(held)} held" if len(positions) else None),
    ]  # fmt: skip


def _engine(reading: Reading) -> Figure:
    help_ = "How long ago the engine last gave a sign of life, by the database's clock."
    status = reading.status
    if status is None or status.engine.age_s is None:
        return Figure("Engine", "UNKNOWN" if status is None else "Not seen yet", help_)
    engine = status.engine
    seen = f"seen {age(timedelta(seconds=float(engine.age_s or 0)))} ago"
    return Figure("Engine", "Alive" if engine.alive else "STALE", f"{help_} {engine.holder or NOTHING}, version "
                  f"{engine.version or NOTHING}", seen, "good" if engine.alive else "bad")  # fmt: skip
