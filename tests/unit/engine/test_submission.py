import pytest

from engine.domain.submission import Misses, Outcome, is_settled_as_missing, judge_refusal


@pytest.mark.parametrize(
    ("status", "code", "outcome", "may_be_duplicate"),
    [
        (403, "40310000", Outcome.REJECTED, False),  # buying power, quantity, wash trade
        (422, "42210000", Outcome.REJECTED, False),  # sub-penny price
        (400, "40010000", Outcome.REJECTED, False),  # bad body
        (401, None, Outcome.REJECTED, False),  # wrong key: nothing was placed
        (422, "40010001", Outcome.REJECTED, True),  # the id is taken, or another field is bad
        (429, "42910000", Outcome.UNKNOWN, False),  # seen after acceptance
        (408, None, Outcome.UNKNOWN, False),
        (500, None, Outcome.UNKNOWN, False),
        (504, None, Outcome.UNKNOWN, False),
        (None, None, Outcome.UNKNOWN, False),  # timeout, reset, unreadable 200
    ],
)
def test_only_a_definitive_no_counts_as_rejected(
    status: int | None, code: str | None, outcome: Outcome, may_be_duplicate: bool
) -> None:
    judged = judge_refusal("id", status=status, code=code, message="m", request_id=None)

    assert (judged.outcome, judged.may_be_duplicate) == (outcome, may_be_duplicate)


@pytest.mark.parametrize(
    ("misses", "now_s", "settled"),
    [
        (Misses(1, 0), 100, False),  # long ago, but only once
        (Misses(5, 98), 100, False),  # often, but just now
        (Misses(3, 90), 100, True),
    ],
)
def test_an_order_is_missing_for_good_when_missed_often_and_long(misses: Misses, now_s: int, settled: bool) -> None:
    assert is_settled_as_missing(misses, now_s=now_s, quiet_s=10) is settled
