"""Every way to show a token that is not the one it should be, and what has to become of it.

The base of each case is the true token of an admin, so that whatever is let through by mistake would act.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import uuid4

Claims = dict[str, Any]
Headers = list[tuple[str, str]]

ELSEWHERE = "https://other.example.org/auth/v1"
SKEW_S = 30  # PostgREST lets clocks differ by so much


class Seen(Enum):
    """As whom a request is taken."""

    REFUSED = "refused before it reaches the database, or by the first look at its claims"
    ANONYMOUS = "taken as a caller who has not signed in"
    NOBODY = "taken as a user who is no member"
    ANALYST = "taken as an analyst"
    ADMIN = "taken as the admin whose token it is"


@dataclass(frozen=True, slots=True)
class Mint:
    """What a forger may know, and one thing no forger knows: the secret, for claims that only we could sign."""

    secret: str
    publishable_key: str
    secret_key: str
    admin: Claims
    analyst: Claims
    refresh_token: str

    def signed(self, claims: Claims | None = None, *, header: Claims | None = None, secret: str | None = None) -> str:
        """Return a token signed with our secret, or with another."""
        head = {"alg": "HS256", "typ": "JWT"} | (header or {})
        return sign(json.dumps(head), json.dumps(claims or self.admin), self.secret if secret is None else secret)

    def changed(self, **claims: Any) -> str:
        """Return a well signed token with these claims changed; None leaves one out."""
        return self.signed({name: value for name, value in (self.admin | claims).items() if value is not None})

    def edited(self, **claims: Any) -> str:
        """Return the true token with its payload edited and the signature left as it was."""
        head, _, signature = self.signed().split(".")
        return f"{head}.{encoded(json.dumps(self.admin | claims))}.{signature}"


@dataclass(frozen=True, slots=True)
class Case:
    """One way. `why` says more where the outcome is not a plain refusal."""

    name: str
    bearer: Callable[[Mint], str | Headers]
    seen: Seen
    why: str = ""


def sign(head: str, payload: str, secret: str) -> str:
    """Return a token of exactly this header and payload."""
    body = f"{encoded(head)}.{encoded(payload)}"
    return f"{body}.{encoded(hmac.digest(secret.encode(), body.encode(), hashlib.sha256))}"


def encoded(part: str | bytes) -> str:
    """Return base64url without padding."""
    raw = part.encode() if isinstance(part, str) else part
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _now(offset_s: int) -> int:
    return int(time.time()) + offset_s


def _unsigned(mint: Mint, alg: str) -> str:
    return f"{encoded(json.dumps({'alg': alg}))}.{encoded(json.dumps(mint.admin | {'role': 'service_role'}))}."


def _flipped(mint: Mint) -> str:
    head, body, signature = mint.signed().split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def _own_key(mint: Mint, header: str) -> str:
    """Return a token signed with a forger's key, which its header offers for the check."""
    key = "a key of the forger's own, thirty-two bytes"
    offered = {"kty": "oct", "k": encoded(key)} if header == "jwk" else "https://example.org/keys.json"
    return mint.signed(header={header: offered, "kid": "forged"}, secret=key)


def _twice(mint: Mint) -> str:
    payload = json.dumps(mint.analyst)
    return sign('{"alg": "HS256"}', payload[:-1] + ', "role": "service_role"}', mint.secret)


def _boasting(mint: Mint, where: str) -> str:
    """Return an analyst's well signed token that calls its owner an admin."""
    return mint.signed(mint.analyst | {where: {"role": "admin"}})


