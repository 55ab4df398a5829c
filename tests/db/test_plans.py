"""A million orders: indexes carry every question of the pages, every policy and every function.

The questions are asked by `db.queries` itself, through a real PostgREST that tells how Postgres answered
each: no query is repeated here. Neither a sequential scan over a big table nor many buffers are allowed.
"""

import contextlib
import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from supabase import Client, ClientOptions, create_client

import db.queries
from local import postgres, postgrest_install
from local.auth.tokens import AccessTokens
from local.processes import Child
from tests.support import million
from tests.support.million import ADMIN, SMALL
from tests.support.plan_calls import CALLS, READS_ALL, ROWS_WRITTEN
from tests.support.plan_questions import QUESTIONS, ROLES
from tests.support.plans import (
    BUFFERS_A_ROW,
    BUFFERS_MAX,
    ROWS_MAX,
    Enough,
    Explained,
    acting_as,
    buffers,
    complaints,
    explained,
    nodes,
)

pytestmark = pytest.mark.timeout(600)  # the first one waits for a million orders


@pytest.fixture(scope="module")
def big(stack: Any, db: psycopg.Connection) -> Iterator[str]:
    """The database with a million orders."""
    with million.million_orders(stack, db) as name:
        yield name


@pytest.fixture(scope="module")
def rest(stack: Any, big: str) -> Iterator[str]:
    """A PostgREST before the big database that tells its plans; the path of its socket."""
    socket = stack.home.sockets / "plans.sock"
    settings = {
        "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8",
        "PGRST_DB_URI": million.url(stack, "authenticator"), "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_ANON_ROLE": "anon", "PGRST_DB_MAX_ROWS": "1000", "PGRST_DB_PLAN_ENABLED": "true",
        "PGRST_JWT_SECRET": stack.keys.jwt_secret, "PGRST_JWT_AUD": "authenticated",
        "PGRST_SERVER_UNIX_SOCKET": str(socket), "PGRST_LOG_LEVEL": "error",
    }  # fmt: skip
    program = postgrest_install.find_or_install(stack.home, print)
    child = Child("PostgREST", [str(program)], log=stack.home.logs / "plans.log", environment=settings)
    child.wait_until(lambda: _answers(str(socket)), timeout_s=30)
    yield str(socket)
    child.stop()


