"""Planned changes of mode: windows, conditions, and what people decide meanwhile."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from db import commands
from db.errors import Conflict, Forbidden, Invalid, NotFound

PAST = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def admin(sign_in, engine):
    return sign_in("admin")


def plan(admin, kind: str = "once", mode: str = "PAUSED", **more: Any):
    if kind == "once":
        now = datetime.now(UTC)
        more = {"starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(hours=1)} | more
    return commands.schedule_trading_mode(admin, mode=mode, kind=kind, reason="Planned", **more)


def end_window(db, schedule) -> None:
    db.execute(
        "update control_schedules set starts_at = now() - interval '2 hours', ends_at = now() - interval '1 second',"
        " next_at = now() where id = %s",
        (schedule.id,),
    )


class TestWindows:
    def test_a_window_pauses_from_its_start_to_its_end(self, engine, admin, db):
        schedule = plan(admin)

        assert engine.show_alive().mode == "PAUSED"
        end_window(db, schedule)
        assert engine.show_alive().mode == "RUNNING"
        reasons = db.execute("select to_mode, schedule_id, reason from trading_control_events order by id").fetchall()
        assert [(mode, id) for mode, id, _ in reasons] == [("PAUSED", schedule.id), ("RUNNING", None)]
        assert all("Planned" in reason for _, _, reason in reasons)

    def test_the_gate_begins_a_window_on_time_without_waiting_for_a_heartbeat(self, engine, admin, db):
        schedule = plan(admin, starts_at=datetime.now(UTC) + timedelta(hours=1), ends_at=None)
        db.execute("update control_schedules set starts_at = now(), next_at = now() where id = %s", (schedule.id,))

        assert engine.ask_one().code == "TRADING_PAUSED"

    def test_a_claim_begins_a_window_on_time(self, engine, admin, db):
        engine.ask_one()
        schedule = plan(admin, starts_at=datetime.now(UTC) + timedelta(hours=1), ends_at=None, cancel_entries=False)
        db.execute("update control_schedules set starts_at = now(), next_at = now() where id = %s", (schedule.id,))

        assert engine.claim() == []

    def test_what_a_person_resumes_inside_a_window_stays_resumed(self, engine, admin, db):
        plan(admin)

        commands.resume_trading(admin, reason="We need to trade", override_reason="Agreed")

        assert engine.show_alive().mode == "RUNNING"

    @pytest.mark.parametrize("stop", [commands.halt_trading, commands.pause_trading])
    def test_a_window_that_begins_during_a_drill_outlasts_it_and_ends_as_planned(self, engine, admin, db, stop):
        drill = stop(admin, reason="Drill 1", reason_code="drill")
        schedule = plan(admin)

        assert engine.show_alive().mode == "PAUSED"
        with pytest.raises(Conflict):  # what the drill puts back at its end
            commands.resume_trading(admin, reason="Drill 1 is over", expected_version=drill.status.version)

        end_window(db, schedule)
        assert engine.show_alive().mode == "RUNNING"

    def test_the_end_of_a_window_does_not_end_a_persons_own_pause(self, engine, admin, db):
        commands.pause_trading(admin, reason="By hand")
        schedule = plan(admin)

        end_window(db, schedule)

        assert engine.show_alive().mode == "PAUSED"

    def test_a_window_that_goes_on_takes_over_when_another_ends(self, engine, admin, db):
        first, second = plan(admin), plan(admin)

        end_window(db, first)

        status = engine.show_alive()
        assert (status.mode, status.schedule_id) == ("PAUSED", second.id)

    def test_a_halt_window_is_stricter_than_a_pause(self, engine, admin, db):
        plan(admin)
        halt = plan(admin, mode="HALTED")
        assert engine.show_alive().mode == "HALTED"

        end_window(db, halt)

        assert engine.show_alive().mode == "PAUSED"

    def test_a_window_stays_on_until_the_preflight_list_is_met(self, engine, admin, db):
        schedule = plan(admin)
        end_window(db, schedule)
        finding = {"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL"}
        engine.reconcile(finding)

        still = commands.heartbeat(
            engine.client, shard="main", token=engine.token, version="t", market_at=None, jobs={},
            detail={"broker_blocked": False, "data_age_s": 1}, ttl_s=300,
        )  # fmt: skip

        assert still.mode == "PAUSED"
        assert engine.show_alive().mode == "RUNNING"

    def test_a_planned_resume_ends_a_pause(self, engine, admin, db):
        commands.pause_trading(admin, reason="By hand")

        schedule = plan(admin, mode="RUNNING", starts_at=datetime.now(UTC) + timedelta(hours=1), ends_at=None)
        db.execute("update control_schedules set starts_at = now(), next_at = now() where id = %s", (schedule.id,))

        assert engine.show_alive().mode == "RUNNING"
        assert db.execute("select active from control_schedules").fetchone() == (False,)

    def test_a_window_of_a_symbol_leaves_the_others_alone(self, engine, admin):
        plan(admin, scope="symbol", scope_key="aapl")

        assert engine.ask_one(symbol="AAPL").code == "TRADING_PAUSED"
        assert engine.ask_one(symbol="IBM").state == "ready"

    def test_the_next_planned_change_is_shown(self, engine, admin):
        starts = datetime.now(UTC) + timedelta(hours=2)
        schedule = plan(admin, starts_at=starts, ends_at=None)

        change = commands.trading_status(admin).next_change

        assert change is not None
        assert (change["to_mode"], change["schedule_id"]) == ("PAUSED", str(schedule.id))
        assert datetime.fromisoformat(change["at"]) == starts


ZONES = ["America/New_York", "Europe/Berlin", "UTC", "Asia/Kolkata", "Australia/Lord_Howe"]


class TestTimesOfDay:
    @staticmethod
    def holds(now: datetime, zone: str, weekdays: set[int], start: time, end: time) -> bool:
        """Say whether a weekly window holds, by Python's own time zones."""
        tz, today = ZoneInfo(zone), now.astimezone(ZoneInfo(zone)).date()
        for days_back in range(3):
            day = today - timedelta(days=days_back)
            last = day if end > start else day + timedelta(days=1)
            opens, closes = (datetime.combine(d, t, tz) for d, t in ((day, start), (last, end)))
            if day.isoweekday() in weekdays and opens.astimezone(UTC) <= now < closes.astimezone(UTC):
                return True
        return False

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        now=st.integers(1_735_700_000, 1_830_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
        zone=st.sampled_from(ZONES),
        weekdays=st.sets(st.integers(1, 7), min_size=1),
        # Not between one and three at night, when clocks change and libraries disagree about hours that do not exist.
        start=st.times().filter(lambda t: t.hour not in (0, 1, 2, 3)).map(lambda t: t.replace(microsecond=0)),
        end=st.times().filter(lambda t: t.hour not in (0, 1, 2, 3)).map(lambda t: t.replace(microsecond=0)),
        inverted=st.booleans(),
    )
    @example(
        datetime(2026, 3, 8, 13, 45, tzinfo=UTC), "America/New_York", {7}, time(9, 30), time(16), False
    )  # DST begins
    @example(
        datetime(2026, 11, 1, 14, 15, tzinfo=UTC), "America/New_York", {7}, time(9, 30), time(16), False
    )  # and ends
    @example(datetime(2026, 1, 6, 3, 0, tzinfo=UTC), "America/New_York", {1}, time(16), time(9, 30), True)  # overnight
    def test_weekly_windows_follow_the_clocks_of_their_time_zone(self, db, now, zone, weekdays, start, end, inverted):
        (inside,) = db.execute(
            "select private.schedule_in_window(s, %s) from jsonb_populate_record(null::control_schedules,"
            " jsonb_build_object('kind', 'weekly', 'time_zone', %s::text, 'weekdays', %s::int[],"
            " 'start_time', %s::time, 'end_time', %s::time, 'inverted', %s::boolean)) s",
            (now, zone, sorted(weekdays), start, end, inverted),
        ).fetchone()

        assert inside == (self.holds(now, zone, weekdays, start, end) != inverted)

    @pytest.mark.parametrize(
        ("now", "inside"),
        [
            ("2026-04-28 19:59Z", False),
            ("2026-04-28 20:00Z", True),  # the evening before, 16:00 in New York
            ("2026-04-29 12:00Z", True),  # the day itself
            ("2026-04-30 13:29Z", True),
            ("2026-04-30 13:30Z", False),  # the morning after, 9:30 in New York
        ],
    )
    def test_a_window_around_an_earnings_date_spans_the_days_before_and_after(self, db, now, inside):
        row = db.execute(
            "select private.schedule_in_window(s, %s) from jsonb_populate_record(null::control_schedules,"
            ' \'{"kind": "dates", "time_zone": "America/New_York", "dates": ["2026-04-29"], "days_before": 1,'
            ' "days_after": 1, "start_time": "16:00", "end_time": "09:30", "inverted": false}\') s',
            (now,),
        ).fetchone()

        # An end that is not after the start is on the next day: from the evening before to the morning two days on.
        assert row == (inside if now < "2026-04-30 13:30Z" else True,)

    def test_the_next_edge_of_a_daily_window_is_its_start_then_its_end(self, db):
        query = (
            "select private.schedule_next_at(s, %s) from jsonb_populate_record(null::control_schedules,"
            ' \'{"kind": "weekly", "time_zone": "UTC", "weekdays": [1,2,3,4,5,6,7], "start_time": "10:00",'
            ' "end_time": "11:00", "inverted": false}\') s'
        )

        assert db.execute(query, ("2026-01-05 09:00Z",)).fetchone() == (datetime(2026, 1, 5, 10, tzinfo=UTC),)
        assert db.execute(query, ("2026-01-05 10:00Z",)).fetchone() == (datetime(2026, 1, 5, 11, tzinfo=UTC),)


