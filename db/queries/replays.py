"""Recorded entries with what it takes to judge them again, and the bars to follow those that were never made.

For `engine.domain.what_if` and `cost_of_control`: what is judged comes as Decimal, exactly as it was recorded.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from supabase import Client

from db.queries._frames import PAGE_ROWS, all_rows, narrowed, rows
from db.queries._scope import owners_rows
from db.queries.decisions import DecisionFilters
from db.queries.paging import rows_by_key
from engine.domain.broker_types import TIMEFRAME_LENGTHS
from engine.domain.cost_of_control import LockoutSpan, PauseSpan
from engine.domain.errors import ConfigError
from engine.domain.exit_rules import SESSION_BARS, ExitRules
from engine.domain.price_path import HORIZON_BARS, Path, Plan, PriceBar, follow
from engine.domain.replay import Fate, RecordedDecision, RecordedEntry
from engine.domain.risk import GateSnapshot
from engine.domain.risk_config import PortfolioRiskConfig

REPLAYED_MAX = 500
_IDS_AT_ONCE = 100
_ORDER = (
    "id,owner_id,profile_id,symbol,side,state,code,reason,qty::text,limit_price::text,stop_loss_price::text,"
    "take_profit_price::text,filled_qty::text,market_at,created_at,broker_updated_at,ready_at"
)
# How the reason of an entry begins that a control has taken back, and the gate's code for the same.
_WITHDRAWN = {"Paused: ": "TRADING_PAUSED", "Halted: ": "TRADING_HALTED", "Locked out: ": "SYMBOL_LOCKED"}
_NOT_APPROVED = ("approval_rejected", "approval_expired")
_OVER = ("filled", "canceled", "expired", "rejected", "replaced", "denied", *_NOT_APPROVED)


@dataclass(frozen=True)
class Recorded:
    """The entries of a period, the oldest first.

    `is_all`: there are no older ones in it; `unreadable`: of how many the decision cannot be judged again.
    """

    entries: list[RecordedEntry]
    is_all: bool
    unreadable: int


def recorded_entries(client: Client, filters: DecisionFilters, limit: int = REPLAYED_MAX) -> Recorded:
    """Return the newest `limit` entries of a period as the gate judged them; codes are no filter here."""
    request = client.table("orders").select(_ORDER).eq("purpose", "entry")
    request = request.gte("created_at", filters.since.isoformat()).lt("created_at", filters.until.isoformat())
    wanted = {"profile_id": filters.profile_ids, "symbol": filters.symbols}
    request = narrowed(request if filters.profile_ids else owners_rows(request, client), wanted)
    orders, older = rows_by_key(request, "created_at", None, min(limit, PAGE_ROWS - 1))
    ids = [order["id"] for order in orders]
    decided, unreadable = _decisions(client, ids)
    trades = {
        row["id"]: row for row in _by_ids(client, "trades", "id,realized_pnl_usd::text,opened_at,closed_at", "id", ids)
    }
    profiles = {row["id"]: row for row in all_rows(client.table("profiles").select("id,params,timeframe").order("id"))}
    entries = [
        _entry(order, decided[order["id"]], trades.get(order["id"]), profiles.get(order["profile_id"], {}))
        for order in reversed(orders)
        if order["id"] in decided and order["market_at"]
    ]
    return Recorded(entries, older is None, unreadable)


def paths_of(client: Client, entries: Sequence[RecordedEntry]) -> dict[str, Path]:
    """Return what would have become of the entries that did not go to the broker, by id."""
    missed = [entry for entry in entries if entry.fate is not Fate.PASSED]
    series: dict[tuple[str, str], list[PriceBar]] = {}
    for symbol, timeframe in sorted({(entry.symbol, entry.plan.timeframe) for entry in missed}):
        asked = [e.market_at for e in missed if (e.symbol, e.plan.timeframe) == (symbol, timeframe)]
        series[symbol, timeframe] = _bars(client, symbol, timeframe, min(asked), max(asked) + _horizon(timeframe))
    return {entry.id: follow(entry.plan, series[entry.symbol, entry.plan.timeframe]) for entry in missed}


def pause_spans(client: Client, limit: int = 500) -> list[PauseSpan]:
    """Return the last spans in which a control stood in the way of entries, the newest first."""
    columns = "id,scope,scope_key,to_mode,reason,changed_by_email,changed_at,ended_at"
    request = client.table("trading_control_history").select(columns).neq("to_mode", "RUNNING")
    found = rows(request.order("changed_at", desc=True).order("id", desc=True).limit(limit))
    return [
        PauseSpan(
            id=str(row["id"]), scope=row["scope"], scope_key=row["scope_key"], since=_at(row["changed_at"]),
            until=_at(row["ended_at"]) if row["ended_at"] else None,
            words=f"{row['to_mode']} by {row['changed_by_email']}: {row['reason']}",
        )
        for row in found
    ]  # fmt: skip


def lockout_spans(client: Client, filters: DecisionFilters, limit: int = PAGE_ROWS) -> list[LockoutSpan]:
    """Return the lockouts that began before a period's end and not more than 30 days before it, the newest first."""
    columns = "id,ticker,side,profile_id,lockout_type,reason,starts_at,expires_at,removed_at,created_by_email"
    request = client.table("symbol_lockouts").select(columns).lt("starts_at", filters.until.isoformat())
    request = request.gte("starts_at", (filters.since - timedelta(days=30)).isoformat())
    found = rows(request.order("starts_at", desc=True).order("id").limit(limit))
    return [
        LockoutSpan(
            id=row["id"], ticker=row["ticker"], is_long=None if row["side"] is None else row["side"] == "long",
            profile_id=row["profile_id"], reason=row["reason"], since=_at(row["starts_at"]),
            until=_at(row["removed_at"] or row["expires_at"]),
            words=f"{row['ticker']} by {row['created_by_email']}: {row['reason']}",
        )
        for row in found
    ]  # fmt: skip