def _answers(socket: str) -> bool:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            return client.get("http://rest/").status_code != 503
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def analysed(stack: Any, big: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the big database, in a transaction that is rolled back."""
    with psycopg.connect(million.url(stack, postgres.SUPERUSER)) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def big_tables(analysed: psycopg.Connection) -> set[str]:
    """The tables with more than ROWS_MAX rows, as the statistics know them."""
    found = analysed.execute(
        "select relname from pg_class where relkind = 'r' and reltuples > %s"
        " and relnamespace in ('public'::regnamespace, 'private'::regnamespace)",
        (ROWS_MAX,),
    )
    return {name for (name,) in found}


def asked_as(stack: Any, rest: str, role: str) -> tuple[Client, Explained]:
    """Return a client that a person's token is shown with, and what listens in."""
    listening = Explained(rest)
    user = {"id": ROLES[role], "role": "authenticated", "email": f"{role}@example.org", "raw_app_meta_data": {},
            "raw_user_meta_data": {}}  # fmt: skip
    now = datetime.now(UTC)
    token = AccessTokens(stack.keys.jwt_secret, issuer="tests").for_user(user, ROLES[role], signed_in_at=now, now=now)
    options = ClientOptions(
        auto_refresh_token=False, persist_session=False, httpx_client=httpx.Client(transport=listening)
    )
    client = create_client("http://rest", stack.env["SUPABASE_PUBLISHABLE_KEY"], options)
    client.postgrest.auth(token)
    return client, listening


@pytest.mark.parametrize(("question", "role"), [(q, role) for q in QUESTIONS for role in ROLES])
def test_a_page_asks_nothing_that_no_index_answers(stack, rest, big_tables, question, role):
    client, listening = asked_as(stack, rest, role)

    with contextlib.suppress(Enough):
        QUESTIONS[question](role)(client)

    assert listening.plans, "it asked nothing"
    found = {url[-200:]: problems for url, plan in listening.plans if (problems := complaints(plan, big_tables))}
    assert found == {}


def test_every_question_of_the_pages_is_looked_at():
    asked = {make("admin").func for make in QUESTIONS.values()}
    known = set()
    for module in pkgutil.iter_modules(db.queries.__path__):
        if module.name.startswith("_"):
            continue  # parts of questions
        here = importlib.import_module(f"db.queries.{module.name}")
        for name, function in inspect.getmembers(here, inspect.isfunction):
            takes_client = next(iter(inspect.signature(function).parameters), None) == "client"
            if function.__module__ == here.__name__ and takes_client and not name.startswith("_"):
                known.add(function)

    unasked = sorted(f"{f.__module__}.{f.__name__}" for f in known - asked)
    assert unasked == [], "ask them in QUESTIONS"


SCANS = "select relname, seq_scan from pg_stat_xact_user_tables where relname = any (%s)"


@pytest.mark.parametrize("function", CALLS)
def test_a_function_reads_no_big_table_from_end_to_end(analysed, big_tables, function):
    user, before, call = CALLS[function]

    with acting_as(analysed, user):
        for statement in before:
            analysed.execute(statement)
        with analysed.transaction(force_rollback=True):
            answer = analysed.execute(f"select to_json({call})").fetchone()[0]  # plans and catalogue are known now
        scanned = dict(analysed.execute(SCANS, (list(big_tables),)).fetchall())
        touched = buffers(explained(analysed, f"select {call}"))
        scanned_after = dict(analysed.execute(SCANS, (list(big_tables),)).fetchall())

    assert not (isinstance(answer, dict) and "message" in answer and "code" in answer), f"refused: {answer}"
    assert sorted(name for name in scanned_after if scanned_after[name] > scanned.get(name, 0)) == []
    assert touched < BUFFERS_MAX + BUFFERS_A_ROW * ROWS_WRITTEN.get(function, 0)


def test_every_function_is_looked_at(analysed):
    found = analysed.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()

    assert {name for (name,) in found} == {*CALLS, *READS_ALL}, "call them in CALLS"


def test_every_foreign_key_is_led_by_an_index(analysed):
    missing = analysed.execute("""
        select k.conrelid::regclass::text, k.conname from pg_constraint k
        where k.contype = 'f' and k.connamespace in ('public'::regnamespace, 'private'::regnamespace)
          and not exists (select from pg_index i where i.indrelid = k.conrelid
                          and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)""").fetchall()

    # A member's role is changed, a member is never removed: nothing looks from there.
    assert missing == []


def test_every_column_that_a_policy_compares_with_the_caller_is_led_by_an_index(analysed):
    pairs = {(table, column) for table, column in analysed.execute(POLICY_COLUMNS).fetchall()}
    led = set(
        analysed.execute(
            "select i.indrelid::regclass::text, a.attname from pg_index i"
            " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
        ).fetchall()
    )

    assert ("orders", "owner_id") in pairs
    assert sorted(pairs - led) == []


POLICY_COLUMNS = """
    select distinct p.tablename, c.column_name
    from pg_policies p cross join regexp_matches(p.qual, '(\\w+) = \\( SELECT private\\.caller_id', 'g') m
    join information_schema.columns c  -- its own column, not that of a table which the policy asks
      on c.table_schema = p.schemaname and c.table_name = p.tablename and c.column_name = m[1]
    where p.schemaname = 'public'
"""


def test_a_callers_own_rows_of_every_big_table_are_found_by_index(analysed, big_tables):
    own = [(t, c) for t, c in analysed.execute(POLICY_COLUMNS).fetchall() if t in big_tables]
    found = {}

    for table, column in own:
        with acting_as(analysed, SMALL):
            plan = explained(analysed, f"select * from {table} where {column} = '{SMALL}' limit 1000")
        if problems := complaints(plan, big_tables):
            found[table, column] = problems

    assert len(own) > 10
    assert found == {}


def test_no_policy_looks_the_caller_up_for_each_row(analysed):
    tables = analysed.execute("select distinct tablename from pg_policies where schemaname = 'public'").fetchall()

    for (table,) in tables:
        with acting_as(analysed, SMALL):
            plan = explained(analysed, f"select * from {table} limit 1")
        per_row = [n for n in nodes(plan) if n.get("Parent Relationship") == "SubPlan"]
        assert per_row == [], table


class TestTheCheckItself:
    NEWEST = "select id from orders order by created_at desc, id limit 100"

    def test_it_is_content_while_the_index_is_there(self, analysed, big_tables):
        with acting_as(analysed, ADMIN):
            assert complaints(explained(analysed, self.NEWEST), big_tables) == []

    def test_it_complains_of_a_scan_when_the_index_is_gone(self, analysed, big_tables):
        with analysed.transaction(force_rollback=True):
            analysed.execute("drop index orders_created")
            with acting_as(analysed, ADMIN):
                found = complaints(explained(analysed, self.NEWEST), big_tables)

        assert found[0] == "reads all of orders"

    def test_it_complains_of_an_index_that_is_read_from_end_to_end(self, analysed, big_tables):
        with acting_as(analysed, ADMIN):
            analysed.execute("set local enable_seqscan = off")
            (found,) = complaints(explained(analysed, "select count(*) from orders"), big_tables)

        assert found.startswith("touches ")
