"""`/rest/v1`: passed to PostgREST under the role that key and token give."""

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest

from local.postgrest import ROWS_MAX
from local.stack import Stack
from tests.integration.stack.conftest import Http
from tests.support.clients import SignIn

LONG_AGO = 60  # PostgREST allows clocks to differ by 30 s


@pytest.fixture(scope="module")
def whoami(stack: Stack, db: psycopg.Connection) -> Iterator[None]:
    """A function that says as whom PostgREST runs a call, and gives back what it was sent."""
    db.execute("""
        create function public.test_whoami(p_text text default '') returns jsonb language sql stable as $$
            select jsonb_build_object('role', current_user, 'user', auth.uid(), 'text', p_text);
        $$;
        grant execute on function public.test_whoami(text) to anon, authenticated, service_role;
        create view public.test_numbers as select generate_series(1, 20000) as n, repeat('x', 90) as filler;
        grant select on public.test_numbers to authenticated, service_role;
    """)
    db.execute("notify pgrst, 'reload schema'")
    client = httpx.Client(base_url=stack.env["SUPABASE_URL"], headers={"apikey": stack.keys.secret_key}, timeout=5)
    deadline = time.monotonic() + 10
    while client.post("/rest/v1/rpc/test_whoami", json={}).is_error and time.monotonic() < deadline:
        time.sleep(0.05)
    client.close()
    yield
    db.execute("drop function public.test_whoami; drop view public.test_numbers")


@pytest.fixture
def token(stack: Stack) -> str:
    """A user's token, signed as the gateway would."""
    return signed(stack)


def signed(stack: Stack, **claims: object) -> str:
    body = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 60}
    return jwt.encode(body | claims, stack.keys.jwt_secret, algorithm="HS256")


@pytest.mark.usefixtures("whoami")
class TestRole:
    def role(self, http: Http, key: str, authorization: str = "") -> str:
        answer = http("POST", "/rest/v1/rpc/test_whoami", key=key, json={}, headers={"Authorization": authorization})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["role"])

    def test_a_key_alone_gives_its_role(self, http: Http, stack: Stack) -> None:
        assert self.role(http, stack.keys.publishable_key) == "anon"
        assert self.role(http, stack.keys.secret_key) == "service_role"

    def test_a_key_shown_as_bearer_counts_as_a_key(self, http: Http, stack: Stack) -> None:
        for key, role in ((stack.keys.publishable_key, "anon"), (stack.keys.secret_key, "service_role")):
            assert self.role(http, key, f"Bearer {key}") == role

    def test_a_user_stays_the_user_beside_either_key(self, http: Http, stack: Stack, token: str) -> None:
        for key in (stack.keys.publishable_key, stack.keys.secret_key):
            assert self.role(http, key, f"Bearer {token}") == "authenticated"

    def test_the_signed_in_user_is_known_to_the_database(self, sign_in: SignIn) -> None:
        client = sign_in("alice")
        session = client.auth.get_session()

        seen = client.rpc("test_whoami", {}).execute().data

        assert session is not None
        assert seen["user"] == session.user.id


class TestRefusal:
    @pytest.mark.parametrize("key", ["", "sb_secret_wrong", b"\xff\xfe"])
    def test_a_missing_or_wrong_key_is_refused(self, http: Http, key: str | bytes) -> None:
        answer = http("GET", "/rest/v1/members", key=key)

        assert answer.status_code == 401
        assert "apikey" in answer.json()["hint"]

    def test_a_forged_token_is_refused(self, http: Http, token: str) -> None:
        head, body, signature = token.split(".")
        forged = f"{head}.{body}.{'A' * len(signature)}"

        assert http("GET", "/rest/v1/members", headers={"Authorization": f"Bearer {forged}"}).status_code == 401

    def test_an_expired_token_is_refused(self, http: Http, stack: Stack) -> None:
        expired = signed(stack, exp=int(time.time()) - LONG_AGO)

        answer = http("GET", "/rest/v1/members", headers={"Authorization": f"Bearer {expired}"})

        assert (answer.status_code, answer.json()["message"]) == (401, "JWT expired")

    def test_an_unsigned_token_is_refused(self, http: Http) -> None:
        unsigned = jwt.encode({"role": "service_role", "aud": "authenticated"}, "", algorithm="none")

        assert http("GET", "/rest/v1/members", headers={"Authorization": f"Bearer {unsigned}"}).status_code == 401

    def test_nobody_reads_a_table_without_signing_in(self, http: Http) -> None:
        assert http("GET", "/rest/v1/members").status_code == 401


@pytest.mark.usefixtures("whoami")
class TestPassingOn:
    def test_a_long_text_arrives_whole_both_ways(self, http: Http, stack: Stack) -> None:
        text = "ä€" * 500_000

        answer = http("POST", "/rest/v1/rpc/test_whoami", key=stack.keys.secret_key, json={"p_text": text})

        assert answer.json()["text"] == text

    def test_no_more_rows_come_than_a_hosted_project_gives(self, http: Http, stack: Stack) -> None:
        answer = http("GET", "/rest/v1/test_numbers", key=stack.keys.secret_key, headers={"Prefer": "count=exact"})

        assert len(answer.json()) == ROWS_MAX
        assert answer.headers["Content-Range"] == f"0-{ROWS_MAX - 1}/20000"

    def test_the_query_arrives_as_it_was_sent(self, http: Http, stack: Stack) -> None:
        path = "/rest/v1/test_numbers?select=n&or=(n.eq.7,n.in.(%228%22,9))&order=n.desc"

        assert http("GET", path, key=stack.keys.secret_key).json() == [{"n": 9}, {"n": 8}, {"n": 7}]

    def test_postgrests_own_errors_arrive_as_they_are(self, http: Http, stack: Stack) -> None:
        answer = http("GET", "/rest/v1/no_such_table", key=stack.keys.secret_key)

        assert (answer.status_code, answer.json()["code"]) == (404, "42P01")
