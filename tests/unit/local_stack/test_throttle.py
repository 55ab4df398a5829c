"""Guessing is slowed down; signing in is not."""

import pytest

from local.auth.errors import AuthError
from local.auth.throttle import KEYS_MAX, Throttle


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(failures_max=2, window_s=60)


def test_a_third_failure_has_to_wait_until_the_first_is_forgotten(throttle: Throttle) -> None:
    throttle.begin("a", now_s=0)
    throttle.begin("a", now_s=10)

    with pytest.raises(AuthError) as refused:
        throttle.begin("a", now_s=20.5)

    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "40"}
    throttle.begin("a", now_s=60)


def test_successes_do_not_count(throttle: Throttle) -> None:
    for second in range(10):
        throttle.begin("a", now_s=second)
        throttle.succeed("a")


def test_another_account_is_not_affected(throttle: Throttle) -> None:
    throttle.begin("a", now_s=0)
    throttle.begin("a", now_s=0)

    throttle.begin("b", now_s=0)


def test_memory_is_bounded_when_keys_are_made_up(throttle: Throttle) -> None:
    for number in range(KEYS_MAX + 100):
        throttle.begin(str(number), now_s=0)

    assert len(throttle._attempts) == KEYS_MAX