class TestConditions:
    def test_a_drawdown_pauses_and_its_end_does_not_resume_by_itself(self, engine, admin, db):
        plan(admin, "condition", condition={"metric": "drawdown", "above": 0.1})
        assert engine.show_alive().mode == "RUNNING"

        db.execute("update profile_capital set realized_usd = -3000, peak_equity_usd = 25000")
        assert engine.show_alive().mode == "PAUSED"

        db.execute("update profile_capital set realized_usd = 0")
        assert engine.show_alive().mode == "PAUSED"

    def test_a_condition_fires_again_only_after_it_was_not_met(self, engine, admin, db):
        plan(admin, "condition", condition={"metric": "drawdown", "above": 0.1})
        db.execute("update profile_capital set realized_usd = -3000, peak_equity_usd = 25000")
        engine.show_alive()

        commands.resume_trading(admin, reason="Understood", override_reason="Understood")

        assert engine.show_alive().mode == "RUNNING"
        db.execute("update profile_capital set realized_usd = 0")
        engine.show_alive()
        db.execute("update profile_capital set realized_usd = -3000")
        assert engine.show_alive().mode == "PAUSED"

    @pytest.mark.parametrize(
        ("metric", "bound", "detail"),
        [("data_age_s", 60, {"data_age_s": 90}), ("broker_error_rate", 0.2, {"broker_error_rate": 0.5})],
    )
    def test_what_the_engine_measures_pauses(self, engine, admin, metric, bound, detail):
        plan(admin, "condition", condition={"metric": metric, "above": bound})
        assert engine.show_alive().mode == "RUNNING"

        assert engine.show_alive(**detail).mode == "PAUSED"

    def test_a_pause_for_volatility_ends_when_the_market_has_calmed(self, engine, admin, db):
        def bars(*closes: float) -> None:
            db.execute("delete from price_bars")
            for n, close in enumerate(closes):
                db.execute(
                    "insert into price_bars values ('AAPL', '1Day', %s, %s, %s, %s, %s, 1)",
                    (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n), close, close, close, close),
                )

        plan(
            admin, "condition", condition={"metric": "volatility", "above": 0.05},
            resume_condition={"metric": "volatility", "below": 0.02},
        )  # fmt: skip
        assert engine.show_alive().mode == "RUNNING"  # no bars: not known, so nothing is done
        bars(100, 110, 100, 110, 100)
        assert engine.show_alive().mode == "PAUSED"
        bars(100, 101, 100, 101, 100)

        assert engine.show_alive().mode == "RUNNING"

    def test_losing_trades_in_a_row_pause_the_profile_alone(self, engine, admin, db):
        plan(
            admin, "condition", scope="profile", scope_key=str(engine.profiles["Alice trend daily"]),
            condition={"metric": "loss_streak", "above": 1},
        )  # fmt: skip
        for minute, symbol in enumerate(("AAPL", "IBM")):
            lose(engine, symbol, minute)

        engine.show_alive()

        assert engine.ask_one("Alice trend daily", symbol="GOOG").code == "TRADING_PAUSED"
        assert engine.ask_one("Bob dips daily", symbol="GOOG").state == "ready"

    def test_a_condition_has_to_hold_for_as_long_as_it_says(self, engine, admin, db):
        plan(admin, "condition", condition={"metric": "drawdown", "above": 0.1, "for_s": 60})
        db.execute("update profile_capital set realized_usd = -3000, peak_equity_usd = 25000")
        assert engine.show_alive().mode == "RUNNING"

        db.execute("update control_schedules set met_since = now() - interval '61 seconds'")

        assert engine.show_alive().mode == "PAUSED"


