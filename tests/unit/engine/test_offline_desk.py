from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest

from engine.domain.book import OpenTrade, OrderState, Purpose
from engine.domain.control import ControlMode
from engine.domain.coverage import planned_qty, protected_qty, reserved_qty
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable, Refused
from engine.domain.journal import Cancelled, Intended, OfflineExit
from engine.domain.requests import ExitRequest, exit_id
from engine.domain.submission import Outcome, Submission
from engine.service.failover import FailoverDesk
from engine.service.health_tracker import HealthTracker
from engine.service.journal import Journal
from engine.service.offline_desk import OfflineDesk
from engine.service.views import Book
from tests.support.paper_broker import PaperBroker
from tests.unit.engine.builders import MARKET, NOON, a_snapshot, a_trade, an_order, at_broker, protected_trade
from tests.unit.engine.fakes import FakeAuthority, ManualClock, a_control

TEN = Decimal(10)
STOP, TARGET = "stop_loss", "take_profit"


def nth_exit(attempt: int, trade_id: str = "entry", purpose: Purpose = Purpose.EXIT) -> str:
    return exit_id(trade_id=trade_id, purpose=purpose, attempt=attempt)


def close(attempt: int = 0, trade_id: str = "entry", **changes: object) -> ExitRequest:
    request = ExitRequest(
        id=nth_exit(attempt, trade_id), trade_id=trade_id, exit_reason="stop_loss", reason="through", market_at=NOON
    )
    return replace(request, **changes)


@dataclass
class Ledger:
    """Hears what was done; refuses what it is told to refuse."""

    told: list[tuple[OfflineExit, Submission]] = field(default_factory=list)
    is_away: bool = False
    is_unknown: bool = False
    refuses: str = ""

    def record_offline_exits(self, exits: Sequence[tuple[OfflineExit, Submission]]) -> None:
        if self.is_away:
            raise AuthorityUnavailable("away")
        if self.is_unknown:
            raise Refused("PGRST202", "no such function")
        if any(exit_.id == self.refuses for exit_, _ in exits):
            raise Refused("INVALID", "no such trade")
        self.told += exits


@pytest.fixture
def paper() -> PaperBroker:
    return PaperBroker()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def start(
    paper: PaperBroker, authority: FakeAuthority, ledger: Ledger, book: Book, health: HealthTracker,
    clock: ManualClock, tmp_path: Path,
) -> Callable[[], OfflineDesk]:  # fmt: skip
    """Return a function that makes a desk as a process does at its start."""
    started: list[Journal] = []

    def make() -> OfflineDesk:
        for earlier in started:
            earlier._close()
        started.append(Journal(tmp_path / "journal.log", clock, health.note_disk))
        return OfflineDesk(paper, authority, ledger, started[-1], book, health, clock, is_away=lambda: ledger.is_away)

    return make


@pytest.fixture
def desk(start: Callable[[], OfflineDesk]) -> OfflineDesk:
    return start()


@pytest.fixture
def hold(paper: PaperBroker, authority: FakeAuthority, book: Book) -> Callable[..., OpenTrade]:
    """Return a function that has trades held, with their legs at the broker, and in the books as last read."""

    def have(*trades: OpenTrade, orders: tuple = ()) -> None:
        for trade in trades:
            signed = trade.qty if trade.is_long else -trade.qty
            paper.held[trade.symbol] = paper.held.get(trade.symbol, Decimal(0)) + signed
            for leg in trade.legs:
                paper.rest(leg)
        legs = [leg for trade in trades for leg in trade.legs]
        authority.book = a_snapshot(trades=trades, orders=(*legs, *orders))
        book.outdate()
        book.read()

    return have


def acts(desk: OfflineDesk) -> list[object]:
    return desk._journal.acts()


def move(stop: str, *, of: str, attempt: int = 0) -> ExitRequest:
    id = exit_id(trade_id="entry", purpose=Purpose.STOP_LOSS, attempt=attempt, replaces=of)
    changes = {"purpose": Purpose.STOP_LOSS, "order_type": "stop", "stop_price": Decimal(stop)}
    return close(id=id, reason="the stop trails", replaces_broker_id=of, **changes)


