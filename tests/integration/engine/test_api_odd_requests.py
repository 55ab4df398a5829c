"""Requests that no client should send: each is refused in the one shape, and nothing changes."""

from typing import Any

import httpx
import pytest

from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn
from tests.support.database import Baseline

PAUSE = "/internal/trading/pause"
LOCKOUTS = "/api/admin/trading/lockouts"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def api(served_api: httpx.Client, _baseline: Baseline) -> httpx.Client:
    """The control API; what is refused changes nothing, so that one reset is enough for all."""
    _baseline.restore()
    return served_api


@pytest.fixture
def admin(sign_in: SignIn) -> dict[str, str]:
    return bearer(sign_in("admin"))


def is_refusal(answer: httpx.Response, status: int) -> bool:
    """Tell whether an answer is a refusal with this status and says what to do."""
    body = answer.json()
    said = body["error"]
    return answer.status_code == status and body["success"] is False and bool(said["message"]) and bool(said["hint"])


@pytest.mark.parametrize(
    "body",
    [
        rb'{"reason": "a\u0000b"}',  # a NUL character
        rb'{"reason": "\ud800"}',  # half a surrogate pair
        rb'{"reason": "x", "\udfff": 1}',  # and as a name
        rb'{"reason": "x", "scope_key": "\u0000"}',
        b'{"reason": "\xff\xfe"}',  # no UTF-8
        b'{"reason": "x", "expected_version": 1e400}',  # beyond every number
        b'{"reason": "x", "expected_version": ' + b"9" * 5000 + b"}",  # more digits than are read
        b'{"reason": "x", "expected_version": 99999999999}',  # beyond the column
        b'{"reason": "x", "expected_version": true}',
        b'{"reason": "x", "resume_at": "0050-09-03T04:12:32-19:52"}',  # a zone that no place has
        b'{"reason": "x", "resume_at": "9999-12-31T23:59:59-12:00"}',
        b"[" * 100_000,  # deeper than the stack
        b'{"reason": ' + b'{"a": ' * 200 + b"1" + b"}" * 200 + b"}",
        b'{"reason": NaN}',
        b"",
        b"null",
        b"not json",
    ],
    ids=range(17),
)
def test_a_body_is_refused_when_it_cannot_be_understood_or_stored(
    api: httpx.Client, admin: dict[str, str], body: bytes
) -> None:
    answer = api.post(PAUSE, content=body, headers=admin | JSON)

    assert answer.status_code == 422, answer.text
    assert answer.json()["success"] is False
    assert answer.json()["error"]["message"]
    assert api.get("/internal/trading/status", headers=admin).json()["mode"] == "RUNNING"


@pytest.mark.parametrize("number", [b"NaN", b"1e400", b"-Infinity"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/admin/trading/config", b'{"expected_version": 1, "config": {"a": %s}, "reason": "x"}'),
        ("/api/admin/trading/approval-config", b'{"notional_above_usd": %s}'),
    ],
)
def test_a_number_that_is_none_is_refused(
    api: httpx.Client, admin: dict[str, str], path: str, body: bytes, number: bytes
) -> None:
    answer = api.put(path, content=body % number, headers=admin | JSON)

    assert is_refusal(answer, 422), answer.text


def test_a_config_with_text_that_cannot_be_stored_is_refused(api: httpx.Client, admin: dict[str, str]) -> None:
    body = rb'{"expected_version": 1, "config": {"a": [{"b": "\u0000"}]}}'

    answer = api.put("/api/admin/trading/config", content=body, headers=admin | JSON)

    assert is_refusal(answer, 422)
    assert "NUL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_a_body_of_another_kind_is_refused(api: httpx.Client, admin: dict[str, str], kind: str) -> None:
    answer = api.post(PAUSE, content=b'{"reason": "x"}', headers=admin | {"Content-Type": kind})

    assert is_refusal(answer, 422)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_refused_when_it_is_larger_than_a_megabyte(
    api: httpx.Client, admin: dict[str, str], announced: bool
) -> None:
    body = b'{"reason": "' + b"x" * 1_200_000 + b'"}'

    answer = api.post(PAUSE, content=body if announced else iter([body]), headers=admin | JSON)

    assert is_refusal(answer, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/symbol/%00", 422),
        ("GET", "/api/symbol/A%ED%A0%80", 404),  # half a surrogate pair
        ("GET", "/api/symbol/" + "A" * 20_000, 404),
        ("GET", "/api/symbol/AAPL?qty=1e999999", 422),
        ("GET", "/api/symbol/AAPL?price=-0", 422),
        ("GET", f"{LOCKOUTS}?after=%00", 422),
        ("GET", f"{LOCKOUTS}?limit=99999999999999999999", 422),
        ("DELETE", f"{LOCKOUTS}/5?reason=%00", 422),
        ("DELETE", f"{LOCKOUTS}/not-a-uuid", 422),
        ("PATCH", LOCKOUTS, 405),
        ("GET", "/api/admin/trading/locks", 404),
        ("GET", "/" + "a/" * 10_000, 404),
    ],
    ids=range(12),
)
def test_an_address_is_refused_when_it_makes_no_sense(
    api: httpx.Client, admin: dict[str, str], method: str, path: str, status: int
) -> None:
    answer = api.request(method, path, headers=admin)

    assert answer.status_code == status, answer.text[:300]
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    "token", ["x", "é.é.é", "a.b.c", "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.", "a" * 7000 + ".aa.aa", "aa.aa"]
)
def test_a_call_is_refused_when_its_token_is_none(api: httpx.Client, token: str) -> None:
    answer = api.get("/internal/trading/status", headers=[(b"Authorization", b"Bearer " + token.encode())])

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["error"]["code"]


def test_neither_key_of_the_installation_opens_the_api(api: httpx.Client, env: dict[str, str]) -> None:
    keys = (env["SUPABASE_SECRET_KEY"], env["SUPABASE_PUBLISHABLE_KEY"])

    answers = [api.get("/api/status", headers={"Authorization": f"Bearer {key}"}).status_code for key in keys]

    assert answers == [401, 401]


def test_each_refusal_is_in_the_document(api: httpx.Client) -> None:
    document: dict[str, Any] = api.get("/openapi.json").json()

    described = {
        (path, method): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert all({"401", "403", "422", "503"} <= statuses for statuses in described.values())
    assert all("409" in statuses for (_, method), statuses in described.items() if method != "get")
