"""Profiles: what becomes of entries on their way when one is switched off, and what a profile may hold."""

import psycopg
import pytest

from db import commands

ALICE = "Alice trend daily"


def state_of(db, order_id) -> tuple[str, str | None]:
    return db.execute("select state::text, reason from orders where id = %s", (order_id,)).fetchone()


def switch_off(engine, sign_in) -> None:
    commands.set_profile_active(sign_in("admin"), profile_id=engine.profiles[ALICE], active=False, reason="Tired of it")


class TestSwitchingOff:
    def test_what_was_let_through_and_not_sent_is_withdrawn_with_its_capital(self, engine, sign_in, db):
        ready = engine.ask_one(ALICE)
        other = engine.ask_one("Bob dips daily", symbol="IBM")

        switch_off(engine, sign_in)

        assert state_of(db, ready.id) == ("canceled", "The profile was switched off: Tired of it")
        assert [order.id for order in engine.claim()] == [other.id]
        assert db.execute(
            "select reserved_usd from profile_capital where profile_id = %s", (engine.profiles[ALICE],)
        ).fetchone() == (0,)

    def test_what_waits_for_a_person_is_not_asked_about_any_more(self, engine, sign_in, db):
        commands.update_approval_config(sign_in("admin"), patch={"auto_approve_paper": False})
        waiting = engine.ask_one(ALICE)

        switch_off(engine, sign_in)

        assert state_of(db, waiting.id)[0] == "canceled"
        assert db.execute("select status::text from operator_approvals").fetchall() == [("canceled",)]

    def test_what_rests_at_the_broker_is_to_be_cancelled_by_id(self, engine, sign_in, db):
        resting = engine.working(ALICE)

        switch_off(engine, sign_in)

        asked = "select cancel_requested_at is not null from orders where id = %s"
        assert db.execute(asked, (resting.id,)).fetchone() == (True,)

    def test_what_protects_a_position_stays(self, engine, sign_in, db):
        engine.held(ALICE)

        switch_off(engine, sign_in)

        legs = db.execute("select state::text, cancel_requested_at from orders where parent_id is not null").fetchall()
        assert legs == [("working", None)] * 2

    @pytest.mark.parametrize("mode", ["live", "disabled"])
    def test_what_was_decided_for_one_trading_mode_is_not_sent_in_another(self, engine, db, mode):
        ready = engine.ask_one(ALICE)

        db.execute("update profiles set trading_mode = %s where id = %s", (mode, engine.profiles[ALICE]))

        assert state_of(db, ready.id) == ("canceled", f"The profile trades in mode {mode} now.")
        assert engine.claim() == []


class TestBounds:
    @pytest.mark.parametrize("symbols", [["aapl"], ["AAPL", "ibm"], [" AAPL"], [""], ["AAPL IBM"], ["*"], ["A" * 16]])
    def test_a_symbol_that_a_control_or_a_lockout_could_not_name_is_refused(self, engine, db, symbols):
        with pytest.raises(psycopg.errors.CheckViolation, match="profiles_symbols_are_tickers"):
            db.execute("update profiles set symbols = %s", (symbols,))

    def test_symbols_with_dots_and_slashes_are_traded_paused_and_locked_out(self, engine, sign_in, db):
        db.execute("update profiles set symbols = %s where name = %s", (["BRK.B", "BTC/USD"], ALICE))
        commands.pause_trading(sign_in("admin"), reason="Wild", scope="symbol", scope_key="btc/usd")
        commands.create_lockout(sign_in("operator"), ticker="brk.b", reason="Report", duration_minutes=5)

        assert engine.ask_one(ALICE, symbol="BTC/USD", qty="0.123456789").code == "TRADING_PAUSED"
        assert engine.ask_one(ALICE, symbol="BRK.B").code == "SYMBOL_LOCKED"

    @pytest.mark.parametrize("capital", ["NaN", "1e15", "-1"])
    def test_capital_without_bounds_is_refused(self, engine, db, capital):
        with pytest.raises(psycopg.errors.DatabaseError):
            db.execute("update profiles set capital_usd = %s::numeric", (capital,))