class TestMovingStops:
    def test_a_stop_trails_on_and_covers_the_trade_once(self, desk, hold, paper, clock):
        trade = protected_trade()
        hold(trade)
        of = next(leg.broker_order_id for leg in trade.legs if leg.id == STOP)
        first, second = move("95", of=of), move("97", of=f"broker-{move('95', of=of).id}")

        for request in (first, second):
            (answer,) = desk.request_exits([request])
            clock.sleep(2)
            assert answer.state is OrderState.WORKING

        (seen,) = desk.view().trades
        assert [paper.orders[id].status for id in (STOP, first.id)] == ["replaced", "replaced"]
        assert paper.orders[second.id].stop_price == Decimal(97)
        assert {leg.id for leg in seen.legs} == {TARGET, second.id}
        assert protected_qty(seen) == planned_qty(seen) == reserved_qty(seen) == TEN

    def test_it_is_moved_once_when_the_process_dies_after_moving_and_the_books_hear_it_from_the_broker(
        self, start, hold, paper, ledger, authority
    ):
        trade = protected_trade()
        hold(trade)
        request = move("95", of=trade.legs[0].broker_order_id)
        start().request_exits([request])

        again = start()
        (answer,) = again.request_exits([request])

        assert answer.state is OrderState.WORKING
        assert paper.posts == [request.id]
        assert again.replay() > 0
        assert ledger.told == []
        assert [order.client_order_id for order in authority.updates] == [STOP, request.id]

    def test_a_move_is_not_forgotten_as_long_as_the_books_do_not_know_it(
        self, desk, hold, paper, authority, monkeypatch
    ):
        trade = protected_trade()
        hold(trade)
        request = move("95", of=trade.legs[0].broker_order_id)
        desk.request_exits([request])

        def away(_: object) -> None:
            raise AuthorityUnavailable("away")

        monkeypatch.setattr(authority, "record_updates", away)

        with pytest.raises(AuthorityUnavailable):
            desk.replay()

        assert protected_qty(desk.view().trades[0]) == planned_qty(desk.view().trades[0]) == TEN

    def test_a_stop_that_does_not_rest_any_more_is_not_moved(self, desk, hold, paper):
        hold(protected_trade())

        (answer,) = desk.request_exits([move("95", of="gone")])

        assert (answer.state, answer.code) == (OrderState.DENIED, "NOT_RESTING")
        assert paper.posts == []


