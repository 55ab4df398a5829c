from decimal import Decimal

import pytest

from engine.domain.book import OrderState, Purpose
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable
from engine.domain.requests import exit_id
from engine.domain.submission import Outcome
from engine.service.recognition import LOOK_UP, Recognition
from engine.service.views import Book
from tests.support.paper_broker import PaperBroker
from tests.unit.engine.builders import a_snapshot, a_trade, an_order
from tests.unit.engine.fakes import FakeAuthority

TEN = Decimal(10)
EXIT = exit_id(trade_id="entry", purpose=Purpose.EXIT, attempt=0)


class Ledger:
    def __init__(self) -> None:
        self.told: list[tuple[str, Outcome]] = []
        self.is_away = False

    def record_offline_exits(self, exits) -> None:
        if self.is_away:
            raise AuthorityUnavailable("away")
        self.told += [(exit_.id, answer.outcome) for exit_, answer in exits]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def paper(authority: FakeAuthority) -> PaperBroker:
    """A broker that holds the ten shares of the one trade."""
    authority.book = a_snapshot(trades=(a_trade(),))
    return PaperBroker(held={"AAPL": TEN})


@pytest.fixture
def recognition(paper: PaperBroker, ledger: Ledger, book: Book) -> Recognition:
    return Recognition(paper, ledger, book)


def an_exit(**changes):
    return an_order(id=EXIT, side="sell", purpose=Purpose.EXIT, order_type="market", **changes)


def test_an_open_exit_of_ours_is_told_of(recognition, paper, ledger):
    paper.rest(an_exit())

    assert recognition.run() == 1
    assert ledger.told == [(EXIT, Outcome.ACCEPTED)]


def test_a_filled_exit_of_ours_is_found_by_the_shares_that_are_missing(recognition, paper, ledger):
    paper.rest(an_exit())
    paper.fill(EXIT)

    assert recognition.run() == 1
    assert ledger.told == [(EXIT, Outcome.ACCEPTED)]


def test_it_is_looked_for_again_when_it_could_not_be_told(recognition, paper, ledger):
    paper.rest(an_exit())
    paper.fill(EXIT)
    ledger.is_away = True
    with pytest.raises(AuthorityUnavailable):
        recognition.run()
    ledger.is_away = False

    assert recognition.run() == 1


def test_what_the_books_know_and_what_is_not_ours_is_left_alone(recognition, paper, ledger, authority):
    exit_ = an_exit()
    paper.rest(exit_)
    paper.rest(an_order(id="by-hand", side="sell"))
    authority.book = a_snapshot(trades=(a_trade(),), orders=(exit_,))

    assert recognition.run() == 0
    assert exit_.state is OrderState.WORKING


def test_a_difference_is_looked_into_once(recognition, paper, monkeypatch):
    paper.held["AAPL"] = Decimal(3)  # somebody sold by hand
    asked: list[str] = []
    monkeypatch.setattr(paper, "order_by_client_id", lambda id, **_: asked.append(id))

    recognition.run()
    first = len(asked)
    recognition.run()

    assert first == len(asked) > 0


@pytest.mark.parametrize("others", [15, 30])
def test_an_exit_is_found_though_others_hold_more_of_its_symbol_in_the_account(recognition, paper, ledger, others):
    paper.rest(an_exit())
    paper.fill(EXIT)
    paper.held["AAPL"] = Decimal(others)  # another shard's, or bought by hand

    assert recognition.run() == 1
    assert ledger.told == [(EXIT, Outcome.ACCEPTED)]


def test_many_trades_are_looked_into_bit_by_bit_with_no_call_that_is_kept_for_exits(
    recognition, paper, authority, monkeypatch
):
    authority.book = a_snapshot(trades=tuple(a_trade(trade_id=f"trade-{n}") for n in range(30)))
    paper.held["AAPL"] = TEN * 30 - 1
    asked: list[str] = []
    urgencies: set[bool] = set()

    def limited(id: str, urgent: bool) -> None:
        urgencies.add(urgent)
        if asked.count("refused") * 50 + 50 <= len(asked) - asked.count("refused"):
            asked.append("refused")
            raise BrokerUnavailable("the rate limit leaves no call for this now")
        asked.append(id)

    monkeypatch.setattr(paper, "order_by_client_id", limited)

    done = []
    for _ in range(20):
        assert recognition.run() == 0
        done.append(recognition.is_complete)

    assert done[0] is False and done[-1] is True
    ids = [id for id in asked if id != "refused"]
    assert len(set(ids)) == 30 * 2 * LOOK_UP
    assert len(ids) < 2 * len(set(ids))
    assert urgencies == {False}
