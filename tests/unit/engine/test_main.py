"""How an engine ends whose lease goes to another one before it has begun to trade, and what it outlives."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from engine import main
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable, LeaseLost, Refused
from engine.service import recovery
from engine.service.health_tracker import HealthTracker
from engine.service.recovery import Recovery
from tests.unit.engine.fakes import ManualClock


class Recoveries:
    """Does what the test says, one thing at each call."""

    def __init__(self, *turns: Exception | bool) -> None:
        self.turns = list(turns)

    def run(self, _should_stop: Any) -> bool:
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn


def trade(recovery: Recoveries, health: HealthTracker, *, free: bool) -> int:
    lease = SimpleNamespace(try_acquire=lambda: free)
    engine: Any = SimpleNamespace(recovery=recovery, lease=lease, health=health)
    return main._trade(engine, threading.Event())


def test_the_engine_ends_as_taken_over_when_another_takes_its_lease_while_it_recovers(health: HealthTracker) -> None:
    assert trade(Recoveries(LeaseLost("token 1 is stale")), health, free=False) == main.EXIT_TAKEN_OVER


def test_the_engine_recovers_again_when_its_lease_ran_out_while_it_recovered_and_nobody_took_it(
    health: HealthTracker,
) -> None:
    recoveries = Recoveries(LeaseLost("token 1 is stale"), False)

    assert trade(recoveries, health, free=True) == main.EXIT_STOPPED
    assert recoveries.turns == []


def test_a_second_recovery_is_not_judged_by_the_jobs_that_ended_before_it(health: HealthTracker) -> None:
    health.expect_job("heartbeat", 10)

    trade(Recoveries(False), health, free=True)

    assert health.job_states() == {}


def test_the_lease_is_renewed_while_one_call_of_the_recovery_takes_longer_than_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "BEAT_EVERY_S", 0.01)
    beats = threading.Semaphore(0)

    def slow() -> int:
        assert all(beats.acquire(timeout=30) for _ in range(3))
        return 0

    assert recovering(lookups=slow, beat=lambda _: beats.release()).run(lambda: False) is True


def test_a_recovery_that_hangs_gives_its_lease_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BEAT_EVERY_S", 0.01)
    clock, beats = ManualClock(), []

    def hanging() -> int:
        clock.sleep(recovery.TURN_MAX_S + 1)
        keeper = next(thread for thread in threading.enumerate() if thread.name == "lease")
        keeper.join(timeout=30)
        assert not keeper.is_alive()
        return 0

    recovering(lookups=hanging, beat=beats.append, clock=clock).run(lambda: False)


def test_nothing_is_traded_before_all_exits_of_ours_have_been_looked_for() -> None:
    class Slow:
        runs = 0

        def run(self) -> int:
            self.runs += 1
            return 0

        @property
        def is_complete(self) -> bool:
            return self.runs == 3

    slow = Slow()

    assert recovering(lookups=lambda: 0, beat=lambda _: None, recognised=slow).run(lambda: False) is True
    assert slow.runs == 3


def recovering(*, lookups: Any, beat: Any, clock: ManualClock | None = None, recognised: Any = None) -> Recovery:
    """Return a recovery that finds nothing wrong; `lookups` is its looking up of what is unsettled."""
    nothing: Any = SimpleNamespace(orders=(), trades=())
    book: Any = SimpleNamespace(last=nothing, read=lambda: nothing)
    lease: Any = SimpleNamespace(try_acquire=lambda: True, beat=beat, release=lambda: None)
    settlement: Any = SimpleNamespace(run_after_restart=lookups)
    reconciler: Any = SimpleNamespace(run=lambda *_, **__: [])
    snapshots: Any = SimpleNamespace(load_database=dict, load_file=lambda: None, save_file=lambda *_: None)
    offline: Any = SimpleNamespace(replay=lambda: 0)
    recognition: Any = SimpleNamespace(run=lambda: 0, is_complete=True) if recognised is None else recognised
    return Recovery(
        lease, book, SimpleNamespace(read=lambda: None),  # type: ignore[arg-type]
        settlement, reconciler, snapshots, offline, recognition, clock or ManualClock(),
        check_schema=lambda: None, care=lambda _: None,
    )  # fmt: skip


def failing(trouble: Exception, *, lease: list[bool], release: Any = lambda: None) -> Recovery:
    """Return a recovery that fails each time it has the lease; `lease` says at which turns it can be had."""
    turns, nothing = iter(lease), None

    def fail() -> None:
        raise trouble

    return Recovery(
        SimpleNamespace(try_acquire=lambda: next(turns), release=release),  # type: ignore[arg-type]
        SimpleNamespace(last=object()), SimpleNamespace(read=fail),  # type: ignore[arg-type]
        nothing, nothing, nothing, nothing, nothing, ManualClock(),  # type: ignore[arg-type]
        check_schema=lambda: None, care=lambda _: None,
    )  # fmt: skip


def test_a_recovery_that_had_no_answer_until_another_engine_took_its_lease_ends_instead_of_waiting_for_it() -> None:
    with pytest.raises(LeaseLost):
        failing(AuthorityUnavailable("no answer"), lease=[True, False]).run(lambda: False)


def test_a_recovery_that_waits_for_its_first_lease_or_gave_it_back_goes_on_waiting() -> None:
    turns = iter((False, False, False, False, True))

    recovery = failing(BrokerUnavailable("no answer"), lease=[False, True, False, False])

    assert recovery.run(lambda: next(turns)) is False


@pytest.mark.parametrize("trouble", [BrokerUnavailable("no answer"), Refused("PGRST202", "no such function")])
@pytest.mark.parametrize("error", [AuthorityUnavailable("away too"), LeaseLost("token 1 is stale")])
def test_recovery_is_tried_again_when_something_fails_and_the_lease_cannot_be_given_back_either(
    trouble: Exception, error: Exception
) -> None:
    given_back = []

    def give_back() -> None:
        given_back.append(error)
        raise error

    recovery = failing(trouble, lease=[True] * 3, release=give_back)

    assert recovery.run(lambda: len(given_back) == 3) is False
