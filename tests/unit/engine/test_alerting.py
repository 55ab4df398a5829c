"""Notices on their way out: put into messages, sent to those who do not have them, reported as they went."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.alerts import TOGETHER_FROM, Delivery, Message, Notice, deliveries_of, messages_of
from engine.domain.errors import AuthorityUnavailable, Refused
from engine.ports.alert_desk import Looked
from engine.service.alerting import AWAY_TOLD_AFTER_S, CLAIM_RESERVE_S, CLAIM_TTL_S, Alerting
from engine.watch import look
from tests.unit.engine.fakes import ManualClock

IDS = count()


def a_notice(**changes: object) -> Notice:
    fields = {"id": f"n{next(IDS)}", "token": 1, "severity": "warning", "event": "opened", "title": "T", "body": "B"}
    return Notice(**fields | changes)  # type: ignore[arg-type]


notices = st.lists(
    st.builds(
        a_notice,
        severity=st.sampled_from(["warning", "critical"]),
        event=st.sampled_from(["opened", "resolved", "test"]),
        delivered_to=st.frozensets(st.sampled_from("abc")),
    ),
    max_size=30,
)


class TestMessages:
    @settings(deadline=None)
    @given(notices)
    def test_every_notice_is_in_exactly_one_message_which_names_it(self, given_notices: list[Notice]) -> None:
        messages = messages_of(given_notices)

        sent = [notice.id for message in messages for notice in message.notices]
        assert sorted(sent) == sorted(notice.id for notice in given_notices)
        assert all(notice.id in message.body for message in messages for notice in message.notices)

    @settings(deadline=None)
    @given(notices)
    def test_what_other_targets_have_already_is_never_mixed(self, given_notices: list[Notice]) -> None:
        for message in messages_of(given_notices):
            assert {notice.delivered_to for notice in message.notices} == {message.delivered_to}

    @given(st.lists(st.builds(a_notice, body=st.integers(0, 3000).map("B".__mul__)), min_size=1, max_size=60))
    def test_several_notices_in_one_message_are_never_too_long_for_a_target(self, given_notices: list[Notice]) -> None:
        for message in messages_of(given_notices):
            assert len(message.notices) == 1 or len(message.title) + len(message.body) <= 2000

    def test_a_few_notices_go_one_by_one_and_a_storm_in_one_message(self) -> None:
        few = [a_notice() for _ in range(TOGETHER_FROM - 1)]
        storm = [a_notice(severity="critical") for _ in range(50)]

        assert len(messages_of(few)) == len(few)
        (message,) = messages_of(storm)
        assert message.title == "Interlock: 50 alerts, 50 critical"

    @pytest.mark.parametrize(
        ("severity", "event", "critical", "good"),
        [
            ("critical", "opened", True, False),
            ("critical", "resolved", False, True),
            ("warning", "opened", False, False),
            ("warning", "test", False, False),
        ],
    )
    def test_a_message_is_as_loud_as_what_it_tells(self, severity: str, event: str, critical: bool, good: bool) -> None:
        (message,) = messages_of([a_notice(severity=severity, event=event)])

        assert (message.is_critical, message.is_good_news) == (critical, good)

    def test_a_refusal_is_kept_with_who_has_the_notice_all_the_same(self) -> None:
        (message,) = messages_of([a_notice(delivered_to=frozenset("x"))])

        (delivery,) = deliveries_of(message, {"b": "error 500"}, ["a", "b"])

        assert delivery == Delivery(message.notices[0], frozenset("xa"), "b: error 500")


@dataclass
class FakeDesk:
    due: list[Notice] = field(default_factory=list)
    settled: list[Delivery] = field(default_factory=list)
    claims: int = 0
    given_up: int = 0
    notifiers: int | None = None
    away: bool = False

    def evaluate(self, notifiers: int) -> Looked:
        if self.away:
            raise AuthorityUnavailable("gone")
        self.notifiers = notifiers
        return Looked(True, 1, 0)

    def claim(self, holder: str, *, limit: int, ttl_s: int) -> list[Notice]:
        self.claims += 1
        return self.due

    def settle(self, holder: str, deliveries: Sequence[Delivery]) -> int:
        self.settled += deliveries
        return self.given_up


@dataclass
class FakeNotifier:
    clock: ManualClock
    targets: tuple[str, ...] = ("a", "b")
    refuses: dict[str, str] = field(default_factory=dict)
    takes_s: float = 0
    sent: list[tuple[str, Message]] = field(default_factory=list)

    def send(self, target: str, message: Message) -> str | None:
        self.clock.sleep(self.takes_s)
        self.sent.append((target, message))
        return self.refuses.get(target)


@pytest.fixture
def notifier(clock: ManualClock) -> FakeNotifier:
    return FakeNotifier(clock)


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def alerting(desk: FakeDesk, notifier: FakeNotifier, clock: ManualClock) -> Alerting:
    return Alerting(desk, notifier, clock, holder="one")


class TestDelivery:
    def test_a_notice_goes_to_every_target_once(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier
    ) -> None:
        desk.due = [a_notice()]

        assert alerting.deliver() == 1
        assert sorted(target for target, _ in notifier.sent) == ["a", "b"]
        assert [(d.error, d.delivered_to) for d in desk.settled] == [(None, frozenset("ab"))]

    def test_a_target_that_has_it_does_not_get_it_again(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier
    ) -> None:
        desk.due = [a_notice(delivered_to=frozenset("a"))]

        alerting.deliver()

        assert [target for target, _ in notifier.sent] == ["b"]

    def test_what_one_target_refuses_is_tried_again_with_it_alone(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier
    ) -> None:
        desk.due = [a_notice()]
        notifier.refuses = {"b": "error 500"}

        assert alerting.deliver() == 0
        assert [(d.error, d.delivered_to) for d in desk.settled] == [("b: error 500", frozenset("a"))]

    def test_nothing_is_claimed_when_there_is_nowhere_to_send_it(self, desk: FakeDesk, clock: ManualClock) -> None:
        nowhere = Alerting(desk, FakeNotifier(clock, targets=()), clock, holder="one")

        assert nowhere.deliver() == 0
        assert desk.claims == 0
        nowhere.evaluate()
        assert desk.notifiers == 0

    def test_nothing_is_sent_when_the_claim_may_soon_be_another_engines(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier
    ) -> None:
        desk.due = [a_notice() for _ in range(TOGETHER_FROM - 1)]
        notifier.takes_s = (CLAIM_TTL_S - CLAIM_RESERVE_S + 1) / len(notifier.targets)

        alerting.deliver()

        assert len(desk.settled) == 1
        assert len(notifier.sent) == len(notifier.targets)


class TestAuthorityAway:
    def look(self, alerting: Alerting) -> None:
        with suppress(AuthorityUnavailable):
            alerting.evaluate()

    def titles(self, notifier: FakeNotifier) -> list[str]:
        return [message.title for target, message in notifier.sent if target == "a"]

    def test_it_is_told_once_when_it_lasts_and_once_when_it_is_over(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier, clock: ManualClock
    ) -> None:
        desk.away = True
        self.look(alerting)
        clock.sleep(AWAY_TOLD_AFTER_S - 1)
        self.look(alerting)
        assert notifier.sent == []

        clock.sleep(1)
        for _ in range(3):
            self.look(alerting)
        assert self.titles(notifier) == ["Interlock: Critical: authority away"]

        desk.away = False
        self.look(alerting)
        self.look(alerting)
        assert self.titles(notifier)[1:] == ["Interlock: Resolved: authority away"]
        assert {target for target, _ in notifier.sent} == {"a", "b"}

    def test_whoever_refuses_it_is_told_again_and_only_who_has_it_hears_of_the_end(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier, clock: ManualClock
    ) -> None:
        desk.away, notifier.refuses = True, {"a": "no route", "b": "no route"}
        self.look(alerting)
        for wait_s in (AWAY_TOLD_AFTER_S, 0, 1, 2):
            clock.sleep(wait_s)
            self.look(alerting)
        assert len(notifier.sent) == 3 * 2  # not at each look: the wait grows

        notifier.refuses = {"b": "no route"}
        clock.sleep(60)
        self.look(alerting)
        desk.away = False
        self.look(alerting)

        assert [title.rpartition(": ")[0] for title in self.titles(notifier)[-2:]] == [
            "Interlock: Critical", "Interlock: Resolved"
        ]  # fmt: skip
        assert "Resolved" not in "".join(message.title for target, message in notifier.sent if target == "b")

    def test_a_short_absence_is_not_told_and_the_next_one_counts_afresh(
        self, alerting: Alerting, desk: FakeDesk, notifier: FakeNotifier, clock: ManualClock
    ) -> None:
        for _ in range(3):
            desk.away = True
            self.look(alerting)
            clock.sleep(AWAY_TOLD_AFTER_S - 1)
            self.look(alerting)
            desk.away = False
            self.look(alerting)

        assert notifier.sent == []


def test_the_watcher_outlives_a_database_that_refuses() -> None:
    def refuse() -> int:
        raise Refused("PGRST202", "no such function, as in the midst of an upgrade")

    look(SimpleNamespace(evaluate=refuse, deliver=refuse))  # type: ignore[arg-type]
