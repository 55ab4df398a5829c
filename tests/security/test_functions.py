"""Every caller at every function: who is answered, who is refused, and that a refusal changes nothing."""

import psycopg
import pytest

from tests.security.actors import Actor, is_refusal
from tests.security.catalogue import Function
from tests.security.expectations import ACTORS, ANONYMOUS, ENGINE, FUNCTIONS, WRITE_NOTHING
from tests.security.inputs import least
from tests.security.test_tables import assert_same

NOBODY_SIGNED_IN = 401


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_answers_its_callers_and_refuses_all_others(callers, functions, checksum, db, function, actor):
    caller, asked = callers[actor], functions[function]
    before, recorded = checksum(), attempts_recorded(db)

    answer = caller.call(function, least(asked))

    if actor in FUNCTIONS[function]:
        assert not is_refusal(answer), answer.text
        assert answer.status_code < 500, answer.text
        return
    assert is_refusal(answer), (answer.status_code, answer.text)
    assert (answer.status_code == NOBODY_SIGNED_IN) == (actor == ANONYMOUS)
    assert checksum() == before
    new = attempts_recorded(db)[len(recorded) :]
    assert new == expected_record(asked, caller, answer.json()["code"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_get_changes_nothing_and_is_not_the_way_to_call_a_function_that_writes(
    callers, functions, checksum, db, function
):
    asked = functions[function]
    params, before, recorded = texts(least(asked)), checksum(), attempts_recorded(db)

    for caller in callers.values():
        answer = caller.http.get(f"/rpc/{function}", params=params)
        if not asked.volatile or function in WRITE_NOTHING:
            continue
        if answer.is_success:
            assert answer.json()["changed"] is False  # what was asked for holds already
        else:
            allowed = {405} if caller.name in FUNCTIONS[function] else {401, 403, 405}
            assert answer.status_code in allowed, (caller.name, answer.text)

    assert checksum() == before
    assert attempts_recorded(db) == recorded


class TestExpectations:
    def test_every_function_has_its_callers(self, functions):
        assert_same(set(functions), set(FUNCTIONS), "function", "FUNCTIONS, with those who may call it")

    def test_no_function_has_two_signatures(self, seeded, db):
        twice = db.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace group by 1 having count(*) > 1"
        ).fetchall()

        assert twice == []

    def test_the_grants_let_people_through_to_no_function_of_the_engine(self, seeded, db):
        for function, answered in FUNCTIONS.items():
            may = {
                role
                for role in ("anon", "authenticated")
                if db.execute(
                    "select bool_or(has_function_privilege(%s, oid, 'execute')) from pg_proc"
                    " where proname = %s and pronamespace = 'public'::regnamespace",
                    (role, function),
                ).fetchone()[0]
            }
            assert may == ({"authenticated"} if answered - {ENGINE} else set()), function

    def test_nothing_private_is_executable_by_everyone(self, seeded, db):
        assert (
            db.execute(
                "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
                " where n.nspname in ('public', 'private')"
                " and (has_function_privilege('anon', p.oid, 'execute') or p.proacl is null)"
            ).fetchall()
            == []
        )


def attempts_recorded(db: psycopg.Connection) -> list[tuple[str, str | None, str]]:
    return db.execute("select action, actor::text, outcome from audit_log order by id").fetchall()


def expected_record(function: Function, caller: Actor, code: str) -> list[tuple[str, str | None, str]]:
    """Return the audit rows of a refused attempt: one, unless the grants stopped it or nothing could be written."""
    if code == "42501" or not function.volatile:
        return []
    return [(function.name, caller.user_id, "refused")]


def texts(arguments: dict[str, object]) -> dict[str, str]:
    """Return arguments as a query string carries them."""
    return {name: str(value) if not isinstance(value, dict | list) else "{}" for name, value in arguments.items()}
