import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.control import ControlMode
from engine.domain.errors import AuthorityUnavailable
from engine.domain.submission import Outcome, Submission
from engine.service.health_tracker import HealthTracker
from engine.service.lease import Lease
from engine.service.order_sync import OrderSync
from engine.service.sending import Permit
from engine.service.trade_executor import CLAIM_MAX, PAUSED_MESSAGE, TradeExecutor
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_leg, a_snapshot, an_order, at_broker, protected_trade
from tests.unit.engine.fakes import FakeAuthority, FakeBroker, ManualClock, a_control, a_lease

ENTRY = an_order(
    state=OrderState.SUBMITTING, broker_order_id=None, submitted_at=NOON, permit_deadline=NOON + timedelta(seconds=10)
)
EXIT = replace(ENTRY, id="exit", purpose=Purpose.EXIT, side="sell")
STOP, TARGET = a_leg(Purpose.STOP_LOSS), a_leg(Purpose.TAKE_PROFIT)


@pytest.fixture
def lease(authority: FakeAuthority, health: HealthTracker, clock: ManualClock) -> Lease:
    return a_lease(authority, health, clock)


@pytest.fixture
def sync(broker: FakeBroker, authority: FakeAuthority, book: Book) -> OrderSync:
    return OrderSync(broker, authority, book)


@pytest.fixture
def executor(
    broker: FakeBroker,
    authority: FakeAuthority,
    book: Book,
    sync: OrderSync,
    health: HealthTracker,
    lease: Lease,
    clock: ManualClock,
) -> TradeExecutor:
    return TradeExecutor(broker, authority, book, sync, health, lease, clock, senders=1)


def outcome(authority: FakeAuthority) -> tuple[Outcome, str | None]:
    (submission,) = authority.submissions
    return submission.outcome, submission.code


