"""Who sees and moves what: every table and every function, by role, through the API."""

from typing import Any

import pytest
from postgrest.exceptions import APIError

TENANT_TABLES = [
    "profiles", "profile_capital", "signals", "orders", "order_events", "fills", "trades", "positions",
    "equity_snapshots", "equity_daily", "decision_log",
]  # fmt: skip
STAFF_TABLES = ["engine_leases", "bot_state_snapshots", "reconciliation_runs", "reconciliation_findings"]
SHARED_TABLES = [
    "trading_controls",
    "trading_control_events",
    "risk_configs",
    "price_bars",
    "engine_heartbeats",
    "control_schedules",
    "symbol_lockouts",
    "operator_approvals",
    "gate_overrides",
]
OWN_TABLES = ["members", "audit_log"]  # each with a rule of its own

ENGINE_FUNCTIONS: dict[str, dict[str, Any]] = {
    "acquire_lease": {"p_shard": "main", "p_holder": "thief"},
    "release_lease": {"p_shard": "main", "p_token": 1},
    "heartbeat": {"p_shard": "main", "p_token": 1},
    "engine_snapshot": {"p_shard": "main", "p_token": 1},
    "request_entries": {"p_shard": "main", "p_token": 1, "p_requests": []},
    "request_exits": {"p_shard": "main", "p_token": 1, "p_requests": []},
    "claim_orders": {"p_shard": "main", "p_token": 1},
    "record_submission": {"p_shard": "main", "p_token": 1, "p_results": []},
    "record_order_updates": {"p_shard": "main", "p_token": 1, "p_updates": []},
    "record_marks": {"p_shard": "main", "p_token": 1, "p_marks": []},
    "record_equity": {
        "p_shard": "main",
        "p_token": 1,
        "p_market_at": "2007-01-03T15:00:00Z",
        "p_session_date": "2007-01-03",
    },
    "record_bars": {"p_shard": "main", "p_token": 1, "p_bars": []},
    "expire_stale_approvals": {"p_shard": "main", "p_token": 1},
    "engine_lockout": {
        "p_shard": "main",
        "p_token": 1,
        "p_ticker": "AAPL",
        "p_reason": "x",
        "p_duration_minutes": 1,
        "p_lockout_type": "cooldown",
    },
    "save_bot_state": {"p_shard": "main", "p_token": 1, "p_state": {}},
    "load_bot_state": {"p_shard": "main", "p_token": 1},
    "reconcile_apply": {"p_shard": "main", "p_token": 1, "p_run": {}, "p_findings": []},
}
CONTROL_FUNCTIONS = [
    "pause_trading", "resume_trading", "halt_trading", "schedule_trading_mode", "cancel_schedule", "create_lockout",
    "remove_lockout", "grant_override", "revoke_override", "set_profile_active", "set_member_role", "decide_approval",
    "decide_approvals", "update_risk_config", "revert_risk_config", "update_approval_config",
]  # fmt: skip
MEMBER_FUNCTIONS = [
    "trading_status", "verify_audit_chain", "preflight_resume", "risk_config", "approval_config", "why",
]  # fmt: skip


@pytest.fixture
def both_tenants_busy(engine, db):
    """Give both analysts a row in every table of theirs."""
    engine.held("Alice trend daily")
    engine.held("Bob dips daily", symbol="IBM")
    db.execute("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)")
    db.execute("select record_equity('main', %s, '2007-01-03 21:00Z', '2007-01-03')", (engine.token,))
    return engine


def owners(client, table: str) -> set[str]:
    return {row["owner_id"] for row in client.table(table).select("owner_id").execute().data}


