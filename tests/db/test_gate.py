"""The gate: each code, malformed input, repeats, exact capital."""

from decimal import Decimal
from uuid import uuid4

import pytest

from db.errors import Invalid


@pytest.fixture
def config(db, engine):
    """Change keys of the active risk configuration for one test."""

    def change(path: str, value: str | None) -> None:
        if value is None:
            db.execute("update risk_configs set config = config #- %s::text[] where active", (path,))
        else:
            db.execute(
                "update risk_configs set config = jsonb_set(config, %s::text[], %s::jsonb) where active", (path, value)
            )

    before = db.execute("select config::text from risk_configs where active").fetchone()[0]
    yield change
    db.execute("update risk_configs set config = %s::jsonb where active", (before,))


class TestDenials:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"qty": "10001", "limit_price": "1", "reference_price": "1"}, "ORDER_QTY_MAX"),
            ({"qty": "300"}, "ORDER_NOTIONAL_MAX"),  # 30,150 > 25,000
            ({"limit_price": "105.01"}, "PRICE_COLLAR"),  # more than 5 % above the quote
            ({"limit_price": "94.99"}, "PRICE_COLLAR"),
        ],
    )
    def test_an_entry_over_a_limit_is_denied_with_its_code(self, engine, changes, code):
        answer = engine.ask_one(**changes)

        assert (answer.state, answer.code) == ("denied", code)

    @pytest.mark.parametrize(
        ("column", "value", "code"),
        [("trading_mode", "disabled", "MODE_DISABLED"), ("active", "false", "PROFILE_INACTIVE")],
    )
    def test_a_profile_that_may_not_trade_is_denied(self, engine, db, column, value, code):
        db.execute(f"update profiles set {column} = %s where name = 'Alice trend daily'", (value,))

        assert engine.ask_one().code == code

    def test_a_second_entry_in_a_symbol_is_a_duplicate(self, engine):
        engine.ask_one()

        assert engine.ask_one().code == "DUPLICATE_ORDER"

    def test_requests_of_one_call_see_each_other(self, engine):
        first, second = engine.ask(engine.entry(), engine.entry())

        assert (first.state, second.code) == ("ready", "DUPLICATE_ORDER")

    def test_an_unknown_order_locks_its_symbol_for_everyone(self, engine):
        engine.ask_one()
        (permit,) = engine.claim()
        engine.record(permit.id, "unknown", reason="timeout")

        assert engine.ask_one("Bob dips daily").code == "ORDER_UNKNOWN"
        assert engine.ask_one("Bob dips daily", symbol="IBM").state == "ready"

    def test_a_position_counts_towards_the_position_limit(self, engine, config):
        config("{position_limits,position_notional_max_usd}", '"1500"')
        engine.held()

        assert engine.ask_one().code == "POSITION_LIMIT"

    @pytest.mark.parametrize(
        ("path", "value", "code"),
        [
            ("{position_limits,open_orders_max}", "0", "OPEN_ORDERS_MAX"),
            ("{position_limits,positions_max}", "0", "POSITIONS_MAX"),
            ("{order_limits,qty_max}", None, "LIMIT_NOT_SET"),
            ("{order_limits,notional_max_usd}", None, "LIMIT_NOT_SET"),
            ("{order_limits,price_collar_pct}", None, "LIMIT_NOT_SET"),
            ("{position_limits,open_orders_max}", None, "LIMIT_NOT_SET"),
            ("{position_limits,positions_max}", None, "LIMIT_NOT_SET"),
            ("{position_limits,position_notional_max_usd}", None, "LIMIT_NOT_SET"),
        ],
    )
    def test_a_limit_of_zero_or_none_blocks(self, engine, config, path, value, code):
        config(path, value)

        assert engine.ask_one().code == code

    def test_capital_is_reserved_exactly_and_then_insufficient(self, engine, db):
        alice = engine.profiles["Alice trend daily"]
        engine.ask_one(symbol="AAPL", qty="200", limit_price="100", reference_price="100")

        answer = engine.ask_one(symbol="MSFT", qty="51", limit_price="100", reference_price="100")

        assert answer.code == "CAPITAL_INSUFFICIENT"
        assert db.execute("select reserved_usd from profile_capital where profile_id = %s", (alice,)).fetchone() == (
            Decimal(20000),
        )
        assert engine.ask_one(symbol="MSFT", qty="50", limit_price="100", reference_price="100").state == "ready"


class TestRecord:
    def test_every_check_is_kept_with_its_limit_and_observed_value(self, engine, db):
        answer = engine.ask_one(qty="300")

        checks, inputs, code = db.execute(
            "select checks, inputs, code from decision_log where order_id = %s", (answer.id,)
        ).fetchone()
        assert code == "ORDER_NOTIONAL_MAX"
        assert len(checks) == 28
        (failed,) = [c for c in checks if not c["passed"] and c["name"] == code]
        assert (Decimal(str(failed["limit"])), Decimal(str(failed["observed"]))) == (25000, 30150)
        assert inputs["qty"] == 300

    def test_the_same_id_again_answers_the_same_and_does_nothing(self, engine, db):
        request = engine.entry()
        first = engine.ask(request)

        assert engine.ask(request) == first
        assert db.execute("select count(*) from decision_log").fetchone() == (1,)

    def test_a_live_entry_waits_for_a_person(self, engine, db):
        db.execute("update profiles set trading_mode = 'live' where name = 'Alice trend daily'")

        assert engine.ask_one().state == "awaiting_approval"
        assert engine.claim() == []

    def test_an_entry_that_was_not_sent_in_time_never_is(self, engine, db):
        answer = engine.ask_one()
        db.execute("update orders set ready_at = ready_at - interval '61 seconds' where id = %s", (answer.id,))

        assert engine.claim() == []
        state, reserved = db.execute(
            "select o.state::text, c.reserved_usd from orders o"
            " join profile_capital c using (profile_id) where o.id = %s",
            (answer.id,),
        ).fetchone()
        assert (state, reserved) == ("expired", 0)


class TestMalformed:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"qty": "NaN"}, "qty"),
            ({"qty": "0"}, "qty"),
            ({"qty": "-5"}, "qty"),
            ({"qty": "Infinity"}, "qty"),
            ({"qty": "1e9"}, "qty"),
            ({"qty": "1000000000"}, "qty"),
            ({"qty": None}, "qty"),
            ({"limit_price": "0"}, "limit_price"),
            ({"limit_price": "abc"}, "limit_price"),
            ({"reference_price": None}, "reference_price"),
            ({"stop_loss_price": "-1"}, "stop_loss_price"),
            ({"symbol": "NOPE"}, "NOPE"),
            ({"symbol": None}, "symbol"),
            ({"side": "hold"}, "side"),
            ({"id": "42"}, "id must be a uuid"),
            ({"profile_id": str(uuid4())}, "does not exist"),
        ],
    )
    def test_a_malformed_request_refuses_the_whole_call(self, engine, db, changes, says):
        with pytest.raises(Invalid, match=says):
            engine.ask(engine.entry(symbol="MSFT"), engine.entry(**changes))

        assert db.execute("select count(*) from orders").fetchone() == (0,)
