import pytest

from engine.domain.book import OrderState
from engine.domain.requests import Answer
from engine.service.exit_desk import Exit, ExitDesk
from engine.service.views import Book
from tests.unit.engine.builders import NOON
from tests.unit.engine.fakes import FakeAuthority

WISH = Exit(trade_id="trade", exit_reason="signal", reason="because")


@pytest.mark.parametrize(
    ("state", "code", "same_id"),
    [
        (OrderState.READY, None, True),  # under way: asking again changes nothing
        (OrderState.UNKNOWN, None, True),  # never resend under another id
        (OrderState.REJECTED, None, False),  # over: the next attempt is another order
        (OrderState.CANCELED, None, False),
        (OrderState.DENIED, "DUPLICATE_ORDER", True),
        (OrderState.DENIED, "TRADING_HALTED", True),
    ],
)
def test_an_attempt_gets_a_new_id_only_when_the_last_one_is_over(
    authority: FakeAuthority, book: Book, state: OrderState, code: str | None, same_id: bool
) -> None:
    desk = ExitDesk(authority, book)
    authority.answers = [Answer("id", state, code, None)]

    desk.request([WISH], NOON)
    desk.request([WISH], NOON)

    first, second = authority.exits
    assert (first.id == second.id) is same_id


def test_nothing_is_asked_when_nothing_is_wished(authority: FakeAuthority, book: Book) -> None:
    assert ExitDesk(authority, book).request([], NOON) == 0
    assert authority.exits == []