class TestClosing:
    def test_the_legs_go_first_and_the_exit_has_the_id_that_the_authority_would_give(self, desk, hold, paper):
        hold(protected_trade())

        (answer,) = desk.request_exits([close()])

        assert answer.state is OrderState.WORKING
        assert paper.orders[STOP].status == paper.orders[TARGET].status == "canceled"
        assert (paper.orders[nth_exit(0)].qty, paper.orders[nth_exit(0)].side) == (TEN, "sell")

    def test_everything_was_written_down_before_it_was_done(self, desk, hold, paper, monkeypatch):
        hold(protected_trade())
        seen: list[list[type]] = []
        submit, cancel = paper.submit, paper.cancel
        monkeypatch.setattr(
            paper, "submit", lambda order: (seen.append([type(a) for a in acts(desk)]), submit(order))[1]
        )
        monkeypatch.setattr(paper, "cancel", lambda id: (seen.append([type(a) for a in acts(desk)]), cancel(id))[1])

        desk.request_exits([close()])

        assert seen == [[Cancelled], [Cancelled] * 2, [Cancelled, Cancelled, Intended]]

    def test_it_is_sent_once_however_often_it_is_asked_for(self, desk, hold, paper, clock):
        hold(protected_trade())

        for _ in range(5):
            desk.request_exits([close()])
            clock.sleep(2)

        assert paper.posts == [nth_exit(0)]

    def test_it_is_sent_once_when_the_process_dies_after_sending(self, start, hold, paper):
        hold(protected_trade())
        paper.loses_answers = True
        start().request_exits([close()])
        paper.is_away = paper.loses_answers = False

        (answer,) = start().request_exits([close()])

        assert answer.state is OrderState.WORKING
        assert paper.posts == [nth_exit(0)]

    def test_nothing_is_sent_when_a_stop_has_filled_meanwhile(self, desk, hold, paper):
        hold(protected_trade())
        paper.fill(STOP)

        assert desk.request_exits([close()])[0].code == "NO_POSITION"
        assert paper.posts == []

    def test_only_what_is_left_is_sold_when_a_stop_has_filled_in_part(self, desk, hold, paper):
        hold(protected_trade())
        paper.fill(STOP, Decimal(4))

        desk.request_exits([close()])

        assert paper.orders[nth_exit(0)].qty == Decimal(6)

    def test_another_trades_shares_are_left_alone(self, desk, hold, paper):
        """Another engine has closed this trade already: the ten shares that are left are the other trade's."""
        own = {"trade_id": "other", "parent_id": "other"}
        other = [
            replace(leg, id=f"other-{leg.id}", broker_order_id=f"at-{leg.id}", **own) for leg in protected_trade().legs
        ]
        hold(a_trade(), a_trade(*other, trade_id="other"))
        paper.held["AAPL"] = TEN

        assert desk.request_exits([close()])[0].code == "NO_POSITION"
        assert paper.posts == []

    @pytest.mark.parametrize("ahead", [1, 3])
    def test_an_attempt_of_another_engine_counts(self, desk, hold, paper, ahead):
        hold(a_trade())
        paper.rest(an_order(id=nth_exit(ahead), side="sell", purpose=Purpose.EXIT, broker_status="accepted"))

        assert desk.request_exits([close()])[0].state is OrderState.WORKING
        assert paper.posts == []

    def test_the_next_attempt_is_made_when_the_last_one_ended_unfilled(self, desk, hold, paper, clock):
        hold(a_trade())
        desk.request_exits([close()])
        paper.cancel(f"broker-{nth_exit(0)}")
        clock.sleep(2)

        assert desk.request_exits([close()])[0].state is OrderState.CANCELED
        assert desk.request_exits([close(1)])[0].state is OrderState.WORKING

    def test_a_rejected_exit_is_tried_again_under_the_same_id(self, desk, hold, paper, ledger):
        hold(a_trade())
        paper.refuses = True
        assert desk.request_exits([close()])[0].state is OrderState.DENIED
        paper.refuses = False

        assert desk.request_exits([close()])[0].state is OrderState.WORKING

        assert set(paper.posts) == {nth_exit(0)}
        desk.replay()
        assert [answer.outcome for _, answer in ledger.told] == [Outcome.ACCEPTED]

    def test_a_short_position_is_bought_back(self, desk, hold, paper):
        hold(a_trade(side="short"))

        desk.request_exits([close()])

        assert paper.orders[nth_exit(0)].side == "buy"

    @pytest.mark.parametrize("stop", ["brake", "halt"])
    def test_nothing_is_sent_under_the_brake_or_a_halt(self, desk, hold, paper, health, stop):
        hold(protected_trade())
        if stop == "brake":
            health._brake.turn_on("test", NOON)
        else:
            health.record_trading_control(a_control(AAPL=ControlMode.HALTED))

        assert desk.request_exits([close()])[0].code == "TRADING_HALTED"
        assert paper.posts == [] and paper.orders[STOP].is_open

    def test_nothing_is_assumed_when_the_broker_is_away_too(self, desk, hold, paper):
        hold(protected_trade())
        paper.is_away = True

        with pytest.raises(BrokerUnavailable):
            desk.request_exits([close()])
        assert acts(desk) == []

    def test_an_exit_is_sent_even_when_the_journal_cannot_be_written(self, desk, hold, paper, health, tmp_path):
        (tmp_path / "journal.log").mkdir()
        hold(a_trade())

        desk.request_exits([close()])

        assert paper.posts == [nth_exit(0)]
        assert health.is_paused()


class TestProtecting:
    def test_a_stop_is_rested_and_counts_from_then_on(self, desk, hold, paper):
        hold(a_trade())
        stop_id = nth_exit(0, purpose=Purpose.STOP_LOSS)
        wish = close(id=stop_id, purpose=Purpose.STOP_LOSS, order_type="stop", stop_price=Decimal(90), qty=TEN)

        desk.request_exits([wish])

        assert paper.orders[stop_id].stop_price == Decimal(90)
        (trade,) = desk.view().trades
        assert [(leg.id, leg.qty) for leg in trade.legs] == [(stop_id, TEN)]


