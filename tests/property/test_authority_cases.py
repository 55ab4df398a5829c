"""Single cases beside the state machine: orders of events that were once not held, and that the checks can fail."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from db import commands
from db.errors import AuthorityError
from local import postgres
from tests.property.authority.invariants import CHECKS, Watch
from tests.property.authority.world import World, attempt, release_leases, said


@pytest.fixture
def fresh(world) -> Iterator[World]:
    world.fresh()
    yield world
    release_leases(world)


class TestOrdersOfEvents:
    def test_a_persons_pause_stands_when_a_planned_halt_over_it_ends(self, fresh):
        admin, now = fresh.client("admin"), datetime.now(UTC)
        commands.pause_trading(admin, reason="Something is wrong")
        commands.schedule_trading_mode(
            admin, mode="HALTED", kind="once", reason="Maintenance", starts_at=now - timedelta(seconds=5),
            ends_at=now + timedelta(hours=1),
        )  # fmt: skip
        fresh.beat()
        assert commands.trading_status(admin).mode == "HALTED"

        fresh.db.execute("update control_schedules set ends_at = clock_timestamp(), next_at = clock_timestamp()")
        fresh.beat()

        assert commands.trading_status(admin).mode == "PAUSED"

    def test_two_entries_of_one_batch_that_could_trade_with_each_other_are_not_both_let_through(self, fresh):
        engine = fresh.engines["main"]

        answers = engine.ask(
            engine.entry("Alice trend daily", side="buy", limit_price="100.50"),
            engine.entry("Bob trend hourly", side="sell", limit_price="99.50"),
        )

        assert [answer.code for answer in answers] == [None, "WASH_TRADE"]

    def test_a_request_id_used_for_another_scope_is_refused_and_not_answered_with_success(self, fresh):
        admin, request = fresh.client("admin"), uuid4()
        commands.pause_trading(admin, reason="One symbol", scope="symbol", scope_key="AAPL", request_id=request)

        answer = attempt(lambda: commands.pause_trading(admin, reason="Everything", request_id=request))

        assert isinstance(answer, AuthorityError) or commands.trading_status(admin).mode == "PAUSED"

    def test_the_engine_of_one_shard_cannot_record_for_an_order_of_another(self, fresh):
        main, east = fresh.engines["main"], fresh.engines["east"]
        asked = main.ask_one("Alice trend daily")
        main.claim()

        attempt(lambda: east.record(asked.id, "rejected", reason="Not mine"))

        assert fresh.rows("select state::text from orders where id = %s", asked.id) == [("submitting",)]

    def test_news_of_an_exit_that_was_handed_back_does_not_fail_the_batch_it_comes_in(self, fresh):
        engine = fresh.engines["main"]
        held, other = engine.held("Alice trend daily"), engine.working("Alice trend daily", symbol="IBM")
        exit = engine.exit(held.id)
        engine.claim()
        engine.record(exit.id, "unknown")
        engine.record(exit.id, "not_sent")
        found_after_all = said((exit.id, "AAPL", "sell", 10, "simple"), "new")

        engine.update(found_after_all, other.says("canceled"))

        assert fresh.rows("select state::text from orders where id = %s", other.id) == [("canceled",)]

    def test_an_older_word_of_the_broker_does_not_replace_a_newer_one(self, fresh):
        engine = fresh.engines["main"]
        broker = engine.working("Alice trend daily")
        engine.update(broker.says("pending_cancel", at="15:05"))

        engine.update(broker.says("new", at="15:01"))

        assert fresh.rows("select broker_status from orders where id = %s", broker.id) == [("pending_cancel",)]


# What has to break for each check to notice: a change past every trigger, as no function would make it.
BREACHES = {
    "I1 nothing is sent while its scope is restricted":
        "update orders set submitted_at = (select max(changed_at) from trading_control_events where to_mode = 'PAUSED')"
        " where claimed_by is not null",
    "I1 nothing is let through while its scope is restricted":
        "update orders set ready_at = (select max(changed_at) from trading_control_events where to_mode = 'PAUSED')",
    "I1 a scope is quiesced exactly when no permit of it is open":
        "update trading_controls set quiesced_at = now()",
    "a locked symbol lets no entry through":
        "update orders set symbol = 'GOOG', ready_at = (select max(starts_at) from symbol_lockouts)"
        " where state = 'filled'",
    "I4 events form a legal path to the order's state":
        "update orders set state = 'working' where state = 'filled' and purpose = 'entry'",
    "I5 reserved and used are the sums of orders and positions":
        "update profile_capital set reserved_usd = reserved_usd + 1",
    "I5 reserved and used stay within the capital":
        "update profile_capital set capital_usd = 1",
    "I5 each order reserves what is left of it, and nothing once it has ended":
        "update orders set reserved_usd = 5 where state = 'filled' and purpose = 'entry'",
    "I5 an owner's exposure stays within its limit":
        "update profile_capital set capital_usd = 1",
    "I6 an approval and its order agree":
        "update operator_approvals set status = 'rejected' where status = 'approved'",
    "I6 nothing is decided after its expiry or by nobody":
        "update operator_approvals set expires_at = decided_at - interval '1 ms'",
    "I6 each decision has its one audit row, of the same transaction":
        "update operator_approvals set symbol = symbol",
    "I6 a released entry was judged twice":
        "delete from decision_log where order_id in (select order_id from operator_approvals)",
    "I8 each control event has its one audit row, of the same transaction":
        "delete from audit_log where action = 'pause_trading'",
    "I8 each configuration and lockout has its one audit row, of the same transaction":
        "delete from audit_log where action = 'create_lockout'",
    "I8 the events of a control lead to its state":
        "update trading_controls set mode = 'HALTED'",
    "I8 the audit log's new rows follow on the old ones":
        "update audit_log set reason = 'Another reason' where action = 'pause_trading'",
    "I9 a permit carries the token of the lease that issued it":
        "update orders set permit_token = permit_token - 1, submitted_at = clock_timestamp()"
        " where state = 'submitting'",
    "the gate evaluates every check in order and answers the first that failed":
        "update decision_log set code = 'DRAWDOWN', outcome = 'denied'",
    "each entry was judged, and its first judgement is how it began":
        "delete from decision_log",
    "I12 orders, trades and positions are the sums of their fills":
        "delete from fills",
    "a profile has one open entry per symbol and direction":
        "drop index orders_one_open_entry; update orders set symbol = 'AAPL', side = 'buy', position_side = 'long',"
        " purpose = 'entry', state = 'working', profile_id = (select id from profiles order by name limit 1)",
    "no two open entries of an account could trade with each other":
        "drop index orders_one_open_entry;"
        " update orders set state = 'working', symbol = 'IBM', limit_price = 100 where purpose = 'entry';"
        " update orders set side = 'sell', position_side = 'short' where id = (select max(id::text)::uuid from orders"
        " where purpose = 'entry')",
}  # fmt: skip


def live_a_little(world: World) -> None:
    """Leave something of everything behind: a filled order, one in flight, an approval, a pause, a lockout."""
    admin, engine = world.client("admin"), world.engines["main"]
    engine.held("Alice trend daily")
    commands.update_approval_config(admin, patch={"auto_approve_paper": False})
    asked = engine.ask_one("Bob trend hourly")
    ((approval, shown),) = world.rows("select id, shown_hash from operator_approvals where order_id = %s", asked.id)
    commands.decide_approval(admin, approval_id=approval, decision="approve", reason="Seen", shown_hash=shown)
    engine.claim()
    commands.create_lockout(admin, ticker="GOOG", reason="News")
    commands.update_approval_config(admin, patch={"auto_approve_paper": True})
    commands.pause_trading(admin, reason="Stop", scope="symbol", scope_key="IBM")
    commands.pause_trading(admin, reason="Stop", cancel_entries=False)


class TestTheChecksCanFail:
    def test_every_check_has_a_breach_to_notice(self):
        assert set(BREACHES) == set(CHECKS)

    @pytest.mark.parametrize("check", sorted(CHECKS))
    def test_a_breach_is_noticed(self, fresh, stack, check):
        live_a_little(fresh)
        with psycopg.connect(postgres.url(stack.home, postgres.SUPERUSER)) as past_all_triggers:
            watch = Watch(past_all_triggers)
            assert watch.breaches() == []
            watch = Watch(past_all_triggers, since=watch.since)
            past_all_triggers.execute("set local session_replication_role = replica")
            past_all_triggers.execute(BREACHES[check])

            found = {name for name, _ in watch.breaches()}

            past_all_triggers.rollback()
        assert check in found
