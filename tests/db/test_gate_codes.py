"""Each code of the gate that looks beyond the order itself, overrides, and the gate's answer without an order."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from db import commands
from db.errors import Forbidden, Invalid, NotFound

ALICE, ALICE_TOO, BOB = "Alice trend daily", "Alice dips hourly", "Bob dips daily"
AT = datetime.fromisoformat("2007-01-03T15:00:00+00:00")


@pytest.fixture
def limit(db, engine):
    """Set one limit of the active configuration; None removes it."""

    def change(path: str, value: Any) -> None:
        keys = path.split(".")
        if value is None:
            db.execute("update risk_configs set config = config #- %s::text[] where active", (keys,))
        else:
            db.execute(
                "update risk_configs set config = jsonb_set(config, %s::text[], to_jsonb(%s::text)) where active",
                (keys, str(value)),
            )

    return change


def minutes(n: int) -> str:
    return (AT + timedelta(minutes=n)).isoformat()


def at(n: int) -> dict[str, str]:
    """Return the times of a request that is made n minutes later in the market."""
    return {"market_at": minutes(n), "quote_at": minutes(n)}


class TestFreshness:
    @pytest.mark.parametrize(
        ("bar_at", "code"), [("2006-12-29T15:00:00Z", None), ("2006-12-29T14:59:00Z", "SIGNAL_STALE")]
    )
    def test_a_signal_may_be_four_bars_old(self, engine, bar_at, code):
        # Four daily bars after the end of the bar that it was seen on.
        signal = {"strategy": "test", "strength": "1", "bar_at": bar_at, "detail": {}}

        assert engine.ask_one(signal=signal).code == code

    def test_an_entry_without_a_signal_has_none_that_is_too_old(self, engine):
        assert engine.ask_one(signal=None).state == "ready"

    @pytest.mark.parametrize(
        ("quote_at", "market_open", "code"),
        [
            (minutes(-5), True, None),
            ("2007-01-03T14:54:59Z", True, "QUOTE_STALE"),
            (None, True, "QUOTE_STALE"),  # not known is not fresh
            ("2006-12-31T15:00:00Z", False, None),  # the last quote before a long weekend
        ],
    )
    def test_a_quote_is_fresh_for_five_minutes_while_the_market_is_open(self, engine, quote_at, market_open, code):
        assert engine.ask_one(quote_at=quote_at, market_open=market_open).code == code

    def test_a_finding_of_reconciliation_locks_its_symbol(self, engine):
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL"})

        assert engine.ask_one(symbol="AAPL").code == "RECONCILIATION_BREAK"
        assert engine.ask_one(symbol="IBM").state == "ready"
        engine.reconcile()
        assert engine.ask_one(symbol="AAPL").state == "ready"

    def test_entries_wait_for_the_opening_only_where_the_configuration_says_so(self, engine, db):
        assert engine.ask_one(market_open=False).state == "ready"

        db.execute(
            "update risk_configs set config = jsonb_set(config, '{market_hours,entries_when_closed}', 'false')"
            " where active"
        )

        assert engine.ask_one(symbol="IBM", market_open=False).code == "MARKET_CLOSED"
        assert engine.ask_one(symbol="IBM", market_open=None).code == "MARKET_CLOSED"
        assert engine.ask_one(symbol="IBM", market_open=True).state == "ready"


class TestExposure:
    def test_a_sector_counts_what_is_held_what_works_and_what_is_asked_for_by_all_profiles_of_the_owner(
        self, engine, limit
    ):
        limit("sector_exposure.max_pct", "0.05")  # of Alice's 50,000: 2,500; AAPL and IBM are technology
        engine.held(ALICE, symbol="AAPL")  # 1,000 at cost
        engine.ask_one(ALICE_TOO, symbol="IBM")  # 1,005 reserved

        assert engine.ask_one(ALICE, symbol="IBM", qty="5").code == "SECTOR_EXPOSURE"
        assert engine.ask_one(ALICE, symbol="GOOG", qty="5").state == "ready"
        assert engine.ask_one(BOB, symbol="IBM").state == "ready"

    def test_a_symbol_without_a_sector_counts_towards_the_others_like_it(self, engine, limit, db):
        db.execute("update risk_configs set config = config #- '{sector_exposure,sectors}' where active")
        limit("sector_exposure.max_pct", "0.03")

        assert engine.ask_one(symbol="AAPL").state == "ready"
        assert engine.ask_one(symbol="IBM").code == "SECTOR_EXPOSURE"

    def test_gross_exposure_is_limited_over_all_profiles_of_the_owner(self, engine, limit):
        limit("gross_exposure.max_pct", "0.05")
        engine.ask_one(ALICE)
        engine.ask_one(ALICE_TOO)

        assert engine.ask_one(ALICE, symbol="IBM").code == "GROSS_EXPOSURE"
        assert engine.ask_one(BOB).state == "ready"

    def test_requests_of_one_call_share_the_owners_room_in_their_order(self, engine, limit):
        limit("gross_exposure.max_pct", "0.0405")  # 2,025: two entries of 1,005

        answers = engine.ask(
            engine.entry(ALICE), engine.entry(ALICE_TOO), engine.entry(ALICE, symbol="IBM"), engine.entry(BOB)
        )

        assert [a.code for a in answers] == [None, None, "GROSS_EXPOSURE", None]

    def test_a_denied_request_takes_no_room_from_the_next_one(self, engine, limit):
        limit("gross_exposure.max_pct", "0.0405")

        answers = engine.ask(engine.entry(ALICE), engine.entry(ALICE_TOO, qty="20"), engine.entry(ALICE, symbol="IBM"))

        assert [a.code for a in answers] == [None, "GROSS_EXPOSURE", None]


class TestConduct:
    def test_a_minutes_entries_are_limited_in_market_time(self, engine, limit):
        limit("order_rate.per_minute_max", 2)
        engine.ask_one(symbol="AAPL")
        engine.ask_one(symbol="IBM")

        assert engine.ask_one(symbol="GOOG").code == "ORDER_RATE"
        assert engine.ask_one(BOB, symbol="GOOG").state == "ready"
        assert engine.ask_one(symbol="GOOG", **at(1)).state == "ready"

    def test_a_days_entries_are_limited_in_market_time(self, engine, limit):
        limit("order_rate.per_day_max", 2)
        for n, symbol in enumerate(("AAPL", "IBM")):
            engine.ask_one(symbol=symbol, **at(n * 60))

        assert engine.ask_one(symbol="GOOG", **at(23 * 60 + 59)).code == "ORDER_RATE"
        assert engine.ask_one(symbol="GOOG", **at(24 * 60)).state == "ready"

    def test_a_repeated_entry_switches_its_profile_off_until_an_admin_switches_it_on(self, engine, limit, sign_in, db):
        limit("order_rate.repeats_max", 2)
        for n in range(2):
            engine.ask_one(**at(n))
            db.execute("update orders set state = 'canceled' where state = 'ready'")

        assert engine.ask_one(**at(2)).code == "REPEATED_EXECUTION"
        assert engine.ask_one(symbol="IBM", **at(3)).code == "PROFILE_INACTIVE"
        audited = db.execute("select actor_email, action, reason from audit_log").fetchall()
        assert [(who, what) for who, what, _ in audited] == [("engine", "profile_switched_off")]
        assert "re-enables" in audited[0][2]

        assert commands.set_profile_active(
            sign_in("admin"), profile_id=engine.profiles[ALICE], active=True, reason="Strategy was mended"
        )
        assert engine.ask_one(symbol="IBM", **at(3)).state == "ready"

    def test_todays_loss_stops_entries_until_the_next_session(self, engine, db):
        profile = engine.profiles[ALICE]
        db.execute(
            "insert into equity_daily select '2007-01-02', id, owner_id, '2007-01-02 21:00Z', 25000, 25000, 0, 0, 0"
            " from profiles where id = %s", (profile,),
        )  # fmt: skip
        db.execute("update profile_capital set realized_usd = -1249 where profile_id = %s", (profile,))
        assert engine.ask_one().state == "ready"

        db.execute("update profile_capital set realized_usd = -1250 where profile_id = %s", (profile,))

        assert engine.ask_one(symbol="IBM").code == "DAILY_LOSS"
        db.execute(
            "insert into equity_daily select '2007-01-03', id, owner_id, '2007-01-03 21:00Z', 23750, 23750, 0, 0, 0"
            " from profiles where id = %s", (profile,),
        )  # fmt: skip
        tomorrow = {"bar_at": minutes(24 * 60), "strategy": "t", "strength": "1", "detail": {}}
        assert engine.ask_one(symbol="IBM", signal=tomorrow, **at(24 * 60)).state == "ready"

    def test_a_drawdown_stops_entries_until_an_admin_lets_it_start_afresh(self, engine, limit, sign_in, db):
        limit("loss_limits.daily_loss_max_pct", "1")
        profile = engine.profiles[ALICE]
        db.execute("update profile_capital set peak_equity_usd = 30000 where profile_id = %s", (profile,))
        assert engine.ask_one().state == "ready"  # 25,000 of 30,000
        db.execute("update profile_capital set realized_usd = -2500 where profile_id = %s", (profile,))

        assert engine.ask_one(symbol="IBM").code == "DRAWDOWN"

        admin = sign_in("admin")
        commands.set_profile_active(admin, profile_id=profile, active=False, reason="Look at it")
        commands.set_profile_active(admin, profile_id=profile, active=True, reason="Seen")
        assert engine.ask_one(symbol="IBM").state == "ready"

    def test_the_peak_follows_the_equity_that_is_noted(self, engine, db):
        db.execute("update profile_capital set realized_usd = 500")

        commands.record_equity(engine.client, shard="main", token=engine.token, market_at=AT, session_date=AT.date())

        assert db.execute("select distinct peak_equity_usd from profile_capital").fetchall() == [(25500,)]

    def test_losing_trades_in_a_row_stop_entries_and_a_winning_one_ends_the_row(self, engine, limit, db):
        limit("loss_limits.loss_streak_max", 2)
        lose(engine, "AAPL", 1)
        assert engine.ask_one(symbol="GOOG", **at(180)).state == "ready"
        lose(engine, "IBM", 2)
        assert engine.ask_one(symbol="MSFT", **at(180)).code == "LOSS_STREAK"

        db.execute("update trades set realized_pnl_usd = 1 where symbol = 'IBM'")

        assert engine.ask_one(symbol="MSFT", **at(180)).state == "ready"

    def test_old_losses_are_forgotten(self, engine, limit):
        limit("loss_limits.loss_streak_max", 1)
        lose(engine, "AAPL", 1)
        signal = {"bar_at": minutes(6 * 1440), "strategy": "t", "strength": "1", "detail": {}}

        assert engine.ask_one(symbol="IBM", **at(180)).code == "LOSS_STREAK"
        assert engine.ask_one(symbol="IBM", signal=signal, **at(6 * 1440)).state == "ready"

    @pytest.mark.parametrize(("target", "code"), [("100.40", "WASH_TRADE"), ("110", None)])
    def test_an_entry_that_could_meet_our_own_order_is_denied(self, engine, db, target, code):
        engine.held(ALICE)
        db.execute("update orders set limit_price = %s where purpose = 'take_profit'", (target,))

        assert engine.ask_one(BOB).code == code

    def test_an_entry_that_could_meet_our_own_exit_at_any_price_is_denied(self, engine, db):
        engine.exit(engine.held(ALICE).id)

        assert db.execute("select limit_price from orders where purpose = 'exit'").fetchall() == [(None,)]
        assert engine.ask_one(BOB).code == "WASH_TRADE"

    def test_orders_of_another_broker_account_cannot_meet(self, engine, db):
        engine.held(ALICE)
        db.execute("update orders set limit_price = 100 where purpose = 'take_profit'")
        db.execute("update profiles set broker_account = 'other' where name = %s", (BOB,))

        assert engine.ask_one(BOB).state == "ready"


@pytest.mark.parametrize(
    "path",
    [
        "order_limits.signal_bars_max", "order_limits.quote_age_max_s", "sector_exposure.max_pct",
        "gross_exposure.max_pct", "order_rate.per_minute_max", "order_rate.per_day_max", "order_rate.repeats_max",
        "loss_limits.daily_loss_max_pct", "loss_limits.drawdown_max_pct", "loss_limits.loss_streak_max",
        "market_hours.entries_when_closed",
    ],
)  # fmt: skip
def test_a_limit_that_is_not_set_blocks(engine, limit, path):
    limit(path, None)

    assert engine.ask_one().code == "LIMIT_NOT_SET"


def lose(engine, symbol: str, minute: int) -> None:
    """Buy at 100 and be stopped out at 95."""
    held = engine.held(symbol=symbol)
    stopped = held.leg("stop", "filled", filled=held.qty, price="95") | {"updated_at": minutes(60 + minute)}
    engine.update(
        held.says("filled", filled=held.qty, price="100") | {"legs": [stopped, held.leg("limit", "canceled")]}
    )


class TestOverrides:
    @pytest.fixture
    def grant(self, sign_in, engine):
        def give(code: str = "ORDER_NOTIONAL_MAX", profile: str = ALICE, who: str = "admin", **more: Any):
            arguments = {"minutes": 10, "reason": "One large order, agreed with risk"} | more
            return commands.grant_override(sign_in(who), profile_id=engine.profiles[profile], code=code, **arguments)

        return give

    def test_an_override_lets_one_limit_pass_and_says_so_in_the_record(self, engine, limit, grant, db):
        limit("order_limits.notional_max_usd", "1000")
        assert engine.ask_one().code == "ORDER_NOTIONAL_MAX"

        grant()

        answer = engine.ask_one()
        assert answer.state == "ready"
        (checks,) = db.execute("select checks from decision_log where order_id = %s", (answer.id,)).fetchone()
        assert [c["name"] for c in checks if c.get("overridden")] == ["ORDER_NOTIONAL_MAX"]
        assert engine.ask_one(BOB).code == "ORDER_NOTIONAL_MAX"

    def test_an_override_ends_with_its_time_or_when_it_is_withdrawn(self, engine, limit, grant, sign_in, db):
        limit("order_limits.notional_max_usd", "1000")
        override = grant()
        db.execute("update gate_overrides set expires_at = clock_timestamp()")
        assert engine.ask_one().code == "ORDER_NOTIONAL_MAX"
        with pytest.raises(NotFound):
            commands.revoke_override(sign_in("admin"), override_id=override.id, reason="Over")

        commands.revoke_override(sign_in("admin"), override_id=grant().id, reason="Done")

        assert engine.ask_one().code == "ORDER_NOTIONAL_MAX"
        acts = db.execute("select action, outcome from audit_log order by id").fetchall()
        assert acts == [
            ("grant_override", "done"), ("revoke_override", "refused"),
            ("grant_override", "done"), ("revoke_override", "done"),
        ]  # fmt: skip

    def test_a_limit_that_is_not_set_cannot_be_overridden(self, engine, limit, grant):
        limit("order_limits.notional_max_usd", None)
        grant()

        assert engine.ask_one().code == "LIMIT_NOT_SET"

    @pytest.mark.parametrize(
        "code", ["TRADING_PAUSED", "ORDER_UNKNOWN", "CAPITAL_INSUFFICIENT", "DUPLICATE_ORDER", "LIMIT_NOT_SET", ""]
    )
    def test_what_keeps_money_and_orders_consistent_cannot_be_overridden(self, grant, code):
        with pytest.raises(Invalid, match="cannot be overridden"):
            grant(code)

    @pytest.mark.parametrize(
        ("more", "says"),
        [({"minutes": 0}, "between 1 and 1,440"), ({"minutes": 1441}, "between 1 and 1,440"),
         ({"reason": " "}, "reason"), ({"symbol": "NOPE"}, "not one of the profile")],
    )  # fmt: skip
    def test_an_override_is_short_reasoned_and_about_something_known(self, grant, more, says):
        with pytest.raises(Invalid, match=says):
            grant(**more)

    def test_only_an_admin_overrides(self, grant):
        with pytest.raises(Forbidden):
            grant(who="operator")

    def test_an_override_of_one_symbol_leaves_the_others_limited(self, engine, limit, grant):
        limit("order_limits.notional_max_usd", "1000")
        grant(symbol="aapl")

        assert engine.ask_one(symbol="AAPL").state == "ready"
        assert engine.ask_one(symbol="IBM").code == "ORDER_NOTIONAL_MAX"


class TestWhy:
    @pytest.fixture
    def priced(self, engine, db):
        db.execute("insert into price_bars values ('AAPL', '1Day', '2007-01-03', 100, 100, 100, 100, 1)")
        engine.show_alive()
        return engine

    def test_it_is_the_gates_own_answer_for_each_profile_that_the_caller_sees(self, priced, sign_in):
        commands.create_lockout(sign_in("operator"), ticker="AAPL", reason="Earnings tonight", side="long")

        for who, profiles in (("alice", {ALICE, ALICE_TOO}), ("operator", set(priced.profiles))):
            answers = commands.why(sign_in(who), symbol="aapl")
            assert {a.profile for a in answers} == profiles
            assert {a.code for a in answers} == {"SYMBOL_LOCKED"}
            assert {a.lock_reason for a in answers} == {"Earnings tonight"}
            assert all(len(a.checks) == 28 for a in answers)

    def test_it_leaves_no_trace(self, priced, sign_in, db):
        commands.why(sign_in("alice"), symbol="AAPL")

        assert db.execute("select count(*) from decision_log").fetchone() == (0,)
        assert db.execute("select count(*) from orders").fetchone() == (0,)

    def test_an_entry_that_would_pass_says_whether_someone_would_be_asked(self, priced, sign_in):
        commands.update_approval_config(sign_in("admin"), patch={"auto_approve_paper": False})

        (answer,) = commands.why(sign_in("alice"), symbol="AAPL", profile_id=priced.profiles[ALICE])

        assert (answer.code, answer.approval) == (None, ["mode"])

    def test_a_size_and_price_of_ones_own_can_be_tried(self, priced, sign_in):
        answers = commands.why(sign_in("alice"), symbol="AAPL", qty=Decimal(300), price=Decimal(100))

        assert {a.code for a in answers} == {"ORDER_NOTIONAL_MAX"}

    def test_a_symbol_that_nobody_trades_is_not_found(self, priced, sign_in):
        with pytest.raises(NotFound, match="NOPE"):
            commands.why(sign_in("alice"), symbol="NOPE")

    def test_another_tenants_profile_is_not_found(self, priced, sign_in):
        with pytest.raises(NotFound):
            commands.why(sign_in("alice"), symbol="AAPL", profile_id=priced.profiles[BOB])

    @pytest.mark.parametrize(
        "more", [{"qty": Decimal("NaN")}, {"qty": Decimal(0)}, {"price": Decimal(-1)}, {"side": "up"}]
    )
    def test_a_question_that_makes_no_sense_is_refused(self, priced, sign_in, more):
        with pytest.raises(Invalid):
            commands.why(sign_in("alice"), symbol="AAPL", **more)


class TestMembers:
    @pytest.fixture
    def ids(self, engine, db) -> dict[str, UUID]:
        return dict(db.execute("select split_part(email, '@', 1), user_id from members").fetchall())

    def test_a_role_holds_from_the_next_call_on(self, ids, engine, sign_in, db):
        commands.set_member_role(sign_in("admin"), user_id=ids["alice"], role="operator", reason="Stands in")

        lockout = commands.create_lockout(sign_in("alice"), ticker="AAPL", reason="x")
        commands.set_member_role(sign_in("admin"), user_id=ids["alice"], role="analyst", reason="Back")

        with pytest.raises(Forbidden):
            commands.remove_lockout(sign_in("alice"), lockout_id=lockout.id, reason="x")
        assert db.execute("select count(*) from audit_log where action = 'set_member_role'").fetchone() == (2,)

    def test_the_last_admin_stays_one(self, ids, sign_in):
        with pytest.raises(Exception, match="last admin"):
            commands.set_member_role(sign_in("admin"), user_id=ids["admin"], role="analyst", reason="Tired")

    def test_only_an_admin_changes_roles(self, ids, sign_in):
        with pytest.raises(Forbidden):
            commands.set_member_role(sign_in("operator"), user_id=ids["operator"], role="admin", reason="Me")
