"""What the broker says of many orders in one call becomes what it becomes when each word has a call of its own."""

from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from db.errors import Invalid
from tests.db.conftest import BrokerOrder, Engine

LOOK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STATUSES = ("new", "held", "partially_filled", "filled", "canceled", "expired", "rejected", "replaced", "missing")
TABLES = {
    "orders": "state, code, reason, qty, limit_price, stop_price, filled_qty, filled_avg_price, reserved_usd,"
    " broker_order_id, broker_status, broker_request_id, broker_updated_at, trade_id, parent_id, replaces_id,"
    " cancel_requested_at is null",
    "fills": "order_id, trade_id, qty, price, cumulative_qty, executed_at",
    "trades": "id, qty_entered, entry_notional_usd, qty_exited, exit_notional_usd, realized_pnl_usd, exit_reason,"
    " opened_at, closed_at",
    "positions": "trade_id, qty, avg_entry_price, cost_usd, stop_price, take_profit_price",
    "profile_capital": "profile_id, reserved_usd, used_usd, realized_usd",
    "trade_months where trades > 0": "profile_id, symbol, trades, wins, gains_usd, losses_usd",
    "reconciliation_findings": "key, kind, detail",
    "order_events": "order_id, from_state, to_state, broker_status, reason",
}
PROFILES = ("Alice trend daily", "Bob trend hourly")
NO_SHORT_WAY = (
    "create or replace function private.accept_sent(p_ids uuid[], p_words jsonb[], p_shard text) returns boolean"
    " language plpgsql as 'begin return false; end'"
)
# What may be odd about an acceptance: mostly nothing.
ODD: tuple[dict[str, Any], ...] = ({},) * 12 + (
    {"status": "filled", "filled_qty": "10", "filled_avg_price": "100"}, {"status": "canceled"}, {"status": ""},
    {"filled_qty": "3", "filled_avg_price": "100"}, {"filled_qty": None}, {"filled_qty": "much"}, {"qty": "12"},
    {"qty": "0"}, {"limit_price": "100.25"}, {"limit_price": None}, {"stop_price": "90"}, {"reason": "Because."},
    {"replaces": "another"}, {"broker_order_id": None}, {"client_order_id": "another"}, {"updated_at": None},
)  # fmt: skip
ODD_LEGS: tuple[dict[str, Any], ...] = ({},) * 20 + (
    {"status": "new"}, {"status": "canceled"}, {"status": "filled", "filled_qty": "10", "filled_avg_price": "110"},
    {"qty": "20"}, {"qty": None}, {"side": "both"}, {"type": "dream"}, {"broker_order_id": None}, {"status": None},
    {"replaces": "another"}, {"limit_price": None, "stop_price": None}, {"updated_at": None}, {"filled_qty": "0"},
)  # fmt: skip
statuses = st.sampled_from(STATUSES)
filled = st.sampled_from(("0", "3", "5", "10"))
prices = st.sampled_from(("99.5", "100", "100.125"))
moments = st.integers(1, 59).map("2007-01-03T16:{:02}:00+00:00".format)


