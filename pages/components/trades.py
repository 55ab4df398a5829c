"""Closed trades: what they add up to, the list, and one of them on the chart with its orders."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from db.queries.bars import price_bars
from db.queries.orders import orders_of_trade
from db.queries.performance import StatisticsFilters, trade_statistics
from db.queries.trades import TradeFilters, planned_exits
from engine.domain.metrics import TradeStats, excursion
from pages.charts.candles import TradeMarks, candles_figure
from pages.components.address import open_selected
from pages.components.execution import slippage_figure
from pages.components.figures import Figure, figures
from pages.components.formats import (
    NOTHING,
    age,
    count,
    moment,
    money,
    ratio,
    share,
    signed_money,
    signed_percent,
    words,
)
from pages.components.messages import note, show_empty
from pages.components.performance import stats_of
from pages.components.tables import PERCENT, SIGNED_USD, USD, state_words, time_column
from pages.session.guard import Session

OPENED = "trade"
MARGIN = timedelta(days=12)


def trade_figures(session: Session, filters: TradeFilters, shown: pd.DataFrame, *, is_all: bool) -> None:
    """Show what the trades that match add up to; of one day with more than a page of them, the page alone.

    Parameters
    ----------
    shown : the trades on the page; `is_all`: there are no others
    """
    if is_all or filters.closed_on:
        stats, of = _stats_of_rows(shown), "" if is_all else " on this page"
    else:
        wanted = StatisticsFilters(
            None, None, filters.profile_ids, filters.symbols, filters.sides, filters.exit_reasons
        )
        stats, of = stats_of(trade_statistics(session.client, wanted).total), ""
    figures(_figures(stats, of), min_width=150)


def _stats_of_rows(trades: pd.DataFrame) -> TradeStats:
    results = trades["realized_pnl_usd"]
    held = (trades["closed_at"] - trades["opened_at"]).dt.total_seconds()
    volume = trades["entry_notional_usd"] + trades["exit_price"] * trades["qty_entered"]
    return stats_of(
        pd.DataFrame(
            {
                "trades": 1, "wins": results > 0, "losses": results < 0, "gains_usd": results.clip(lower=0),
                "losses_usd": (-results).clip(lower=0), "pnl_squared": results**2, "holding_s": held,
                "volume_usd": volume,
            }
        )
    )  # fmt: skip


def _figures(stats: TradeStats, of: str) -> list[Figure]:
    held = age(timedelta(seconds=stats.holding_s)) if stats.trades else NOTHING
    return [
        Figure("Result", signed_money(stats.result_usd), f"Gains minus losses of the closed trades{of} that match.",
               count(stats.trades, "trade") + of),
        Figure("Won", share(stats.win_rate), "Trades that closed with a gain over all."),
        Figure("Profit factor", ratio(stats.profit_factor), "Gains over losses; ∞ while nothing was lost."),
        Figure("Per trade", signed_money(stats.expectancy_usd), "Result over the number of trades."),
        Figure("Time held", held, "Mean time from a trade's first fill to its last, in market time."),
    ]  # fmt: skip


def trades_table(trades: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show closed trades; selecting one opens it in the address."""
    st.dataframe(
        trades.assign(
            position_side=trades["position_side"].map(words),
            exit_reason=trades["exit_reason"].map(words),
            return_pct=trades["return_pct"] * 100,
            held=(trades["closed_at"] - trades["opened_at"]).map(age),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="trades_table",
        on_select=open_selected(OPENED, "trades_table", trades["id"].tolist()),
        selection_mode="single-row",
        height=330,
        alt="Closed trades, the last closed first, with result and what closed them",
        column_order=[
            "symbol", "realized_pnl_usd", "return_pct", "exit_reason", "position_side", "held", "qty_entered",
            "entry_price", "exit_price", "profile_name", "opened_at", "closed_at",
        ],
        column_config={
            "symbol": TextColumn("Symbol", pinned=True),
            "realized_pnl_usd": NumberColumn("Result (USD)", format=SIGNED_USD, help="Sold minus bought"),
            "return_pct": NumberColumn("Return", format=PERCENT, help="Result over what the entry cost"),
            "exit_reason": TextColumn("Closed by"),
            "position_side": TextColumn("Side"),
            "held": TextColumn("Held", help="From the first fill to the last, in market time"),
            "qty_entered": NumberColumn("Quantity", format="localized"),
            "entry_price": NumberColumn("Entry", format=USD, help="Average over its fills"),
            "exit_price": NumberColumn("Exit", format=USD, help="Average over its fills"),
            "profile_name": TextColumn("Profile"),
            "opened_at": time_column("Opened (market time)", zone),
            "closed_at": time_column("Closed (market time)", zone),
        },
    )  # fmt: skip


def trade_on_chart(session: Session, trade: pd.Series, zone: ZoneInfo) -> None:
    """Show one trade within its symbol's bars, how far the price went for and against it, and its orders."""
    result = f"{signed_money(trade['realized_pnl_usd'])} ({signed_percent(trade['return_pct'])})"
    st.subheader(f"{trade['symbol']}: {result}".replace("$", r"\$"))
    note(
        f"{trade['profile_name']}, {words(trade['strategy']).lower()}. Open in market time from "
        f"{moment(trade['opened_at'], zone)} to {moment(trade['closed_at'], zone)}. "
        f"Closed by: {words(trade['exit_reason']).lower()}."
    )
    bars, orders = _bars_around(session, trade), orders_of_trade(session.client, trade["id"])
    stop, target = planned_exits(session.client, trade["id"])
    if bars.empty:
        show_empty(f"The engine fetched no bars of {trade['symbol']} for that time.")
    else:
        figures([*one_trades_figures(trade, bars, stop), slippage_figure(orders)], columns=6, min_width=140)
        st.plotly_chart(candles_figure(bars, _marks(trade, stop, target)), key="candles", alt=_in_words(trade))
    _orders(orders, zone)


def one_trades_figures(trade: pd.Series, bars: pd.DataFrame, stop: float | None) -> list[Figure]:
    """Return one trade's figures. `stop`: the price in USD that its entry was sent with."""
    within = bars[(bars["bar_at"] <= trade["closed_at"]) & (bars["bar_at"] > trade["opened_at"] - _bar_span(bars))]
    moved = excursion(
        is_long=trade["position_side"] == "long", entry_price=trade["entry_price"], exit_price=trade["exit_price"],
        highs=within["high"].tolist(), lows=within["low"].tolist(),
    )  # fmt: skip
    risk = abs(trade["entry_price"] - stop) * trade["qty_entered"] if stop else None
    return [
        Figure("Held", age(trade["closed_at"] - trade["opened_at"]), "From first to last fill, in market time."),
        Figure("In risks", f"{trade['realized_pnl_usd'] / risk:+.2f} R" if risk else NOTHING,
               "Result over what would have been lost at the stop that the entry was sent with."),
        Figure("Went for it", signed_percent(moved.favourable),
               "Best price while it was open against the entry price (maximum favourable excursion), by the bars."),
        Figure("Went against it", signed_percent(moved.adverse),
               "Worst price while it was open against the entry price (maximum adverse excursion), by the bars."),
        Figure("Kept", share(round(trade["return_pct"] / moved.favourable, 3)) if trade["return_pct"] > 0 else NOTHING,
               "Of a trade with a gain: its return over what the best price would have brought."),
    ]  # fmt: skip


def _bar_span(bars: pd.DataFrame) -> timedelta:
    """Return how long one bar lasts: one that began before the entry may hold it."""
    return timedelta(hours=1) if bars["bar_at"].diff().min() <= pd.Timedelta(hours=1) else timedelta(days=1)


def _marks(trade: pd.Series, stop: float | None, target: float | None) -> TradeMarks:
    return TradeMarks(
        side=trade["position_side"],
        opened_at=trade["opened_at"],
        entry_price=trade["entry_price"],
        closed_at=trade["closed_at"],
        exit_price=trade["exit_price"],
        stop_price=stop,
        target_price=target,
    )


def _orders(orders: pd.DataFrame, zone: ZoneInfo) -> None:
    st.markdown("**Its orders**")
    st.dataframe(
        orders.assign(
            link="/orders?order=" + orders["id"],
            state=orders["state"].map(state_words),
            purpose=orders["purpose"].map(words),
            side=orders["side"].map(words),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="trade_orders",
        alt="The orders of this trade, each with a link to its story",
        column_order=["link", "purpose", "state", "side", "qty", "filled_qty", "filled_avg_price", "created_at"],
        column_config={
            "link": LinkColumn("Order", display_text="Open", width="small"),
            "purpose": TextColumn("Purpose"),
            "state": TextColumn("State"),
            "side": TextColumn("Side"),
            "qty": NumberColumn("Quantity", format="localized"),
            "filled_qty": NumberColumn("Filled", format="localized"),
            "filled_avg_price": NumberColumn("Price", format=USD, help="Average over its fills"),
            "created_at": time_column("Recorded", zone),
        },
    )


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
