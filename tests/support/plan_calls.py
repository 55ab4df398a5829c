"""One call of every function of the authority over a million orders, for `tests/db/test_plans.py`."""

from uuid import UUID

from tests.support import million
from tests.support.million import ADMIN, BUSY, SMALL, entry_of

LEASE = "select acquire_lease('main', 'tests', 300)"
ENTRY = """'[{"id": "00000000-0000-4000-8000-000000000001", "profile_id": "00000000-0000-0000-0000-0000000003f2",
    "symbol": "AAPL", "side": "buy", "qty": "1", "limit_price": "100", "reference_price": "100",
    "market_at": "2026-11-20T15:00:00Z", "quote_at": "2026-11-20T15:00:00Z", "market_open": true}]'"""
ASKED = f"select request_entries('main', 1, {ENTRY})"
CLAIMED = "select claim_orders('main', 1)"
WAITING = entry_of((million.BLOCKS - 3) // 3 * 3)  # the newest blocks are open: an entry that waits for a person,
OPEN_TRADE = entry_of((million.BLOCKS - 3) // 3 * 3 + 1)  # and a position
PENDING = f"(select id from operator_approvals where order_id = '{WAITING}')"
NOTED = """update_risk_config((select config || '{"note": 1}' from risk_configs where active),
    (select version from risk_configs where active), 'Note')"""

ALERT = f"""reset role; insert into alerts (id, rule, subject, severity, message, opened_at)
    values ('{UUID(int=8)}', 'JOB_LATE', 's', 'critical', 'Late', now())"""
LOOK_AGAIN = "reset role; update private.alert_watch set evaluated_at = '-infinity'"  # the usual look: nothing is new
NOTICE = f"""reset role; insert into notifications (id, event, severity, title, body, created_at, due_at)
    values ('{UUID(int=9)}', 'test', 'warning', 't', 'b', now(), now())"""

# Every function of the authority: who calls it, what has to be there, the call.
CALLS: dict[str, tuple[UUID | None, list[str], str]] = {
    "trading_status": (SMALL, [], "trading_status()"),
    "why": (SMALL, [], "why('AAPL')"),
    "preflight_resume": (ADMIN, [], "preflight_resume()"),
    "approval_checks": (ADMIN, [], f"approval_checks({PENDING})"),
    "risk_config": (ADMIN, [], "risk_config()"),
    "approval_config": (ADMIN, [], "approval_config()"),
    "pause_trading": (ADMIN, [], "pause_trading('Check')"),
    "halt_trading": (ADMIN, [], "halt_trading('Check')"),
    "resume_trading": (
        ADMIN, ["select pause_trading('Check')"], "resume_trading('Go', p_override_reason => 'Checked')",
    ),
    "schedule_trading_mode": (
        ADMIN, [], "schedule_trading_mode('PAUSED', 'once', 'Check', p_starts_at => now() + interval '1 hour')"
    ),
    "cancel_schedule": (
        ADMIN, ["select schedule_trading_mode('PAUSED', 'once', 'Check', p_starts_at => now() + interval '1 hour')"],
        "cancel_schedule((select id from control_schedules limit 1), 'No')",
    ),
    "create_lockout": (ADMIN, [], "create_lockout('AAPL', 'News')"),
    "remove_lockout": (
        ADMIN, ["select create_lockout('AAPL', 'News')"],
        "remove_lockout((select id from symbol_lockouts order by starts_at desc limit 1), 'Over')",
    ),
    "grant_override": (ADMIN, [], f"grant_override('{UUID(int=1010)}', 'PRICE_COLLAR', 'Once', 5)"),
    "revoke_override": (
        ADMIN, [f"select grant_override('{UUID(int=1010)}', 'PRICE_COLLAR', 'Once', 5)"],
        f"revoke_override((select id from gate_overrides where profile_id = '{UUID(int=1010)}'"
        " order by expires_at desc limit 1), 'No')",
    ),
    "close_position": (ADMIN, [], f"close_position('{OPEN_TRADE}', 'Earnings tonight')"),
    "trade_statistics": (ADMIN, [], "trade_statistics()"),
    "market_times": (SMALL, [], "market_times(array[now(), '2025-06-01 00:00Z'])"),
    "set_profile_active": (ADMIN, [], f"set_profile_active('{UUID(int=1010)}', false, 'Check')"),
    "set_member_role": (ADMIN, [], f"set_member_role('{BUSY}', 'operator', 'Helps out')"),
    "decide_approval": (ADMIN, [], f"decide_approval({PENDING}, 'reject', 'No')"),
    "decide_approvals": (ADMIN, [], f"decide_approvals(array[{PENDING}], 'reject', 'No')"),
    "update_risk_config": (ADMIN, [], NOTED),
    "revert_risk_config": (
        ADMIN, [f"select {NOTED}"], "revert_risk_config(1, (select version from risk_configs where active), 'Back')",
    ),
    "update_approval_config": (ADMIN, [], """update_approval_config('{"approval_timeout_minutes": 9}')"""),
    "acquire_lease": (None, [], "acquire_lease('main', 'tests', 300)"),
    "release_lease": (None, [LEASE], "release_lease('main', 1)"),
    "heartbeat": (None, [LEASE], "heartbeat('main', 1)"),
    "engine_snapshot": (None, [LEASE], "engine_snapshot('main', 1)"),
    "request_entries": (None, [LEASE], f"request_entries('main', 1, {ENTRY})"),
    "request_exits": (
        None, [LEASE],
        f"""request_exits('main', 1,
            '[{{"id": "00000000-0000-4000-8000-000000000002", "trade_id": "{OPEN_TRADE}"}}]')""",
    ),
    "claim_orders": (None, [LEASE, ASKED], "claim_orders('main', 1)"),
    "record_submission": (
        None, [LEASE, ASKED, CLAIMED],
        """record_submission('main', 1, '[{"id": "00000000-0000-4000-8000-000000000001", "outcome": "unknown"}]')""",
    ),
    "record_order_updates": (
        None, [LEASE],
        f"""record_order_updates('main', 1, '[{{"client_order_id": "{UUID(int=OPEN_TRADE.int + 1)}",
            "broker_order_id": "broker-{OPEN_TRADE.int + 1}", "status": "filled", "filled_qty": "10",
            "filled_avg_price": "101", "updated_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "expire_stale_approvals": (None, [LEASE], "expire_stale_approvals('main', 1)"),
    "record_marks": (
        None, [LEASE],
        f"""record_marks('main', 1,
            '[{{"trade_id": "{OPEN_TRADE}", "mark_price": "101", "market_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "record_equity": (None, [LEASE], "record_equity('main', 1, '2026-11-20 21:00Z', '2026-11-20')"),
    "record_bars": (
        None, [LEASE],
        """record_bars('main', 1, '[{"symbol": "AAPL", "timeframe": "1Day", "bar_at": "2026-11-20T05:00:00Z",
            "open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}]')""",
    ),
    "record_signals": (
        None, [LEASE],
        f"""record_signals('main', 1, '[{{"id": "{UUID(int=7)}", "profile_id": "{UUID(int=1010)}", "symbol": "AAPL",
            "side": "buy", "strategy": "s", "bar_at": "2026-11-20T15:00:00Z",
            "market_at": "2026-11-20T15:00:00Z", "detail": {{}}, "blocked_by": "macro"}}]')""",
    ),
    "engine_lockout": (None, [LEASE], "engine_lockout('main', 1, 'AAPL', 'After a loss', 5, 'cooldown')"),
    "save_bot_state": (None, [LEASE], "save_bot_state('main', 1, '{}')"),
    "load_bot_state": (None, [LEASE], "load_bot_state('main', 1)"),
    "reconcile_apply": (
        None, [LEASE],
        """reconcile_apply('main', 1, '{"kind": "incremental"}',
            '[{"key": "k", "kind": "ORDER_MISSING", "symbol": "AAPL"}]')""",
    ),
    "prune_history": (None, [LEASE], "prune_history('main', 1, 100)"),
    "evaluate_alerts": (
        None, [LEASE, "select evaluate_alerts(1)", LOOK_AGAIN], "evaluate_alerts(1)",
    ),
    "acknowledge_alert": (ADMIN, [ALERT], f"acknowledge_alert('{UUID(int=8)}', 'On it')"),
    "mute_alert": (ADMIN, [], "mute_alert('Known', 'JOB_LATE')"),
    "unmute_alert": (
        ADMIN, ["select mute_alert('Known', 'JOB_LATE')"],
        "unmute_alert((select id from alert_mutes order by starts_at desc limit 1), 'Over')",
    ),
    "test_alert": (ADMIN, [], "test_alert()"),
    "claim_notifications": (None, [NOTICE], "claim_notifications('tests', 10)"),
    "settle_notifications": (
        None, [NOTICE, "select claim_notifications('tests', 500)"],
        f"""settle_notifications('tests', '[{{"id": "{UUID(int=9)}", "token": 1, "error": null}}]')""",
    ),
    "adopt_orders": (
        None, [LEASE],
        f"""adopt_orders('main', 1, '[{{"client_order_id": "{UUID(int=OPEN_TRADE.int + 1)}",
            "broker_order_id": "broker-{OPEN_TRADE.int + 1}", "symbol": "AAPL", "side": "sell", "status": "new",
            "qty": "10", "filled_qty": "0", "order_type": "limit", "limit_price": "110",
            "updated_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "protection_facts": (None, [LEASE], "protection_facts('main', 1, now() - interval '1 day')"),
    "reconcile_books": (None, [LEASE], "reconcile_books('main', 1)"),
    "reconcile_orders": (
        None, [LEASE],
        f"""reconcile_orders('main', 1, array['{OPEN_TRADE}'], array['broker-{OPEN_TRADE.int}'], array['new'],
            array[0])""",
    ),
    "record_offline_exits": (
        None, [LEASE],
        f"""record_offline_exits('main', 1, '[{{"id": "{UUID(int=2**100)}", "trade_id": "{OPEN_TRADE}",
            "purpose": "exit", "qty": "1", "order_type": "market", "exit_reason": "stop_loss", "reason": "Away",
            "market_at": "2026-11-20T15:00:00Z", "outcome": "unknown"}}]')""",
    ),
    "record_split": (None, [LEASE], "record_split('main', 1, 'AAPL', 2, '2026-11-20 15:00Z', 0, 'A split')"),
    "request_cancels": (
        None, [LEASE],
        f"""request_cancels('main', 1, '[{{"id": "{UUID(int=OPEN_TRADE.int + 1)}", "reason": "One too many"}}]')""",
    ),
    "schema_version": (None, [], "schema_version()"),
    "set_external_order_policy": (ADMIN, [], "set_external_order_policy('ignore', 'Ours to watch')"),
    "engine_telemetry": (None, [],  "engine_telemetry('main', (select max(id) - 9"
                         " from trading_control_events), (select max(id) - 99 from order_events))"),
}  # fmt: skip
READS_ALL = {"verify_audit_chain": "recomputes every hash, which is its purpose"}

# What writes a row for each of many things touches more than a question may. Counted are the rows it writes: the
# equity of each profile of the shard, now and of its session, its peak, and a total for each of their owners.
ROWS_WRITTEN = {"record_equity": 3 * (million.PROFILES + 1) + million.OWNERS}
