"""From permit to profit: submissions, fills, trades, positions, capital."""

from decimal import Decimal

import psycopg
import pytest


def capital(db, order_id):
    return db.execute(
        "select c.reserved_usd, c.used_usd, c.realized_usd"
        " from profile_capital c join orders o using (profile_id) where o.id = %s",
        (order_id,),
    ).fetchone()


class TestFigures:
    @pytest.mark.parametrize(
        "change",
        ["qty = 0", "qty = 'NaN'", "order_type = 'iceberg'", "order_class = 'pair'", "reserved_usd = -1",
         "limit_price = 0", "stop_price = -1", "take_profit_price = 0", "stop_loss_price = -0.01"],
    )  # fmt: skip
    def test_no_order_holds_a_figure_that_makes_no_sense(self, engine, db, change):
        order = engine.ask_one()

        with pytest.raises(psycopg.errors.CheckViolation, match="orders_are_sound"):
            db.execute(f"update orders set {change} where id = %s", (order.id,))


class TestFills:
    def test_reserved_capital_becomes_used_as_the_entry_fills(self, engine, db):
        order = engine.working(qty="10", limit_price="100.50")
        assert capital(db, order.id) == (Decimal("1005"), 0, 0)

        engine.update(order.says("partially_filled", filled="4", price="100"))

        assert capital(db, order.id) == (Decimal("603"), Decimal("400"), 0)
        engine.update(order.says("filled", filled="10", price="100.2"))
        assert capital(db, order.id) == (0, Decimal("1002"), 0)

    def test_a_stop_loss_closes_the_trade_at_a_loss(self, engine, db):
        order = engine.held()

        engine.update(order.leg("stop", "filled", filled="10", price="94.5"), order.leg("limit", "canceled"))

        pnl, reason, closed = db.execute(
            "select realized_pnl_usd, exit_reason, closed_at is not null from trades where id = %s", (order.id,)
        ).fetchone()
        assert (pnl, reason, closed) == (Decimal(-55), "stop_loss", True)
        assert capital(db, order.id) == (0, 0, Decimal(-55))
        assert db.execute("select count(*) from positions").fetchone() == (0,)

    def test_the_same_news_in_any_order_any_number_of_times_counts_once(self, engine, db):
        order = engine.working()
        news = [
            order.says("partially_filled", filled="3", price="100"),
            order.says("partially_filled", filled="7", price="100.1"),
            order.says("filled", filled="10", price="100.2"),
        ]

        engine.update(news[1], news[0], news[1], news[2], news[0], order.says("accepted"), news[2])

        assert db.execute("select sum(qty), sum(notional_usd) from fills").fetchone() == (10, Decimal("1002"))
        assert db.execute("select state::text from orders where id = %s", (order.id,)).fetchone() == ("filled",)

    def test_a_cancelled_entry_keeps_its_filled_part_and_frees_the_rest(self, engine, db):
        order = engine.working(qty="10", limit_price="100")

        engine.update(order.says("canceled", filled="4", price="99"))

        assert capital(db, order.id) == (0, Decimal(396), 0)
        assert db.execute("select qty from positions").fetchone() == (4,)

    def test_the_brokers_legs_become_protective_orders(self, engine, db):
        order = engine.working()

        assert db.execute(
            "select purpose::text, broker_status, stop_price, limit_price from orders where parent_id = %s order by 1",
            (order.id,),
        ).fetchall() == [("stop_loss", "held", 95, None), ("take_profit", "new", None, 110)]

    def test_every_figure_can_be_recomputed_from_fills_alone(self, engine, db):
        first = engine.held()
        engine.update(first.leg("limit", "filled", filled="10", price="110"))
        engine.held("Bob dips daily", symbol="IBM")
        second = engine.working(symbol="MSFT")
        engine.update(second.says("partially_filled", filled="2.5", price="100.4"))

        assert db.execute("""
            with f as (select trade_id, sum(qty) filter (where purpose = 'entry') as bought,
                              coalesce(sum(qty) filter (where purpose <> 'entry'), 0) as sold,
                              sum(notional_usd) filter (where purpose = 'entry') as paid,
                              coalesce(sum(notional_usd) filter (where purpose <> 'entry'), 0) as got
                       from fills group by trade_id)
            select count(*) from f join trades t on t.id = f.trade_id left join positions p on p.trade_id = t.id
            where t.qty_entered = bought and t.qty_exited = sold
              and t.realized_pnl_usd = round(got - paid * sold / bought, 9)
              and coalesce(p.qty, 0) = bought - sold
              and coalesce(p.cost_usd, 0) = round(paid * (bought - sold) / bought, 9)""").fetchone() == (3,)


