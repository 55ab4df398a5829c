"""Every caller at every table with every verb: who sees which rows, and that nobody writes any."""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.security import catalogue
from tests.security.actors import REFUSED, Actor
from tests.security.catalogue import Table
from tests.security.expectations import ACTORS, ALICE, ANONYMOUS, BOB, ENGINE, MEMBERS, TABLES, VIEWS, Counted, Reading

Row = dict[str, Any]


def may_see(actor: Actor, row: Row, rule: Reading, profiles: list[Row]) -> bool:
    """Return whether the rule shows a row to a caller."""
    if actor.name in rule.everything:
        return True
    if rule.scoped and actor.name in MEMBERS:
        own = {str(profile["id"]) for profile in profiles if profile["owner_id"] == actor.user_id}
        return row["scope"] != "profile" or row["scope_key"] in own
    if rule.shared and row[rule.shared] is None and actor.name in MEMBERS:
        return True
    return actor.user_id is not None and any(row[name] == actor.user_id for name in rule.own)


@pytest.fixture(scope="module")
def tables(seeded, db: psycopg.Connection) -> dict[str, Table]:
    return catalogue.tables(db)


@pytest.fixture(scope="module")
def held(tables: dict[str, Table], db: psycopg.Connection) -> dict[str, list[Row]]:
    """Every table's rows, as the owner of the schema sees them. Nothing in this file changes any."""
    return {name: catalogue.rows(db, name) for name in tables}


@pytest.fixture(scope="module")
def fingerprint(db: psycopg.Connection) -> Callable[[str], str]:
    """Call it with a table's name for a checksum of its rows."""
    return lambda name: str(
        db.execute(f"select md5(string_agg(t::text, '|' order by t::text)) from {name} t").fetchone()
    )


def read(actor: Actor, relation: str, query: str = "select=*") -> tuple[list[Row], int]:
    """Return the rows that a caller is shown, and how many it is told there are."""
    answer = actor.http.get(f"/{relation}?{query}", headers={"Prefer": "count=exact"})
    if actor.name == ANONYMOUS:
        assert answer.status_code in REFUSED, answer.text
        return [], 0
    assert answer.status_code in {200, 206}, answer.text
    return answer.json(), int(answer.headers["Content-Range"].split("/")[1])


class TestReading:
    @pytest.mark.parametrize("actor", ACTORS)
    @pytest.mark.parametrize("table", TABLES)
    def test_a_caller_sees_the_rows_of_its_rule_and_no_count_of_others(self, callers, tables, held, table, actor):
        caller, rule = callers[actor], TABLES[table]
        identity = tables[table].identity
        expected = {identity(row) for row in held[table] if may_see(caller, row, rule, held["profiles"])}

        shown, count = read(caller, table)

        assert {identity(row) for row in shown} == expected
        assert count == len(expected)

    @pytest.mark.parametrize("table", [name for name, rule in TABLES.items() if rule.own])
    def test_asking_for_the_other_tenants_rows_by_name_shows_none(self, callers, table):
        for column in TABLES[table].own:
            shown, count = read(callers[ALICE], table, f"select=*&{column}=eq.{callers[BOB].user_id}")
            assert (shown, count) == ([], 0)
            shown, count = read(
                callers[ALICE], table, f"select=*&or=({column}.eq.{callers[BOB].user_id},{column}.is.null)"
            )
            assert all(row[column] is None for row in shown)

    @pytest.mark.parametrize("table", [name for name, rule in TABLES.items() if rule.own])
    def test_both_tenants_have_rows_so_that_an_empty_answer_means_something(self, callers, held, table):
        for name in (ALICE, BOB):
            assert any(row[column] == callers[name].user_id for row in held[table] for column in TABLES[table].own)

    @pytest.mark.parametrize("table", TABLES)
    def test_no_table_is_empty(self, held, table):
        assert held[table]

    @pytest.mark.parametrize("actor", ACTORS)
    @pytest.mark.parametrize("view", VIEWS)
    def test_a_view_shows_no_more_than_its_tables(self, callers, held, db, view, actor):
        caller, rule = callers[actor], VIEWS[view]

        shown, _ = read(caller, view)

        if isinstance(rule, Counted):
            rows = [row for row in held[rule.table] if may_see(caller, row, TABLES[rule.table], held["profiles"])]
            assert sum(line[rule.column] for line in shown) == sum(row[rule.column] for row in rows)
        else:
            rows = [row for row in catalogue.rows(db, view) if may_see(caller, row, rule, held["profiles"])]
            assert {row["id"] for row in shown} == {row["id"] for row in rows}

    def test_an_embedded_table_shows_no_more_than_it_does_alone(self, callers):
        rows, _ = read(
            callers[ALICE], "profiles", "select=name,profile_capital(owner_id),orders(owner_id),fills(owner_id)"
        )

        owners = {inner["owner_id"] for row in rows for name in ("orders", "fills") for inner in row[name]}
        assert rows and owners == {callers[ALICE].user_id}

    @pytest.mark.parametrize("actor", ACTORS)
    @pytest.mark.parametrize("schema", ["private", "auth", "pg_catalog", "supabase_migrations"])
    def test_no_other_schema_is_reached_by_a_header(self, callers, schema, actor):
        http = callers[actor].http

        read_answer = http.get("/audit_chain_heads", headers={"Accept-Profile": schema})
        call_answer = http.post("/rpc/audit", json={}, headers={"Content-Profile": schema})

        assert {read_answer.status_code, call_answer.status_code} == {406}

    def test_a_query_plan_is_not_shown(self, callers):
        for actor in callers.values():
            answer = actor.http.get("/orders", headers={"Accept": "application/vnd.pgrst.plan+json"})
            assert answer.status_code == 415, answer.text

    def test_aggregates_are_off(self, callers):
        answer = callers[ENGINE].http.get("/orders?select=qty.sum()")

        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST123")


