"""How an engine ends whose lease goes to another one before it has begun to trade, and what it outlives."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from engine import main
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable, LeaseLost, Refused
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


def trade(recovery: Recoveries, *, free: bool) -> int:
    engine: Any = SimpleNamespace(recovery=recovery, lease=SimpleNamespace(try_acquire=lambda: free))
    return main._trade(engine, threading.Event())


def test_the_engine_ends_as_taken_over_when_another_takes_its_lease_while_it_recovers() -> None:
    assert trade(Recoveries(LeaseLost("token 1 is stale")), free=False) == main.EXIT_TAKEN_OVER


def test_the_engine_recovers_again_when_its_lease_ran_out_while_it_recovered_and_nobody_took_it() -> None:
    recoveries = Recoveries(LeaseLost("token 1 is stale"), False)

    assert trade(recoveries, free=True) == main.EXIT_STOPPED
    assert recoveries.turns == []


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
