"""The figures at the top of the overview."""

from datetime import timedelta

import pandas as pd
import streamlit as st

from pages.components.formats import age, count, money, signed_money, signed_percent
from pages.session.guard import Session
from pages.session.status import read_status


def key_figures(session: Session, curve: pd.DataFrame, positions: pd.DataFrame) -> None:
    """Show equity, today's result, open positions, open risk and the engine's heartbeat."""
    with st.grid(5, min_column_width=170):
        _equity(curve)
        _today(curve)
        unprotected = int((~positions["is_protected"]).sum())
        st.metric(
            "Open positions",
            f"{len(positions):,}",
            delta=f"{unprotected} NOT PROTECTED" if unprotected else "all protected" if len(positions) else None,
            delta_color="red" if unprotected else "green",
            delta_arrow="off",
            border=True,
        )
        st.metric(
            "Open risk",
            money(positions["risk_usd"].sum()),
            delta=f"{money((positions['qty'] * positions['mark_price']).sum())} held" if len(positions) else None,
            delta_color="off",
            delta_arrow="off",
            help="What is given back if every stop is hit at its price. A gap can cost more.",
            border=True,
        )
        _engine(session)


def _equity(curve: pd.DataFrame) -> None:
    first, last = curve["equity_usd"].iloc[0], curve["equity_usd"].iloc[-1]
    st.metric(
        "Equity",
        money(last),
        delta=signed_percent(last / first - 1 if first else None),
        help=f"Capital and profit of all profiles you may see; the change is over {count(len(curve), 'session')}.",
        border=True,
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
    )


def _engine(session: Session) -> None:
    status = read_status(session.client).status
    if status is None or status.engine.age_s is None:
        st.metric("Engine", "UNKNOWN" if status is None else "Not seen yet", border=True)
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
    )
