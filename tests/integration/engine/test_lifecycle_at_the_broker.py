"""What people and the broker do to our orders beside us: moved, cancelled, filled late, suspended, split."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from db import commands
from engine.domain.reconcile import Finding
from engine.domain.submission import Outcome, Submission
from tests.support.books import differences
from tests.support.clients import SignIn
from tests.support.engine import SteppedEngine
from tests.support.exchange import RunningExchange


@pytest.fixture
def at_alpaca(exchange: RunningExchange) -> httpx.Client:
    """The account's own client: what a person does at the broker beside the engine."""
    keys = exchange.env
    headers = {"APCA-API-KEY-ID": keys["ALPACA_API_KEY"], "APCA-API-SECRET-KEY": keys["ALPACA_SECRET_KEY"]}
    return httpx.Client(base_url=exchange.url, headers=headers, trust_env=False, timeout=10)


def entered(stepped: SteppedEngine, at_alpaca: httpx.Client) -> dict[str, Any]:
    """Let the engine place its entry; return it as the broker has it."""
    stepped.act()
    (order,) = at_alpaca.get("/v2/orders", params={"nested": "true"}).json()
    return dict(order)


def held(stepped: SteppedEngine, at_alpaca: httpx.Client) -> dict[str, Any]:
    """Let the engine place its entry and the market fill it; return it with its legs."""
    order = entered(stepped, at_alpaca)
    stepped.step(10)
    order = at_alpaca.get(f"/v2/orders/{order['id']}", params={"nested": "true"}).json()
    assert order["status"] == "filled"
    return dict(order)


