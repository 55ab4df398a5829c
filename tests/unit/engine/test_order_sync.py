import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.domain.book import OrderState, Purpose
from engine.domain.broker_types import BrokerOrder
from engine.domain.reconcile import LateOrder
from engine.ports.authority import UpdateAnswer
from engine.service.order_sync import CHAIN_MAX, LISTED_FROM, LOOKUPS_MAX, OrderSync
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, a_snapshot, an_order, at_broker
from tests.unit.engine.fakes import FakeAuthority, FakeBroker, ManualClock

STRANGER = at_broker(an_order(id="stranger"))


@pytest.fixture
def sync(broker: FakeBroker, authority: FakeAuthority, book: Book) -> OrderSync:
    return OrderSync(broker, authority, book)


def test_an_order_that_ended_is_fetched_and_reported_when_it_left_the_open_list(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = an_order()
    authority.book = a_snapshot(orders=(ours,))
    broker.known["broker-entry"] = at_broker(ours, status="filled")

    assert sync.run(MARKET) == 1
    assert [order.status for order in authority.updates] == ["filled"]


def test_a_foreign_order_is_asked_about_once_when_it_stays_open(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    broker.open = [STRANGER]
    authority.update_answer = UpdateAnswer(None, None, changed=False, late=False)

    sync.run(MARKET)
    sync.run(MARKET)

    assert authority.updates == [STRANGER]
    assert sync.foreign == [STRANGER]


def test_a_leg_that_was_seen_before_its_entry_was_recorded_is_ours_once_the_books_have_it(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority, clock: ManualClock
) -> None:
    leg = an_order(id="leg", broker_order_id="broker-leg", purpose=Purpose.TAKE_PROFIT)
    broker.open = [at_broker(leg)]
    authority.update_answer = UpdateAnswer(None, None, changed=False, late=False)
    sync.run(MARKET)
    assert sync.foreign == broker.open

    clock.sleep(1)
    authority.book = a_snapshot(orders=(leg,))
    authority.update_answer = UpdateAnswer("leg", OrderState.WORKING, changed=True, late=False)
    broker.open = [at_broker(leg, filled_qty=Decimal(3))]
    sync.run(MARKET)

    assert sync.foreign == []
    assert authority.updates[-1].filled_qty == 3


def with_legs(entry: BrokerOrder) -> BrokerOrder:
    legs = tuple(
        at_broker(an_order(id=purpose, broker_order_id=f"broker-{purpose}", purpose=purpose), status="held")
        for purpose in (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT)
    )
    return replace(entry, legs=legs)


def test_the_legs_of_an_entry_that_was_found_in_the_list_are_asked_for_once(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = an_order()
    authority.book = a_snapshot(orders=(ours,))
    broker.open = [at_broker(ours)]
    broker.known["broker-entry"] = with_legs(at_broker(ours))

    for _ in range(3):
        sync.run(MARKET)

    assert [len(order.legs) for order in authority.updates] == [2]


def test_nobody_asks_for_the_legs_of_what_was_sent_a_moment_ago(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    sync.run(MARKET)
    sync.note_sent([an_order()])
    broker.open = [at_broker(an_order())]
    broker.known["broker-entry"] = with_legs(at_broker(an_order()))

    sync.run(MARKET)

    assert authority.updates == []


def test_a_late_orders_legs_are_told_with_the_next_pass(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    broker.open = [STRANGER]
    broker.known[STRANGER.broker_order_id] = with_legs(replace(STRANGER, status="canceled"))
    authority.update_answer = UpdateAnswer("id", OrderState.CANCELED, changed=False, late=True)
    sync.run(MARKET)

    broker.open = []
    authority.update_answer = UpdateAnswer("id", OrderState.CANCELED, changed=True, late=False)
    sync.run(MARKET)

    assert [len(order.legs) for order in authority.updates] == [0, 2]


def test_a_sender_does_not_wait_for_a_pass_that_waits_for_the_broker(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = an_order(cancel_requested_at=MARKET.now)
    authority.book = a_snapshot(orders=(ours,))
    broker.open = [at_broker(ours)]
    is_cancelling, has_noted = threading.Event(), threading.Event()

    def slow_cancel(broker_order_id: str) -> None:
        is_cancelling.set()
        assert has_noted.wait(timeout=30)

    monkeypatch.setattr(broker, "cancel", slow_cancel)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sync.run, MARKET)
        assert is_cancelling.wait(timeout=30)
        sync.note([STRANGER])
        sync.note_sent([an_order(id="sent")])
        has_noted.set()
        running.result(timeout=30)


def test_a_late_order_is_cancelled_and_kept_for_the_report_when_it_lives_at_the_broker(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    broker.open = [STRANGER]
    authority.update_answer = UpdateAnswer("id", OrderState.CANCELED, changed=False, late=True)

    sync.run(MARKET)

    assert broker.cancelled == [STRANGER.broker_order_id]
    assert sync.take_late() == [LateOrder(STRANGER, after_pause=False)]
    assert sync.take_late() == []


def test_an_order_counts_as_missing_when_the_broker_does_not_know_it(sync: OrderSync, authority: FakeAuthority) -> None:
    authority.book = a_snapshot(orders=(an_order(),))

    sync.run(MARKET)

    assert sync.missing == {"broker-entry"}


def test_a_cancel_is_carried_to_the_broker_when_it_was_asked_for(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = an_order(cancel_requested_at=MARKET.now)
    authority.book = a_snapshot(orders=(ours,))
    broker.open = [at_broker(ours)]

    sync.run(MARKET)

    assert broker.cancelled == ["broker-entry"]


def test_a_replaced_order_is_followed_to_the_one_that_works_now(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = an_order()
    authority.book = a_snapshot(orders=(ours,))
    chain = [
        at_broker(ours, status="replaced", replaced_by="second"),
        at_broker(ours, broker_order_id="second", client_order_id="b", status="replaced", replaced_by="third"),
        at_broker(ours, broker_order_id="third", client_order_id="c", status="new", replaces="second"),
    ]
    broker.known = {order.broker_order_id: order for order in chain}
    broker.open = [chain[-1]]

    sync.run(MARKET)

    assert [order.broker_order_id for order in authority.updates][:2] == ["broker-entry", "second"]
    assert {order.broker_order_id for order in authority.updates} == {"broker-entry", "second", "third"}


def test_an_endless_chain_of_replacements_ends_somewhere(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = an_order()
    authority.book = a_snapshot(orders=(ours,))
    broker.known["broker-entry"] = at_broker(ours, status="replaced", replaced_by="broker-entry")

    sync.run(MARKET)

    assert len(authority.updates) <= CHAIN_MAX + 1


def test_an_order_that_waits_for_its_predecessor_is_not_foreign(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    broker.open = [at_broker(an_order(id="stranger"), replaces="broker-entry")]
    authority.update_answer = UpdateAnswer(None, None, changed=False, late=False, deferred=True)

    sync.run(MARKET)

    assert sync.foreign == []


def test_a_late_order_that_has_filled_is_reported_and_not_cancelled(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    filled = at_broker(an_order(id="stranger"), status="filled")
    authority.update_answer = UpdateAnswer("id", OrderState.CANCELED, changed=True, late=True, after_pause=True)

    sync.record([filled])

    assert broker.cancelled == []
    assert sync.take_late() == [LateOrder(filled, after_pause=True)]


def test_orders_that_end_together_are_found_in_a_list_and_not_one_by_one(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [an_order(id=f"o{n}", market_at=MARKET.now) for n in range(LOOKUPS_MAX + 7)]
    authority.book = a_snapshot(orders=tuple(ours))
    broker.known = {f"broker-{order.id}": at_broker(order, status="filled") for order in ours[1:]}
    asked: list[str] = []
    monkeypatch.setattr(broker, "order", lambda broker_order_id: asked.append(broker_order_id))

    sync.run(MARKET)

    assert {order.client_order_id for order in authority.updates} == {order.id for order in ours[1:]}
    assert asked == [ours[0].broker_order_id]
    assert sync.missing == {ours[0].broker_order_id}


def test_a_leg_that_filled_is_found_in_a_list_beneath_its_entry(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = [an_order(id=f"leg{n}", purpose=Purpose.STOP_LOSS, market_at=MARKET.now) for n in range(LISTED_FROM)]
    authority.book = a_snapshot(orders=tuple(legs))
    entry = at_broker(an_order(), status="filled", legs=tuple(at_broker(leg, status="filled") for leg in legs))
    broker.known = {entry.broker_order_id: entry}
    monkeypatch.setattr(broker, "order", lambda _: pytest.fail("it was asked for one by one"))

    sync.run(MARKET)

    assert {order.broker_order_id for order in authority.updates} == {leg.broker_order_id for leg in legs}


def test_legs_that_ended_with_their_entry_are_told_with_it_alone(
    sync: OrderSync, broker: FakeBroker, authority: FakeAuthority
) -> None:
    ours = [an_order(), an_order(id="leg", purpose=Purpose.STOP_LOSS)]
    authority.book = a_snapshot(orders=tuple(ours))
    leg = at_broker(ours[1], status="canceled")
    entry = at_broker(ours[0], status="canceled", legs=(leg,))
    broker.known = {order.broker_order_id: order for order in (entry, leg)}

    sync.run(MARKET)

    assert authority.updates == [entry]


def test_what_no_list_has_is_looked_up_over_several_passes_and_none_is_forgotten(
    sync: OrderSync,
    broker: FakeBroker,
    authority: FakeAuthority,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "order_pages", lambda *_, **__: iter([[]]))
    ours = [an_order(id=f"o{n}") for n in range(LOOKUPS_MAX + 7)]
    lost, ended = ours[:2], ours[2:]
    broker.known = {f"broker-{order.id}": at_broker(order, status="expired") for order in ended}

    for _ in range(2):
        told = {order.client_order_id for order in authority.updates}
        authority.book = a_snapshot(orders=tuple(order for order in ours if order.id not in told))
        clock.sleep(1)
        sync.run(MARKET)

    assert {order.client_order_id for order in authority.updates} == {order.id for order in ended}
    assert sync.missing == {order.broker_order_id for order in lost}