def lose(engine, symbol: str, minute: int) -> None:
    """Buy at 100 and be stopped out at 95."""
    held = engine.held(symbol=symbol)
    stopped = held.leg("stop", "filled", filled=held.qty, price="95") | {
        "updated_at": f"2007-01-03T17:{minute:02}:00+00:00"
    }
    sold = held.says("filled", filled=held.qty, price="100") | {"legs": [stopped, held.leg("limit", "canceled")]}
    engine.update(sold)


class TestPlanning:
    def test_only_admins_plan_and_the_attempt_is_recorded(self, sign_in, engine, db):
        with pytest.raises(Forbidden):
            plan(sign_in("operator"))

        assert db.execute("select count(*) from control_schedules").fetchone() == (0,)
        refused = db.execute("select actor_email, outcome from audit_log where action = 'schedule_trading_mode'")
        assert refused.fetchall() == [("operator@interlock.local", "refused")]

    @pytest.mark.parametrize(
        ("kind", "more", "says"),
        [
            ("once", {"time_zone": "Mars/Base"}, "Time zone"),
            ("once", {"starts_at": None}, "needs its start"),
            ("once", {"ends_at": datetime(2001, 1, 1, tzinfo=UTC)}, "before the start"),
            ("once", {"starts_at": PAST, "ends_at": PAST + timedelta(days=1)}, "passed"),
            ("weekly", {"weekdays": []}, "weekday"),
            ("weekly", {"weekdays": [8]}, "weekday"),
            ("weekly", {"weekdays": [1], "mode": "RUNNING"}, "planned once or on a condition"),
            ("dates", {"dates": []}, "dates"),
            ("dates", {"dates": [date(2001, 1, 1)]}, "passed"),
            ("condition", {}, "A condition is an object"),
            ("condition", {"condition": {"metric": "moon", "above": 1}}, "metric"),
            ("condition", {"condition": {"metric": "drawdown"}}, "one bound"),
            ("condition", {"condition": {"metric": "drawdown", "above": "NaN"}}, "number above 0"),
            ("sometimes", {}, "kind"),
            ("once", {"mode": "ASLEEP"}, "mode"),
            ("once", {"scope": "symbol", "scope_key": "NOPE"}, "not known"),
        ],
    )  # fmt: skip
    def test_a_plan_that_makes_no_sense_is_refused_with_what_to_do(self, admin, db, kind, more, says):
        with pytest.raises(Invalid, match=says):
            plan(admin, kind, **more)

        assert db.execute("select count(*) from control_schedules").fetchone() == (0,)

    def test_the_same_request_sent_twice_plans_once(self, admin, db):
        same = {"request_id": uuid4(), "starts_at": datetime.now(UTC)}
        same["ends_at"] = same["starts_at"] + timedelta(hours=1)

        assert plan(admin, **same) == plan(admin, **same)

        assert db.execute("select count(*) from control_schedules").fetchone() == (1,)

    def test_a_withdrawn_schedule_leaves_its_pause_to_a_person(self, engine, admin, db):
        schedule = plan(admin)

        message = commands.cancel_schedule(admin, schedule_id=schedule.id, reason="Plans changed")

        assert "stays until someone resumes" in message
        end_window(db, schedule)
        assert engine.show_alive().mode == "PAUSED"
        with pytest.raises(NotFound):
            commands.cancel_schedule(admin, schedule_id=schedule.id, reason="Again")

    def test_a_request_id_of_something_else_is_refused(self, admin):
        request_id = uuid4()
        commands.pause_trading(admin, reason="x", request_id=request_id)

        with pytest.raises(Conflict, match="already used"):
            plan(admin, request_id=request_id)