class TestCarryingOn:
    def test_an_exit_that_was_accepted_and_not_sent_is_sent_under_its_own_id(self, desk, hold, paper):
        waiting = an_order(
            id="by-hand", purpose=Purpose.EXIT, side="sell", state=OrderState.READY, broker_order_id=None,
            order_type="market", order_class="simple",
        )  # fmt: skip
        hold(a_trade(exit_working=True), orders=(waiting,))

        assert desk.carry_on(MARKET) == 1
        assert paper.posts == ["by-hand"]

    def test_nothing_is_known_and_nothing_done_before_the_first_look_at_the_books(self, desk, paper):
        assert desk.carry_on(MARKET) == 0
        assert desk.view() is None

    def test_a_state_file_is_enough_to_go_on_from(self, desk, paper):
        paper.held["AAPL"] = TEN
        desk.start_from(a_snapshot(trades=(a_trade(),)))

        assert desk.request_exits([close()])[0].state is OrderState.WORKING

    @pytest.mark.parametrize(
        ("halted", "code"),
        [
            (("global", "*"), "TRADING_HALTED"), (("symbol", "AAPL"), "TRADING_HALTED"),
            (("profile", "profile"), "TRADING_HALTED"), (("symbol", "IBM"), None),
        ],
    )  # fmt: skip
    def test_a_halt_outlasts_a_restart(self, desk, paper, health, halted, code):
        health._control = None  # the database has not been heard since
        paper.held["AAPL"] = TEN
        desk.start_from(a_snapshot(trades=(a_trade(),)), frozenset({halted}))

        assert desk.request_exits([close()])[0].code == code

    def test_orders_are_cancelled_without_the_authority(self, desk, hold, paper, ledger):
        hold(protected_trade())
        desk.view()

        assert desk.request_cancels([type("Request", (), {"id": STOP, "reason": ""})]) == 1
        assert paper.orders[STOP].status == "canceled"


class TestTelling:
    def test_it_is_told_once_with_the_brokers_answer(self, desk, hold, paper, ledger):
        hold(a_trade())
        desk.request_exits([close()])

        assert desk.replay() == 1
        assert desk.replay() == 0

        ((exit_, answer),) = ledger.told
        assert (exit_.id, answer.outcome) == (nth_exit(0), Outcome.ACCEPTED)

    def test_it_is_told_again_by_the_next_process_when_telling_failed(self, start, hold, ledger):
        hold(a_trade())
        before = start()
        before.request_exits([close()])
        ledger.is_away = True
        with pytest.raises(AuthorityUnavailable):
            before.replay()
        ledger.is_away = False

        assert start().replay() == 1

    def test_what_is_refused_hides_nothing_else(self, desk, hold, ledger, paper, clock):
        hold(a_trade(), a_trade(trade_id="other"))
        desk.request_exits([close(), close(trade_id="other")])
        ledger.refuses = nth_exit(0)

        desk.replay()

        assert [exit_.trade_id for exit_, _ in ledger.told] == ["other"]
        assert desk.replay() == 0

    def test_it_is_kept_when_what_was_refused_was_the_call_and_not_the_line(self, desk, hold, ledger):
        hold(a_trade())
        desk.request_exits([close()])
        ledger.is_unknown = True
        with pytest.raises(Refused):
            desk.replay()
        ledger.is_unknown = False

        assert desk.replay() == 1
        assert len(ledger.told) == 1

    def test_the_authority_hears_of_it_before_it_is_asked_for_anything_else(self, desk, hold, ledger, authority):
        hold(a_trade())
        desk.request_exits([close()])
        failover = FailoverDesk(authority, desk)

        failover.claim()
        assert len(ledger.told) == 1

        desk.request_exits([close()])
        failover.request_exits([close()])
        assert len(authority.exits) == 1

    def test_a_permits_answer_that_could_not_be_told_is_told_later(self, desk, authority, monkeypatch):
        failover = FailoverDesk(authority, desk)
        accepted = Submission(id="entry", outcome=Outcome.ACCEPTED, order=at_broker(an_order()))

        def away(_: object) -> None:
            raise AuthorityUnavailable("away")

        with monkeypatch.context() as gone:
            gone.setattr(authority, "record_submissions", away)
            with pytest.raises(AuthorityUnavailable):
                failover.record_submissions([accepted])

        desk.replay()

        assert authority.submissions == [accepted]