def ours(db: psycopg.Connection, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    return db.execute(f"select {columns} from orders where {where} order by created_at, id").fetchall()  # type: ignore[arg-type]


def kinds(findings: list[Finding]) -> list[str]:
    return sorted(finding.kind for finding in findings)


class TestReplacements:
    def test_a_moved_entry_goes_on_under_a_row_of_its_own(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        order = entered(stepped, at_alpaca)
        limit = str(Decimal(order["limit_price"]) - 1)
        at_alpaca.patch(f"/v2/orders/{order['id']}", json={"limit_price": limit}).raise_for_status()
        second = at_alpaca.get(f"/v2/orders/{order['id']}").json()["replaced_by"]
        at_alpaca.patch(f"/v2/orders/{second}", json={"limit_price": order["limit_price"]}).raise_for_status()

        stepped.engine.sync.run(stepped.now())

        rows = ours(clean_db, "state::text, replaces_id is not null, reserved_usd > 0", "purpose = 'entry'")
        assert sorted(rows) == [("replaced", False, False), ("replaced", True, False), ("working", True, True)]
        stepped.step(10)
        assert len(stepped.engine.book.read().trades) == 1
        assert stepped.engine.reconciler.run(stepped.now(), "full") == []
        assert differences(clean_db) == []

    def test_an_entry_that_was_made_larger_by_hand_is_cancelled(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        order = entered(stepped, at_alpaca)
        body = {"qty": str(int(order["qty"]) + 50), "limit_price": "1"}
        at_alpaca.patch(f"/v2/orders/{order['id']}", json=body).raise_for_status()

        stepped.engine.sync.run(stepped.now())
        stepped.engine.book.outdate()
        stepped.engine.sync.run(stepped.now())
        stepped.engine.sync.run(stepped.now())

        assert ours(clean_db, "state::text, reserved_usd::int", "purpose = 'entry'") == [
            ("replaced", 0),
            ("canceled", 0),
        ]
        assert {o["status"] for o in stepped.orders_at_exchange()} <= {"replaced", "canceled"}

    def test_a_stop_that_was_moved_by_hand_still_protects_and_is_believed(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        order = held(stepped, at_alpaca)
        (stop,) = [leg for leg in order["legs"] if leg["stop_price"]]
        lower = str(Decimal(stop["stop_price"]) - 2)
        at_alpaca.patch(f"/v2/orders/{stop['id']}", json={"stop_price": lower}).raise_for_status()

        findings = stepped.engine.reconciler.run(stepped.now(), "incremental")

        assert findings == []
        rows = ours(clean_db, "state::text, stop_price", "purpose = 'stop_loss'")
        assert sorted(rows) == [("replaced", Decimal(stop["stop_price"])), ("working", Decimal(lower))]
        assert clean_db.execute("select stop_price from positions").fetchall() == [(Decimal(lower),)]
        assert stepped.engine.monitor.run(stepped.now()) == 0


class TestLateOrders:
    def give_up(self, stepped: SteppedEngine, *, paused_by: Any = None) -> None:
        """Claim an entry, hand its permit back, and send it all the same: a frozen sender wakes up."""
        engine, claimed = stepped.engine, stepped.claim_one()
        engine.executor._desk.record_submissions([Submission(id=claimed.id, outcome=Outcome.NOT_SENT)])
        if paused_by is not None:
            commands.pause_trading(paused_by, reason="Looking into it", request_id=uuid4())
        engine.executor._broker.submit(claimed)

    def test_an_entry_that_came_after_a_pause_is_cancelled_and_raised(
        self, stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        self.give_up(stepped, paused_by=sign_in("admin"))

        findings = stepped.engine.reconciler.run(stepped.now(), "incremental")

        assert kinds(findings) == ["ENTRY_AFTER_PAUSE"]
        assert {o["status"] for o in stepped.orders_at_exchange()} == {"canceled"}
        row = clean_db.execute("select severity, action, advice <> '', status from reconciliation_findings").fetchall()
        assert row == [("critical", "Cancelled at the broker.", True, "open")]

    def test_it_is_on_record_when_the_engine_that_found_it_dies_before_it_can_say_so(
        self, stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        self.give_up(stepped, paused_by=sign_in("admin"))
        stepped.engine.executor._desk.record_updates(stepped.engine.executor._broker.open_orders())
        query = "select kind, status from reconciliation_findings"
        assert clean_db.execute(query).fetchall() == [("ENTRY_AFTER_PAUSE", "open")]

        stepped.engine.lease.release()
        stepped.start()

        assert ("ENTRY_AFTER_PAUSE",) in clean_db.execute("select kind from reconciliation_findings").fetchall()
        assert {o["status"] for o in stepped.orders_at_exchange()} == {"canceled"}

    def test_an_entry_that_came_after_a_pause_and_filled_is_raised_and_looked_after(
        self, stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        self.give_up(stepped, paused_by=sign_in("admin"))
        stepped.sim.step_minutes(10)

        findings = stepped.engine.reconciler.run(stepped.now(), "incremental")

        assert kinds(findings) == ["ENTRY_AFTER_PAUSE"]
        assert "booked" in findings[0].action
        assert differences(clean_db) == []
        (trade,) = stepped.engine.book.read().trades
        assert {leg.purpose for leg in trade.legs} == {"stop_loss", "take_profit"}
        assert stepped.engine.reconciler.run(stepped.now(), "incremental") == []


class TestTheAccount:
    def test_a_suspended_account_is_reported_and_gets_no_entry(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        at_alpaca.patch("/v2/account/configurations", json={"suspend_trade": True}).raise_for_status()

        findings = stepped.engine.reconciler.run(stepped.now(), "incremental")
        stepped.act()

        assert kinds(findings) == ["TRADING_SUSPENDED"]
        assert ours(clean_db, "code") == [("RECONCILIATION_BREAK",)]
        at_alpaca.patch("/v2/account/configurations", json={"suspend_trade": False}).raise_for_status()
        assert stepped.engine.reconciler.run(stepped.now(), "incremental") == []
        assert clean_db.execute("select status from reconciliation_findings").fetchall() == [("repaired",)]

    def test_an_order_that_the_broker_denies_to_know_is_given_up_after_a_while_and_not_before(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        held(stepped, at_alpaca)
        clean_db.execute(
            "insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty,"
            " order_type, state, broker_order_id, broker_status, trade_id, market_at)"
            " select gen_random_uuid(), owner_id, profile_id, shard, symbol, 'sell', 'long', 'exit', 1, 'market',"
            " 'working', gen_random_uuid()::text, 'new', trade_id, market_at from orders where purpose = 'entry'"
        )
        engine = stepped.engine

        assert kinds(engine.reconciler.run(stepped.now(), "incremental")) == ["ORDER_MISSING_AT_BROKER"]
        assert kinds(engine.reconciler.run(stepped.now(), "incremental")) == ["ORDER_MISSING_AT_BROKER"]
        engine.reconciler._quiet_s = 0
        assert engine.reconciler.run(stepped.now(), "incremental") == []

        assert ours(clean_db, "state::text, broker_status", "purpose = 'exit'") == [("canceled", "missing")]

    def test_an_order_under_another_broker_id_than_we_noted_is_found_by_ours(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        order = entered(stepped, at_alpaca)
        clean_db.execute("update orders set broker_order_id = gen_random_uuid()::text where purpose = 'entry'")

        assert stepped.engine.reconciler.run(stepped.now(), "incremental") == []
        assert ours(clean_db, "broker_order_id", "purpose = 'entry'") == [(order["id"],)]


class TestExternalOrders:
    def policy(self, sign_in: SignIn, policy: str) -> None:
        commands.set_external_order_policy(
            sign_in("admin"), policy=policy, reason="As agreed with the desk", request_id=uuid4()
        )

    def buy(self, at_alpaca: httpx.Client, side: str = "buy", qty: int = 3) -> str:
        body = {"symbol": "AAPL", "qty": str(qty), "side": side, "type": "market", "time_in_force": "day"}
        answer = at_alpaca.post("/v2/orders", json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])

    @pytest.fixture(autouse=True)
    def _no_entries(self, stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
        clean_db.execute("update profiles set params = params || '{\"low\": 1}' where active")  # it never enters

    def test_the_symbol_is_locked_when_nobody_has_said_otherwise(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection
    ) -> None:
        self.buy(at_alpaca)
        stepped.sim.step_minutes(10)

        findings = stepped.engine.reconciler.run(stepped.now(), "incremental")

        assert kinds(findings) == ["POSITION_MISMATCH"]
        assert clean_db.execute("select status, ignored from reconciliation_findings").fetchall() == [("open", False)]

    def test_a_trade_by_hand_is_shown_and_not_minded_when_the_account_ignores_such(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        self.policy(sign_in, "ignore")
        self.buy(at_alpaca)
        stepped.sim.step_minutes(10)

        for _ in range(2):
            stepped.engine.reconciler.run(stepped.now(), "incremental")

        rows = clean_db.execute("select kind, status, ignored, action from reconciliation_findings").fetchall()
        assert rows == [("POSITION_MISMATCH", "repaired", True, "Ignored, as the account's policy says.")]

    def test_a_trade_by_hand_becomes_a_trade_of_the_profile_when_the_account_adopts_such(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection, sign_in: SignIn,
        profile_id: str,
    ) -> None:  # fmt: skip
        self.policy(sign_in, "adopt")
        self.buy(at_alpaca)
        stepped.sim.step_minutes(10)
        opened = kinds(stepped.engine.reconciler.run(stepped.now(), "incremental"))
        (held_qty,) = clean_db.execute("select qty, profile_id::text from positions").fetchall()

        self.buy(at_alpaca, side="sell")
        stepped.sim.step_minutes(10)
        closed = kinds(stepped.engine.reconciler.run(stepped.now(), "incremental"))

        assert held_qty == (3, profile_id)
        assert "ORDER_ADOPTED" in opened and closed == ["ORDER_ADOPTED"]
        rows = clean_db.execute("select qty_exited, exit_reason, closed_at is not null from trades").fetchall()
        assert rows == [(3, "external", True)]
        assert differences(clean_db) == []
        assert clean_db.execute("select count(*) from audit_log where action = 'adopt_order'").fetchone() == (2,)
        assert stepped.engine.reconciler.run(stepped.now(), "full") == []

    def test_what_cannot_be_adopted_locks_and_says_why(
        self, stepped: SteppedEngine, at_alpaca: httpx.Client, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        self.policy(sign_in, "adopt")
        clean_db.execute("update profiles set capital_usd = 100 where active")
        body = {
            "symbol": "AAPL",
            "qty": "5",
            "side": "buy",
            "type": "limit",
            "limit_price": "30",
            "time_in_force": "gtc",
        }
        at_alpaca.post("/v2/orders", json=body).raise_for_status()

        stepped.engine.reconciler.run(stepped.now(), "incremental")

        rows = clean_db.execute("select kind, status, action from reconciliation_findings").fetchall()
        why = "Could not be adopted: the profile has not enough capital. Entries in the symbol wait."
        assert rows == [("ORDER_NOT_OURS", "open", why)]
