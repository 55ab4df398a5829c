"""What the API tells of what goes on: to each caller what is the caller's to see."""

import json

import httpx
import pytest
from websockets.sync.client import connect

from db import commands
from tests.db.conftest import Engine
from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn

PATHS = ["/api/status", "/api/alerts", "/api/symbol/AAPL"]


@pytest.mark.parametrize("path", PATHS)
def test_a_call_is_refused_when_it_has_no_token(api: httpx.Client, path: str) -> None:
    answer = api.get(path)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "NOT_SIGNED_IN"


@pytest.mark.parametrize("role", ["admin", "operator", "alice"])
def test_every_member_gets_an_answer(api: httpx.Client, sign_in: SignIn, healthy_engine: Engine, role: str) -> None:
    healthy_engine.held()  # so that a price is known
    healthy_engine.client.rpc("record_marks", _mark_of(healthy_engine)).execute()

    answers = [api.get(path, headers=bearer(sign_in(role))) for path in PATHS]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert all(answer.json()["success"] for answer in answers)


def test_status_holds_own_profiles_positions_and_orders_only(
    api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    healthy_engine.held("Alice trend daily")
    healthy_engine.working("Bob dips daily", symbol="IBM")

    alice, bob, admin = (
        api.get("/api/status", headers=bearer(sign_in(who))).json() for who in ("alice", "bob", "admin")
    )

    assert {profile["name"] for profile in alice["profiles"]} == {"Alice trend daily", "Alice dips hourly"}
    assert [position["symbol"] for position in alice["positions"]] == ["AAPL"]
    assert {order["symbol"] for order in alice["orders"]} == {"AAPL"}
    assert bob["positions"] == []
    assert {order["symbol"] for order in bob["orders"]} == {"IBM"}
    assert len(admin["profiles"]) == 4
    assert alice["trading"]["mode"] == alice["health"]["tradingControl"]["mode"] == "RUNNING"
    assert alice["profiles"][1]["capital"]["capital_usd"] == "25000.00"


def test_there_is_no_alert_when_all_is_well(api: httpx.Client, sign_in: SignIn, healthy_engine: Engine) -> None:
    assert api.get("/api/alerts", headers=bearer(sign_in("admin"))).json() == {"success": True, "alerts": []}


def test_pauses_and_open_alerts_are_told(api: httpx.Client, sign_in: SignIn, healthy_engine: Engine) -> None:
    admin = bearer(sign_in("admin"))
    api.post("/internal/trading/pause", json={"reason": "Lunch"}, headers=admin)
    body = {"reason": "News", "scope": "symbol", "scope_key": "IBM"}
    api.post("/internal/trading/pause", json=body, headers=admin)
    finding = {
        "key": "k",
        "kind": "POSITION_MISMATCH",
        "symbol": "AAPL",
        "detail": {"ours": "1"},
        "severity": "critical",
    }
    healthy_engine.reconcile(finding)

    alerts = api.get("/api/alerts", headers=admin).json()["alerts"]

    assert [(alert["code"], alert["symbol"]) for alert in alerts] == [
        ("TRADING_PAUSED", None), ("TRADING_PAUSED", "IBM"), ("RECONCILIATION_BREAK", "AAPL"),
    ]  # fmt: skip
    assert "Lunch" in alerts[0]["message"]
    assert (alerts[2]["severity"], alerts[2]["detail"]["kind"]) == ("critical", "POSITION_MISMATCH")
    seen_by_alice = api.get("/api/alerts", headers=bearer(sign_in("alice"))).json()["alerts"]
    assert [alert["code"] for alert in seen_by_alice] == ["TRADING_PAUSED", "TRADING_PAUSED"]


def test_symbol_says_why_an_entry_would_be_denied(api: httpx.Client, sign_in: SignIn, healthy_engine: Engine) -> None:
    operator = bearer(sign_in("operator"))
    api.post("/api/admin/trading/lockouts", json={"ticker": "AAPL", "reason": "News"}, headers=operator)

    answer = api.get("/api/symbol/aapl", params={"price": "100"}, headers=operator).json()

    assert answer["symbol"] == "AAPL"
    assert {row["code"] for row in answer["why"]} == {"SYMBOL_LOCKED"}
    assert len(answer["why"]) == 4
    assert [row["reason"] for row in answer["lockouts"]] == ["News"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/symbol/NOPE", 404),  # nobody trades it
        ("/api/symbol/AAPL?side=up", 422),
        ("/api/symbol/AAPL?qty=-1", 422),
        ("/api/symbol/AAPL?qty=lots", 422),
        ("/api/nothing", 404),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(api: httpx.Client, sign_in: SignIn, path: str, status: int) -> None:
    answer = api.get(path, headers=bearer(sign_in("admin")))

    assert answer.status_code == status
    assert answer.json()["success"] is False


def _mark_of(engine: Engine) -> dict[str, object]:
    """Return the arguments that mark every open position at 101."""
    positions = engine.client.table("positions").select("trade_id").execute().data
    marks = [
        {"trade_id": row["trade_id"], "mark_price": "101", "protected_qty": "10", "market_at": "2007-01-03T16:00:00Z"}
        for row in positions
    ]
    return {"p_shard": engine.shard, "p_token": engine.token, "p_marks": marks}


def test_an_alert_is_pushed_to_whom_it_concerns(api: httpx.Client, sign_in: SignIn, healthy_engine: Engine) -> None:
    address = str(api.base_url).replace("http", "ws") + "/ws"
    with (
        connect(address, additional_headers=bearer(sign_in("admin")), proxy=None) as admin,
        connect(address, additional_headers=bearer(sign_in("alice")), proxy=None) as alice,
    ):
        assert [json.loads(viewer.recv(10))["alerts"] for viewer in (admin, alice)] == [[], []]

        healthy_engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL", "severity": "critical"})
        commands.evaluate_alerts(healthy_engine.client)

        (alert,) = json.loads(admin.recv(10))["alerts"]
        assert (alert["code"], alert["symbol"], alert["severity"]) == ("RECONCILIATION_BREAK", "AAPL", "critical")
        with pytest.raises(TimeoutError):  # it is none of hers
            alice.recv(2.5)
