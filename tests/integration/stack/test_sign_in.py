"""Signing in through unmodified supabase-py."""

from typing import Any

import psycopg
import pytest
from supabase import Client
from supabase_auth.errors import AuthApiError

from tests.integration.stack.conftest import Http, Person


def sign_in(client: Client, person: Person) -> Any:
    answer = client.auth.sign_in_with_password({"email": person.email, "password": person.password})
    assert answer.session is not None
    return answer.session


def age_rotation(db: psycopg.Connection, person: Person) -> None:
    """Let the moment pass in which the previous refresh token still answers."""
    db.execute(
        "update auth.sessions set refreshed_at = refreshed_at - interval '11 s' where user_id = %s", (person.id,)
    )


class TestPassword:
    def test_the_right_password_opens_a_session(self, client: Client, person: Person) -> None:
        session = sign_in(client, person)

        assert session.user.id == person.id
        assert session.user.last_sign_in_at is not None
        assert session.user.identities[0].identity_id
        assert session.expires_in == 3600

    def test_the_address_may_be_in_any_case(self, client: Client, person: Person) -> None:
        assert sign_in(client, Person(person.id, person.email.upper(), person.password))

    def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(self, http: Http, person: Person) -> None:
        wrong, unknown = (
            http("POST", "/auth/v1/token?grant_type=password", json={"email": email, "password": "wrong password"})
            for email in (person.email, "nobody@example.org")
        )

        assert wrong.status_code == unknown.status_code == 400
        assert wrong.json() == unknown.json()
        assert wrong.json() == {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("{", 400),
            ("[]", 400),
            ("{}", 422),
            ('{"email": "a@b.c", "password": 5}', 422),
            ('{"email": "a@b.c", "password": ""}', 422),
            ('{"email": "a\\u0000@b.c", "password": "x"}', 422),
        ],
    )
    def test_a_body_that_makes_no_sense_is_refused(self, http: Http, body: str, status: int) -> None:
        answer = http("POST", "/auth/v1/token?grant_type=password", content=body)

        assert answer.status_code == status
        assert {"code", "error_code", "msg"} == answer.json().keys()

    def test_nobody_can_sign_up(self, client: Client) -> None:
        with pytest.raises(AuthApiError, match="Signups not allowed"):
            client.auth.sign_up({"email": "new@example.org", "password": "long enough for all"})

    def test_a_suspended_account_is_told_so_only_with_the_right_password(
        self, client: Client, admin_api: Client, person: Person
    ) -> None:
        admin_api.auth.admin.update_user_by_id(person.id, {"ban_duration": "24h"})

        with pytest.raises(AuthApiError, match="banned"):
            sign_in(client, person)
        with pytest.raises(AuthApiError, match="Invalid login credentials"):
            sign_in(client, Person(person.id, person.email, "wrong password"))