class TestSubmission:
    def test_a_broker_reject_ends_the_order_and_frees_its_capital(self, engine, db):
        engine.ask_one()
        (permit,) = engine.claim()

        recorded = engine.record(permit.id, "rejected", code="40310000", reason="insufficient buying power")

        assert recorded.state == "rejected"
        assert capital(db, permit.id) == (0, 0, 0)

    def test_capital_stays_reserved_while_the_outcome_is_unknown(self, engine, db):
        engine.ask_one(qty="10", limit_price="100")
        (permit,) = engine.claim()

        engine.record(permit.id, "unknown")

        assert capital(db, permit.id)[0] == Decimal(1000)

    def test_an_exit_that_was_not_sent_can_be_claimed_again(self, engine):
        position = engine.held()
        exit_order = engine.exit(position.id)
        (permit,) = engine.claim()

        engine.record(permit.id, "not_sent")

        assert [o.id for o in engine.claim()] == [exit_order.id]

    def test_only_one_exit_per_trade_is_open(self, engine):
        position = engine.held()
        engine.exit(position.id)

        assert engine.exit(position.id).code == "DUPLICATE_ORDER"


LEGAL = {
    "awaiting_approval": {"ready", "approval_rejected", "approval_expired", "canceled", "denied"},
    "ready": {"submitting", "canceled", "expired", "denied", "working", "partially_filled", "filled", "rejected",
              "replaced"},
    "submitting": {"unknown", "working", "partially_filled", "filled", "rejected", "canceled", "expired", "ready",
                   "replaced"},
    "unknown": {"working", "partially_filled", "filled", "rejected", "canceled", "expired", "replaced", "ready"},
    "working": {"partially_filled", "filled", "canceled", "expired", "rejected", "replaced"},
    "partially_filled": {"filled", "canceled", "expired", "rejected", "replaced"},
}  # fmt: skip


class TestStateMachine:
    def test_every_move_that_is_not_listed_raises(self, engine, db):
        order = engine.ask_one()
        states = [s for (s,) in db.execute("select unnest(enum_range(null::order_state))::text").fetchall()]

        for start in states:
            for end in states:
                if start == end:
                    continue
                db.execute("alter table orders disable trigger orders_keep_to_the_state_machine")
                db.execute("update orders set state = %s, reserved_usd = 0 where id = %s", (start, order.id))
                db.execute("alter table orders enable trigger orders_keep_to_the_state_machine")
                legal = end in LEGAL.get(start, set())
                try:
                    db.execute("update orders set state = %s where id = %s", (end, order.id))
                except psycopg.Error as e:
                    assert not legal and "ILLEGAL_TRANSITION" in str(e), (start, end)
                else:
                    assert legal, (start, end)

    def test_each_change_leaves_an_event(self, engine, db):
        order = engine.held()

        moves = db.execute(
            "select from_state::text, to_state::text from order_events where order_id = %s order by id", (order.id,)
        ).fetchall()
        assert moves == [(None, "ready"), ("ready", "submitting"), ("submitting", "working"), ("working", "filled")]

    @pytest.mark.parametrize("table", ["order_events", "fills", "decision_log", "trading_control_events"])
    def test_records_cannot_be_rewritten(self, engine, db, table):
        engine.held()

        with pytest.raises(psycopg.Error, match="append-only"):
            db.execute(f"delete from {table}")