class TestOddTimes:
    WEEKLY = (
        "select private.schedule_next_at(s, %s) from jsonb_populate_record(null::control_schedules,"
        " jsonb_build_object('kind', 'weekly', 'time_zone', 'America/New_York', 'weekdays', %s::int[],"
        " 'start_time', %s::time, 'end_time', %s::time, 'inverted', false)) s"
    )

    def test_a_weekly_window_within_the_hour_that_the_clocks_skip_comes_again_the_week_after(self, db):
        at = datetime(2027, 3, 7, 3, tzinfo=ZoneInfo("America/New_York"))

        (next_at,) = db.execute(self.WEEKLY, (at, [7], time(2), time(3))).fetchone()

        assert next_at == datetime(2027, 3, 21, 2, tzinfo=ZoneInfo("America/New_York"))

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        now=st.integers(1_735_700_000, 1_830_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
        weekdays=st.sets(st.integers(1, 7), min_size=1),
        start=st.times().map(lambda t: t.replace(microsecond=0)),
        end=st.times().map(lambda t: t.replace(microsecond=0)),
    )
    @example(datetime(2028, 2, 28, 12, tzinfo=UTC), {2}, time(0), time(0))  # a leap day, from midnight to midnight
    def test_a_weekly_window_always_comes_again(self, db, now, weekdays, start, end):
        edge = "private.schedule_next_at(s, %s)"
        finite = self.WEEKLY.replace(edge, f"nullif({edge}, 'infinity')")
        (next_at,) = db.execute(finite, (now, sorted(weekdays), start, end)).fetchone()

        assert next_at is not None and now < next_at <= now + timedelta(days=14, hours=2)

    @pytest.mark.parametrize("zone", ["UTC+5", "EST-5", "FOO+3", "America/New_Yrok", "", "local"])
    def test_a_time_zone_that_may_mean_the_opposite_or_nothing_is_refused(self, engine, admin, zone):
        with pytest.raises(Invalid, match="Time zone"):
            plan(admin, time_zone=zone)

    @pytest.mark.parametrize("zone", ["Etc/GMT+5", "US/Eastern", "America/Argentina/Buenos_Aires", "UTC"])
    def test_a_time_zone_with_a_name_of_its_own_is_taken(self, engine, admin, zone):
        assert plan(admin, time_zone=zone).time_zone == zone


