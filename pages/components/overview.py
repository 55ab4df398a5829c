"""The figures at the top of the overview."""

from datetime import timedelta

import pandas as pd
import streamlit as st

from db.queries.equity import equity_curve
from db.queries.positions import open_positions
from pages.components.formats import age, count, money, signed_money, signed_percent
from pages.components.messages import page_boundary
from pages.session.guard import require_session
from pages.session.status import Reading, read_status

TICK_S = 5


@st.fragment(run_every=TICK_S)
def key_figures(curve: pd.DataFrame) -> None:
    """Show equity, today's result, open positions, open risk and the engine's heartbeat, and renew them.

    Parameters
    ----------
    curve : as `db.queries.equity.equity_curve`, at least one row; its last session is read again each time
    """
    with page_boundary("overview"):
        client = require_session().client
        latest = equity_curve(client, since=curve["session_date"].iloc[-1].date())
        curve = pd.concat([curve, latest]).drop_duplicates("session_date", keep="last")
        positions = open_positions(client)
        with st.grid(5, min_column_width=170):
            _equity(curve)
            _today(curve)
            _open_positions(positions)
            _open_risk(positions)
            _engine(read_status(client))


def _equity(curve: pd.DataFrame) -> None:
    first, last = curve["equity_usd"].iloc[0], curve["equity_usd"].iloc[-1]
    st.metric(
        "Equity",
        money(last),
        delta=signed_percent(last / first - 1 if first else None),
        help=f"Capital and profit of all profiles you may see; the change is over {count(len(curve), 'session')}.",
        border=True,
        height="stretch",
    )


def _today(curve: pd.DataFrame) -> None:
    """Show the present session's result: against the session before, by equity."""
    last = curve.iloc[-1]
    before = curve["equity_usd"].iloc[-2] if len(curve) > 1 else None
    change = last["equity_usd"] - before if before is not None else None
    st.metric(
        "Today's result",
        signed_money(change),
        delta=signed_percent(change / before) if before and change is not None else None,
        help=f"Session of {last['session_date']:%d %b %Y} (market time), realised and unrealised.",
        border=True,
        height="stretch",
    )


def _open_positions(positions: pd.DataFrame) -> None:
    unprotected = int((~positions["is_protected"]).sum())
    st.metric(
        "Open positions",
        f"{len(positions):,}",
        delta=f"{unprotected} NOT PROTECTED" if unprotected else "all protected" if len(positions) else None,
        delta_color="red" if unprotected else "green",
        delta_arrow="off",
        border=True,
        height="stretch",
    )


def _open_risk(positions: pd.DataFrame) -> None:
    held = (positions["qty"] * positions["mark_price"]).sum()
    st.metric(
        "Open risk",
        money(positions["risk_usd"].sum()),
        delta=f"{money(held)} held" if len(positions) else None,
        delta_color="off",
        delta_arrow="off",
        help="What is given back if every stop is hit at its price. A gap can cost more.",
        border=True,
        height="stretch",
    )


def _engine(reading: Reading) -> None:
    status = reading.status
    if status is None or status.engine.age_s is None:
        st.metric("Engine", "UNKNOWN" if status is None else "Not seen yet", border=True, height="stretch")
        return
    engine = status.engine
    st.metric(
        "Engine",
        "Alive" if engine.alive else "STALE",
        delta=f"seen {age(timedelta(seconds=float(engine.age_s or 0)))} ago",
        delta_color="green" if engine.alive else "red",
        delta_arrow="off",
        help=f"{engine.holder}, version {engine.version}",
        border=True,
        height="stretch",
    )