class TestReading:
    @pytest.mark.parametrize("table", TENANT_TABLES)
    def test_an_analyst_sees_only_its_own_rows_and_staff_see_all(self, both_tenants_busy, sign_in, db, table):
        id_of = {
            name: str(id)
            for id, name in db.execute("select user_id, split_part(email, '@', 1) from members").fetchall()
        }

        assert owners(sign_in("alice"), table) == {id_of["alice"]}
        assert owners(sign_in("bob"), table) == {id_of["bob"]}
        assert owners(sign_in("operator"), table) == owners(sign_in("admin"), table) == {id_of["alice"], id_of["bob"]}

    @pytest.mark.parametrize("view", ["trade_history", "equity_curve"])
    def test_views_show_an_analyst_no_more_than_its_tables(self, both_tenants_busy, sign_in, view):
        rows = sign_in("alice").table(view).select("*").execute().data

        assert all(row.get("profiles", 2) == 2 and row.get("profile_name", "Alice").startswith("Alice") for row in rows)

    @pytest.mark.parametrize("table", STAFF_TABLES)
    def test_the_engines_own_tables_are_for_staff(self, both_tenants_busy, sign_in, table):
        assert sign_in("alice").table(table).select("*").execute().data == []

    def test_an_analyst_sees_itself_among_the_members_and_an_admin_sees_all(self, engine, sign_in):
        assert [m["email"] for m in sign_in("bob").table("members").select("email").execute().data] == [
            "bob@interlock.local"
        ]
        assert len(sign_in("admin").table("members").select("email").execute().data) == 4

    def test_a_tables_rule_is_known_for_every_table(self, db):
        tables = {t for (t,) in db.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()}

        assert tables == {*TENANT_TABLES, *STAFF_TABLES, *SHARED_TABLES, *OWN_TABLES}

    def test_row_level_security_is_on_for_every_table(self, db):
        assert (
            db.execute(
                "select relname from pg_class where relnamespace = 'public'::regnamespace"
                " and relkind = 'r' and not relrowsecurity"
            ).fetchall()
            == []
        )


class TestWriting:
    @pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
    def test_no_client_role_may_write_any_table(self, db, role):
        granted = db.execute(
            "select table_name, privilege_type from information_schema.role_table_grants"
            " where grantee = %s and table_schema = 'public' and privilege_type <> 'SELECT'",
            (role,),
        ).fetchall()

        assert granted == []

    @pytest.mark.parametrize("table", TENANT_TABLES + STAFF_TABLES + SHARED_TABLES + OWN_TABLES)
    def test_writing_through_the_api_is_refused_even_for_an_admin(
        self, both_tenants_busy, sign_in, service_client, table
    ):
        for client in (sign_in("admin"), service_client):
            with pytest.raises(APIError) as refused:
                client.table(table).insert({}).execute()
            assert refused.value.code == "42501"

    def test_anonymous_callers_read_nothing(self, db):
        assert (
            db.execute(
                "select table_name from information_schema.role_table_grants"
                " where grantee = 'anon' and table_schema = 'public'"
            ).fetchall()
            == []
        )


class TestFunctions:
    def test_every_function_is_known(self, db):
        functions = {
            f
            for (f,) in db.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()
        }

        assert functions == {*ENGINE_FUNCTIONS, *CONTROL_FUNCTIONS, *MEMBER_FUNCTIONS}

    @pytest.mark.parametrize("role", ["admin", "operator", "alice"])
    @pytest.mark.parametrize("function", ENGINE_FUNCTIONS)
    def test_only_the_engine_may_call_the_engines_functions(self, engine, sign_in, role, function):
        with pytest.raises(APIError) as refused:
            sign_in(role).rpc(function, ENGINE_FUNCTIONS[function]).execute()

        assert refused.value.code == "42501"

    def test_nothing_is_executable_by_everyone(self, db):
        assert (
            db.execute(
                "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
                " where n.nspname in ('public', 'private')"
                " and (has_function_privilege('anon', p.oid, 'execute') or p.proacl is null)"
            ).fetchall()
            == []
        )

    def test_every_security_definer_function_has_an_empty_search_path(self, db):
        assert (
            db.execute(
                "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
                " where n.nspname in ('public', 'private') and p.prosecdef"
                " and not coalesce('search_path=\"\"' = any (p.proconfig), false)"
            ).fetchall()
            == []
        )