class TestWriting:
    @pytest.mark.parametrize("actor", ACTORS)
    @pytest.mark.parametrize("table", TABLES)
    def test_no_verb_of_any_caller_changes_a_row(self, callers, tables, held, fingerprint, table, actor):
        caller, before = callers[actor], fingerprint(table)

        for what, answer in attempts(caller, tables[table], held[table]):
            assert answer.status_code in REFUSED, (what, answer.status_code, answer.text)
            assert answer.json()["code"] == "42501", (what, answer.text)

        assert fingerprint(table) == before

    @pytest.mark.parametrize("view", VIEWS)
    def test_nothing_is_written_through_a_view(self, callers, db, checksum, view):
        before, column = checksum(), catalogue.tables(db, "vm")[view].columns[1].name  # the first may be an identity

        for caller in callers.values():
            for method in ("POST", "PATCH", "DELETE"):
                answer = caller.http.request(method, f"/{view}", json={column: None} if method != "DELETE" else None)
                assert answer.json()["code"] in {"42501", "55000"}, answer.text  # no right, or no way

        assert checksum() == before

    @pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
    def test_no_client_role_holds_a_right_but_to_read(self, db, role):
        relations = db.execute(
            "select oid, relname, relkind from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
        held = [
            (name, right)
            for oid, name, kind in relations
            for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
            if kind in "rpvmf" and has_right(db, role, oid, right)
        ]
        held += [
            (name, right)
            for oid, name, kind in relations
            for right in ("USAGE", "SELECT", "UPDATE")
            if kind == "S"
            and db.execute("select has_sequence_privilege(%s, %s::oid, %s)", (role, oid, right)).fetchone()[0]
        ]

        assert held == []

    def test_anonymous_callers_hold_no_right_at_all(self, db):
        relations = db.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind in ('r', 'p', 'v', 'm') and (has_table_privilege('anon', oid, 'SELECT')"
            " or has_any_column_privilege('anon', oid, 'SELECT'))"
        ).fetchall()

        assert relations == []


class TestExpectations:
    def test_every_table_has_a_reading_rule(self, tables):
        assert_same(set(tables), set(TABLES), "table", "TABLES, with its reading rule")

    def test_every_view_has_a_reading_rule(self, db):
        assert_same(set(catalogue.tables(db, "vm")), set(VIEWS), "view", "VIEWS, with its reading rule")


def assert_same(found: set[str], expected: set[str], kind: str, where: str) -> None:
    """Fail with what to add to the expectations, and what to remove."""
    new, gone = sorted(found - expected), sorted(expected - found)
    assert not new, f"Unknown {kind}: {', '.join(new)}. Add it to tests/security/expectations.py, {where}."
    assert not gone, f"No such {kind} any more: {', '.join(gone)}. Remove it from tests/security/expectations.py."


def attempts(caller: Actor, table: Table, rows: list[Row]) -> list[tuple[str, httpx.Response]]:
    """Try every verb on a row of the caller's own, on another's, and on all."""
    path, key = f"/{table.name}", ",".join(table.key)
    mine, foreign = own_and_other(caller, table, rows)
    own, other = sendable(table, mine), sendable(table, foreign)
    merge = {"Prefer": "resolution=merge-duplicates"}
    http = caller.http
    tries = [("insert", http.post(path, json=own)), ("bulk insert", http.post(path, json=[own, other]))]
    tries += [("upsert", http.post(f"{path}?on_conflict={key}", json=other, headers=merge))]
    tries += [("bulk upsert", http.post(f"{path}?on_conflict={key}", json=[own, other], headers=merge))]
    for whose, row in (("own", mine), ("other", foreign)):
        one = {name: f"eq.{row[name]}" for name in table.key}
        tries += [(f"update {whose}", http.patch(path, params=one, json=own))]
        tries += [(f"delete {whose}", http.delete(path, params=one))]
    for column in TABLES[table.name].own:  # taking a row over
        tries += [("take over", http.patch(f"{path}?{column}=not.is.null", json={column: caller.user_id}))]
    return [*tries, ("update all", http.patch(path, json=own)), ("delete all", http.delete(path))]


def own_and_other(caller: Actor, table: Table, rows: list[Row]) -> tuple[Row, Row]:
    """Return a row that is the caller's, where it has one, and one that is not."""
    columns = TABLES[table.name].own
    mine = [row for row in rows if any(row[name] == caller.user_id for name in columns)]
    others = [row for row in rows if row not in mine]
    return (mine or rows)[0], (others or rows)[0]


def sendable(table: Table, row: Row) -> Row:
    """Return a row without what the database makes by itself."""
    made = {column.name for column in table.columns if column.made}
    return {name: value for name, value in row.items() if name not in made}


def has_right(db: psycopg.Connection, role: str, relation: int, right: str) -> bool:
    query = "select has_table_privilege(%(role)s, %(oid)s::oid, %(right)s)"
    if right in {"INSERT", "UPDATE", "REFERENCES"}:
        query += " or has_any_column_privilege(%(role)s, %(oid)s::oid, %(right)s)"
    return bool(db.execute(query, {"role": role, "oid": relation, "right": right}).fetchone()[0])