class Desk:
    """A connection of the engine's whose calls can be undone."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.connection = psycopg.connect(url)
        self.connection.execute("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)")
        self.engine = engine

    def outcome(self, function: str, calls: list[list[Any]], *, but_first: str = "select") -> tuple[Any, ...]:
        """Return what these calls answer and leave behind, and undo them; an error is what is left of a refusal."""
        try:
            self.connection.execute(but_first)
            answers = [answer for call in calls for answer in self._answers(function, call)]
            return answers, *(self._rows(table, columns) for table, columns in TABLES.items())
        except psycopg.Error as error:
            return (type(error).__name__,)
        finally:
            self.connection.rollback()

    def _answers(self, function: str, call: list[Any]) -> list[Any]:
        asked = f"select public.{function}('main', %s, %s)"
        (answers,) = self.connection.execute(asked, (self.engine.token, Jsonb(call))).fetchone() or ((),)
        return list(answers)

    def _rows(self, table: str, columns: str) -> list[str]:
        key = "coalesce(broker_order_id, id::text)" if table == "orders" else "''"
        rows = self.connection.execute(f"select {key}, {columns} from {table}").fetchall()
        return sorted(map(str, rows))


@pytest.fixture
def desk(engine: Engine, env: dict[str, str]) -> Iterator[Desk]:
    desk = Desk(env["DATABASE_URL"], engine)
    yield desk
    desk.connection.close()


@pytest.fixture
def sent(engine: Engine) -> list[BrokerOrder]:
    """Four entries that may be sent now."""
    engine.ask(*(engine.entry(profile, symbol=symbol) for profile in PROFILES for symbol in ("AAPL", "IBM")))
    return [BrokerOrder(order) for order in engine.claim()]


@pytest.fixture
def known(engine: Engine, sent: list[BrokerOrder]) -> list[BrokerOrder]:
    """Two entries that rest, one that has filled, and one that nobody knows the fate of."""
    resting, other, held, unknown = sent
    for order in (resting, other, held):
        engine.record(order.id, "accepted", order=order.says("new", at="15:01"))
    engine.update(held.says("filled", filled=held.qty, price="100", at="15:02"))
    engine.record(unknown.id, "unknown")
    return sent


class TestWords:
    @LOOK
    @given(data=st.data())
    def test_words_about_many_orders_change_what_they_change_one_by_one(
        self, desk: Desk, known: list[BrokerOrder], data: st.DataObject
    ) -> None:
        told_of = data.draw(st.one_of(st.permutations(known), st.lists(st.sampled_from(known), min_size=1, max_size=6)))
        told = [word(data, order) for order in told_of]

        at_once, one_by_one = in_one_call_and_in_many(desk, "record_order_updates", told)

        assert at_once == one_by_one

    @pytest.mark.parametrize("first", ["with its entry", "alone"])
    @pytest.mark.parametrize("older", ["with its entry", "alone"])
    def test_a_leg_that_is_told_with_its_entry_and_alone_is_taken_word_by_word(
        self, desk: Desk, known: list[BrokerOrder], first: str, older: str
    ) -> None:
        resting = known[0]
        at = {"with its entry": "16:20", "alone": "16:20", older: "16:10"}
        alone = resting.leg("stop", "canceled") | {"updated_at": f"2007-01-03T{at['alone']}:00+00:00", "legs": []}
        within = resting.leg("stop", "new") | {"updated_at": f"2007-01-03T{at['with its entry']}:00+00:00"}
        told = [resting.says("new", at=at["with its entry"]) | {"legs": [within]}, alone]

        at_once, one_by_one = in_one_call_and_in_many(
            desk, "record_order_updates", told if first == "with its entry" else told[::-1]
        )

        assert at_once == one_by_one
        assert len(at_once) > 1, "it is not refused"

    def test_a_word_that_cannot_be_read_is_refused_however_old_it_is(self, engine: Engine) -> None:
        order = engine.working()
        engine.update(order.says("new", at="15:30"))

        with pytest.raises(Invalid, match="has no status"):
            engine.update(order.says("", at="15:02"))


class TestSubmissions:
    @LOOK
    @given(data=st.data())
    def test_what_came_of_sending_many_is_what_came_of_each(
        self, desk: Desk, sent: list[BrokerOrder], data: st.DataObject
    ) -> None:
        told = [submission(data, order) for order in data.draw(st.permutations(sent))]

        at_once, one_by_one = in_one_call_and_in_many(desk, "record_submission", told)

        assert at_once == one_by_one


class TestAcceptances:
    @LOOK
    @given(data=st.data())
    def test_the_short_way_changes_what_the_long_one_does(
        self, desk: Desk, sent: list[BrokerOrder], data: st.DataObject
    ) -> None:
        told_of = data.draw(st.lists(st.sampled_from(sent), min_size=1, max_size=3, unique_by=id))
        told = [acceptance(data, order) for order in told_of]

        short, long = (desk.outcome("record_submission", [told], but_first=first) for first in ("select", NO_SHORT_WAY))

        assert short == long

    def test_a_plain_acceptance_takes_it_and_one_with_a_fill_does_not(
        self, desk: Desk, sent: list[BrokerOrder]
    ) -> None:
        plain, filling = sent[0].says("new"), sent[0].says("partially_filled", filled="3", price="100")

        query = "select private.accept_sent(%s, %s, 'main')"
        taken = [desk.connection.execute(query, ([sent[0].id], [Jsonb(word)])).fetchone() for word in (filling, plain)]

        assert taken == [(False,), (True,)]


def in_one_call_and_in_many(desk: Desk, function: str, told: list[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return desk.outcome(function, [told]), desk.outcome(function, [[each] for each in told])


def word(data: st.DataObject, order: BrokerOrder) -> dict[str, Any]:
    """Return what the broker may say of an order, of its legs with it, or of a leg alone."""
    legs = [leg(data, order, kind) for kind in data.draw(st.sampled_from((("limit", "stop"), ("stop",), ())))]
    if legs and data.draw(st.booleans()):
        return legs[0] | {"legs": []}
    entry = order.says(data.draw(statuses), filled=data.draw(filled), price=data.draw(prices))
    more = {"updated_at": data.draw(moments), "qty": data.draw(st.sampled_from(("10", "12"))), "legs": legs}
    if data.draw(st.integers(0, 9)) == 0:
        successor = str(uuid5(NAMESPACE_OID, order.broker_id))
        more |= {"broker_order_id": successor, "client_order_id": "new", "replaces": order.broker_id}
    return entry | more


def leg(data: st.DataObject, order: BrokerOrder, kind: str) -> dict[str, Any]:
    said = order.leg(kind, data.draw(statuses), filled=data.draw(filled), price=data.draw(prices))
    moved = {"stop_price": data.draw(st.sampled_from(("95", "96")))} if kind == "stop" else {}
    return said | moved | {"updated_at": data.draw(moments), "qty": data.draw(st.sampled_from(("10", "20")))}


def acceptance(data: st.DataObject, order: BrokerOrder) -> dict[str, Any]:
    """Return a plain acceptance, or one with something odd about it."""
    said = order.says(data.draw(st.sampled_from(("new", "accepted", "pending_new"))))
    said |= {"limit_price": "100.50"} | data.draw(st.sampled_from(ODD))
    said["legs"] = [each | data.draw(st.sampled_from(ODD_LEGS)) for each in said["legs"]]
    if data.draw(st.integers(0, 9)) == 0:
        said["legs"] = data.draw(st.sampled_from((None, [], said["legs"][:1], said["legs"][:1] * 2)))
    return {"id": str(order.id), "outcome": "accepted", "request_id": "request", "order": said}


def submission(data: st.DataObject, order: BrokerOrder) -> dict[str, Any]:
    """Return what may have come of sending an order."""
    outcome = data.draw(st.sampled_from(("accepted", "accepted", "rejected", "unknown", "not_sent")))
    result = {"id": str(order.id), "outcome": outcome, "request_id": data.draw(st.sampled_from((None, "request")))}
    if outcome == "accepted":
        return result | {"order": word(data, order)}
    return result | {"code": "CODE", "reason": "Because."}
