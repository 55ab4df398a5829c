"""What each control cost or saved: whose the entries are, and what is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.domain.cost_of_control import LockoutSpan, PauseSpan, cause_of, cost_of_control
from engine.domain.price_path import Ended, Path, Plan
from engine.domain.replay import Fate, RecordedDecision, RecordedEntry
from tests.db.test_gate_twin import PASSES

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry(id: str, fate: Fate, code: str | None, *, at: datetime = AT, lock_reason: str | None = None) -> RecordedEntry:
    plan = Plan(is_long=True, qty=Decimal(1), limit_price=Decimal(100), stop_price=None, target_price=None, asked_at=at)
    judged = RecordedDecision(
        code=code, asked_a_person=False, snapshot=replace(PASSES, lock_reason=lock_reason), config=None
    )
    return RecordedEntry(id=id, owner_id="o", profile_id="p", symbol="AAPL", asked_at=at, plan=plan,
                         decisions=(judged,), fate=fate, code=code)  # fmt: skip


def pause(id: str, scope: str = "global", key: str = "*", since: datetime = AT - HOUR,
          until: datetime | None = AT + HOUR) -> PauseSpan:  # fmt: skip
    return PauseSpan(id=id, scope=scope, scope_key=key, since=since, until=until, words=id)


def lockout(id: str, reason: str = "Rumour", ticker: str = "AAPL", is_long: bool | None = None) -> LockoutSpan:
    return LockoutSpan(id=id, ticker=ticker, is_long=is_long, profile_id=None, reason=reason, since=AT - HOUR,
                       until=AT + HOUR, words=id)  # fmt: skip


def brought(result: int, until: datetime | None = AT) -> Path:
    return Path(ended=Ended.TARGET, released_at=until, result_usd=Decimal(result))


PAUSED = entry("1", Fate.DENIED, "TRADING_PAUSED")
WITHDRAWN = entry("2", Fate.WITHDRAWN, "TRADING_PAUSED")
TAKEN_BACK = entry("2", Fate.WITHDRAWN, "SYMBOL_LOCKED", at=AT - 2 * HOUR)
LOCKED = entry("3", Fate.DENIED, "SYMBOL_LOCKED", lock_reason="Rumour")


@pytest.mark.parametrize(
    ("told", "pauses", "expected"),
    [
        (PAUSED, [pause("over", until=AT), pause("held")], "held"),  # half-open: one that ended then held no more
        (PAUSED, [pause("other", "symbol", "IBM"), pause("own", "profile", "p")], "own"),
        (PAUSED, [pause("still", until=None)], "still"),
        (PAUSED, [], ""),
        (WITHDRAWN, [pause("before"), pause("after", since=AT + HOUR, until=None)], "after"),
    ],
)
def test_a_pause_owns_what_it_kept_back(told: RecordedEntry, pauses: list[PauseSpan], expected: str) -> None:
    cause = cause_of(told, pauses, [])

    assert cause is not None
    assert (cause.kind, cause.key) == ("pause", expected)


@pytest.mark.parametrize(
    ("told", "lockouts", "expected"),
    [
        (LOCKED, [lockout("other", "Earnings"), lockout("named")], "named"),
        (LOCKED, [lockout("everything", "Earnings", ticker="*")], "everything"),
        (LOCKED, [lockout("short", is_long=False)], ""),
        (LOCKED, [lockout("elsewhere", ticker="IBM")], ""),
        (TAKEN_BACK, [lockout("elsewhere", ticker="IBM"), lockout("after")], "after"),
    ],
)
def test_a_lockout_owns_what_it_kept_back(told: RecordedEntry, lockouts: list[LockoutSpan], expected: str) -> None:
    cause = cause_of(told, [], lockouts)

    assert cause is not None
    assert (cause.kind, cause.key) == ("lockout", expected)


def test_what_went_to_the_broker_and_what_still_waits_was_kept_back_by_nothing() -> None:
    assert cause_of(entry("1", Fate.PASSED, None), [pause("held")], []) is None
    assert cause_of(entry("1", Fate.WAITS, None), [pause("held")], []) is None


def test_an_effect_is_the_losses_spared_less_the_gains_missed() -> None:
    denied = [entry(str(n), Fate.DENIED, "DAILY_LOSS", at=AT + n * HOUR) for n in range(3)]

    (cost,) = cost_of_control(denied, {"0": brought(30), "1": brought(-50)}, [], [])

    assert (cost.gains_usd, cost.losses_usd, cost.effect_usd) == (30, -50, 20)
    assert cost.unknown == 1


def test_what_is_asked_again_while_the_first_one_would_be_open_is_not_counted() -> None:
    denied = [entry(str(n), Fate.DENIED, "DAILY_LOSS", at=AT + n * HOUR) for n in range(4)]
    paths = {"0": brought(30, until=AT + 2 * HOUR), "1": brought(40), "2": brought(5, until=None), "3": brought(60)}

    (cost,) = cost_of_control(denied, paths, [], [])

    assert cost.gains_usd == 35
    assert cost.repeated == {"1", "3"}


def test_rejections_and_expiries_stand_apart_the_largest_effect_first() -> None:
    told = [
        entry("1", Fate.NOT_APPROVED, "approval_rejected"),
        entry("2", Fate.NOT_APPROVED, "approval_expired", at=AT + HOUR),
    ]

    costs = cost_of_control(told, {"1": brought(5), "2": brought(-9)}, [], [])

    assert [(cost.cause.kind, cost.cause.key, cost.effect_usd) for cost in costs] == [
        ("approval", "approval_expired", 9),
        ("approval", "approval_rejected", -5),
    ]
