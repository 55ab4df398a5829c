"""The database's schema under Supabase's lint rules: nothing is found, and each rule would find what it is for."""

from pathlib import Path

import psycopg
import pytest

from tests.security.expectations import ENGINE, FUNCTIONS

LINT = (Path(__file__).parent / "lint.sql").read_text()

ONLY_DOOR = "functions are the only way to write, so they run with their owner's rights; each asks for the role first"

# (rule, object): why it stays. A function is named without its arguments.
ALLOWED = {
    ("authenticated_definer_function_executable", name): ONLY_DOOR
    for name, callers in FUNCTIONS.items()
    if callers - {ENGINE}
}

# For each rule a statement that it has to find, run and taken back.
BAD = {
    "unindexed_foreign_keys": "create table bad (id int primary key, profile_id uuid references public.profiles)",
    "auth_users_exposed": "create view bad as select email from auth.users; grant select on bad to authenticated",
    "auth_rls_initplan": "create policy bad on public.orders for select using (owner_id = auth.uid())",
    "no_primary_key": "create table bad (id int)",
    "multiple_permissive_policies": "create policy bad on public.orders for select to authenticated using (qty > 1)",
    "policy_exists_rls_disabled": "alter table public.orders disable row level security",
    "rls_disabled_in_public": "create table bad (id int primary key)",
    "rls_enabled_no_policy": "create table bad (id int primary key); alter table bad enable row level security",
    "duplicate_index": "create index bad on public.signals (owner_id, created_at desc)",
    "security_definer_view": "create view bad as select id from public.orders",
    "function_search_path_mutable": "create function bad() returns int language sql as 'select 1'",
    "definer_search_path_not_empty": "create function bad() returns int language sql security definer"
    " set search_path = 'public' as 'select 1'",
    "definer_owned_by_superuser": "create function bad() returns int language sql security definer as 'select 1'",
    "extension_in_public": "update pg_extension set extnamespace = 'public'::regnamespace where extname = 'plpgsql'",
    "rls_references_user_metadata": "create policy bad on public.orders"
    " using (((select auth.jwt()) -> 'user_metadata' ->> 'role') = 'admin')",
    "materialized_view_in_api": "create materialized view bad as select 1 as one; grant select on bad to authenticated",
    "foreign_table_in_api": "create foreign data wrapper bad; create server bad foreign data wrapper bad;"
    " create foreign table bad (id int) server bad; grant select on bad to authenticated",
    "unsupported_reg_types": "create table bad (id int primary key, kind regproc)",
    "fkey_to_auth_unique": "alter table auth.users add constraint bad unique (email);"
    " create table bad (email text references auth.users (email))",
    "sensitive_columns_exposed": "create table bad (id int primary key, broker_api_key text)",
    "rls_policy_always_true": "create policy bad on public.orders for select using (true)",
    "anon_table_exposed": "grant select on public.orders to anon",
    "anon_function_executable": "create function bad() returns int language sql as 'select 1';"
    " grant execute on function bad() to anon",
    "public_function_executable": "grant execute on function public.trading_status() to public",
    "authenticated_definer_function_executable": "grant execute on function public.acquire_lease to authenticated",
    "private_table_granted": "grant select on private.control_requests to authenticated",
    "client_role_writes": "grant update on public.orders to authenticated",
    "dynamic_sql": "create function bad(t text) returns void language plpgsql as 'begin execute t; end'",
}


def findings(db: psycopg.Connection) -> set[tuple[str, str]]:
    """Return every finding; functions without their arguments."""
    return {(rule, name.split("(")[0]) for rule, name in db.execute(LINT).fetchall()}


def test_the_schema_has_no_finding_but_those_with_a_reason(clean_db):
    assert findings(clean_db) - set(ALLOWED) == set()


def test_every_exception_is_still_needed(clean_db):
    assert set(ALLOWED) - findings(clean_db) == set()


def test_every_rule_has_an_example():
    assert set(BAD) == {line.split("'")[1] for line in LINT.splitlines() if line.startswith("select '")}


@pytest.fixture(scope="module")
def before(superuser) -> set[tuple[str, str]]:
    return findings(superuser)


@pytest.mark.parametrize("rule", BAD)
def test_the_rule_finds_its_example(superuser, before, rule):
    with superuser.transaction(force_rollback=True):
        superuser.execute(BAD[rule])
        found = findings(superuser) - before

    assert rule in {name for name, _ in found}
