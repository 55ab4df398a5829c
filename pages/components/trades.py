"""What closed trades add up to, and one of them on the chart."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.queries.bars import price_bars
from db.queries.trades import planned_exits
from pages.charts.candles import TradeMarks, candles_figure
from pages.components.formats import moment, money, signed_money, signed_percent, words
from pages.components.messages import note, show_empty
from pages.session.guard import Session

MARGIN = timedelta(days=12)


def trade_figures(trades: pd.DataFrame) -> None:
    """Show what the trades add up to."""
    results = trades["realized_pnl_usd"]
    gains, losses = results[results > 0], results[results < 0]
    factor = gains.sum() / -losses.sum() if len(losses) else None
    with st.grid(5, min_column_width=150):
        st.metric("Result", signed_money(results.sum()), border=True)
        st.metric("Trades", f"{len(trades):,}", border=True)
        st.metric("Won", f"{len(gains) / len(trades):.0%}", border=True, help="Trades that closed with a gain")
        st.metric("Profit factor", f"{factor:.2f}" if factor is not None else None, border=True,
                  help="Sum of gains over sum of losses; none while nothing was lost")  # fmt: skip
        st.metric("Average", signed_money(results.mean()), border=True, help="Result per trade")


def trade_on_chart(session: Session, trade: pd.Series, zone: ZoneInfo) -> None:
    """Show one trade within its symbol's bars, with entry, exit, stop and target."""
    st.subheader(
        f"{trade['symbol']}: {signed_money(trade['realized_pnl_usd'])} ({signed_percent(trade['return_pct'])})"
    )
    note(
        f"{trade['profile_name']}, {words(trade['strategy']).lower()}. Open in market time from "
        f"{moment(trade['opened_at'], zone)} to {moment(trade['closed_at'], zone)}. "
        f"Closed by: {words(trade['exit_reason']).lower()}."
    )
    bars = _bars_around(session, trade)
    if bars.empty:
        show_empty(f"The engine fetched no bars of {trade['symbol']} for that time.")
        return
    stop, target = planned_exits(session.client, trade["id"])
    marks = TradeMarks(
        side=trade["position_side"],
        opened_at=trade["opened_at"],
        entry_price=trade["entry_price"],
        closed_at=trade["closed_at"],
        exit_price=trade["exit_price"],
        stop_price=stop,
        target_price=target,
    )
    st.plotly_chart(candles_figure(bars, marks), key="candles", alt=_in_words(trade))


def _bars_around(session: Session, trade: pd.Series) -> pd.DataFrame:
    """Return hourly bars for short trades where there are any, else daily ones."""
    start, end = trade["opened_at"], trade["closed_at"]
    if end - start < timedelta(days=15):
        margin = max(end - start, timedelta(days=6))
        hourly = price_bars(session.client, trade["symbol"], "1Hour", start - margin, end + margin)
        if len(hourly) > 5:
            return hourly
    return price_bars(session.client, trade["symbol"], "1Day", start - MARGIN * 3, end + MARGIN)


def _in_words(trade: pd.Series) -> str:
    return (
        f"Candles of {trade['symbol']} with the entry at {money(trade['entry_price'])} and the exit at "
        f"{money(trade['exit_price'])}, result {signed_money(trade['realized_pnl_usd'])}."
    )
