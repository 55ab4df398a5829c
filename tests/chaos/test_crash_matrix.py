"""Something goes wrong at each named point of an order's life, in each of five ways: nothing is lost or doubled.

CHAOS=full runs every point with every action and two seeds, CHAOS=long with twenty; every other run a few cells,
CHAOS_DAY chooses which. A case is repeated by its name: the seed is in it. docs/testing.md tells how.
"""

import random
import signal

import pytest

from tests.chaos.conftest import MakeStage
from tests.support.chaos_faults import ACTIONS, Held
from tests.support.chaos_points import ENGINE, POINTS, Point
from tests.support.chaos_stage import Machine, Stage, sample, scope, seeds

HOW = {"kill": "kill", "exception": "raise"}  # the other actions need the engine to wait where it is
CELLS = [(point, action) for point in POINTS for action in ACTIONS]
OF_A_DAY = 4
CHOSEN = sample(CELLS, OF_A_DAY) if scope() == "sample" else CELLS
CASES = [(point, action, seed) for point, action in CHOSEN for seed in seeds()]
NAMES = [f"CP{p.number:02}-{a}-seed{s:02}".replace(" ", "_") for p, a, s in CASES]


def test_every_point_of_the_list_has_a_cell_for_each_action_and_every_cell_has_its_day() -> None:
    assert {point.number for point in POINTS} >= set(range(1, 37))
    assert list(ACTIONS) == ["kill", "freeze", "authority cut", "broker black-holed", "exception"]
    assert len(CELLS) == len({(point.number, action) for point, action in CELLS}) == 5 * len(POINTS)
    days = range(-(-len(CELLS) // OF_A_DAY))
    assert {cell for day in days for cell in sample(CELLS, OF_A_DAY, day=day)} == set(CELLS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("point", "action", "seed"), CASES, ids=NAMES)
def test_nothing_is_lost_or_doubled_when_an_engine_is_struck(
    point: Point, action: str, seed: int, make_stage: MakeStage
) -> None:
    stage = make_stage(random.Random(f"{point.number} {action} {seed}"))
    stage.set_the_scene(**dict(point.story.scene))
    point.story.setting(stage)
    machine, trap = bring_there(stage, point, action)
    ACTIONS[action](stage, machine, trap)
    point.story.at_the_end(stage)
    stage.settle()


def bring_there(stage: Stage, point: Point, action: str) -> tuple[Machine, Held | None]:
    """Bring an engine to the point, and see that it is there."""
    machine, story = stage.machine("first"), point.story
    if point.line == ENGINE:
        story.provoke(stage, machine)
        stage.start(machine.name, crash_at=f"{point.request}:{HOW.get(action, 'freeze')}", **dict(story.engine))
        stage.wait(lambda: is_there(machine, point, action), f"seen: {point}")
        return machine, None
    if story.lead_up is not None:
        story.lead_up(stage, machine)
    trap = point.arm(stage, machine)
    if story.lead_up is None:
        stage.start(machine.name, **dict(story.engine))
    story.provoke(stage, machine)
    stage.wait_sprung(trap.sprung, str(point))
    story.once_there(stage)
    return machine, trap


def is_there(machine: Machine, point: Point, action: str) -> bool:
    assert machine.engine is not None
    if action == "kill":
        return machine.engine.exit_code == -signal.SIGKILL
    if action == "exception":
        return "CrashPointReached" in machine.log
    return machine.engine.is_frozen
