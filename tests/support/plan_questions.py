"""Every question of `db.queries`, asked of a million orders as the pages ask it, for `tests/db/test_plans.py`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pandas as pd

from db.queries import (
    alerts,
    approvals,
    audit,
    bars,
    controls,
    decisions,
    drills,
    engine_state,
    equity,
    jobs,
    lockouts,
    members,
    orders,
    overrides,
    performance,
    positions,
    profiles,
    replays,
    risk_configs,
    runtime,
    schedules,
    signals,
    trades,
)
from db.queries.alerts import AlertFilters
from db.queries.approvals import ApprovalFilters
from db.queries.audit import ENGINE, AuditFilters
from db.queries.decisions import DecisionFilters
from db.queries.lockouts import LockoutFilters
from db.queries.orders import OrderFilters
from db.queries.paging import Cursor
from db.queries.performance import StatisticsFilters
from db.queries.positions import PositionFilters
from db.queries.signals import SignalFilters
from db.queries.trades import TradeFilters
from engine.domain.price_path import Plan
from engine.domain.replay import Fate, RecordedEntry
from tests.support.million import ADMIN, BUSY, FIRST_DAY, SMALL, entry_of

ROLES = {"admin": ADMIN, "busy": BUSY, "small": SMALL}  # busy: a tenth of all orders; small: a few hundred

# Blocks of traded orders in the middle of the history, by who sees them.
BLOCK = {"admin": 160_010, "busy": 160_010, "small": 160_000}
MIDDLE = FIRST_DAY + 160_000 * timedelta(seconds=180)
CURSOR = Cursor(MIDDLE, str(entry_of(160_000)))
CURSOR_OF_A_NUMBER = Cursor(MIDDLE, "1")  # for tables whose rows are numbered
LAST = Cursor(FIRST_DAY + timedelta(hours=1), str(entry_of(20)))
WEEK = DecisionFilters(MIDDLE - timedelta(days=6), MIDDLE + timedelta(days=1))
PAUSES = pd.DataFrame({"started_at": [pd.Timestamp(MIDDLE)], "ended_at": [pd.Timestamp(MIDDLE + timedelta(days=2))],
                       "reason": ["Check"]})  # fmt: skip


# Every function of db.queries, asked as the pages ask it.
QUESTIONS: dict[str, Callable[[str], partial[Any]]] = {
    "alerts open": lambda _: partial(alerts.open_alerts, filters=AlertFilters()),
    "alerts open, as rows": lambda _: partial(alerts.open_alert_rows),
    "alerts past": lambda _: partial(alerts.past_alerts, filters=AlertFilters()),
    "alerts past, further on": lambda _: partial(alerts.past_alerts, filters=AlertFilters(), after=CURSOR),
    "alerts past of a rule": lambda _: partial(alerts.past_alerts, filters=AlertFilters(rules=("ORDER_UNKNOWN",))),
    "alerts exported": lambda _: partial(alerts.alerts_for_export, filters=AlertFilters()),
    "alerts muted": lambda _: partial(alerts.mutes_in_force),
    "alerts muted, as rows": lambda _: partial(alerts.mute_rows),
    "notices": lambda _: partial(alerts.notices),
    "notices, further on": lambda _: partial(alerts.notices, after=CURSOR),
    "approvals waiting": lambda _: partial(approvals.waiting_approvals, filters=ApprovalFilters()),
    "approvals decided": lambda _: partial(approvals.decided_approvals, filters=ApprovalFilters()),
    "approvals decided, further on": lambda _: partial(
        approvals.decided_approvals, filters=ApprovalFilters(), after=CURSOR
    ),
    "approvals exported": lambda _: partial(approvals.approvals_for_export, filters=ApprovalFilters()),
    "approvals as rows": lambda _: partial(
        approvals.approval_rows, filters=ApprovalFilters(statuses=("rejected",)), after=None, size=100
    ),
    "audit log": lambda _: partial(audit.audit_page, filters=AuditFilters()),
    "audit log, further on": lambda _: partial(audit.audit_page, filters=AuditFilters(), after=CURSOR_OF_A_NUMBER),
    "audit log of a member": lambda _: partial(audit.audit_page, filters=AuditFilters(actor=str(BUSY))),
    "audit log of the engine": lambda _: partial(audit.audit_page, filters=AuditFilters(actor=ENGINE)),
    "audit log of an action": lambda _: partial(audit.audit_page, filters=AuditFilters(actions=("halt_trading",))),
    "audit log of refusals": lambda _: partial(audit.audit_page, filters=AuditFilters(outcomes=("refused",))),
    "audit log of a day": lambda _: partial(
        audit.audit_page, filters=AuditFilters(since=MIDDLE.date(), until=MIDDLE.date())
    ),
    "audit log exported": lambda _: partial(audit.audit_for_export, filters=AuditFilters()),
    "a row of the audit log": lambda _: partial(audit.audit_entry, entry_id="1000"),
    "bars of a day": lambda _: partial(
        bars.price_bars, symbol="AAPL", timeframe="5Min", start=MIDDLE, end=MIDDLE + timedelta(days=1)
    ),
    "bars of a year": lambda _: partial(
        bars.price_bars, symbol="AAPL", timeframe="1Day", start=FIRST_DAY, end=FIRST_DAY + timedelta(days=365)
    ),
    "latest prices": lambda _: partial(bars.latest_prices, symbols=["AAPL"]),
    "latest pauses": lambda _: partial(controls.latest_pauses),
    "control history": lambda _: partial(controls.control_history),
    "equity curve": lambda _: partial(equity.equity_curve),
    "equity curve of a session": lambda _: partial(equity.equity_curve, since=date(2026, 1, 5)),
    "equity by profile": lambda _: partial(equity.equity_by_profile),
    "profit by profile": lambda _: partial(equity.profit_by_profile, sessions=[date(2026, 1, 5)], names={}),
    "pauses in market time": lambda _: partial(equity.in_market_time, several=[PAUSES]),
    "engines": lambda _: partial(engine_state.engines),
    "reconciliation runs": lambda _: partial(engine_state.reconciliation_runs),
    "reconciliation runs, further on": lambda _: partial(engine_state.reconciliation_runs, after=CURSOR),
    "open findings": lambda _: partial(engine_state.open_findings),
    "past findings": lambda _: partial(engine_state.past_findings),
    "past findings, further on": lambda _: partial(engine_state.past_findings, after=CURSOR_OF_A_NUMBER),
    "members": lambda _: partial(members.members),
    "overrides in force": lambda role: partial(overrides.overrides_in_force, profile_ids=[str(PROFILE[role])]),
    "versions of the risk configuration": lambda _: partial(risk_configs.risk_versions),
    "a version of the risk configuration": lambda _: partial(risk_configs.risk_config_at, version=1),
    "lockouts in force": lambda _: partial(lockouts.lockouts_in_force, filters=LockoutFilters()),
    "latest lockouts": lambda _: partial(lockouts.latest_lockouts, size=40),
    "past lockouts": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters()),
    "past lockouts, further on": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters(), after=CURSOR),
    "past lockouts of a symbol": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters(tickers=("AAPL",))),
    "lockouts exported": lambda _: partial(lockouts.lockouts_for_export, filters=LockoutFilters()),
    "lockouts as rows": lambda _: partial(
        lockouts.lockout_rows, filters=LockoutFilters(), after=None, size=100, in_force=True
    ),
    "orders": lambda _: partial(orders.orders_page, filters=OrderFilters()),
    "orders, further on": lambda _: partial(orders.orders_page, filters=OrderFilters(), after=CURSOR),
    "orders, the last page": lambda _: partial(orders.orders_page, filters=OrderFilters(), after=LAST),
    "orders of a symbol": lambda _: partial(orders.orders_page, filters=OrderFilters(symbols=("FB",))),
    "orders of a purpose": lambda _: partial(orders.orders_page, filters=OrderFilters(purposes=("stop_loss",))),
    "orders that were filled": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("filled",))),
    "orders that work": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("working",))),
    "orders whose fate is unknown": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("unknown",))),
    "orders that the broker rejected": lambda _: partial(
        orders.orders_page, filters=OrderFilters(states=("rejected",))
    ),
    "orders of a profile": lambda role: partial(
        orders.orders_page, filters=OrderFilters(profile_ids=(str(PROFILE[role]),))
    ),
    "orders that have not ended": lambda _: partial(orders.open_orders),
    "orders exported": lambda _: partial(orders.orders_for_export, filters=OrderFilters()),
    "an order": lambda role: partial(orders.order_by_id, order_id=str(entry_of(BLOCK[role]))),
    "an order's events": lambda role: partial(orders.order_events, order_id=str(entry_of(BLOCK[role]))),
    "an order's decision": lambda role: partial(orders.decision, order_id=str(entry_of(BLOCK[role]))),
    "denials": lambda _: partial(orders.latest_denials),
    "decisions of a week": lambda _: partial(decisions.entries_page, filters=WEEK),
    "decisions of a week, further on": lambda _: partial(decisions.entries_page, filters=WEEK, after=CURSOR),
    "decisions of a week with a code": lambda _: partial(
        decisions.entries_page, filters=replace(WEEK, codes=("ORDER_QTY_MAX",))
    ),
    "decisions of a profile": lambda role: partial(
        decisions.entries_page, filters=replace(WEEK, profile_ids=(str(PROFILE[role]),))
    ),
    "decisions exported": lambda _: partial(decisions.entries_for_export, filters=WEEK),
    "how the entries of a week ended": lambda _: partial(decisions.entry_outcomes, filters=WEEK),
    "signals of a week that layers blocked": lambda _: partial(
        decisions.blocked_in_period, profile_ids=[str(UUID(int=1000 + n)) for n in range(100)], filters=WEEK
    ),
    "the last decisions before a moment": lambda _: partial(decisions.entries_before, symbol="FB", at=MIDDLE),
    "modes at a moment": lambda _: partial(decisions.modes_at, at=MIDDLE),
    "lockouts at a moment": lambda _: partial(decisions.lockouts_at, symbol="AAPL", at=MIDDLE),
    "decisions to judge again": lambda _: partial(replays.recorded_entries, filters=WEEK),
    "bars to follow an entry over": lambda _: partial(replays.paths_of, entries=[a_denied_entry()]),
    "pauses as spans": lambda _: partial(replays.pause_spans),
    "lockouts as spans": lambda _: partial(replays.lockout_spans, filters=WEEK),
    "signals of a profile": lambda role: partial(signals.signals_page, filters=signals_of(role)),
    "signals of a profile, further on": lambda role: partial(
        signals.signals_page, filters=signals_of(role), after=CURSOR
    ),
    "signals of a profile that layers blocked": lambda role: partial(
        signals.signals_page, filters=replace(signals_of(role), blocked=True)
    ),
    "what signals led to": lambda role: partial(
        signals.entries_of_signals,
        profile_id=str(PROFILE[role]),
        signals=pd.DataFrame({"id": ["1", "2"], "created_at": pd.to_datetime([WEEK.since, WEEK.until])}),
    ),
    "signals exported": lambda role: partial(signals.signals_for_export, filters=signals_of(role)),
    "layers that are switched on": lambda _: partial(signals.layer_switches),
    "a drill: live profiles": lambda _: partial(drills.live_profiles),
    "a drill: signs of life": lambda _: partial(drills.drill_heartbeats),
    "a drill: an order": lambda role: partial(drills.drill_order, order_id=str(entry_of(BLOCK[role]))),
    "a drill: positions and their stops": lambda _: partial(drills.drill_positions),
    "a drill: entries that were sent": lambda _: partial(drills.entries_sent_after, at=datetime.now(UTC)),
    "a drill: which are entries": lambda role: partial(drills.entry_ids, order_ids=[str(entry_of(BLOCK[role]))]),
    "positions": lambda _: partial(positions.open_positions),
    "profiles": lambda _: partial(profiles.profiles),
    "profiles with what they have committed": lambda _: partial(profiles.profile_settings),
    "policies for orders that are not ours": lambda _: partial(profiles.external_policies),
    "states of the profiles": lambda _: partial(runtime.profile_states),
    "positions held": lambda _: partial(runtime.held_positions),
    "positions held of a symbol": lambda _: partial(runtime.held_positions, symbol="AAPL"),
    "open orders": lambda _: partial(runtime.open_orders),
    "open orders of a symbol": lambda _: partial(runtime.open_orders, symbol="AAPL"),
    "planned changes": lambda _: partial(schedules.planned_changes),
    "what trades add up to": lambda _: partial(performance.trade_statistics, filters=StatisticsFilters()),
    "what the trades of some months add up to": lambda role: partial(
        performance.trade_statistics,
        filters=StatisticsFilters(date(2025, 3, 1), date(2025, 9, 1), (str(PROFILE[role]),), ("AAPL", "FB")),
    ),
    "equity of some profiles": lambda role: partial(equity.equity_of_profiles, profile_ids=[str(PROFILE[role])]),
    "closes of a year": lambda _: partial(
        bars.daily_closes, symbols=["AAPL", "IBM"], start=FIRST_DAY, end=FIRST_DAY + timedelta(days=365)
    ),
    "positions of a symbol": lambda _: partial(positions.open_positions, filters=PositionFilters(symbols=("AAPL",))),
    "exposure by sector": lambda _: partial(positions.sector_exposure),
    "exits under way": lambda _: partial(positions.exits_under_way),
    "owners' addresses": lambda _: partial(positions.owner_emails),
    "health of the jobs": lambda _: partial(jobs.job_health),
    "orders of a day": lambda _: partial(
        orders.orders_page, filters=OrderFilters(recorded_on=MIDDLE.date(), zone="America/New_York")
    ),
    "orders of a trade": lambda role: partial(orders.orders_of_trade, trade_id=str(entry_of(BLOCK[role]))),
    "an order's moments": lambda role: partial(orders.order_moments, order=an_order(role)),
    "a page of trades": lambda _: partial(trades.trades_page, filters=TradeFilters()),
    "a page of trades, further on": lambda _: partial(trades.trades_page, filters=TradeFilters(), after=CURSOR),
    "trades of a day": lambda _: partial(trades.trades_page, filters=TradeFilters(closed_on=MIDDLE.date())),
    "trades of a side": lambda _: partial(trades.trades_page, filters=TradeFilters(sides=("long",))),
    "trades exported": lambda _: partial(trades.trades_for_export, filters=TradeFilters()),
    "a trade": lambda role: partial(trades.trade_by_id, trade_id=str(entry_of(BLOCK[role]))),
    "closed trades": lambda _: partial(trades.closed_trades, filters=TradeFilters()),
    "closed trades of a symbol": lambda _: partial(trades.closed_trades, filters=TradeFilters(symbols=("AAPL",))),
    "closed trades of a profile": lambda role: partial(
        trades.closed_trades, filters=TradeFilters(profile_ids=(str(PROFILE[role]),))
    ),
    "fills with the prices that were meant": lambda _: partial(
        trades.priced_fills, profile_ids=(), since=MIDDLE.date()
    ),
    "fills of a profile with the prices that were meant": lambda role: partial(
        trades.priced_fills, profile_ids=(str(PROFILE[role]),), since=MIDDLE.date()
    ),
    "fills of a trade": lambda role: partial(trades.trade_fills, trade_id=str(entry_of(BLOCK[role]))),
    "planned exits of a trade": lambda role: partial(trades.planned_exits, trade_id=str(entry_of(BLOCK[role]))),
}


def an_order(role: str) -> pd.Series:
    """Return what `order_moments` needs to know of the first order of a traded block."""
    return pd.Series({"id": str(entry_of(BLOCK[role])), "signal_id": str(entry_of(BLOCK[role]))})


def signals_of(role: str) -> SignalFilters:
    """Return the filters for a week of the signals of a profile that a role sees."""
    return SignalFilters(str(PROFILE[role]), WEEK.since, WEEK.until)


def a_denied_entry() -> RecordedEntry:
    """Return an entry whose path over the bars is asked for."""
    plan = Plan(is_long=True, qty=Decimal(1), limit_price=Decimal(100), stop_price=None, target_price=None,
                asked_at=MIDDLE)  # fmt: skip
    return RecordedEntry(id="1", owner_id="1", profile_id="1", symbol="AAPL", asked_at=MIDDLE, plan=plan, decisions=(),
                         fate=Fate.DENIED, code="DAILY_LOSS")  # fmt: skip


PROFILE = {"admin": UUID(int=1010), "busy": UUID(int=1010), "small": UUID(int=1099)}
