"""What a function shows, and on whom it acts, depends on who asks."""

import pytest

from tests.security.examples import SOON
from tests.security.expectations import ADMIN, ALICE, BOB, ENGINE, OPERATOR


def test_why_is_not_answered_for_another_tenants_profile(seeded, callers):
    asked = {"p_symbol": "AAPL", "p_price": 100, "p_profile_id": str(seeded.profiles["Bob dips daily"])}

    assert callers[ALICE].call("why", asked).status_code == 404
    assert callers[BOB].call("why", asked).status_code == 200
    assert callers[OPERATOR].call("why", asked).status_code == 200


def test_why_without_a_profile_answers_for_the_callers_own_alone(seeded, callers):
    answered = {
        row["profile"].split()[0] for row in callers[ALICE].call("why", {"p_symbol": "AAPL", "p_price": 100}).json()
    }

    assert answered == {"Alice"}


def test_status_keeps_another_tenants_symbols_in_flight_to_itself(seeded, callers):
    answer = seeded.ask_one("Bob trend hourly", symbol="IBM")
    assert (answer.state, len(seeded.claim())) == ("ready", 1)

    def in_flight(name):
        return callers[name].call("trading_status", {}).json()["entries_in_flight"]

    assert [entry["symbol"] for entry in in_flight(ALICE)] == [None]
    assert [entry["symbol"] for entry in in_flight(BOB)] == ["IBM"]
    assert [entry["symbol"] for entry in in_flight(OPERATOR)] == ["IBM"]


def test_an_engine_of_another_shard_neither_enters_nor_sees(seeded, callers):
    lease = callers[ENGINE].call("acquire_lease", {"p_shard": "elsewhere", "p_holder": "other"}).json()
    held = {"p_shard": "elsewhere", "p_token": lease["token"]}

    entry = seeded.entry("Alice trend daily", symbol="MSFT")
    answer = callers[ENGINE].call("request_entries", held | {"p_requests": [entry]})
    snapshot = callers[ENGINE].call("engine_snapshot", held).text

    assert answer.status_code == 422, answer.text
    assert "Alice" not in snapshot and "Bob" not in snapshot


def test_the_token_of_one_shard_is_none_for_another(seeded, callers):
    answer = callers[ENGINE].call("claim_orders", {"p_shard": "not-mine", "p_token": seeded.token})

    assert (answer.status_code, answer.json()["code"]) == (409, "LEASE_LOST")


@pytest.mark.parametrize(
    "function",
    [
        "record_marks",
        "record_order_updates",
        "record_signals",
        "record_submission",
        "request_exits",
    ],
)
def test_an_engine_writes_nothing_about_the_orders_and_trades_of_another_shard(callers, calls, checksum, function):
    lease = callers[ENGINE].call("acquire_lease", {"p_shard": "elsewhere", "p_holder": "other", "p_ttl_s": 60}).json()
    before = checksum()

    callers[ENGINE].call(function, calls[function] | {"p_shard": "elsewhere", "p_token": lease["token"]})

    assert checksum() == before


def test_status_keeps_what_was_decided_about_another_tenants_profile_to_itself(seeded, callers):
    key = str(seeded.profiles["Bob trend hourly"])
    paused = {"p_reason": "Lost too much", "p_scope": "profile", "p_scope_key": key}
    assert callers[ADMIN].call("pause_trading", paused | {"p_resume_at": SOON}).status_code == 200

    shown = {name: callers[name].call("trading_status", {}).text for name in (ALICE, BOB, OPERATOR, ENGINE)}

    assert {name for name, text in shown.items() if key in text} == {BOB, OPERATOR, ENGINE}
    assert "Lost too much" not in shown[ALICE]
    for table in ("trading_controls", "trading_control_events", "trading_control_history"):
        assert callers[ALICE].http.get(f"/{table}?scope_key=eq.{key}").json() == []
        assert callers[BOB].http.get(f"/{table}?scope_key=eq.{key}").json() != []
