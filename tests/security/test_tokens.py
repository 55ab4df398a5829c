"""Tokens and keys: what is forged, expired, ended or meant for someone else opens nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from local.auth.tokens import RefreshTokens
from local.stack import Stack
from tests.security import catalogue
from tests.security.actors import is_refusal
from tests.security.expectations import ADMIN, ALICE, FUNCTIONS
from tests.security.inputs import least
from tests.security.tokens import CASES, Case, Headers, Mint, Seen


@pytest.fixture(scope="module")
def mint(stack: Stack, sign_in) -> Mint:
    sessions = {name: sign_in(name).auth.get_session() for name in (ADMIN, ALICE)}
    claims = {name: jwt.decode(s.access_token, options={"verify_signature": False}) for name, s in sessions.items()}
    return Mint(
        secret=stack.keys.jwt_secret,
        publishable_key=stack.keys.publishable_key,
        secret_key=stack.keys.secret_key,
        admin=claims[ADMIN],
        analyst=claims[ALICE],
        refresh_token=sessions[ADMIN].refresh_token,
    )


@dataclass
class Door:
    """Requests with the publishable key and whatever else the case sends."""

    http: httpx.Client

    def read(self, headers: Headers) -> httpx.Response:
        return self.http.get("/rest/v1/profiles?select=name", headers=headers)

    def call(self, function: str, arguments: dict[str, Any], headers: Headers) -> httpx.Response:
        return self.http.post(f"/rest/v1/rpc/{function}", json=arguments, headers=headers)

    def pause(self, headers: Headers) -> httpx.Response:
        return self.call("pause_trading", {"p_reason": "A token was let through"}, headers)


@pytest.fixture(scope="module")
def door(_baseline, env):
    _baseline.restore()
    key = {"apikey": env["SUPABASE_PUBLISHABLE_KEY"]}
    with httpx.Client(base_url=env["SUPABASE_URL"], headers=key, timeout=10, trust_env=False) as http:
        yield Door(http)
    _baseline.restore()


# Whose profiles a read shows; None: it is refused.
SHOWN: dict[Seen, set[str] | None] = {
    Seen.REFUSED: None,
    Seen.ANONYMOUS: None,
    Seen.NOBODY: set(),
    Seen.ANALYST: {"Alice"},
    Seen.ADMIN: {"Alice", "Bob"},
}


def cases() -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES]


def sent(case: Case, mint: Mint) -> Headers:
    bearer = case.bearer(mint)
    return bearer if isinstance(bearer, list) else [("Authorization", f"Bearer {bearer}".strip())]


class TestForged:
    @pytest.mark.parametrize("case", cases())
    def test_a_read_is_answered_as_the_token_deserves(self, door, mint, case):
        answer = door.read(sent(case, mint))

        names = {row["name"].split()[0] for row in answer.json()} if answer.is_success else None
        assert names == SHOWN[case.seen], answer.text
        if names is None:
            assert 400 <= answer.status_code < 500, answer.text

    @pytest.mark.parametrize("case", cases())
    def test_a_control_is_answered_as_the_token_deserves(self, _baseline, door, mint, db, case):
        answer = door.pause(sent(case, mint))

        (mode,) = db.execute("select mode::text from trading_controls where scope = 'global'").fetchone()
        if mode != "RUNNING":
            _baseline.restore()
        expected = {Seen.REFUSED: {400, 401, 403}, Seen.ANONYMOUS: {401}, Seen.ADMIN: {200}}.get(case.seen, {403})
        assert answer.status_code in expected, (answer.status_code, answer.text)
        assert mode == ("PAUSED" if case.seen is Seen.ADMIN else "RUNNING")

    def test_a_token_in_the_address_is_no_token(self, door, mint):
        for name in ("access_token", "token", "jwt", "Authorization"):
            answer = door.http.get("/rest/v1/profiles", params={name: mint.signed()})
            assert answer.status_code in {400, 401}

    def test_a_key_in_the_address_is_no_key(self, env, mint):
        answer = httpx.get(
            f"{env['SUPABASE_URL']}/rest/v1/profiles", params={"apikey": mint.secret_key}, trust_env=False
        )

        assert answer.status_code == 401

    def test_a_users_token_with_the_secret_key_stays_the_users(self, env, mint):
        headers = {"apikey": mint.secret_key, "Authorization": f"Bearer {mint.signed(mint.analyst)}"}

        answer = httpx.get(f"{env['SUPABASE_URL']}/rest/v1/profiles", headers=headers, trust_env=False)

        assert {row["name"].split()[0] for row in answer.json()} == {"Alice"}

    def test_the_database_is_told_of_no_identity_that_a_header_claims(self, door, mint):
        forged = [
            ("X-Client-Info", "x"),
            ("request.jwt.claims", "{}"),
            ("Role", "service_role"),
            ("X-User", mint.admin["sub"]),
        ]

        assert door.pause([*forged, ("Authorization", f"Bearer {mint.signed(mint.analyst)}")]).status_code == 403


@dataclass
class Person:
    """An admin for one test, with a sign-in of an hour."""

    id: str
    session_id: str
    headers: Headers


class TestEnded:
    """The token is true and has an hour to live, but its sign-in or its membership has ended."""

    @pytest.fixture
    def person(self, clean_db, superuser, mint) -> Iterator[Person]:
        id, email = str(uuid4()), f"{uuid4()}@example.org"
        superuser.execute("insert into auth.users (id, email, encrypted_password) values (%s, %s, 'none')", (id, email))
        query = "insert into auth.sessions (user_id) values (%s) returning id::text"
        (session_id,) = superuser.execute(query, (id,)).fetchone()
        superuser.execute("insert into members (user_id, email, role) values (%s, %s, 'admin')", (id, email))
        token = mint.changed(sub=id, email=email, session_id=session_id)
        yield Person(id, session_id, [("Authorization", f"Bearer {token}")])
        superuser.execute("delete from auth.users where id = %s", (id,))
        superuser.execute("delete from auth.sessions where user_id = %s", (id,))

    @pytest.fixture
    def end(self, person, door, clean_db, service_client, stack) -> dict[str, Callable[[], Any]]:
        users = service_client.auth.admin
        change = partial(clean_db.execute, params=(person.id,))
        refresh_token = RefreshTokens(stack.keys.refresh_secret).make

        def refresh(number: int) -> httpx.Response:
            shown = {"refresh_token": refresh_token(UUID(person.session_id), number)}
            return door.http.post("/auth/v1/token?grant_type=refresh_token", json=shown)

        def show_a_stolen_refresh_token() -> None:
            assert [refresh(0).status_code, refresh(1).status_code] == [200, 200]
            assert refresh(0).json()["error_code"] == "refresh_token_already_used"

        return {
            "signed out": lambda: door.http.post("/auth/v1/logout?scope=local", headers=person.headers),
            "signed out everywhere": lambda: door.http.post("/auth/v1/logout?scope=global", headers=person.headers),
            "found with a refresh token used twice": show_a_stolen_refresh_token,
            "given a new password": lambda: users.update_user_by_id(person.id, {"password": "another long password"}),
            "banned": lambda: users.update_user_by_id(person.id, {"ban_duration": "24h"}),
            "removed from the members": lambda: change("delete from members where user_id = %s"),
            "demoted": lambda: change("update members set role = 'analyst' where user_id = %s"),
            "deleted": lambda: users.delete_user(person.id),
        }

    @pytest.mark.parametrize(
        "how",
        [
            "signed out",
            "signed out everywhere",
            "found with a refresh token used twice",
            "given a new password",
            "banned",
            "removed from the members",
            "demoted",
            "deleted",
        ],
    )
    def test_every_control_refuses_a_person_who_was(self, door, person, end, clean_db, how):
        assert door.call("risk_config", {}, person.headers).status_code == 200

        end[how]()

        answers = {
            name: door.call(name, least(function), person.headers)
            for name, function in catalogue.functions(clean_db).items()
            if ADMIN in FUNCTIONS[name] and ALICE not in FUNCTIONS[name]
        }
        let_through = [name for name, answer in answers.items() if not is_refusal(answer)]
        assert answers
        assert let_through == []
