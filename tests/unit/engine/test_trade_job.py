"""The trade tick's job: what closed trades call for comes before entries, and never before exits."""

from types import SimpleNamespace
from typing import Any

import pytest

from engine.config import CADENCES
from engine.domain.errors import AuthorityUnavailable
from engine.jobs import job_table
from tests.unit.engine.builders import MARKET


class Whatever(SimpleNamespace):
    """Has every attribute and can be called: the parts of an engine that the test is not about."""

    def __getattr__(self, name: str) -> Any:
        return Whatever()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Whatever()


@pytest.mark.parametrize("is_away", [False, True])
def test_nothing_is_entered_until_closed_trades_were_heeded_but_the_tick_runs(is_away: bool) -> None:
    asked: list[bool] = []

    def heed_exits(_: Any) -> int:
        if is_away:
            raise AuthorityUnavailable
        return 0

    def tick(_: Any, *, may_enter: bool) -> int:
        asked.append(may_enter)
        return 0

    engine = Whatever(
        health=SimpleNamespace(brake_is_on=False),
        market=SimpleNamespace(read=lambda: MARKET),
        protections=SimpleNamespace(heed_exits=heed_exits),
        trader=SimpleNamespace(tick=tick),
        settings=SimpleNamespace(cadence=CADENCES["local"]),
    )
    job = next(job for job in job_table(engine) if job.name == "trade_tick")  # type: ignore[arg-type]

    job.run()

    assert asked == [not is_away]
