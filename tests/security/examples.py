"""For each function a call that is answered, with the ids of a live database: what bad input departs from.

A function without an example here is called with the least that its signature asks for.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg

from tests.db.conftest import BrokerOrder, Engine
from tests.security.actors import Actor
from tests.security.expectations import ADMIN, DEMOTED, ENGINE, FUNCTIONS

Arguments = dict[str, Any]
MARKET_AT = "2007-01-03T21:00:00+00:00"
SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()


def caller_of(function: str) -> str:
    """Return the actor who calls a function in these tests: an admin where one may, else the engine."""
    return next(name for name in (ADMIN, ENGINE) if name in FUNCTIONS[function])


def examples(engine: Engine, callers: dict[str, Actor], db: psycopg.Connection) -> dict[str, Arguments]:
    """Bring about what the calls are about, and return their arguments by function."""
    made = {
        **_controls(engine, callers),
        **_approvals(engine, callers, db),
        **_engine(engine, db),
        **_alerts(callers, db),
    }
    assert set(made) <= set(FUNCTIONS), sorted(set(made) - set(FUNCTIONS))
    return made


def _controls(engine: Engine, callers: dict[str, Actor]) -> dict[str, Arguments]:
    admin = callers[ADMIN]
    why = {"p_reason": "A planned exercise"}
    profile = {"p_profile_id": str(engine.profiles["Bob trend hourly"])}
    scope = {"p_scope": "symbol", "p_scope_key": "FB"}
    schedule = why | scope | {"p_mode": "PAUSED", "p_kind": "once", "p_starts_at": "2031-01-02T15:00:00Z"}
    lockout = why | {"p_ticker": "TSLA", "p_duration_minutes": 60, "p_lockout_type": "manual", "p_side": "long"}
    override = why | profile | {"p_code": "ORDER_RATE", "p_minutes": 60, "p_symbol": "IBM"}
    return {
        "cancel_schedule": why | {"p_schedule_id": _id(admin, "schedule_trading_mode", schedule, "schedule")},
        "create_lockout": lockout,
        "grant_override": override,
        "market_times": {"p_moments": [MARKET_AT]},
        "trade_statistics": {
            "p_from": "2007-01-01",
            "p_until": "2008-01-01",
            "p_symbols": ["AAPL"],
            "p_sides": ["long"],
            "p_profile_ids": [str(engine.profiles["Bob trend hourly"])],
            "p_exit_reasons": ["manual"],
        },
        "halt_trading": why | scope | {"p_reason_code": "incident"},
        "pause_trading": why | scope | {"p_reason_code": "news", "p_resume_at": SOON},
        "preflight_resume": scope,
        "remove_lockout": why | {"p_lockout_id": _id(admin, "create_lockout", lockout, "lockout")},
        "resume_trading": why | scope | {"p_reason_code": "manual", "p_override_reason": "Seen and accepted"},
        "revoke_override": why | {"p_override_id": _id(admin, "grant_override", override, "override")},
        "schedule_trading_mode": schedule | {"p_time_zone": "America/New_York", "p_reason_code": "schedule"},
        "set_external_order_policy": why | profile | {"p_policy": "ignore", "p_broker_account": "main"},
        "set_member_role": why | {"p_user_id": str(callers[DEMOTED].user_id), "p_role": "operator"},
        "set_profile_active": why | profile | {"p_active": True},
        "why": profile | {"p_symbol": "IBM", "p_side": "buy", "p_qty": "1", "p_price": "100"},
    }


def _approvals(engine: Engine, callers: dict[str, Actor], db: psycopg.Connection) -> dict[str, Arguments]:
    """Make one entry wait for a person, and return the calls about approvals and their settings."""
    patch = {"p_patch": {"auto_approve_paper": False}, "p_reason": "A person looks at each"}
    assert callers[ADMIN].call("update_approval_config", patch).is_success
    waiting = engine.ask_one("Bob trend hourly", symbol="AAPL")
    assert waiting.state == "awaiting_approval", waiting
    row = db.execute("select id::text from operator_approvals where order_id = %s", (waiting.id,)).fetchone()
    config = callers[ADMIN].call("risk_config", {}).json()
    assert row is not None
    decision = {"p_decision": "approve", "p_reason": "Looks right"}
    version = {"p_expected_version": config["version"], "p_reason": "Settings reviewed"}
    return {
        "approval_checks": {"p_approval_id": row[0]},
        "decide_approval": decision | {"p_approval_id": row[0], "p_shown_hash": None},
        "decide_approvals": decision | {"p_approval_ids": [row[0]]},
        "revert_risk_config": version | {"p_version": 1},
        "update_approval_config": patch,
        "update_risk_config": version | {"p_config": config["config"]},
    }


def _alerts(callers: dict[str, Actor], db: psycopg.Connection) -> dict[str, Arguments]:
    mute = {"p_reason": "Being looked into", "p_rule": "ORDER_UNKNOWN", "p_subject": "some order", "p_minutes": 5}
    row = db.execute("select id::text from alerts where resolved_at is null limit 1").fetchone()
    notice = callers[ADMIN].call("test_alert", {}).json()["notification_id"]
    return {
        "acknowledge_alert": {"p_alert_id": row[0] if row else str(uuid4()), "p_note": "On it"},
        "claim_notifications": {"p_holder": "an engine", "p_limit": 5, "p_ttl_s": 60},
        "evaluate_alerts": {"p_notifiers": 1},
        "mute_alert": mute,
        "settle_notifications": {
            "p_holder": "an engine",
            "p_results": [{"id": notice, "token": 1, "delivered_to": ["a1b2"], "error": "no answer"}],
        },
        "unmute_alert": {"p_mute_id": _id(callers[ADMIN], "mute_alert", mute, "mute"), "p_reason": "Settled"},
    }


def _engine(engine: Engine, db: psycopg.Connection) -> dict[str, Arguments]:
    held = {"p_shard": engine.shard, "p_token": engine.token}
    order = BrokerOrder(_claimed(engine, db))
    row = db.execute("select trade_id::text from positions order by opened_at limit 1").fetchone()
    assert row is not None
    mark = {"trade_id": row[0], "mark_price": "101", "stop_price": "95", "take_profit_price": "110",
            "protected_qty": "10", "market_at": MARKET_AT}  # fmt: skip
    bar = {"symbol": "AAPL", "timeframe": "1Day", "bar_at": MARKET_AT, "open": "1", "high": "2", "low": "1",
           "close": "2", "volume": "10"}  # fmt: skip
    finding = {"key": "order:1", "kind": "UNKNOWN_ORDER", "symbol": "AAPL", "detail": {"qty": "1"}, "status": "open"}
    submitted = {"id": str(order.id), "outcome": "accepted", "request_id": "r-1", "order": order.says("new")}
    exit_id = str(uuid4())
    offline = {"id": exit_id, "trade_id": row[0], "purpose": "exit", "qty": "1", "order_type": "market",
               "exit_reason": "stop_loss", "reason": "Through the stop", "market_at": MARKET_AT, "outcome": "accepted",
               "request_id": "r-2", "order": order.says("new") | {
                   "client_order_id": exit_id, "broker_order_id": str(uuid4()), "legs": []}}  # fmt: skip
    signal = {"id": str(uuid4()), "profile_id": str(engine.profiles["Alice trend daily"]), "symbol": "IBM",
              "side": "buy", "strategy": "ma_crossover", "strength": "0.5", "bar_at": MARKET_AT, "market_at": MARKET_AT,
              "detail": {"reason": "crossed"}, "blocked_by": "macro"}  # fmt: skip
    run = {"kind": "incremental", "started_at": MARKET_AT, "orders_checked": 1, "positions_checked": 1}
    return {
        "acquire_lease": {"p_shard": "elsewhere", "p_holder": "another engine", "p_ttl_s": 10},
        "adopt_orders": held | {"p_orders": [order.says("new")]},
        "close_position": {"p_trade_id": row[0], "p_reason": "A planned exercise"},
        "claim_orders": held | {"p_limit": 5, "p_purpose": "exit"},
        "engine_lockout": held | {"p_ticker": "IBM", "p_reason": "Two stops in a row", "p_duration_minutes": 30,
                                  "p_lockout_type": "stoploss_guard", "p_side": "long",
                                  "p_detail": {"stops": 2, "cause": "trade:1"}},
        "engine_snapshot": held,
        "expire_stale_approvals": held,
        "heartbeat": held | {"p_version": "1.2.3", "p_market_at": MARKET_AT, "p_jobs": {"tick": {"at": MARKET_AT}},
                             "p_detail": {"data_age_s": 1, "market_open": True}, "p_ttl_s": 300},
        "load_bot_state": held,
        "protection_facts": held | {"p_since": MARKET_AT},
        "prune_history": held | {"p_limit": 10},
        "reconcile_apply": held | {"p_run": run, "p_findings": [finding]},
        "reconcile_books": held,
        "reconcile_orders": held | {"p_client_ids": [str(order.id)], "p_broker_ids": [order.broker_id],
                                    "p_statuses": ["new"], "p_filled": ["0"]},
        "record_bars": held | {"p_bars": [bar]},
        "record_equity": held | {"p_market_at": MARKET_AT, "p_session_date": "2007-01-03"},
        "record_marks": held | {"p_marks": [mark]},
        "record_offline_exits": held | {"p_exits": [offline]},
        "record_order_updates": held | {"p_updates": [order.says("partially_filled", filled="4", price="100")]},
        "record_split": held | {"p_symbol": "FB", "p_ratio": "2", "p_effective_at": MARKET_AT, "p_expected_qty": "0",
                                "p_source": "A split"},
        "record_signals": held | {"p_signals": [signal]},
        "record_submission": held | {"p_results": [submitted]},
        "release_lease": held,
        "request_cancels": held | {"p_requests": [{"id": str(order.id), "reason": "One too many"}]},
        "request_entries": held | {"p_requests": [engine.entry("Alice trend daily", symbol="IBM")]},
        "request_exits": held | {"p_requests": [{"id": str(uuid4()), "trade_id": row[0], "exit_reason": "manual"}]},
        "save_bot_state": held | {"p_state": {"positions": [{"symbol": "AAPL", "qty": "10"}]}},
        "schema_version": {},
    }  # fmt: skip


def _claimed(engine: Engine, db: psycopg.Connection) -> Any:
    """Return an order that is being sent right now."""
    db.execute("update risk_configs set config = jsonb_set(config, '{operator_approval,auto_approve_paper}', 'true')")
    answer = engine.ask_one("Alice dips hourly", symbol="MSFT")
    assert answer.state == "ready", answer
    return next(order for order in engine.claim() if order.id == answer.id)


def _id(actor: Actor, function: str, arguments: Arguments, kind: str) -> str:
    answer = actor.call(function, arguments)
    assert answer.is_success, answer.text
    return str(answer.json()[kind]["id"])
