from datetime import timedelta

import pytest

from engine.domain.book import Order, OrderState
from engine.domain.submission import Outcome
from engine.service.health_tracker import HealthTracker
from engine.service.settlement import Settlement
from engine.service.views import Book
from tests.unit.engine.builders import a_snapshot, an_order, at_broker
from tests.unit.engine.fakes import START, FakeAuthority, FakeBroker, ManualClock

PERMIT_OVER, PERMIT_RUNS = START - timedelta(seconds=1), START + timedelta(seconds=5)
LOST = an_order(state=OrderState.UNKNOWN, permit_deadline=PERMIT_OVER)


@pytest.fixture
def settlement(
    broker: FakeBroker, authority: FakeAuthority, book: Book, health: HealthTracker, clock: ManualClock
) -> Settlement:
    return Settlement(broker, authority, book, health, clock, quiet_s=3)


def outcomes(authority: FakeAuthority) -> list[Outcome]:
    return [submission.outcome for submission in authority.submissions]


def test_an_order_is_adopted_when_the_broker_has_it(
    settlement: Settlement, authority: FakeAuthority, broker: FakeBroker
) -> None:
    authority.book = a_snapshot(orders=(LOST,))
    broker.known["x"] = at_broker(LOST)

    assert settlement.run() == 0
    assert outcomes(authority) == [Outcome.ACCEPTED]


def test_an_order_is_given_up_only_when_it_was_missed_often_and_long_enough(
    settlement: Settlement, authority: FakeAuthority, clock: ManualClock
) -> None:
    authority.book = a_snapshot(orders=(LOST,))

    for _ in range(3):
        assert settlement.run() == 1
        clock.sleep(1)
    assert outcomes(authority) == []
    settlement.run()

    assert outcomes(authority) == [Outcome.NOT_SENT]


@pytest.mark.parametrize(
    "order",
    [
        an_order(state=OrderState.SUBMITTING, permit_deadline=PERMIT_RUNS),  # somebody may be sending it
        an_order(state=OrderState.WORKING),
        an_order(state=OrderState.READY),
    ],
)
def test_an_order_is_left_alone_when_its_fate_is_no_question(
    settlement: Settlement, authority: FakeAuthority, order: Order
) -> None:
    authority.book = a_snapshot(orders=(order,))

    assert settlement.run() == 0
    assert outcomes(authority) == []


def test_misses_do_not_count_when_the_permit_still_runs(
    settlement: Settlement, authority: FakeAuthority, clock: ManualClock
) -> None:
    authority.book = a_snapshot(orders=(an_order(state=OrderState.UNKNOWN, permit_deadline=PERMIT_RUNS),))

    for _ in range(10):
        settlement.run()
        clock.sleep(1)

    assert outcomes(authority) == []


def test_a_dead_engines_permit_becomes_unknown_when_the_next_one_starts(
    settlement: Settlement, authority: FakeAuthority
) -> None:
    authority.book = a_snapshot(orders=(an_order(state=OrderState.SUBMITTING, permit_deadline=PERMIT_RUNS),))

    assert settlement.run_after_restart() == 1
    assert outcomes(authority) == [Outcome.UNKNOWN]
