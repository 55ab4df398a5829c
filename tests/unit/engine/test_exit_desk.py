import pytest

from engine.domain.book import OrderState
from engine.domain.requests import Answer, ExitRequest
from engine.service.exit_desk import Exit, ExitDesk
from engine.service.views import Book
from tests.unit.engine.builders import NOON
from tests.unit.engine.fakes import FakeAuthority, ManualClock

WISH = Exit(trade_id="trade", exit_reason="signal", reason="because")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (OrderState.READY, None),  # under way: asking again changes nothing
        (OrderState.UNKNOWN, None),  # never resend under another id
        (OrderState.DENIED, "DUPLICATE_ORDER"),  # never made: the id is still free
        (OrderState.DENIED, "TRADING_HALTED"),
        (OrderState.DENIED, "ALREADY_PROTECTED"),
    ],
)
def test_an_attempt_keeps_its_id_while_it_is_under_way_or_was_never_made(
    authority: FakeAuthority, book: Book, clock: ManualClock, state: OrderState, code: str | None
) -> None:
    desk = ExitDesk(authority, book, clock)
    authority.answers = [Answer("id", state, code, None)]

    desk.request([WISH], NOON)
    desk.request([WISH], NOON)

    first, second = authority.exits
    assert first.id == second.id


def test_attempts_that_are_over_are_passed_by_at_once(authority: FakeAuthority, book: Book, clock: ManualClock) -> None:
    over = {OrderState.REJECTED, OrderState.CANCELED, OrderState.FILLED}
    states = iter([*over, OrderState.READY])
    authority._answers = lambda requests: [Answer(r.id, next(states), None, None) for r in requests]  # type: ignore[method-assign]

    assert ExitDesk(authority, book, clock).request([WISH], NOON) == 1

    assert len({request.id for request in authority.exits}) == len(over) + 1


def test_only_what_is_over_is_asked_for_again(authority: FakeAuthority, book: Book, clock: ManualClock) -> None:
    other = Exit(trade_id="other", exit_reason="signal", reason="because")
    answers = {0: [OrderState.READY, OrderState.CANCELED], 1: [OrderState.READY]}
    calls = iter(answers.values())
    authority._answers = lambda requests: [  # type: ignore[method-assign]
        Answer(r.id, state, None, None) for r, state in zip(requests, next(calls), strict=True)
    ]

    ExitDesk(authority, book, clock).request([WISH, other], NOON)

    assert [request.trade_id for request in authority.exits] == ["trade", "other", "other"]


def test_nothing_is_asked_when_nothing_is_wished(authority: FakeAuthority, book: Book, clock: ManualClock) -> None:
    assert ExitDesk(authority, book, clock).request([], NOON) == 0
    assert authority.exits == []


def test_what_the_broker_refuses_is_asked_for_less_and_less_often(
    authority: FakeAuthority, book: Book, clock: ManualClock
) -> None:
    """Each attempt is accepted by the authority and refused by the broker afterwards."""
    refused: set[str] = set()

    def answer(requests: list[ExitRequest]) -> list[Answer]:
        states = [OrderState.REJECTED if r.id in refused else OrderState.READY for r in requests]
        refused.update(r.id for r in requests)
        return [Answer(r.id, state, None, None) for r, state in zip(requests, states, strict=True)]

    authority._answers = answer  # type: ignore[method-assign]
    desk = ExitDesk(authority, book, clock)
    sent_at = []
    for second in range(120):
        if desk.request([WISH], NOON):
            sent_at.append(second)
        clock.sleep(1)

    assert sent_at == [0, 1, 2, 4, 8, 16, 32, 62, 92]


def test_an_attempt_that_ended_well_ends_the_waiting(authority: FakeAuthority, book: Book, clock: ManualClock) -> None:
    desk = ExitDesk(authority, book, clock)
    ready = OrderState.READY
    states = iter([OrderState.REJECTED, ready, OrderState.REJECTED, ready, OrderState.CANCELED, ready, ready])
    authority._answers = lambda requests: [Answer(r.id, next(states), None, None) for r in requests]  # type: ignore[method-assign]
    for pause_s in (1, 2, 0):
        desk.request([WISH], NOON)
        clock.sleep(pause_s)

    assert desk.request([WISH], NOON) == 1
