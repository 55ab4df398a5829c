"""The authority under test: the real database behind the real PostgREST, driven as an engine would."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from supabase import Client

from db import commands
from db.models import Answer, Order, Recorded, TradingStatus


class Engine:
    """A minimal engine: a lease, and short words for what an engine asks of the authority."""

    def __init__(self, client: Client, profiles: dict[str, UUID], shard: str = "main") -> None:
        self.client = client
        self.profiles = profiles
        self.shard = shard
        lease = commands.acquire_lease(client, shard=shard, holder=f"test-{uuid4()}", ttl_s=300)
        assert lease.token is not None
        self.token = lease.token
        self.show_alive()

    def show_alive(self, **detail: Any) -> TradingStatus:
        """Report as a healthy engine that has just compared its books with the broker's."""
        self.reconcile()
        return commands.heartbeat(
            self.client,
            shard=self.shard,
            token=self.token,
            version="test",
            market_at=None,
            jobs={},
            detail={"broker_blocked": False, "data_age_s": 1, "market_open": True} | detail,
            ttl_s=300,
        )

    def reconcile(self, *findings: dict[str, Any]) -> None:
        """Note a full reconciliation with these findings."""
        commands.reconcile_apply(
            self.client, shard=self.shard, token=self.token, run={"kind": "full"}, findings=list(findings)
        )

    def entry(self, profile: str = "Alice trend daily", **changes: Any) -> dict[str, Any]:
        """Return an entry request that the gate accepts, with the given changes."""
        return {
            "id": str(uuid4()),
            "profile_id": str(self.profiles[profile]),
            "symbol": "AAPL",
            "side": "buy",
            "qty": "10",
            "limit_price": "100.50",
            "reference_price": "100.00",
            "stop_loss_price": "95",
            "take_profit_price": "110",
            "market_at": "2007-01-03T15:00:00+00:00",
            "quote_at": "2007-01-03T14:59:58+00:00",
            "market_open": True,
            "signal": {"strategy": "test", "strength": "1", "bar_at": "2007-01-03T14:00:00+00:00", "detail": {}},
        } | changes

    def ask(self, *requests: dict[str, Any], permits: int = 0) -> list[Answer]:
        return commands.request_entries(
            self.client, shard=self.shard, token=self.token, requests=requests, permits=permits
        )

    def ask_one(self, profile: str = "Alice trend daily", **changes: Any) -> Answer:
        return self.ask(self.entry(profile, **changes))[0]

    def claim(self) -> list[Order]:
        return commands.claim_orders(self.client, shard=self.shard, token=self.token)

    def record(self, order_id: UUID, outcome: str, **more: Any) -> Recorded:
        result = {"id": str(order_id), "outcome": outcome} | more
        return commands.record_submission(self.client, shard=self.shard, token=self.token, results=[result])[0]

    def update(self, *updates: dict[str, Any]) -> list[Recorded]:
        return commands.record_order_updates(self.client, shard=self.shard, token=self.token, updates=updates)

    def exit(self, trade_id: UUID, **changes: Any) -> Answer:
        request = {"id": str(uuid4()), "trade_id": str(trade_id), "exit_reason": "manual"} | changes
        return commands.request_exits(self.client, shard=self.shard, token=self.token, requests=[request])[0]

    def working(self, profile: str = "Alice trend daily", **changes: Any) -> "BrokerOrder":
        """Bring an entry to the broker and return the broker's side of it."""
        answer = self.ask_one(profile, **changes)
        assert answer.state == "ready", answer
        (order,) = [o for o in self.claim() if o.id == answer.id]
        broker = BrokerOrder(order)
        assert self.record(order.id, "accepted", order=broker.says("new")).state == "working"
        return broker

    def held(self, profile: str = "Alice trend daily", **changes: Any) -> "BrokerOrder":
        """Bring an entry to the broker and fill it whole at 100."""
        broker = self.working(profile, **changes)
        self.update(broker.says("filled", filled=broker.qty, price="100"))
        return broker


class BrokerOrder:
    """What the broker would say about one bracket order."""

    def __init__(self, order: Order) -> None:
        self.id = order.id
        self.qty = str(order.qty)
        self.symbol = order.symbol
        self.broker_id = str(uuid4())
        self.stop_id, self.target_id = str(uuid4()), str(uuid4())

    def says(self, status: str, *, filled: str = "0", price: str | None = None, at: str = "15:01") -> dict[str, Any]:
        return {
            "client_order_id": str(self.id),
            "broker_order_id": self.broker_id,
            "status": status,
            "symbol": self.symbol,
            "side": "buy",
            "qty": self.qty,
            "type": "limit",
            "filled_qty": filled,
            "filled_avg_price": price,
            "updated_at": f"2007-01-03T{at}:00+00:00",
            "legs": [self.leg("limit", "new"), self.leg("stop", "held")],
        }

    def leg(self, kind: str, status: str, *, filled: str = "0", price: str | None = None) -> dict[str, Any]:
        return {
            "client_order_id": str(uuid4()),
            "broker_order_id": self.target_id if kind == "limit" else self.stop_id,
            "status": status,
            "symbol": self.symbol,
            "side": "sell",
            "qty": self.qty,
            "type": kind,
            "limit_price": "110" if kind == "limit" else None,
            "stop_price": "95" if kind == "stop" else None,
            "filled_qty": filled,
            "filled_avg_price": price,
            "updated_at": "2007-01-03T16:00:00+00:00",
        }


@pytest.fixture
def engine(clean_db: Any, service_client: Client, db: Any) -> Iterator[Engine]:
    profiles = {name: id for id, name in db.execute("select id, name from profiles").fetchall()}
    held = Engine(service_client, profiles)
    yield held
    commands.release_lease(service_client, shard=held.shard, token=held.token)
