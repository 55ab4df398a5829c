"""Access tokens that PostgREST verifies, and refresh tokens that prove their own age."""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt

from local.auth.errors import AuthError
from local.auth.settings import ACCESS_TOKEN_LIFETIME

AUDIENCE = "authenticated"
_REFRESH = struct.Struct(">16sI")
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified access token speaks for."""

    user_id: UUID
    session_id: UUID


class AccessTokens:
    """Sign and verify access tokens with this installation's secret."""

    def __init__(self, secret: str, *, issuer: str) -> None:
        self._secret = secret
        self._issuer = issuer

    def for_user(self, user: dict[str, Any], session_id: UUID, *, signed_in_at: datetime, now: datetime) -> str:
        """Return the token that a signed-in user shows to PostgREST."""
        issued = int(now.timestamp())
        return self._sign(
            {
                "sub": str(user["id"]),
                "aud": AUDIENCE,
                "role": user["role"],
                "email": user["email"],
                "phone": "",
                "session_id": str(session_id),
                "aal": "aal1",
                "amr": [{"method": "password", "timestamp": int(signed_in_at.timestamp())}],
                "app_metadata": user["raw_app_meta_data"],
                "user_metadata": user["raw_user_meta_data"],
                "is_anonymous": False,
                "iat": issued,
                "exp": issued + int(ACCESS_TOKEN_LIFETIME.total_seconds()),
            }
        )

    def for_role(self, role: str) -> str:
        """Return the token that stands for an API key between the gateway and PostgREST; it never leaves here."""
        return self._sign({"role": role, "aud": AUDIENCE})

    def verify(self, token: str) -> Caller:
        """Return whom a user's token speaks for.

        Raises
        ------
        AuthError when it is forged, expired, or no user's
        """
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=AUDIENCE,
                options={"require": ["exp", "sub"]},
            )
            return Caller(UUID(claims["sub"]), UUID(claims["session_id"]))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, AttributeError) as e:
            raise AuthError(403, "bad_jwt", f"invalid JWT: {e}") from e

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"iss": self._issuer} | claims, self._secret, algorithm="HS256")


class RefreshTokens:
    """Make and read refresh tokens: a session's id and a number, under a signature.

    Since a token says its own number, an old one is recognised without keeping any of them, and the
    current one can be made again for a client that lost the answer.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def make(self, session_id: UUID, number: int) -> str:
        """Return the token with this number."""
        body = _REFRESH.pack(session_id.bytes, number)
        return base64.urlsafe_b64encode(body + self._signature(body)).decode()

    def read(self, token: str) -> tuple[UUID, int] | None:
        """Return the session and the number, or None when the token is not one of ours."""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, signature = raw[: _REFRESH.size], raw[_REFRESH.size :]
        if len(body) != _REFRESH.size or not hmac.compare_digest(signature, self._signature(body)):
            return None
        session, number = _REFRESH.unpack(body)
        return UUID(bytes=session), number

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, hashlib.sha256)[:_SIGNATURE_BYTES]