def test_an_entry_is_sent_and_recorded_when_it_was_claimed(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    authority.claimable = [ENTRY]

    assert executor.submit_ready() == 1
    assert broker.sent == [ENTRY]
    assert outcome(authority) == (Outcome.ACCEPTED, None)


def test_everything_that_is_ready_goes_out_in_one_turn_however_much_it_is(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    authority.claimable = ready = [replace(ENTRY, id=f"entry-{n}") for n in range(2 * CLAIM_MAX + 1)]

    assert executor.submit_ready() == len(ready)
    assert {order.id for order in broker.sent} == {order.id for order in ready}


def test_the_next_batch_is_claimed_while_the_last_of_one_is_sent(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.claimable = ready = [replace(ENTRY, id=f"entry-{n}") for n in range(CLAIM_MAX + 1)]
    claim, submit, is_claimed = authority.claim, broker.submit, threading.Event()

    def claim_and_tell(**limits: Any) -> list[Order]:
        if broker.sent:
            is_claimed.set()
        return claim(**limits)

    def wait_for_it(order: Order) -> Submission:
        assert order is not ready[CLAIM_MAX - 1] or is_claimed.wait(10)
        return submit(order)

    monkeypatch.setattr(authority, "claim", claim_and_tell)
    monkeypatch.setattr(broker, "submit", wait_for_it)

    assert executor.submit_ready() == len(ready)
    assert len(authority.submissions) == len(ready)


def test_the_last_batch_is_recorded_although_no_more_can_be_claimed(
    executor: TradeExecutor, authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.claimable = [replace(ENTRY, id=f"entry-{n}") for n in range(CLAIM_MAX)]
    claim = authority.claim

    def claim_once(**limits: Any) -> list[Order]:
        if not authority.claimable:
            raise AuthorityUnavailable("away")
        return claim(**limits)

    monkeypatch.setattr(authority, "claim", claim_once)

    with pytest.raises(AuthorityUnavailable):
        executor.submit_ready()
    assert len(authority.submissions) == CLAIM_MAX


def test_the_turn_ends_with_what_is_handed_back(
    executor: TradeExecutor, authority: FakeAuthority, health: HealthTracker
) -> None:
    health.record_trading_control(a_control(ControlMode.PAUSED))
    authority.claimable = [replace(ENTRY, id=f"entry-{n}") for n in range(2 * CLAIM_MAX)]

    assert executor.submit_ready() == CLAIM_MAX
    assert len(authority.claimable) == CLAIM_MAX


def test_what_the_gate_lets_pass_with_a_permit_is_sent_at_once(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    room: list[int] = []

    assert executor.submit_asked(lambda permits: room.append(permits) or [ENTRY]) == 1

    assert room == [CLAIM_MAX]
    assert broker.sent == [ENTRY]
    assert outcome(authority) == (Outcome.ACCEPTED, None)


@pytest.mark.parametrize(("left", "permits"), [(1000, CLAIM_MAX), (7, 7), (0, 0), (-3, 0)])
def test_no_more_permits_are_asked_for_than_the_rate_limit_lets_through(
    left: int, permits: int, executor: TradeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(executor, "_rate", SimpleNamespace(calls_left=lambda: left))

    executor.submit_asked(lambda room: asked.append(room) or [])

    assert asked == [permits]


def test_no_permit_is_asked_for_while_the_brake_is_on(
    executor: TradeExecutor, monkeypatch: pytest.MonkeyPatch, health: HealthTracker
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(type(health), "brake_is_on", True)

    assert executor.submit_asked(lambda room: asked.append(room) or []) == 0

    assert asked == [0]


def test_no_permit_is_asked_for_while_other_orders_are_sent(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.claimable, asked, submit = [ENTRY], [], broker.submit

    def ask_meanwhile(order: Order) -> Submission:
        executor.submit_asked(lambda room: asked.append(room) or [])
        return submit(order)

    monkeypatch.setattr(broker, "submit", ask_meanwhile)

    executor.submit_ready()

    assert asked == [0]


def test_an_exit_is_claimed_and_sent_while_the_gate_is_being_asked(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    def ask(_permits: int) -> list[Order]:
        authority.claimable = [EXIT]
        executor.submit_ready()
        return [ENTRY]

    executor.submit_asked(ask)

    assert broker.sent == [EXIT, ENTRY]


def test_the_next_orders_are_sent_after_a_gate_that_failed(executor: TradeExecutor, authority: FakeAuthority) -> None:
    def fail(_permits: int) -> list[Order]:
        raise AuthorityUnavailable("away")

    with pytest.raises(AuthorityUnavailable):
        executor.submit_asked(fail)

    authority.claimable = [ENTRY]
    assert executor.submit_ready() == 1


@pytest.mark.parametrize("mode", [ControlMode.PAUSED, ControlMode.HALTED])
def test_open_position_fails_and_never_calls_the_broker_when_paused(
    executor: TradeExecutor, broker: FakeBroker, health: HealthTracker, mode: ControlMode
) -> None:
    health.record_trading_control(a_control(mode))

    result = executor.open_position(Permit(ENTRY, until_s=float("inf")))

    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, PAUSED_MESSAGE)
    assert PAUSED_MESSAGE == "Trade execution is paused by administrator"
    assert broker.sent == []


def test_close_position_goes_through_when_paused(
    executor: TradeExecutor, broker: FakeBroker, health: HealthTracker
) -> None:
    health.record_trading_control(a_control(ControlMode.PAUSED))

    result = executor.close_position(Permit(EXIT, until_s=float("inf")))

    assert result.outcome is Outcome.ACCEPTED
    assert broker.sent == [EXIT]


def test_nothing_is_claimed_when_the_brake_is_on(
    executor: TradeExecutor, authority: FakeAuthority, tmp_path: Path
) -> None:
    (tmp_path / "BRAKE").touch()
    authority.claimable = [ENTRY, EXIT]

    assert executor.submit_ready() == 0
    assert len(authority.claimable) == 2


def test_an_order_is_handed_back_when_its_permit_ran_out(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    authority.claimable = [replace(ENTRY, permit_deadline=ENTRY.submitted_at)]

    executor.submit_ready()

    assert outcome(authority) == (Outcome.NOT_SENT, "PERMIT_EXPIRED")
    assert broker.sent == []


def test_an_order_is_handed_back_when_the_lease_may_be_over(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker, health: HealthTracker, clock: ManualClock
) -> None:
    clock.sleep(10)
    health.record_trading_control(a_control())
    authority.claimable = [ENTRY]

    executor.submit_ready()

    assert outcome(authority) == (Outcome.NOT_SENT, "LEASE_LOST")
    assert broker.sent == []


def test_an_order_is_adopted_when_the_answer_was_ambiguous_and_it_is_there(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    broker.answer = Outcome.UNKNOWN
    broker.known["x"] = at_broker(ENTRY)
    authority.claimable = [ENTRY]

    executor.submit_ready()

    assert outcome(authority) == (Outcome.ACCEPTED, None)
    assert len(broker.sent) == 1


def test_an_order_stays_unknown_when_the_answer_was_ambiguous_and_it_is_not_there(
    executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
) -> None:
    broker.answer = Outcome.UNKNOWN
    authority.claimable = [ENTRY]

    executor.submit_ready()

    assert outcome(authority) == (Outcome.UNKNOWN, None)


class TestClosing:
    @pytest.fixture(autouse=True)
    def _held(self, authority: FakeAuthority) -> None:
        authority.book = a_snapshot(trades=(protected_trade(),))
        authority.claimable = [EXIT]

    def ended(self, broker: FakeBroker, leg: Order, *, status: str = "canceled", filled: int = 0) -> None:
        theirs = at_broker(leg, status=status, filled_qty=Decimal(filled))
        broker.known[theirs.broker_order_id] = theirs

    def test_the_exit_is_sent_when_the_protective_orders_are_gone(
        self, executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker, sync: OrderSync
    ) -> None:
        self.ended(broker, STOP)
        self.ended(broker, TARGET)

        executor.submit_ready()

        assert broker.cancelled == [STOP.broker_order_id]
        assert broker.sent == [EXIT]
        sync.run(MARKET)
        assert [o.status for o in authority.updates] == ["canceled", "canceled"]

    def test_the_exit_is_not_sent_when_a_protective_order_filled_first(
        self, executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
    ) -> None:
        self.ended(broker, STOP, status="filled", filled=10)
        self.ended(broker, TARGET)

        executor.submit_ready()

        assert outcome(authority) == (Outcome.REJECTED, "POSITION_CHANGED")
        assert broker.sent == []

    def test_the_exit_waits_when_the_protective_orders_do_not_go(
        self, executor: TradeExecutor, authority: FakeAuthority, broker: FakeBroker
    ) -> None:
        self.ended(broker, STOP, status="pending_cancel")
        self.ended(broker, TARGET)

        executor.submit_ready()

        assert outcome(authority) == (Outcome.NOT_SENT, "LEGS_WORKING")
        assert broker.sent == []


def test_no_entry_is_sent_and_exits_are_when_the_account_may_not_trade(
    executor: TradeExecutor, broker: FakeBroker, health: HealthTracker
) -> None:
    health.broker_blocked = True

    refused = executor.open_position(Permit(ENTRY, until_s=float("inf")))
    tried = executor.close_position(Permit(EXIT, until_s=float("inf")))

    assert (refused.outcome, refused.code) == (Outcome.NOT_SENT, "ACCOUNT_BLOCKED")
    assert tried.outcome is Outcome.ACCEPTED  # the broker may let an exit through, and says so if not


@pytest.mark.parametrize(("left", "claimed"), [(1000, (50, False)), (7, (7, False)), (0, (1, True))])
def test_no_more_is_claimed_than_the_rate_limit_lets_through(
    left: int, claimed: tuple[int, bool], executor: TradeExecutor, authority: FakeAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = []
    monkeypatch.setattr(authority, "claim", lambda *, limit, exits_only: asked.append((limit, exits_only)) or [])
    monkeypatch.setattr(executor, "_rate", SimpleNamespace(calls_left=lambda: left))

    executor.submit_ready()

    assert asked == [claimed]
