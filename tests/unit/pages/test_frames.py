"""From rows to frames: known columns and types, whatever the rows hold."""

import pandas as pd
import pytest

from db.queries._frames import Columns, frame
from db.queries.controls import CONTROL_EVENT_COLUMNS, global_pauses
from db.queries.positions import POSITION_COLUMNS, with_protection

COLUMNS: Columns = {
    "id": "text", "price": "number", "passed": "flag", "at": "time", "day": "date", "profile_name": "text",
}  # fmt: skip


def test_empty_frame_has_the_same_types_as_a_full_one() -> None:
    row = {"id": "a", "price": 1.5, "passed": True, "at": "2007-01-03T15:00:00+00:00", "day": "2007-01-03",
           "profile": {"name": "Alice"}}  # fmt: skip

    full, empty = frame([row], COLUMNS), frame([], COLUMNS)

    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert full.iloc[0]["profile_name"] == "Alice"


def test_missing_values_stay_missing() -> None:
    row = frame([dict.fromkeys(COLUMNS)], COLUMNS).iloc[0]

    assert row.isna().all()


def test_times_with_and_without_fractions_are_read() -> None:
    rows = [{"at": "2007-01-03T15:00:00+00:00"}, {"at": "2007-01-03T15:00:00.123456+00:00"}, {"at": None}]

    times = frame(rows, {"at": "time"})["at"]

    assert times.iloc[1] - times.iloc[0] == pd.Timedelta(microseconds=123456)
    assert str(times.dt.tz) == "UTC"


def test_each_kind_has_its_type_whatever_the_rows_hold() -> None:
    kinds: Columns = COLUMNS | {"held": "object"}
    rows = [{"held": [1, 2]}, {"held": {"a": 1}, "price": 2}, {"passed": False, "profile": {"name": "Bob"}}]

    found = frame(rows, kinds)

    assert found.dtypes.astype("str").to_dict() == {
        "id": "str", "price": "float64", "passed": "boolean", "at": "datetime64[us, UTC]", "day": "datetime64[us]",
        "profile_name": "str", "held": "object",
    }  # fmt: skip
    assert found["held"].tolist()[:2] == [[1, 2], {"a": 1}]
    assert found["profile_name"].tolist()[2] == "Bob"


def test_profiles_own_columns_stand_beside_the_name_of_an_embedded_one() -> None:
    rows = [{"profile_id": "1", "profile": {"name": "Alice"}}, {"profile_id": "2", "profile": None}]

    found = frame(rows, {"profile_id": "text", "profile_name": "text"})

    assert found["profile_id"].tolist() == ["1", "2"]
    assert found["profile_name"].fillna("").tolist() == ["Alice", ""]


def position(**changes: object) -> pd.DataFrame:
    values = {
        "side": "long", "qty": 10, "avg_entry_price": 100, "mark_price": 110, "stop_price": 99,
        "take_profit_price": 121, "protected_qty": 10,
    }  # fmt: skip
    return with_protection(frame([values | changes], POSITION_COLUMNS))


def test_risk_and_distances_follow_from_the_mark() -> None:
    held = position().iloc[0]

    assert held["risk_usd"] == pytest.approx(110.0)
    assert held["stop_distance"] == pytest.approx(0.1)
    assert held["target_distance"] == pytest.approx(0.1)


def test_short_position_is_at_risk_upwards() -> None:
    held = position(side="short", stop_price=121, take_profit_price=99).iloc[0]

    assert held["risk_usd"] == pytest.approx(110.0)
    assert held["target_distance"] == pytest.approx(0.1)


@pytest.mark.parametrize(("protected_qty", "is_protected"), [(10, True), (12, True), (9.5, False), (0, False)])
def test_position_is_protected_only_when_the_whole_of_it_is(protected_qty: float, is_protected: bool) -> None:
    assert bool(position(protected_qty=protected_qty).iloc[0]["is_protected"]) is is_protected


def test_risk_is_not_known_without_a_stop() -> None:
    assert position(stop_price=None).iloc[0][["risk_usd", "stop_distance"]].isna().all()


def change(to_mode: str, minute: int, scope: str = "global") -> dict[str, object]:
    return {"scope": scope, "to_mode": to_mode, "reason": f"at {minute}",
            "changed_at": f"2026-11-21T09:{minute:02}:00+00:00"}  # fmt: skip


def test_pauses_last_from_stop_to_resume_however_often_the_mode_changed_between() -> None:
    history = frame(
        [
            change("PAUSED", 1),
            change("HALTED", 2),
            change("RUNNING", 3),
            change("PAUSED", 4),
            change("PAUSED", 5, "symbol"),
        ],
        CONTROL_EVENT_COLUMNS,
    )

    pauses = global_pauses(history)

    assert pauses["reason"].tolist() == ["at 1", "at 4"]
    assert pauses["ended_at"].isna().tolist() == [False, True]
