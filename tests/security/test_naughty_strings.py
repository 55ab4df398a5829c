"""Strings that break systems, in every text argument: refused or kept as they are, and no harm done."""

import json
from typing import Any

import jwt
import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.security.examples import caller_of
from tests.security.expectations import ADMIN, ENGINE, FUNCTIONS
from tests.security.inputs import NAUGHTY

TRIMMED = " \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2028\u2029\u3000"  # what a reason may lose at its ends
REASON_MAX = 500
JSON = {"Content-Type": "application/json"}

# Calls a function once per string. What succeeds is taken back, so that each string meets the same state;
# a refusal stays, as it would, so that it can be seen to have changed nothing.
EACH = """
    create function pg_temp.each(p_call text, p_strings text[]) returns table (string text, code text, answer text)
        language plpgsql as $$
    begin
        foreach string in array p_strings loop
            begin
                execute p_call using string into answer;
                code := case when answer::jsonb ->> 'code' <> '' then 'refused' else 'answered' end;
                if code = 'answered' then
                    raise exception using message = 'take it back', errcode = 'BACK0';
                end if;
            exception when others then
                if sqlstate <> 'BACK0' then
                    code := sqlstate;
                    answer := sqlerrm;
                end if;
            end;
            return next;
        end loop;
    end $$
"""


@pytest.fixture(scope="module")
def each(seeded, db: psycopg.Connection, callers, functions, calls):
    """Call it with a function and one of its arguments; answers what became of each string."""
    db.execute(EACH)
    db.execute("grant execute on function pg_temp.each to authenticated, service_role")

    def run(function: str, argument: str, strings: list[str]) -> list[tuple[str, str, str]]:
        actor = callers[caller_of(function)]
        kinds = {one.name: one.type for one in functions[function].arguments}
        role = "service_role" if actor.name == ENGINE else "authenticated"
        claims = {"role": role, "sub": actor.user_id, "aud": "authenticated", **token_claims(actor)}
        call = statement(function, calls[function], argument, kinds)
        with db.transaction():
            db.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            db.execute(f"set local role {role}")
            return db.execute("select * from pg_temp.each(%s, %s)", (call.as_string(db), strings)).fetchall()

    yield run
    db.execute("drop function pg_temp.each")


def statement(function: str, arguments: dict[str, Any], varied: str, kinds: dict[str, str]) -> sql.Composed:
    """Return the call that PostgREST would make, with $1 for the argument that varies."""
    given = [sql.SQL("{} => $1").format(sql.Identifier(varied))]
    for name, value in arguments.items():
        if name != varied:
            literal = Jsonb(value) if kinds[name] == "jsonb" else value
            given.append(sql.SQL("{} => {}::{}").format(sql.Identifier(name), literal, sql.SQL(kinds[name])))
    return sql.SQL("select to_jsonb(x)::text from public.{}({}) x").format(
        sql.Identifier(function), sql.SQL(", ").join(given)
    )


def token_claims(actor: Any) -> dict[str, Any]:
    """Return the claims of a caller's own token, so that the database sees what PostgREST would tell it."""
    shown = actor.http.headers.get("Authorization", "").removeprefix("Bearer ")
    return jwt.decode(shown, options={"verify_signature": False}) if shown else {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_example_of_a_function_is_answered(callers, calls, each, functions, function):
    """Otherwise the strings would not get far."""
    reading = [argument.name for argument in functions[function].arguments if argument.type == "text"]
    for argument in reading[:1]:
        ((_, code, answer),) = each(function, argument, [str(calls[function].get(argument, ""))])
        assert code == "answered", answer


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_text_does_harm(functions, each, checksum, function):
    texts = [argument.name for argument in functions[function].arguments if argument.type == "text"]
    before = checksum()

    harm = [
        (argument, string, code, answer)
        for argument in texts
        for string, code, answer in each(function, argument, NAUGHTY)
        if code not in {"answered", "refused", "PGRST"} and not code.startswith("22")
    ]

    assert harm == []
    assert checksum() == before


class TestStoring:
    """Through PostgREST: what is kept, is kept to the letter."""

    def test_a_reason_is_kept_to_the_letter(self, callers, seeded, db):
        for string in NAUGHTY:
            answer = callers[ADMIN].call("create_lockout", {"p_ticker": "ORCL", "p_reason": string})

            kept = string.strip(TRIMMED)
            if answer.status_code == 422:
                assert not kept or len(string) > REASON_MAX, string
                continue
            assert answer.status_code == 200, (string, answer.text)
            lockout = answer.json()["lockout"]
            row = db.execute("select reason from symbol_lockouts where id = %s", (lockout["id"],)).fetchone()
            (recorded,) = db.execute("select reason from audit_log order by id desc limit 1").fetchone()
            assert row == (lockout["reason"],) == (recorded,)
            assert recorded.strip(TRIMMED) == kept

    def test_state_is_kept_to_the_letter(self, callers, calls):
        state = {string: [string] for string in NAUGHTY}
        held = {name: calls["load_bot_state"][name] for name in ("p_shard", "p_token")}

        assert callers[ENGINE].call("save_bot_state", held | {"p_state": state}).is_success

        assert callers[ENGINE].call("load_bot_state", held).json()["state"] == state

    def test_a_search_for_any_string_is_a_search_and_no_more(self, callers):
        for string in NAUGHTY:
            answer = callers[ADMIN].http.get("/orders", params={"select": "id", "symbol": f"eq.{string}"})

            assert (answer.status_code, answer.json()) == (200, []), string

    @pytest.mark.parametrize("raw", [r"\u0000", r"x\u0000y", r"\ud800", r"\udfff\ud800", r"\x", "\x01", "\xff"])
    def test_text_that_cannot_be_kept_is_refused(self, callers, checksum, raw):
        before, body = checksum(), f'{{"p_ticker": "ORCL", "p_reason": "{raw}"}}'.encode("latin-1")

        answer = callers[ADMIN].http.post("/rpc/create_lockout", content=body, headers=JSON)

        assert answer.status_code == 400, answer.text
        assert answer.json()["code"]
        assert checksum() == before
