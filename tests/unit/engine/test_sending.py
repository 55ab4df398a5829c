import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from engine.domain.submission import Outcome, Submission
from engine.service.sending import FEW_LEFT, Permit, Sending
from tests.unit.engine.builders import an_order

PERMITS = [Permit(an_order(id=f"o{n}"), until_s=float("inf")) for n in range(5 * FEW_LEFT)]
WAIT_S = 10
Send = Callable[[Permit], Submission]


@pytest.fixture
def begin() -> Iterator[Callable[[Send], Sending]]:
    with ThreadPoolExecutor(3) as pool:
        yield lambda send: Sending(PERMITS, send, pool, senders=3)


def accepted(permit: Permit) -> Submission:
    return Submission(id=permit.order.id, outcome=Outcome.ACCEPTED)


def test_each_order_is_sent_once_and_told_in_the_permits_order(begin: Callable[[Send], Sending]) -> None:
    sent = []

    batch = begin(lambda permit: sent.append(permit) or accepted(permit))

    assert batch.submissions() == [accepted(permit) for permit in PERMITS]
    assert len(sent) == len(PERMITS)
    assert not batch.is_held_up


def test_few_are_left_before_the_last_is_sent(begin: Callable[[Send], Sending]) -> None:
    may_end = Event()

    def send(permit: Permit) -> Submission:
        if permit is PERMITS[-FEW_LEFT + 2]:
            assert may_end.wait(WAIT_S)
        return accepted(permit)

    batch = begin(send)
    batch.wait_for_few_left()
    may_end.set()

    assert len(batch.submissions()) == len(PERMITS)


def test_nothing_more_is_sent_after_an_error(begin: Callable[[Send], Sending]) -> None:
    sent, has_raised = [], Event()

    def send(permit: Permit) -> Submission:
        if permit is PERMITS[3]:
            has_raised.set()
            raise ZeroDivisionError
        if permit not in PERMITS[:3]:
            assert has_raised.wait(WAIT_S)
            time.sleep(0.01)
        sent.append(permit)
        return accepted(permit)

    batch = begin(send)
    batch.wait_for_few_left()

    with pytest.raises(ZeroDivisionError):
        batch.submissions()
    assert batch.is_held_up
    assert len(sent) < len(PERMITS)


def test_it_is_held_up_once_an_order_is_handed_back(begin: Callable[[Send], Sending]) -> None:
    batch = begin(lambda permit: Submission(id=permit.order.id, outcome=Outcome.NOT_SENT))

    batch.wait_for_few_left()

    assert batch.is_held_up
