"""Who may read what and call what: the one place to change when a table or a function is added.

Everything else in this folder is generated from the database's catalogue and held against this page.
"""

from dataclasses import dataclass

ANONYMOUS = "anonymous"  # nobody has signed in
OUTSIDER = "outsider"  # signed in, no member
ALICE = "alice"  # an analyst
BOB = "bob"  # the analyst of another tenant
OPERATOR = "operator"
ADMIN = "admin"
DEMOTED = "demoted"  # was an admin when its token was made, is an analyst now
ENGINE = "engine"  # the secret key

ACTORS = (ANONYMOUS, OUTSIDER, ALICE, BOB, OPERATOR, ADMIN, DEMOTED, ENGINE)
MEMBERS = frozenset({ALICE, BOB, OPERATOR, ADMIN, DEMOTED})
STAFF = frozenset({OPERATOR, ADMIN})


@dataclass(frozen=True, slots=True)
class Reading:
    """A table's reading rule. Writing needs none: no client role writes any table.

    Parameters
    ----------
    everything : the actors who see every row
    own : columns that hold a user's id; whoever is named in one of them sees the row
    shared : a column that is NULL in rows which every member sees
    scoped : rows have a scope: those of a profile are its owner's to see, all others every member's
    """

    everything: frozenset[str]
    own: tuple[str, ...] = ()
    shared: str | None = None
    scoped: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """A view that sums rows up: in it and in its `table`, `column` says how many rows went into each line."""

    column: str
    table: str


_TENANT = Reading(STAFF | {ENGINE}, own=("owner_id",))
_STAFF = Reading(STAFF | {ENGINE})
_MEMBERS = Reading(MEMBERS | {ENGINE})
_SCOPED = Reading(STAFF | {ENGINE}, scoped=True)

TABLES: dict[str, Reading] = {
    "alert_mutes": _STAFF,
    "alerts": _TENANT,
    "audit_log": Reading(STAFF | {ENGINE}, own=("actor", "tenant")),
    "bot_state_snapshots": _STAFF,
    "control_schedules": _SCOPED,
    "decisions": _TENANT,
    "engine_heartbeats": _MEMBERS,
    "engine_leases": _STAFF,
    "equity_daily": _TENANT,
    "equity_daily_totals": _TENANT,
    "equity_snapshots": _TENANT,
    "external_order_policies": _STAFF,
    "fills": _TENANT,
    "gate_overrides": _TENANT,
    "members": Reading(frozenset({ADMIN, ENGINE}), own=("user_id",)),
    "notifications": _STAFF,
    "operator_approvals": _TENANT,
    "order_events": _TENANT,
    "orders": _TENANT,
    "positions": _TENANT,
    "price_bars": _MEMBERS,
    "profile_capital": _TENANT,
    "profiles": _TENANT,
    "reconciliation_findings": _STAFF,
    "reconciliation_runs": _STAFF,
    "risk_configs": _MEMBERS,
    "signals": _TENANT,
    "splits": _MEMBERS,
    "symbol_lockouts": Reading(STAFF | {ENGINE}, own=("owner_id",), shared="owner_id"),
    "trade_months": _TENANT,
    "trades": _TENANT,
    "trading_control_events": _SCOPED,
    "trading_controls": _SCOPED,
}

VIEWS: dict[str, Reading | Counted] = {
    "decision_log": _TENANT,
    "equity_curve": Counted("profiles", "equity_daily_totals"),
    "trade_history": _TENANT,
    "trading_control_history": _SCOPED,
}

_ADMIN = frozenset({ADMIN})
_ANYONE = MEMBERS | {ENGINE}
_ENGINE = frozenset({ENGINE})

# The actors whom each function answers; all others are refused.
FUNCTIONS: dict[str, frozenset[str]] = {
    "acknowledge_alert": STAFF,
    "acquire_lease": _ENGINE,
    "adopt_orders": _ENGINE,
    "approval_checks": STAFF,
    "approval_config": STAFF,
    "cancel_schedule": _ADMIN,
    "claim_notifications": _ENGINE,
    "claim_orders": _ENGINE,
    "close_position": STAFF,
    "create_lockout": STAFF,
    "decide_approval": STAFF,
    "decide_approvals": STAFF,
    "engine_lockout": _ENGINE,
    "engine_snapshot": _ENGINE,
    "engine_telemetry": _ENGINE,
    "evaluate_alerts": STAFF | _ENGINE,
    "expire_stale_approvals": _ENGINE,
    "grant_override": _ADMIN,
    "halt_trading": _ADMIN,
    "heartbeat": _ENGINE,
    "load_bot_state": _ENGINE,
    "market_times": _ANYONE,
    "mute_alert": STAFF,
    "pause_trading": _ADMIN,
    "preflight_resume": STAFF,
    "protection_facts": _ENGINE,
    "prune_history": _ENGINE,
    "reconcile_apply": _ENGINE,
    "reconcile_books": _ENGINE,
    "reconcile_orders": _ENGINE,
    "record_bars": _ENGINE,
    "record_equity": _ENGINE,
    "record_marks": _ENGINE,
    "record_offline_exits": _ENGINE,
    "record_order_updates": _ENGINE,
    "record_split": _ENGINE,
    "record_signals": _ENGINE,
    "record_submission": _ENGINE,
    "release_lease": _ENGINE,
    "remove_lockout": STAFF,
    "request_cancels": _ENGINE,
    "request_entries": _ENGINE,
    "request_exits": _ENGINE,
    "resume_trading": _ADMIN,
    "revert_risk_config": _ADMIN,
    "revoke_override": _ADMIN,
    "risk_config": _ADMIN,
    "save_bot_state": _ENGINE,
    "schedule_trading_mode": _ADMIN,
    "schema_version": _ENGINE,
    "set_external_order_policy": _ADMIN,
    "set_member_role": _ADMIN,
    "set_profile_active": _ADMIN,
    "settle_notifications": _ENGINE,
    "test_alert": _ADMIN,
    "trade_statistics": _ANYONE,
    "trading_status": _ANYONE,
    "unmute_alert": STAFF,
    "update_approval_config": _ADMIN,
    "update_risk_config": _ADMIN,
    "verify_audit_chain": _ADMIN,
    "why": _ANYONE,
}

# Volatile, but without any write unless they refuse: PostgREST may answer a GET to these.
WRITE_NOTHING = frozenset(
    {
        "engine_snapshot",
        "load_bot_state",
        "protection_facts",
        "reconcile_books",
        "reconcile_orders",
        "verify_audit_chain",
    }
)
