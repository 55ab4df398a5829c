"""What is done to an engine at a chosen moment: the five actions of the crash matrix."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.support.chaos_line import Trap
from tests.support.chaos_points import LockTrap
from tests.support.chaos_stage import Machine, Stage

Held = Trap | LockTrap
TAKEN_OVER = 3  # how an engine ends that finds its lease with another


def killed(stage: Stage, machine: Machine, trap: Held | None) -> None:
    """kill -9; what was on its way is lost, or arrives after its sender's death."""
    if trap is None:
        assert machine.engine is not None
        assert machine.engine.wait(10) == -signal.SIGKILL
    else:
        stage.kill(machine)
    late_s = stage.rng.choice([0, 0, 2, 7])
    if trap is not None and late_s:
        time.sleep(late_s)
        stage.tell(f"what was sent arrives {late_s} s late")
    if trap is not None:
        trap.let_go(drop=not late_s)
    _perhaps_time_passes(stage)
    stage.expire_lease()
    stage.start("heir")


def frozen(stage: Stage, machine: Machine, trap: Held | None) -> None:
    """SIGSTOP, another engine takes over, SIGCONT: the first must notice and end."""
    assert machine.engine is not None
    machine.engine.signal(signal.SIGSTOP)
    stage.wait(lambda: machine.engine is not None and machine.engine.is_frozen, "frozen", 5)
    if isinstance(trap, LockTrap):
        trap.let_go(drop=False)  # the database waits for nobody
    stage.expire_lease()
    heir = stage.start("heir")
    stage.wait(lambda: "recovered" in heir.log, "the heir has recovered")
    _perhaps_time_passes(stage)
    time.sleep(stage.rng.uniform(0, 5))
    stage.tell("the frozen engine goes on")
    if isinstance(trap, Trap):
        trap.let_go(drop=False)
    machine.engine.signal(signal.SIGCONT)
    code = machine.engine.wait(40)
    assert code == TAKEN_OVER, stage.report(f"the engine that was frozen ended with {code}")


def authority_cut(stage: Stage, machine: Machine, trap: Held | None) -> None:
    """The database cannot be reached for some seconds."""
    machine.authority.cut()
    _go_on(machine, trap, drop=trap is not None and machine.authority.trap is trap)
    _perhaps_time_passes(stage)
    time.sleep(stage.rng.choice([1, 3, 5]))
    _require_felt(stage, lambda: machine.authority.lost > 0, "the database's absence")
    machine.authority.heal()
    stage.tell("the database is back")


def broker_black_holed(stage: Stage, machine: Machine, trap: Held | None) -> None:
    """The broker takes every byte and answers nothing for some seconds."""
    machine.broker.swallow()
    _go_on(machine, trap, drop=trap is not None and machine.broker.trap is trap)
    time.sleep(stage.rng.choice([4, 5, 7]))
    _require_felt(stage, lambda: machine.broker.lost > 0, "the broker's silence")
    machine.broker.heal()
    stage.tell("the broker is back")
    _perhaps_time_passes(stage)


def raised(stage: Stage, machine: Machine, trap: Held | None) -> None:
    """An exception comes out of the call."""
    if trap is not None:
        trap.let_go(drop=True)
    _perhaps_time_passes(stage)


ACTIONS: dict[str, Callable[[Stage, Machine, Trap | None], None]] = {
    "kill": killed,
    "freeze": frozen,
    "authority cut": authority_cut,
    "broker black-holed": broker_black_holed,
    "exception": raised,
}


def _go_on(machine: Machine, trap: Held | None, *, drop: bool) -> None:
    if trap is not None:
        trap.let_go(drop=drop)
    elif machine.engine is not None:
        machine.engine.signal(signal.SIGCONT)


def _require_felt(stage: Stage, felt: Callable[[], bool], what: str) -> None:
    stage.wait(felt, f"felt: {what}", 15)


def _perhaps_time_passes(stage: Stage) -> None:
    if stage.rng.random() < 0.5:
        stage.step(stage.rng.randint(1, 20))