class TestRefresh:
    def test_each_refresh_hands_out_a_new_token(self, client: Client, person: Person) -> None:
        first = sign_in(client, person).refresh_token

        second = client.auth.refresh_session(first).session
        assert second is not None
        third = client.auth.refresh_session(second.refresh_token).session

        assert third is not None
        assert len({first, second.refresh_token, third.refresh_token}) == 3

    def test_the_previous_token_answers_with_the_current_one_for_a_moment(self, client: Client, person: Person) -> None:
        first = sign_in(client, person).refresh_token

        answers = [client.auth.refresh_session(first).session for _ in range(3)]

        assert len({answer.refresh_token for answer in answers if answer}) == 1

    def test_the_session_ends_when_an_old_token_is_used_again(
        self, client: Client, person: Person, db: psycopg.Connection
    ) -> None:
        first = sign_in(client, person).refresh_token
        current = client.auth.refresh_session(first).session
        assert current is not None
        age_rotation(db, person)

        with pytest.raises(AuthApiError) as reused:
            client.auth.refresh_session(first)
        with pytest.raises(AuthApiError) as ended:
            client.auth.refresh_session(current.refresh_token)

        assert reused.value.code == "refresh_token_already_used"
        assert ended.value.code == "refresh_token_not_found"

    def test_a_token_that_is_two_behind_ends_the_session_at_once(self, client: Client, person: Person) -> None:
        first = sign_in(client, person).refresh_token
        second = client.auth.refresh_session(first).session
        assert second is not None
        client.auth.refresh_session(second.refresh_token)

        with pytest.raises(AuthApiError) as reused:
            client.auth.refresh_session(first)

        assert reused.value.code == "refresh_token_already_used"

    @pytest.mark.parametrize("token", ["x", "A" * 48, "é"])
    def test_a_forged_token_is_refused(self, http: Http, token: str) -> None:
        answer = http("POST", "/auth/v1/token?grant_type=refresh_token", json={"refresh_token": token})

        assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")

    def test_a_suspended_account_gets_no_new_token(self, client: Client, admin_api: Client, person: Person) -> None:
        session = sign_in(client, person)
        admin_api.auth.admin.update_user_by_id(person.id, {"ban_duration": "24h"})

        with pytest.raises(AuthApiError, match="banned"):
            client.auth.refresh_session(session.refresh_token)


class TestSignOut:
    def test_only_this_session_ends_when_signed_out_locally(self, client: Client, person: Person) -> None:
        here, elsewhere = sign_in(client, person), sign_in(client, person)

        client.auth.admin.sign_out(here.access_token, "local")

        with pytest.raises(AuthApiError, match="Session from session_id"):
            client.auth.get_user(here.access_token)
        assert client.auth.get_user(elsewhere.access_token).user.id == person.id

    def test_every_session_ends_when_signed_out_globally(self, client: Client, person: Person) -> None:
        here, elsewhere = sign_in(client, person), sign_in(client, person)

        client.auth.admin.sign_out(here.access_token, "global")

        for session in (here, elsewhere):
            with pytest.raises(AuthApiError):
                client.auth.refresh_session(session.refresh_token)

    def test_a_new_password_ends_every_session(self, client: Client, admin_api: Client, person: Person) -> None:
        session = sign_in(client, person)

        admin_api.auth.admin.update_user_by_id(person.id, {"password": "another long password"})

        with pytest.raises(AuthApiError):
            client.auth.refresh_session(session.refresh_token)


class TestUser:
    def test_the_signed_in_user_is_shown_without_its_password(self, client: Client, http: Http, person: Person) -> None:
        token = sign_in(client, person).access_token

        answer = http("GET", "/auth/v1/user", headers={"Authorization": f"Bearer {token}"})

        assert answer.json()["email"] == person.email
        assert "password" not in answer.text
        assert answer.json()["created_at"].endswith("+00:00")

    def test_no_token_is_told_from_a_bad_one(self, http: Http) -> None:
        without = http("GET", "/auth/v1/user")
        forged = http("GET", "/auth/v1/user", headers={"Authorization": "Bearer x.y.z"})

        assert (without.status_code, without.json()["error_code"]) == (401, "no_authorization")
        assert (forged.status_code, forged.json()["error_code"]) == (403, "bad_jwt")


class TestThrottling:
    def guess(self, http: Http, email: str, password: str = "wrong password", **headers: str) -> Any:
        body = {"email": email, "password": password}
        return http("POST", "/auth/v1/token?grant_type=password", json=body, headers=headers)

    def test_guessing_has_to_wait_even_with_the_right_password_or_another_claimed_address(
        self, http: Http, person: Person
    ) -> None:
        first = [self.guess(http, person.email).status_code for _ in range(10)]

        refused = self.guess(http, person.email, person.password, **{"X-Forwarded-For": "203.0.113.9"})

        assert first == [400] * 10
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.json()["error_code"] == "over_request_rate_limit"