class TestHaltsAreEndedByPeople:
    def test_a_conditional_resume_ends_a_pause_but_no_halt(self, engine, admin, db):
        db.execute(
            "insert into price_bars select 'AAPL', '1Day', '2026-01-01Z'::timestamptz + n * interval '1 day',"
            " 100, 101, 100, 100 + n % 2 / 100.0, 1 from generate_series(1, 22) n"
        )
        plan(admin, "condition", mode="RUNNING", condition={"metric": "volatility", "below": 0.02})
        engine.show_alive()
        commands.halt_trading(admin, reason="Something is very wrong")
        db.execute("update control_schedules set in_force = false")  # as if the market had been wild meanwhile

        assert engine.show_alive().mode == "HALTED"
        refused = db.execute("select action, detail ->> 'code' from audit_log where outcome = 'refused'").fetchall()
        assert refused == [("resume_trading", "TRADING_HALTED")]

    def test_a_planned_resume_passes_over_a_halt_and_is_over(self, engine, admin, db):
        schedule = plan(admin, mode="RUNNING", starts_at=datetime.now(UTC) + timedelta(hours=1), ends_at=None)
        commands.halt_trading(admin, reason="Something is very wrong")
        db.execute("update control_schedules set starts_at = now(), next_at = now() where id = %s", (schedule.id,))

        assert engine.show_alive().mode == "HALTED"
        assert db.execute("select active from control_schedules").fetchone() == (False,)

    def test_a_planned_halt_ends_as_planned(self, engine, admin, db):
        schedule = plan(admin, mode="HALTED")
        assert engine.show_alive().mode == "HALTED"

        end_window(db, schedule)

        assert engine.show_alive().mode == "RUNNING"


class TestWhatCannotEndYet:
    @pytest.mark.parametrize("by", ["a pause with an end", "a window"])
    def test_it_does_not_keep_entries_of_others_waiting_for_each_other(self, engine, admin, db, env, by):
        alice = {"scope": "profile", "scope_key": str(engine.profiles["Alice trend daily"])}
        if by == "a window":
            end_window(db, plan(admin, **alice))
        else:
            commands.pause_trading(admin, reason="Lunch", resume_at=datetime.now(UTC) + timedelta(hours=1), **alice)
            db.execute("update trading_controls set resume_at = now() - interval '1 second' where scope = 'profile'")
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL"})
        commands.heartbeat(
            engine.client, shard="main", token=engine.token, version="t", market_at=None, jobs={},
            detail={"broker_blocked": False, "data_age_s": 1}, ttl_s=300,
        )  # fmt: skip
        assert engine.ask_one("Alice trend daily", symbol="IBM").code == "TRADING_PAUSED"

        with psycopg.connect(env["DATABASE_URL"]) as other:
            other.execute("select private.lock_controls(false)")  # an entry that is being judged at this moment
            answer = engine.ask_one("Bob dips daily", symbol="IBM")

        assert answer.state == "ready"
        engine.show_alive()
        assert engine.ask_one("Alice trend daily", symbol="GOOG").state == "ready"
