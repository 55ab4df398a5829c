"""The control API over the real authority: who may do what, and how a refusal looks."""

from typing import Any

import httpx
import pytest

from tests.db.conftest import Engine
from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn


def test_pause_answers_who_when_and_why_when_an_admin_asks(api: httpx.Client, sign_in: SignIn) -> None:
    answer = api.post("/internal/trading/pause", json={"reason": "drill"}, headers=bearer(sign_in("admin")))

    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert body["status"]["mode"] == "PAUSED"
    assert body["status"]["lastChangedBy"] == "admin@interlock.local"
    assert body["status"]["reason"] == "drill"
    assert body["status"]["lastChangedAt"] > 1_600_000_000_000


def test_resume_brings_trading_back_when_it_was_paused(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "drill"}, headers=admin)

    answer = api.post("/internal/trading/resume", json={"reason": "done"}, headers=admin)

    assert answer.json()["status"]["mode"] == "RUNNING"


@pytest.mark.parametrize("path", ["/internal/trading/status", "/internal/health", "/internal/ready"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer forged.token.here"}, {"Authorization": "Basic x"}])
def test_a_call_is_refused_when_it_has_no_valid_token(api: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = api.get(path, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["success"] is False
    assert set(answer.json()["error"]) == {"code", "message", "hint"}


def test_a_resume_needs_no_body_but_an_empty_reason_is_refused(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "check"}, headers=admin)

    refused = api.post("/internal/trading/resume", json={"reason": ""}, headers=admin)
    answer = api.post("/internal/trading/resume", headers=admin)

    assert refused.status_code == 422
    assert answer.json()["status"]["mode"] == "RUNNING"
    assert answer.json()["status"]["reason"] == "Resumed over the control API"


@pytest.mark.parametrize("action", ["pause", "resume", "halt"])
@pytest.mark.parametrize("role", ["operator", "alice"])
def test_control_is_refused_when_the_caller_is_no_admin(
    api: httpx.Client, sign_in: SignIn, role: str, action: str
) -> None:
    answer = api.post(f"/internal/trading/{action}", json={"reason": "x"}, headers=bearer(sign_in(role)))

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "FORBIDDEN"
    status = api.get("/internal/trading/status", headers=bearer(sign_in("alice"))).json()
    assert status["mode"] == "RUNNING"


@pytest.mark.parametrize(
    "body",
    [
        {},  # no reason
        {"reason": ""},  # an empty one
        {"reason": "x" * 10_000},  # a novel
        {"reason": "x", "scope": "galaxy"},  # no such scope
        {"reason": "x", "scope": "symbol", "scope_key": "NOPE"},  # no such symbol
        {"reason": "x", "mode": "PAUSED"},  # a field that does not exist
        {"reason": "x", "request_id": "7"},  # no uuid
        [],
    ],
)
def test_control_is_refused_and_nothing_changes_when_the_body_is_wrong(
    api: httpx.Client, sign_in: SignIn, body: Any
) -> None:
    admin = bearer(sign_in("admin"))

    answer = api.post("/internal/trading/pause", json=body, headers=admin)

    assert answer.status_code == 422
    assert answer.json()["success"] is False
    assert api.get("/internal/trading/status", headers=admin).json()["mode"] == "RUNNING"


def test_the_second_change_conflicts_when_somebody_was_faster(api: httpx.Client, sign_in: SignIn) -> None:
    admin = bearer(sign_in("admin"))
    version = api.get("/internal/trading/status", headers=admin).json()["version"]
    api.post("/internal/trading/pause", json={"reason": "first"}, headers=admin)

    answer = api.post("/internal/trading/resume", json={"reason": "second", "expected_version": version}, headers=admin)

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "CONFLICT"


def test_resume_is_refused_with_what_fails_when_the_preflight_list_is_not_met(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "drill"}, headers=admin)
    healthy_engine.show_alive(broker_blocked=True)

    answer = api.post("/internal/trading/resume", json={"reason": "done"}, headers=admin)

    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "PREFLIGHT_FAILED"
    assert [(item["item"], item["ok"]) for item in error["details"]] == [("BROKER_NOT_BLOCKED", False)]
    assert api.get("/internal/trading/status", headers=admin).json()["mode"] == "PAUSED"


def test_resume_is_staged_and_overridden_when_an_admin_says_why(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "drill"}, headers=admin)
    healthy_engine.show_alive(broker_blocked=True)
    body = {"override_reason": "Broker confirmed by phone", "stage_entries": 3, "stage_fraction": "0.25"}

    answer = api.post("/internal/trading/resume", json=body, headers=admin)

    assert answer.status_code == 200
    status = answer.json()["status"]
    assert status["mode"] == "RUNNING"
    assert (status["stage"]["entries_left"], float(status["stage"]["fraction"])) == (3, 0.25)


@pytest.mark.parametrize(
    "stage",
    [
        {"stage_entries": 0},  # none is no stage
        {"stage_fraction": "0.5"},  # a fraction of nothing
        {"stage_entries": 5, "stage_fraction": "1.5"},  # more than whole
        {"stage_entries": "many"},  # no number
    ],
)
def test_resume_is_refused_when_its_stage_makes_no_sense(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine, stage: dict[str, Any]
) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "drill"}, headers=admin)

    answer = api.post("/internal/trading/resume", json={"reason": "x", **stage}, headers=admin)

    assert answer.status_code == 422
    assert api.get("/internal/trading/status", headers=admin).json()["mode"] == "PAUSED"


def test_the_engine_is_not_ready_when_the_authority_was_never_heard(api: httpx.Client, sign_in: SignIn) -> None:
    answer = api.get("/internal/ready", headers=bearer(sign_in("alice")))

    assert answer.status_code == 503
    assert any("authority has not been heard" in reason for reason in answer.json()["reasons"])
