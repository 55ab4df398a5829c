"""The admin endpoints over the real authority: configuration, approvals, lockouts, per role."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.db.conftest import Engine
from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn

ADMIN = "/api/admin/trading"
NOBODYS = UUID(int=1)
Headers = dict[str, str]


@pytest.fixture
def admin(sign_in: SignIn) -> Headers:
    return bearer(sign_in("admin"))


@pytest.fixture
def operator(sign_in: SignIn) -> Headers:
    return bearer(sign_in("operator"))


@pytest.fixture
def approving(api: httpx.Client, admin: Headers, healthy_engine: Engine) -> Engine:
    """An engine whose paper entries wait for a person."""
    answer = api.put(f"{ADMIN}/approval-config", json={"auto_approve_paper": False}, headers=admin)
    assert answer.status_code == 200
    return healthy_engine


def pending(api: httpx.Client, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = api.get(f"{ADMIN}/approvals", params={"status": "pending", **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["approvals"]
    return found


def lock(api: httpx.Client, headers: Headers, ticker: str = "AAPL", **more: Any) -> httpx.Response:
    return api.post(f"{ADMIN}/lockouts", json={"ticker": ticker, "reason": "News", **more}, headers=headers)


class TestWhoMayCall:
    @pytest.mark.parametrize(
        ("method", "path", "body", "analyst", "operator", "admin"),
        [
            ("GET", "/config", None, 403, 403, 200),
            ("PUT", "/config", {"config": {}, "expected_version": 0}, 403, 403, 409),
            ("GET", "/approval-config", None, 403, 200, 200),
            ("PUT", "/approval-config", {"four_eyes": True}, 403, 403, 200),
            ("GET", "/approvals", None, 200, 200, 200),
            ("PUT", f"/approvals/{NOBODYS}", {"decision": "approve"}, 403, 404, 404),
            ("GET", "/lockouts", None, 200, 200, 200),
            ("POST", "/lockouts", {"ticker": "AAPL", "reason": "x"}, 403, 201, 201),
            ("DELETE", f"/lockouts/{NOBODYS}", None, 403, 404, 404),
        ],
    )
    def test_each_role_gets_its_answer_and_a_stranger_none(
        self, api: httpx.Client, sign_in: SignIn, method: str, path: str, body: Any,
        analyst: int, operator: int, admin: int,
    ) -> None:  # fmt: skip
        callers = {"alice": analyst, "operator": operator, "admin": admin}

        def status(headers: Headers) -> int:
            return api.request(method, ADMIN + path, json=body, headers=headers).status_code

        assert {name: status(bearer(sign_in(name))) for name in callers} == callers
        assert status({}) == 401
        assert status({"Authorization": "Bearer forged.token.here"}) == 401


class TestConfig:
    def test_it_is_replaced_with_its_difference_when_the_version_fits(self, api: httpx.Client, admin: Headers) -> None:
        held = api.get(f"{ADMIN}/config", headers=admin).json()
        config = held["config"] | {"order_limits": held["config"]["order_limits"] | {"qty_max": "77"}}

        answer = api.put(f"{ADMIN}/config", json={"config": config, "expected_version": held["version"]}, headers=admin)

        assert answer.json()["diff"] == [{"path": "order_limits.qty_max", "from": "10000", "to": "77"}]
        assert api.get(f"{ADMIN}/config", headers=admin).json()["config"]["order_limits"]["qty_max"] == "77"

    def test_nothing_changes_when_a_limit_makes_no_sense(self, api: httpx.Client, admin: Headers) -> None:
        held = api.get(f"{ADMIN}/config", headers=admin).json()
        config = held["config"] | {"gross_exposure": {"max_pct": "-1"}}

        answer = api.put(f"{ADMIN}/config", json={"config": config, "expected_version": held["version"]}, headers=admin)

        assert answer.status_code == 422
        assert "gross_exposure.max_pct" in answer.json()["error"]["message"]
        assert api.get(f"{ADMIN}/config", headers=admin).json()["version"] == held["version"]


class TestApprovalConfig:
    def test_one_setting_changes_and_every_other_key_stays(self, api: httpx.Client, admin: Headers) -> None:
        before = api.get(f"{ADMIN}/config", headers=admin).json()["config"]

        answer = api.put(f"{ADMIN}/approval-config", json={"auto_approve_paper": False}, headers=admin)

        assert answer.json()["auto_approve_paper"] is False
        assert answer.json()["require_approval_for_live"] is True
        after = api.get(f"{ADMIN}/config", headers=admin).json()["config"]
        assert after == before | {"operator_approval": before["operator_approval"] | {"auto_approve_paper": False}}

    @pytest.mark.parametrize(
        "body",
        [
            {},  # nothing to change
            {"auto_approve_paper": None},  # a switch is on or off
            {"approval_timeout_minutes": 0},  # no time at all
            {"notional_above_usd": "a lot"},  # no amount
            {"auto_approve_papers": True},  # a setting that does not exist
        ],
    )
    def test_nothing_changes_when_the_body_is_wrong(self, api: httpx.Client, admin: Headers, body: Any) -> None:
        before = api.get(f"{ADMIN}/approval-config", headers=admin).json()

        answer = api.put(f"{ADMIN}/approval-config", json=body, headers=admin)

        assert answer.status_code == 422
        assert api.get(f"{ADMIN}/approval-config", headers=admin).json() == before


class TestApprovals:
    def test_entry_becomes_ready_when_it_is_approved(
        self, api: httpx.Client, operator: Headers, approving: Engine
    ) -> None:
        assert approving.ask_one().state == "awaiting_approval"
        (waiting,) = pending(api, operator)
        body = {"decision": "approve", "shown_hash": waiting["shown_hash"]}

        answer = api.put(f"{ADMIN}/approvals/{waiting['id']}", json=body, headers=operator)

        assert answer.status_code == 200, answer.text
        assert (answer.json()["status"], answer.json()["order_state"]) == ("approved", "ready")
        assert waiting["reasons"] == ["mode"]
        assert waiting["qty"] == "10.000000000"
        assert pending(api, operator) == []

    def test_a_second_decision_conflicts(self, api: httpx.Client, operator: Headers, approving: Engine) -> None:
        approving.ask_one()
        (waiting,) = pending(api, operator)
        path = f"{ADMIN}/approvals/{waiting['id']}"
        rejected = api.put(path, json={"decision": "reject", "reason": "Not today"}, headers=operator)

        answer = api.put(path, json={"decision": "approve"}, headers=operator)

        assert rejected.json()["status"] == "rejected"
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")

    def test_it_is_refused_when_what_was_shown_is_something_else(
        self, api: httpx.Client, operator: Headers, approving: Engine
    ) -> None:
        approving.ask_one()
        (waiting,) = pending(api, operator)

        answer = api.put(
            f"{ADMIN}/approvals/{waiting['id']}",
            json={"decision": "approve", "shown_hash": "something else"},
            headers=operator,
        )

        assert answer.status_code == 409
        assert len(pending(api, operator)) == 1

    def test_a_rejection_needs_a_reason(self, api: httpx.Client, operator: Headers, approving: Engine) -> None:
        approving.ask_one()
        (waiting,) = pending(api, operator)

        answer = api.put(f"{ADMIN}/approvals/{waiting['id']}", json={"decision": "reject"}, headers=operator)

        assert answer.status_code == 422
        assert len(pending(api, operator)) == 1

    def test_an_analyst_sees_own_approvals_only(self, api: httpx.Client, sign_in: SignIn, approving: Engine) -> None:
        approving.ask_one("Alice trend daily")
        approving.ask_one("Bob dips daily")

        found = pending(api, bearer(sign_in("bob")))

        assert [row["profile_id"] for row in found] == [str(approving.profiles["Bob dips daily"])]

    def test_pages_hold_every_approval_once(self, api: httpx.Client, operator: Headers, approving: Engine) -> None:
        for symbol in ("AAPL", "MSFT", "IBM", "GOOG"):
            approving.ask_one(symbol=symbol)
        seen, query = [], {"limit": 3}
        while True:
            answer = api.get(f"{ADMIN}/approvals", params=query, headers=operator).json()
            seen += [row["symbol"] for row in answer["approvals"]]
            if answer["next"] is None:
                break
            query = {"limit": 3, "after": answer["next"]}

        assert sorted(seen) == ["AAPL", "GOOG", "IBM", "MSFT"]

    @pytest.mark.parametrize(
        "query", [{"after": "yesterday"}, {"limit": 0}, {"limit": 501}, {"status": "open"}, {"symbol": '","'}]
    )
    def test_a_question_that_makes_no_sense_is_refused(
        self, api: httpx.Client, operator: Headers, query: dict[str, Any]
    ) -> None:
        answer = api.get(f"{ADMIN}/approvals", params=query, headers=operator)

        assert answer.status_code == 422
        assert answer.json()["success"] is False


class TestLockouts:
    def test_a_symbol_is_locked_out_for_an_hour_unless_said_otherwise(
        self, api: httpx.Client, operator: Headers, healthy_engine: Engine
    ) -> None:
        answer = lock(api, operator, "aapl")

        assert answer.status_code == 201
        created = answer.json()
        assert (created["ticker"], created["lockout_type"], created["side"]) == ("AAPL", "manual", None)
        assert [row["id"] for row in api.get(f"{ADMIN}/lockouts", headers=operator).json()["lockouts"]] == [
            created["id"]
        ]
        assert healthy_engine.ask_one().code == "SYMBOL_LOCKED"

    def test_entries_flow_again_when_the_lockout_is_removed(
        self, api: httpx.Client, operator: Headers, healthy_engine: Engine
    ) -> None:
        created = lock(api, operator).json()

        answer = api.delete(f"{ADMIN}/lockouts/{created['id']}", params={"reason": "Calm"}, headers=operator)

        assert (answer.status_code, answer.json()["removed_reason"]) == (200, "Calm")
        assert api.get(f"{ADMIN}/lockouts", headers=operator).json()["lockouts"] == []
        assert len(api.get(f"{ADMIN}/lockouts", params={"active": False}, headers=operator).json()["lockouts"]) == 1
        assert healthy_engine.ask_one().state == "ready"

    def test_removing_it_again_finds_nothing(self, api: httpx.Client, operator: Headers) -> None:
        created = lock(api, operator).json()
        api.delete(f"{ADMIN}/lockouts/{created['id']}", headers=operator)

        answer = api.delete(f"{ADMIN}/lockouts/{created['id']}", headers=operator)

        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")

    def test_a_request_sent_twice_locks_once(self, api: httpx.Client, operator: Headers) -> None:
        request_id = str(uuid4())

        first, second = (lock(api, operator, request_id=request_id).json() for _ in range(2))

        assert first == second
        assert len(api.get(f"{ADMIN}/lockouts", headers=operator).json()["lockouts"]) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"ticker": ""},  # no symbol
            {"ticker": "A A"},  # not one symbol
            {"reason": " "},  # no reason
            {"duration_minutes": 0},  # no time
            {"duration_minutes": 525_601},  # more than a year
            {"duration_minutes": "60"},  # text
            {"lockout_type": "mood"},  # no such type
            {"side": "up"},  # no such side
            {"until": "tomorrow"},  # a field that does not exist
        ],
    )
    def test_nothing_is_locked_when_the_body_is_wrong(
        self, api: httpx.Client, operator: Headers, change: dict[str, Any]
    ) -> None:
        answer = api.post(f"{ADMIN}/lockouts", json={"ticker": "AAPL", "reason": "News", **change}, headers=operator)

        assert answer.status_code == 422
        assert api.get(f"{ADMIN}/lockouts", headers=operator).json()["lockouts"] == []
