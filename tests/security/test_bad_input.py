"""Bad input to every function: a coded error that changes nothing, or a well-formed answer; never a crash."""

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security import catalogue
from tests.security.examples import caller_of
from tests.security.expectations import ALICE, BOB, FUNCTIONS
from tests.security.inputs import damaged, leaves, put_at

# Ours are words; 22 is Postgres's class of data that does not fit; PGRST1 and PGRST2 say that PostgREST cannot read it.
CODES = re.compile(r"[A-Z]+(_[A-Z]+)*|22[0-9A-Z]{3}|PGRST[12]\d\d")
JSON = {"Content-Type": "application/json"}

# What was once kept, or answered by a table's constraint: (function, path of the argument or of a leaf in it).
ONCE_ACCEPTED: dict[tuple[str, str], list[Any]] = {
    # A constraint of a table answers (23xxx, 54000) where the function should say what is wrong.
    ("acquire_lease", "p_holder"): [None],
    ("reconcile_apply", "p_run"): [{}],
    ("reconcile_apply", "p_run.kind"): ["sideways", None],
    ("reconcile_apply", "p_findings.0.key"): [None],
    ("reconcile_apply", "p_findings.0.status"): ["sideways"],
    ("record_bars", "p_bars"): [[{}]],
    ("record_bars", "p_bars.0.symbol"): [None, "".join(map(str, range(9000)))],
    ("record_bars", "p_bars.0.open"): ["9", "NaN", None],
    ("record_bars", "p_bars.0.high"): ["-1", None],
    ("record_equity", "p_market_at"): [None],
    ("record_submission", "p_results.0.order.filled_qty"): ["NaN"],
    ("save_bot_state", "p_state"): [None],
    # Above 0 as it was written, and nothing in the decimals that are kept.
    ("record_offline_exits", "p_exits.0.qty"): ["0.0000000001"],
    ("record_order_updates", "p_updates.0.legs.0.qty"): ["0.0000000001", "-1", "0"],
    ("record_order_updates", "p_updates.0.legs.0.type"): ["iceberg", None],
    ("record_order_updates", "p_updates.0.legs.0.limit_price"): ["0.0000001"],
    ("record_split", "p_ratio"): ["1e-10", "1.0000000001"],
    ("record_submission", "p_results.0.order.legs.0.qty"): ["0.0000000001"],
    ("request_entries", "p_requests.0.qty"): ["1e-10", "0.0000000001"],
    ("request_entries", "p_requests.0.limit_price"): ["0.0000001"],
    ("request_entries", "p_requests.0.stop_loss_price"): ["0.0000001"],
    ("request_exits", "p_requests.0.qty"): ["0.0000000001"],
    ("request_exits", "p_requests.0.stop_price"): ["0.0000001"],
    ("adopt_orders", "p_orders.0.type"): ["iceberg", None],
    # NaN is kept: it is greater than every number, so no comparison finds it.
    ("record_bars", "p_bars.0.volume"): ["NaN"],
    ("record_marks", "p_marks.0.mark_price"): ["NaN"],
    ("record_marks", "p_marks.0.protected_qty"): ["NaN"],
    ("record_order_updates", "p_updates.0.filled_qty"): ["NaN"],
}


def problem(answer: httpx.Response) -> str | None:
    """Return what is wrong with an answer; None when nothing is."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:300]}"
    body = answer.json()
    if answer.is_success:
        return None
    if not (isinstance(body, dict) and body.get("message") and CODES.fullmatch(body.get("code") or "")):
        return f"{answer.status_code} {answer.text[:300]}"
    return None


@pytest.fixture(scope="module")
def strange_ids(seeded, callers) -> list[str]:
    """Ids that exist, but of something else, and one that does not."""
    people = [str(callers[name].user_id) for name in (ALICE, BOB)]
    return [*people, str(seeded.profiles["Alice dips hourly"]), str(uuid4())]


@pytest.fixture
def lease(seeded, superuser) -> None:
    """The engine's lease holds, whatever an earlier test did to it."""
    superuser.execute(
        "update engine_leases set token = %s, expires_at = now() + interval '10 minutes' where shard = %s",
        (seeded.token, seeded.shard),
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_input_is_answered_well_and_changes_nothing(
    lease, callers, functions, calls, checksum, strange_ids, function
):
    caller, state = callers[caller_of(function)], {"before": checksum()}
    examples = 25 if any(argument.type == "jsonb" for argument in functions[function].arguments) else 15

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(damaged(functions[function], calls[function], strange_ids))
    def check(arguments: dict[str, Any]) -> None:
        answer = caller.http.post(f"/rpc/{function}", content=json.dumps(arguments), headers=JSON)
        after = checksum()
        before, state["before"] = state["before"], after
        if answer.is_error:
            assert after == before
        assert problem(answer) is None

    check()


@pytest.fixture(scope="module")
def no_numbers(seeded, db) -> catalogue.NoNumbers:
    return catalogue.NoNumbers(db)


@pytest.mark.parametrize(
    ("function", "put"), [pytest.param(function, put) for function in FUNCTIONS for put in ("NaN", None, [], "x' --")]
)
def test_every_leaf_of_a_document_is_judged(lease, callers, functions, calls, checksum, no_numbers, function, put):
    caller = callers[caller_of(function)]
    before, failed = checksum(), []

    for name in [argument.name for argument in functions[function].arguments if argument.type == "jsonb"]:
        for path in leaves(calls[function].get(name)):
            answer = caller.call(function, put_at(calls[function], (name, *path), put))
            if answer.is_success:
                before = checksum()
            elif found := problem(answer):
                failed.append((name, path, found))

    assert failed == []
    assert checksum() == before
    assert no_numbers() == set()


@pytest.mark.parametrize(
    ("function", "where", "put"),
    [pytest.param(*where, put) for where, values in ONCE_ACCEPTED.items() for put in values],
)
def test_what_was_found_is_refused_by_the_function(lease, callers, calls, no_numbers, function, where, put):
    path = tuple(int(part) if part.isdecimal() else part for part in where.split("."))

    answer = callers[caller_of(function)].call(function, put_at(calls[function], path, put))

    assert problem(answer) is None
    assert no_numbers() == set()


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "1", '"x"', '{"p_reason": }', '{"p_reason": "x",}', "\x00"])
def test_a_body_that_is_no_object_is_answered_well(callers, checksum, body):
    before = checksum()

    for caller in callers.values():
        answer = caller.http.post("/rpc/pause_trading", content=body, headers=JSON)
        assert answer.is_error
        assert problem(answer) is None or answer.json()["code"] == "42501"

    assert checksum() == before


@given(query=st.text(max_size=60), column=st.sampled_from(["symbol", "id", "state", "qty", "created_at", "reason"]))
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_a_filter_of_any_text_is_answered_well(callers, query, column):
    answer = callers[ALICE].http.get("/orders", params={column: query, "select": "id,owner_id"})

    assert answer.status_code < 500, answer.text
    assert answer.is_error or all(row["owner_id"] == callers[ALICE].user_id for row in answer.json())
