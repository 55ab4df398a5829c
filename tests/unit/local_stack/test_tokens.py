"""Tokens: what was not signed here is worth nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.auth.errors import AuthError
from local.auth.tokens import AccessTokens, Caller, RefreshTokens

SECRET = "a secret of this installation, long enough for HS256"
NOW = datetime.now(UTC)


def user() -> dict[str, Any]:
    return {
        "id": uuid4(),
        "role": "authenticated",
        "email": "a@b.c",
        "raw_app_meta_data": {"provider": "email"},
        "raw_user_meta_data": {},
    }


def signed(secret: str = SECRET, **claims: Any) -> str:
    body = {"sub": str(uuid4()), "session_id": str(uuid4()), "aud": "authenticated", "exp": NOW + timedelta(hours=1)}
    return jwt.encode(body | claims, secret, algorithm="HS256")


class TestAccess:
    def test_a_users_token_names_user_and_session(self) -> None:
        tokens, who, session = AccessTokens(SECRET, issuer="here"), user(), uuid4()

        token = tokens.for_user(who, session, signed_in_at=NOW, now=NOW)

        assert tokens.verify(token) == Caller(who["id"], session)

    def test_a_users_token_lasts_an_hour_and_carries_gotrues_claims(self) -> None:
        token = AccessTokens(SECRET, issuer="here").for_user(user(), uuid4(), signed_in_at=NOW, now=NOW)

        claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="authenticated")

        assert claims["exp"] - claims["iat"] == 3600
        assert claims["iss"] == "here"
        assert claims["role"] == "authenticated"
        assert claims["amr"][0]["method"] == "password"
        assert {"aal", "email", "session_id", "app_metadata", "user_metadata"} <= claims.keys()

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "x.y.z",
            signed(secret="another secret, which is long enough as well"),
            signed(exp=NOW - timedelta(seconds=1)),
            signed(aud="someone-else"),
            signed(sub="no uuid"),
            signed(session_id=None),
            jwt.encode({"sub": str(uuid4()), "aud": "authenticated"}, "", algorithm="none"),
        ],
        ids=["empty", "noise", "forged", "expired", "other audience", "no user", "no session", "unsigned"],
    )
    def test_a_token_is_refused_when_it_proves_nobody(self, token: str) -> None:
        with pytest.raises(AuthError) as refused:
            AccessTokens(SECRET, issuer="here").verify(token)

        assert (refused.value.status, refused.value.code) == (403, "bad_jwt")


class TestRefresh:
    @given(session=st.uuids(), number=st.integers(0, 2**32 - 1))
    def test_a_token_tells_its_session_and_number(self, session: UUID, number: int) -> None:
        tokens = RefreshTokens(SECRET)

        assert tokens.read(tokens.make(session, number)) == (session, number)

    @given(token=st.text(alphabet="AZaz09-_=+/ é\x00", max_size=80))
    def test_nothing_is_read_from_noise(self, token: str) -> None:
        assert RefreshTokens(SECRET).read(token) is None

    @given(position=st.integers(0, 47))
    def test_nothing_is_read_when_any_character_was_changed(self, position: int) -> None:
        tokens = RefreshTokens(SECRET)
        token = tokens.make(uuid4(), 3)

        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]

        assert tokens.read(changed) is None

    def test_nothing_is_read_when_another_installation_signed_it(self) -> None:
        assert RefreshTokens(SECRET).read(RefreshTokens("another").make(uuid4(), 1)) is None
