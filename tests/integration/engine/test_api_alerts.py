"""The endpoints that change what becomes of alerts, over the real authority, per role."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn

NOBODYS = UUID(int=1)
MUTE = {"rule": "JOB_LATE", "reason": "The machine is being moved", "minutes": 30}
Headers = dict[str, str]


@pytest.fixture
def operator(sign_in: SignIn) -> Headers:
    return bearer(sign_in("operator"))


@pytest.fixture
def alert_id(api: httpx.Client, clean_db: psycopg.Connection) -> str:
    """An alert that is open, of an order whose fate nobody knows."""
    (found,) = clean_db.execute(
        "insert into alerts (rule, subject, severity, message, opened_at)"
        " values ('UNKNOWN_ORDER', 'AAPL', 'critical', 'x', now()) returning id::text"
    ).fetchone() or ("",)
    return str(found)


def mutes(api: httpx.Client, headers: Headers) -> list[dict[str, Any]]:
    answer = api.get("/api/alerts/mutes", headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["mutes"]
    return found


@pytest.mark.parametrize(
    ("method", "path", "body", "analyst", "operator", "admin"),
    [
        ("POST", f"/{NOBODYS}/acknowledge", {}, 403, 404, 404),
        ("GET", "/mutes", None, 200, 200, 200),
        ("POST", "/mutes", MUTE, 403, 201, 201),
        ("DELETE", f"/mutes/{NOBODYS}", None, 403, 404, 404),
    ],
)
def test_each_role_gets_its_answer_and_a_stranger_none(
    api: httpx.Client, sign_in: SignIn, method: str, path: str, body: Any, analyst: int, operator: int, admin: int
) -> None:
    callers = {"alice": analyst, "operator": operator, "admin": admin}

    def status(headers: Headers) -> int:
        return api.request(method, f"/api/alerts{path}", json=body, headers=headers).status_code

    assert {name: status(bearer(sign_in(name))) for name in callers} == callers
    assert status({}) == 401


def test_an_alert_says_who_looks_after_it_once_somebody_does(
    api: httpx.Client, operator: Headers, alert_id: str
) -> None:
    path = f"/api/alerts/{alert_id}/acknowledge"

    first, again = (api.post(path, json={"note": note}, headers=operator) for note in ("Looking", "Me too"))

    assert (first.status_code, first.json()["acknowledged_note"]) == (200, "Looking")
    assert first.json()["acknowledged_by_email"] == "operator@interlock.local"
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")


def test_a_mute_is_listed_until_it_is_ended(api: httpx.Client, operator: Headers, sign_in: SignIn) -> None:
    created = api.post("/api/alerts/mutes", json=MUTE, headers=operator).json()
    seen, seen_by_analyst = mutes(api, operator), mutes(api, bearer(sign_in("alice")))

    ended = api.delete(f"/api/alerts/mutes/{created['id']}", params={"reason": "Moved"}, headers=operator)
    again = api.delete(f"/api/alerts/mutes/{created['id']}", headers=operator)

    assert [(m["id"], m["rule"], m["subject"]) for m in seen] == [(created["id"], "JOB_LATE", "*")]
    assert seen_by_analyst == []
    assert (ended.status_code, ended.json()["removed_reason"]) == (200, "Moved")
    assert mutes(api, operator) == []
    assert (again.status_code, again.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_a_request_sent_twice_mutes_once(api: httpx.Client, operator: Headers) -> None:
    body = MUTE | {"request_id": str(uuid4())}

    first, second = (api.post("/api/alerts/mutes", json=body, headers=operator).json() for _ in range(2))

    assert first == second
    assert len(mutes(api, operator)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": None}, "Say what to mute: a rule, a subject, or both."),
        ({"rule": "MOOD"}, "'MOOD' is no rule: use one of"),
        ({"reason": " "}, "reason"),
        ({"minutes": 0}, "A mute lasts between 1 minute and"),
        ({"minutes": 10_081}, "A mute lasts between 1 minute and"),
        ({"until": "tomorrow"}, "until"),
    ],
)
def test_nothing_is_muted_when_the_body_is_wrong(
    api: httpx.Client, operator: Headers, change: dict[str, Any], said: str
) -> None:
    answer = api.post("/api/alerts/mutes", json=MUTE | change, headers=operator)

    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
    assert mutes(api, operator) == []
