"""The read side of approvals, lockouts and plans over the real database."""

import psycopg
import pytest
from supabase import Client

from db import commands
from db.queries.approvals import ApprovalFilters, approvals_for_export, decided_approvals, waiting_approvals
from db.queries.bars import latest_prices
from db.queries.lockouts import LockoutFilters, latest_lockouts, lockouts_for_export, lockouts_in_force, past_lockouts
from db.queries.schedules import planned_changes
from tests.support.clients import SignIn
from tests.support.story import Story


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


def test_pages_of_past_lockouts_hold_each_once_and_the_export_all(clean_db: psycopg.Connection, admin: Client) -> None:
    for number in range(5):
        held = commands.create_lockout(admin, ticker="IBM", reason=f"Number {number}")
        commands.remove_lockout(admin, lockout_id=held.id, reason="Over")
    commands.create_lockout(admin, ticker="IBM", reason="Still on")

    first = past_lockouts(admin, LockoutFilters(), size=3)
    second = past_lockouts(admin, LockoutFilters(), after=first.next, size=3)

    assert [*first.found["reason"], *second.found["reason"]] == [f"Number {number}" for number in (4, 3, 2, 1, 0)]
    assert second.next is None
    assert len(lockouts_for_export(admin, LockoutFilters())) == 5
    assert list(lockouts_in_force(admin, LockoutFilters())["reason"]) == ["Still on"]
    assert lockouts_in_force(admin, LockoutFilters(types=("cooldown",))).empty


def test_latest_lockouts_are_spans_that_name_their_symbol(clean_db: psycopg.Connection, admin: Client) -> None:
    for number in range(3):
        held = commands.create_lockout(admin, ticker="IBM", reason=f"Number {number}")
        commands.remove_lockout(admin, lockout_id=held.id, reason="Over")
    for ticker, minutes in (("AAPL", 30), ("GOOG", 60), ("MSFT", 45)):
        commands.create_lockout(admin, ticker=ticker, reason="Still on", duration_minutes=minutes)

    found = latest_lockouts(admin, 2)

    assert found["reason"].tolist() == ["MSFT: Still on", "GOOG: Still on", "IBM: Number 2", "IBM: Number 1"]
    assert found["ended_at"].isna().tolist() == [True, True, False, False]
    assert (found["started_at"] <= found["ended_at"]).tolist()[2:] == [True, True]


def test_queue_counts_all_that_wait_and_what_has_run_out_is_history(
    story: Story, admin: Client, clean_db: psycopg.Connection
) -> None:
    commands.update_approval_config(admin, patch={"auto_approve_paper": False})
    for profile in ("Alice trend daily", "Bob dips daily"):
        assert story.ask(profile, "AAPL", qty="2").state == "awaiting_approval"
    assert waiting_approvals(admin, ApprovalFilters(), size=1).total == 2

    clean_db.execute("update operator_approvals set expires_at = clock_timestamp() where id = any (select id from"
                     " operator_approvals order by requested_at limit 1)")  # fmt: skip

    queue = waiting_approvals(admin, ApprovalFilters())
    over = decided_approvals(admin, ApprovalFilters()).found
    assert (queue.total, len(queue.approvals), len(over)) == (1, 1, 1)
    assert set(queue.approvals["id"]).isdisjoint(over["id"])
    assert list(over["status"]) == ["pending"]
    assert over["waited_s"].isna().all()
    assert len(approvals_for_export(admin, ApprovalFilters(statuses=("approved",)))) == 0


def test_latest_price_is_the_later_of_mark_and_bar(story: Story, admin: Client, db: psycopg.Connection) -> None:
    db.execute("update positions set mark_price = 123.5, marked_at = '2020-01-01' where symbol = 'AAPL'")
    assert db.execute("select count(*) from positions where symbol = 'AAPL'").fetchone() != (0,)

    prices = latest_prices(admin, ["IBM", "AAPL", "AAPL", "NOPE"]).set_index("symbol")

    assert set(prices.index) == {"AAPL", "IBM"}
    assert (prices.loc["AAPL", "price"], prices.loc["AAPL", "source"]) == (123.5, "mark")


def test_condition_has_no_next_moment_and_a_window_has(clean_db: psycopg.Connection, admin: Client) -> None:
    commands.schedule_trading_mode(admin, mode="PAUSED", kind="weekly", reason="x", weekdays=[1])
    condition = {"metric": "drawdown", "above": 0.2}
    commands.schedule_trading_mode(admin, mode="PAUSED", kind="condition", reason="x", condition=condition)

    plans = planned_changes(admin)

    assert list(plans["kind"]) == ["weekly", "condition"]
    assert list(plans["next_at"].isna()) == [False, True]


def test_analyst_sees_own_approvals_only(story: Story, sign_in: SignIn, admin: Client) -> None:
    commands.update_approval_config(admin, patch={"auto_approve_paper": False})
    story.ask("Alice trend daily", "AAPL", qty="2")
    story.ask("Bob dips daily", "AAPL", qty="2")

    found = waiting_approvals(sign_in("bob"), ApprovalFilters())

    assert (found.total, list(found.approvals["profile_name"])) == (1, ["Bob dips daily"])
