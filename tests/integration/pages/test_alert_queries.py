"""The read side of alerts over the real database: what is open, what was, what is muted, what was sent."""

import pandas as pd
import psycopg
import pytest
from supabase import Client

from db import commands
from db.queries.alerts import (
    ALERT_COLUMNS,
    MUTE_COLUMNS,
    NOTICE_COLUMNS,
    RULES,
    AlertFilters,
    alerts_for_export,
    mutes_in_force,
    notices,
    open_alerts,
    past_alerts,
)
from tests.support.clients import SignIn

ALL = AlertFilters()


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


@pytest.fixture
def some_alerts(clean_db: psycopg.Connection) -> None:
    """Four open alerts and three past ones; two open ones and a past one are Alice's."""
    clean_db.execute(
        "insert into alerts (rule, subject, severity, owner_id, message, opened_at, resolved_at)"
        " select n.rule, n.rule || n.minute, n.severity, m.user_id, 'Message', now() - make_interval(mins => n.minute),"
        " case when n.past then now() - make_interval(mins => n.minute - 1) end"
        " from (values ('PAUSED_LONG', 1, 'warning', null, false), ('ORDER_UNKNOWN', 2, 'critical', 'alice', false),"
        " ('DAILY_LOSS_NEAR', 3, 'warning', 'alice', false), ('ENGINE_DEAD', 4, 'critical', null, false),"
        " ('JOB_LATE', 5, 'critical', null, true), ('ORDER_UNKNOWN', 6, 'critical', 'alice', true),"
        " ('ORDER_UNKNOWN', 7, 'critical', 'bob', true)) n (rule, minute, severity, who, past)"
        " left join members m on m.email = n.who || '@interlock.local'"
    )


def test_nothing_is_an_empty_frame_with_the_same_columns(clean_db: psycopg.Connection, admin: Client) -> None:
    assert list(open_alerts(admin, ALL).columns) == list(ALERT_COLUMNS)
    assert list(mutes_in_force(admin).columns) == list(MUTE_COLUMNS)
    assert list(notices(admin).found.columns) == list(NOTICE_COLUMNS)
    assert list(past_alerts(admin, ALL).found.columns) == [*ALERT_COLUMNS, "lasted_s"]


def test_open_alerts_come_critical_first_and_the_latest_first(some_alerts: None, admin: Client) -> None:
    found = open_alerts(admin, ALL)

    assert list(found["rule"]) == ["ORDER_UNKNOWN", "ENGINE_DEAD", "PAUSED_LONG", "DAILY_LOSS_NEAR"]
    assert isinstance(found["opened_at"].dtype, pd.DatetimeTZDtype)


def test_everybody_sees_the_own_alerts_and_staff_sees_all(some_alerts: None, sign_in: SignIn) -> None:
    seen = {who: list(open_alerts(sign_in(who), ALL)["rule"]) for who in ("alice", "bob")}

    assert seen == {"alice": ["ORDER_UNKNOWN", "DAILY_LOSS_NEAR"], "bob": []}
    assert len(past_alerts(sign_in("bob"), ALL).found) == 1
    assert len(past_alerts(sign_in("operator"), ALL).found) == 3


@pytest.mark.parametrize(
    ("filters", "rules"),
    [
        (AlertFilters(rules=("ENGINE_DEAD",)), ["ENGINE_DEAD"]),
        (AlertFilters(severities=("warning",)), ["PAUSED_LONG", "DAILY_LOSS_NEAR"]),
        (AlertFilters(symbols=("AAPL",)), []),
    ],
)
def test_filters_narrow(some_alerts: None, admin: Client, filters: AlertFilters, rules: list[str]) -> None:
    assert list(open_alerts(admin, filters)["rule"]) == rules


def test_pages_of_past_alerts_hold_each_once_and_say_how_long_it_lasted(some_alerts: None, admin: Client) -> None:
    first = past_alerts(admin, ALL, size=2)
    second = past_alerts(admin, ALL, after=first.next, size=2)

    assert [*first.found["rule"], *second.found["rule"]] == ["JOB_LATE", "ORDER_UNKNOWN", "ORDER_UNKNOWN"]
    assert second.next is None
    assert list(first.found["lasted_s"]) == [60, 60]
    assert len(alerts_for_export(admin, ALL)) == 3


def test_mutes_and_notices_are_shown_to_staff_alone(
    clean_db: psycopg.Connection, sign_in: SignIn, admin: Client
) -> None:
    commands.mute_alert(admin, reason="Known", rule="JOB_LATE", minutes=5)
    commands.test_alert(admin)
    commands.test_alert(admin)

    assert list(mutes_in_force(admin)["subject"]) == ["*"]
    first = notices(admin, size=1)
    second = notices(admin, after=first.next, size=1)
    assert [*first.found["event"], *second.found["event"]] == ["test", "test"]
    assert mutes_in_force(sign_in("alice")).empty
    assert notices(sign_in("alice")).found.empty


def test_the_rules_that_can_be_chosen_are_those_of_the_database(db: psycopg.Connection) -> None:
    assert db.execute("select private.alert_rules()").fetchone() == (list(RULES),)
