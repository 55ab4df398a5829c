"""The broker's limit of calls: a fifth is kept for exits, a refusal is honoured, nothing is known at first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.adapters.alpaca_rate import AlpacaRateLimit, RateLimited
from engine.domain.rate_budget import Budget
from tests.unit.engine.fakes import ManualClock

FULL = Budget(limit=200, remaining=200, resets_at_s=1060.0)
HEADERS = {"X-RateLimit-Limit": "200", "X-RateLimit-Reset": "1893456060", "Date": "Tue, 01 Jan 2030 00:00:00 GMT"}


def spend(limit: AlpacaRateLimit, *, urgent: bool) -> int:
    """Make calls until one is refused; return how many went out."""
    for sent in range(1000):
        try:
            limit.take(urgent=urgent)
        except RateLimited:
            return sent
    return 1000


def test_a_fifth_is_kept_for_exits_when_other_calls_have_used_the_rest() -> None:
    limit = AlpacaRateLimit(ManualClock())
    limit.note(200, HEADERS | {"X-RateLimit-Remaining": "200"})

    assert limit.calls_left() == 160
    assert spend(limit, urgent=False) == 160
    limit.take(urgent=True)
    assert limit.calls_left() == 0


def test_calls_go_out_again_when_the_window_is_over() -> None:
    clock = ManualClock()
    limit = AlpacaRateLimit(clock)
    limit.note(200, HEADERS | {"X-RateLimit-Remaining": "10"})
    assert spend(limit, urgent=False) == 0

    clock.sleep(60)

    assert spend(limit, urgent=False) == 160


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7),
        (HEADERS | {"X-RateLimit-Remaining": "0"}, 60),  # the end of the window, by the broker's own clock
        ({}, 2),
        ({"Retry-After": "86400"}, 60),  # nobody waits for a day
    ],
)
def test_nothing_but_a_probe_a_second_goes_out_when_the_broker_refuses(headers: dict[str, str], wait_s: int) -> None:
    clock = ManualClock()
    limit = AlpacaRateLimit(clock)
    limit.take(urgent=False)
    limit.note(429, headers)

    with pytest.raises(RateLimited) as refused:
        limit.take(urgent=False)
    assert refused.value.wait_s == wait_s
    clock.sleep(1)
    limit.take(urgent=True)
    with pytest.raises(RateLimited):
        limit.take(urgent=True)

    clock.sleep(wait_s)
    limit.take(urgent=False)


def test_everything_goes_out_when_the_broker_tells_of_no_limit() -> None:
    limit = AlpacaRateLimit(ManualClock())
    limit.note(200, {"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": ""})

    assert spend(limit, urgent=False) == 1000


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=300))
def test_no_window_sees_more_calls_than_the_limit_and_others_leave_a_fifth_of_it(
    calls: list[tuple[bool, float]],
) -> None:
    budget, now_s, sent, others = FULL, 1000.0, 0, 0
    window_ends_s = budget.resets_at_s
    for urgent, pause_s in calls:
        now_s += pause_s
        if now_s >= window_ends_s:
            sent = others = 0
        if budget.wait_s(now_s, urgent=urgent) > 0:
            continue
        budget = budget.spent(now_s)
        window_ends_s = budget.resets_at_s
        sent, others = sent + 1, others + (not urgent)
        assert others <= 160
        if not urgent:
            assert sent <= 200