def _decisions(client: Client, ids: Sequence[str]) -> tuple[dict[str, tuple[RecordedDecision, ...]], int]:
    """Return the decisions that can be judged again, by order, and how many orders have one that cannot."""
    found = _by_ids(client, "decision_log", "id,order_id,outcome,code,config_version,inputs::text", "order_id", ids)
    configs = _configs(client, {row["config_version"] for row in found})
    decided: dict[str, list[RecordedDecision]] = {}
    unreadable = set()
    for row in sorted(found, key=lambda row: row["id"]):
        try:
            snapshot = GateSnapshot.from_inputs(json.loads(row["inputs"], parse_float=Decimal))
        except KeyError:  # written before the gate looked at all that it looks at now
            unreadable.add(row["order_id"])
            continue
        decided.setdefault(row["order_id"], []).append(
            RecordedDecision(code=row["code"], asked_a_person=row["outcome"] == "awaiting_approval",
                             snapshot=snapshot, config=configs.get(row["config_version"]))
        )  # fmt: skip
    return {id: tuple(held) for id, held in decided.items() if id not in unreadable}, len(unreadable)


def _configs(client: Client, versions: Iterable[int]) -> dict[int, PortfolioRiskConfig]:
    wanted = [str(version) for version in sorted(versions)[-_IDS_AT_ONCE:]]
    read = {}
    for row in rows(client.table("risk_configs").select("version,config").in_("version", wanted)) if wanted else []:
        try:
            read[row["version"]] = PortfolioRiskConfig.from_db_json(row["config"])
        except ValidationError:  # of a time with other bounds: who would have been asked is not known then
            continue
    return read


def _entry(
    order: Mapping[str, Any],
    decisions: tuple[RecordedDecision, ...],
    trade: Mapping[str, Any] | None,
    profile: Mapping[str, Any],
) -> RecordedEntry:
    fate, code = _fate(order)
    over = order["state"] in _OVER
    ended = _at(order["broker_updated_at"] or order["market_at"]) if over else None
    result = Decimal(0) if over and trade is None else None
    if trade is not None and trade["closed_at"]:
        result = Decimal(trade["realized_pnl_usd"])
    return RecordedEntry(
        id=order["id"],
        owner_id=order["owner_id"],
        profile_id=order["profile_id"],
        symbol=order["symbol"],
        asked_at=_at(order["created_at"]),
        plan=_plan(order, profile),
        decisions=decisions,
        fate=fate,
        code=code,
        works_until=_at(trade["opened_at"]) if trade else ended,
        held_until=(_at(trade["closed_at"]) if trade["closed_at"] else None) if trade else ended,
        result_usd=result,
        is_released=order["ready_at"] is not None,
    )


def _fate(order: Mapping[str, Any]) -> tuple[Fate, str | None]:
    state, reason = order["state"], order["reason"] or ""
    if state == "denied":
        return Fate.DENIED, order["code"]
    if state in _NOT_APPROVED:
        return Fate.NOT_APPROVED, state
    if state == "awaiting_approval":
        return Fate.WAITS, None
    withdrawn = next((code for beginning, code in _WITHDRAWN.items() if reason.startswith(beginning)), None)
    if state == "canceled" and withdrawn and not Decimal(order["filled_qty"]):
        return Fate.WITHDRAWN, withdrawn
    return Fate.PASSED, None


def _plan(order: Mapping[str, Any], profile: Mapping[str, Any]) -> Plan:
    try:
        rules = ExitRules.from_params(profile.get("params") or {})
    except ConfigError:  # such a profile is not traded; its holding rules say nothing
        rules = ExitRules()
    stop, target = order["stop_loss_price"], order["take_profit_price"]
    return Plan(
        is_long=order["side"] == "buy",
        qty=Decimal(order["qty"]),
        limit_price=Decimal(order["limit_price"]),
        stop_price=Decimal(stop) if stop else None,
        target_price=Decimal(target) if target else None,
        asked_at=_at(order["market_at"]),
        timeframe=profile.get("timeframe", "1Day"),
        rules=rules,
    )


def _bars(client: Client, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[PriceBar]:
    """Return bars of a timeframe; daily ones where the engine fetched none of it."""
    columns = "bar_at,open::text,high::text,low::text,close::text"
    request = client.table("price_bars").select(columns).eq("symbol", symbol).eq("timeframe", timeframe)
    found = all_rows(request.gte("bar_at", start.isoformat()).lte("bar_at", end.isoformat()).order("bar_at"))
    if not found and timeframe != "1Day":
        return _bars(client, symbol, "1Day", start, end + _horizon("1Day"))
    return [
        PriceBar(_at(row["bar_at"]), *(Decimal(row[name]) for name in ("open", "high", "low", "close")))
        for row in found
    ]


def _horizon(timeframe: str) -> timedelta:
    """Return a span that holds HORIZON_BARS bars, weekends and holidays included."""
    sessions = -(-HORIZON_BARS // SESSION_BARS[timeframe])
    return timedelta(days=sessions * 1.6 + 6) + TIMEFRAME_LENGTHS[timeframe]


def _by_ids(client: Client, table: str, columns: str, key: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    parts = [ids[first : first + _IDS_AT_ONCE] for first in range(0, len(ids), _IDS_AT_ONCE)]
    return [row for part in parts for row in rows(client.table(table).select(columns).in_(key, list(part)))]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