def _both(first: str, second: str) -> Headers:
    return [("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]


CASES = (
    Case("none", lambda _: [], Seen.ANONYMOUS),
    Case("empty", lambda _: "", Seen.ANONYMOUS),
    Case("the word null", lambda _: "null", Seen.REFUSED),
    Case("two segments", lambda m: ".".join(m.signed().split(".")[:2]), Seen.REFUSED),
    Case("five segments", lambda m: m.signed() + ".a.b", Seen.REFUSED),
    Case("alg none", lambda m: _unsigned(m, "none"), Seen.REFUSED),
    Case("alg None", lambda m: _unsigned(m, "None"), Seen.REFUSED),
    Case("alg nOnE", lambda m: _unsigned(m, "nOnE"), Seen.REFUSED),
    Case("signed with the public key", lambda m: m.signed(secret=m.publishable_key), Seen.REFUSED),
    Case("signed with another secret", lambda m: m.signed(secret="x" * 64), Seen.REFUSED),
    Case("signed with an empty secret", lambda m: m.signed(secret=""), Seen.REFUSED),
    Case("without its signature", lambda m: m.signed().rpartition(".")[0] + ".", Seen.REFUSED),
    Case("a flipped bit in the signature", _flipped, Seen.REFUSED),
    Case("edited to service_role", lambda m: m.edited(role="service_role"), Seen.REFUSED),
    Case("edited to another user", lambda m: m.edited(sub=m.analyst["sub"]), Seen.REFUSED),
    Case("role postgres", lambda m: m.changed(role="postgres"), Seen.REFUSED, "authenticator may not become it"),
    Case("role supabase_auth_admin", lambda m: m.changed(role="supabase_auth_admin"), Seen.REFUSED, "the same"),
    Case("role supabase_admin", lambda m: m.changed(role="supabase_admin"), Seen.REFUSED, "there is none"),
    Case("role authenticator", lambda m: m.changed(role="authenticator"), Seen.REFUSED, "which has no rights itself"),
    Case("without a role", lambda m: m.changed(role=None), Seen.ANONYMOUS),
    Case("role as an array", lambda m: m.changed(role=["service_role"]), Seen.REFUSED),
    Case("role as a number", lambda m: m.changed(role=1), Seen.REFUSED),
    Case("expired within the skew", lambda m: m.changed(exp=_now(2 - SKEW_S)), Seen.ADMIN, "PostgREST allows 30 s"),
    Case("expired beyond the skew", lambda m: m.changed(exp=_now(-1 - SKEW_S)), Seen.REFUSED),
    Case("without an expiry", lambda m: m.changed(exp=None), Seen.NOBODY, "PostgREST asks for none"),
    Case("not valid yet", lambda m: m.changed(nbf=_now(120)), Seen.REFUSED),
    Case("issued in the future", lambda m: m.changed(iat=_now(120)), Seen.REFUSED),
    Case("for another audience", lambda m: m.changed(aud="another"), Seen.REFUSED),
    Case("without an audience", lambda m: m.changed(aud=None), Seen.NOBODY, "PostgREST asks for none"),
    Case("from another project", lambda m: m.signed(m.admin | {"iss": ELSEWHERE}, secret="z" * 64), Seen.REFUSED),
    Case("another issuer under our secret", lambda m: m.changed(iss=ELSEWHERE), Seen.ADMIN, "the signature counts"),
    Case("a subject that is no id", lambda m: m.changed(sub="1 or 1=1"), Seen.REFUSED),
    Case("without a subject", lambda m: m.changed(sub=None), Seen.NOBODY),
    Case("a subject that is nobody", lambda m: m.changed(sub=str(uuid4())), Seen.NOBODY),
    Case("another user's session", lambda m: m.changed(session_id=m.analyst["session_id"]), Seen.NOBODY),
    Case("a session that is none", lambda m: m.changed(session_id=str(uuid4())), Seen.NOBODY),
    Case("user_metadata says admin", lambda m: _boasting(m, "user_metadata"), Seen.ANALYST, "roles come from a table"),
    Case("app_metadata says admin", lambda m: _boasting(m, "app_metadata"), Seen.ANALYST, "roles come from a table"),
    Case("an unknown kid", lambda m: m.signed(header={"kid": "unknown"}, secret="y" * 64), Seen.REFUSED),
    Case("a kid that is a path", lambda m: m.signed(header={"kid": "../../../../dev/null"}, secret=""), Seen.REFUSED),
    Case("a kid that is SQL", lambda m: m.signed(header={"kid": "x' union select 'y"}, secret="y"), Seen.REFUSED),
    Case("a key in jku", lambda m: _own_key(m, "jku"), Seen.REFUSED),
    Case("a key in x5u", lambda m: _own_key(m, "x5u"), Seen.REFUSED),
    Case("a key in jwk", lambda m: _own_key(m, "jwk"), Seen.REFUSED),
    Case("two roles in one token", _twice, Seen.ANALYST, "the first one counts, everywhere"),
    Case("a refresh token", lambda m: m.refresh_token, Seen.REFUSED),
    Case("16 KB long", lambda m: m.changed(filler="x" * 16384), Seen.REFUSED),
    Case("the publishable key", lambda m: m.publishable_key, Seen.ANONYMOUS),
    Case("the secret key beside the publishable one", lambda m: m.secret_key, Seen.ANONYMOUS, "`apikey` counts"),
    Case("an expired anon key", lambda m: m.signed({"role": "anon", "exp": _now(-3600)}), Seen.REFUSED),
    Case("Basic instead of Bearer", lambda m: [("Authorization", f"Basic {m.signed()}")], Seen.ANONYMOUS),
    Case("two headers, a forged one first", lambda m: _both(_flipped(m), m.signed()), Seen.REFUSED),
    Case(
        "two headers, a forged one second", lambda m: _both(m.signed(), _flipped(m)), Seen.ADMIN, "the first one counts"
    ),
)
