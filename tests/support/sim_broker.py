"""A broker in memory, on a virtual clock, that misbehaves as a seed says. Long positions; prices walk at random."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from engine.domain.book import Order
from engine.domain.broker_types import AccountState, BrokerOrder, BrokerPosition, Quote, Split
from engine.domain.errors import BrokerUnavailable
from engine.domain.submission import MAYBE_DUPLICATE, Outcome, Submission, judge_refusal
from tests.unit.engine.fakes import ManualClock

ZERO: Final = Decimal(0)
CENT: Final = Decimal("0.01")
OVER: Final = ("filled", "canceled", "rejected")


class Killed(BaseException):
    """The process ends here and now; nothing of it handles this."""


@dataclass
class Chances:
    """How likely each fault is at one call; 0 where a seed's swarm leaves it out."""

    rng: random.Random
    of: dict[str, float] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)

    def strikes(self, fault: str) -> bool:
        if self.rng.random() >= self.of.get(fault, 0):
            return False
        self.struck[fault] = self.struck.get(fault, 0) + 1
        return True


@dataclass
class SimBroker:
    """Implements the ports Broker and BrokerAccount, and MarketData's quotes."""

    clock: ManualClock
    chances: Chances
    prices: dict[str, Decimal]
    orders: dict[str, BrokerOrder] = field(default_factory=dict)  # by the broker's id, legs as rows of their own
    parents: dict[str, str] = field(default_factory=dict)  # of legs
    held: dict[str, Decimal] = field(default_factory=dict)
    coming: list[tuple[float, Order]] = field(default_factory=list)  # sent, and not arrived yet
    hidden_until_s: dict[str, float] = field(default_factory=dict)
    posts: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    # The port

    def submit(self, order: Order) -> Submission:
        self._perhaps_die()
        self.posts[order.id] = self.posts.get(order.id, 0) + 1
        if self.chances.strikes("lost before"):
            return self._no_answer(order)
        if self.chances.strikes("busy"):
            return judge_refusal(order.id, status=429, code=None, message="busy", request_id=None)
        if self.chances.strikes("late"):
            self.coming.append((self.clock.passed_s + self.chances.rng.uniform(0, 12), order))
            return self._no_answer(order)
        refusal = self._accept(order)
        self._perhaps_die()
        if self.chances.strikes("lost after"):
            return self._no_answer(order)
        if self.chances.strikes("504 after"):
            return judge_refusal(order.id, status=504, code=None, message="gateway", request_id=None)
        if refusal is not None:
            return refusal
        found = self._by_client_id(order.id)
        assert found is not None
        return Submission(id=order.id, outcome=Outcome.ACCEPTED, order=found)

    def cancel(self, broker_order_id: str) -> None:
        self._read()
        if self.chances.strikes("cancel ignored"):
            return
        order = self.orders.get(broker_order_id)
        if order is None or order.status in OVER:
            return
        if self.chances.strikes("cancel too late") and order.status != "held":
            self._fill(broker_order_id, order.qty - order.filled_qty)
            return
        self._end(broker_order_id, "canceled")

    def order(self, broker_order_id: str, *, urgent: bool = False) -> BrokerOrder | None:
        self._read()
        return self._whole(broker_order_id) if broker_order_id in self.orders else None

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = True) -> BrokerOrder | None:
        self._read()
        if self.clock.passed_s < self.hidden_until_s.get(client_order_id, 0):
            return None
        return self._by_client_id(client_order_id)

    def open_orders(self) -> Sequence[BrokerOrder]:
        self._read()
        return [
            self._whole(id)
            for id, order in self.orders.items()
            if order.status not in (*OVER, "held")
            and self.clock.passed_s >= self.hidden_until_s.get(order.client_order_id, 0)
        ]

    def order_pages(
        self, after: datetime | None, *, nested: bool = True, patient: bool = True
    ) -> Iterator[Sequence[BrokerOrder]]:
        self._read()
        yield [self._whole(id) for id in self.orders if id not in self.parents or not nested]

    def positions(self) -> Sequence[BrokerPosition]:
        self._read()
        return [BrokerPosition(symbol, qty) for symbol, qty in self.held.items() if qty]

    def state(self) -> AccountState:
        self._read()
        return AccountState()

    def splits(self, since: date, until: date) -> Sequence[Split]:
        return []

    def quotes(self, symbols: object) -> dict[str, Quote]:
        self._read()
        return {s: Quote(s, price, price + CENT, self.clock.now()) for s, price in self.prices.items()}

    # The market

    def tick(self) -> None:
        """Let prices move, what was sent arrive, and orders fill."""
        rng = self.chances.rng
        due = [order for at_s, order in self.coming if at_s <= self.clock.passed_s]
        self.coming = [(at_s, order) for at_s, order in self.coming if at_s > self.clock.passed_s]
        for order in due:
            self._accept(order)
        for symbol, price in self.prices.items():
            self.prices[symbol] = (price * Decimal(str(round(rng.uniform(0.985, 1.015), 4)))).quantize(CENT)
        for id in list(self.orders):
            order = self.orders[id]
            if self._is_marketable(id, order):
                rest = order.qty - order.filled_qty
                is_part = rest > 1 and id not in self.parents and self.chances.strikes("partial")
                self._fill(id, Decimal(rng.randint(1, int(rest) - 1)) if is_part else rest)

    def _is_marketable(self, id: str, order: BrokerOrder) -> bool:
        if order.status in OVER or (id in self.parents and self.orders[self.parents[id]].status != "filled"):
            return False
        price = self.prices[order.symbol]
        match order.type, order.side:
            case "market", _:
                return True
            case "limit", "buy":
                return order.limit_price is not None and price + CENT <= order.limit_price
            case "limit", _:
                return order.limit_price is not None and price >= order.limit_price
        return order.stop_price is not None and price <= order.stop_price

    def _fill(self, id: str, qty: Decimal) -> None:
        order, price = self.orders[id], self.prices[self.orders[id].symbol]
        filled = order.filled_qty + qty
        average = (order.filled_qty * (order.filled_avg_price or ZERO) + qty * price) / filled
        status = "filled" if filled == order.qty else "partially_filled"
        self._set(id, status=status, filled_qty=filled, filled_avg_price=average)
        self.held[order.symbol] = self.held.get(order.symbol, ZERO) + (qty if order.side == "buy" else -qty)
        if self.held[order.symbol] < 0:
            self.breaches.append(f"{order.symbol} was oversold by {id}")
        if status == "filled":
            for other in self._siblings(id):
                self._set(other, status="canceled")
            for leg in self._legs(id):
                self._set(leg, status="new" if self.orders[leg].type == "limit" else "held")

    def _accept(self, order: Order) -> Submission | None:
        if self._by_client_id(order.id) is not None:
            return judge_refusal(
                order.id, status=422, code=MAYBE_DUPLICATE, message="client_order_id must be unique", request_id=None
            )
        if self.chances.strikes("rejected") or (order.side == "sell" and order.qty > self._free(order.symbol)):
            return judge_refusal(order.id, status=403, code="40310000", message="insufficient qty", request_id=None)
        id = f"b{len(self.orders)}"
        self._add(id, order.id, order.symbol, order.side, order.qty, order.order_type, order.limit_price,
                  order.stop_price, "new", order.order_class)  # fmt: skip
        if order.order_class == "bracket":
            for kind, limit, stop in (("limit", order.take_profit_price, None), ("stop", None, order.stop_loss_price)):
                leg = f"b{len(self.orders)}"
                self.parents[leg] = id
                self._add(leg, f"leg-{leg}", order.symbol, "sell", order.qty, kind, limit, stop, "held", "bracket")
        if self.chances.strikes("hidden"):
            self.hidden_until_s[order.id] = self.clock.passed_s + self.chances.rng.uniform(0, 6)
        return None

    def _free(self, symbol: str) -> Decimal:
        """Return how many shares no open sale holds; the two of a bracket hold the same ones."""
        groups: dict[str, Decimal] = {}
        for id, order in self.orders.items():
            is_armed = id not in self.parents or self.orders[self.parents[id]].status == "filled"
            if order.symbol == symbol and order.side == "sell" and order.status not in OVER and is_armed:
                group = self.parents.get(id, id)
                groups[group] = max(groups.get(group, ZERO), order.qty - order.filled_qty)
        return self.held.get(symbol, ZERO) - sum(groups.values(), ZERO)

    def _end(self, id: str, status: str) -> None:
        self._set(id, status=status)
        for other in (*self._siblings(id), *self._legs(id)):
            self._set(other, status="canceled")

    def _set(self, id: str, **changes: object) -> None:
        if self.orders[id].status not in OVER:
            self.orders[id] = replace(self.orders[id], updated_at=self.clock.now(), **changes)  # type: ignore[arg-type]

    def _add(self, id: str, client_id: str, symbol: str, side: str, qty: Decimal, kind: str, limit: Decimal | None,
             stop: Decimal | None, status: str, order_class: str) -> None:  # fmt: skip
        now = self.clock.now()
        self.orders[id] = BrokerOrder(
            broker_order_id=id, client_order_id=client_id, status=status, symbol=symbol, side=side, qty=qty, type=kind,
            order_class=order_class, filled_qty=ZERO, submitted_at=now, updated_at=now, limit_price=limit,
            stop_price=stop,
        )  # fmt: skip

    def _whole(self, id: str) -> BrokerOrder:
        return replace(self.orders[id], legs=tuple(self.orders[leg] for leg in self._legs(id)))

    def _by_client_id(self, client_id: str) -> BrokerOrder | None:
        return next((self._whole(id) for id, order in self.orders.items() if order.client_order_id == client_id), None)

    def _legs(self, id: str) -> list[str]:
        return [leg for leg, parent in self.parents.items() if parent == id]

    def _siblings(self, id: str) -> list[str]:
        return [leg for leg, parent in self.parents.items() if parent == self.parents.get(id) and leg != id]

    def _no_answer(self, order: Order) -> Submission:
        return judge_refusal(order.id, status=None, code=None, message="no usable answer", request_id=None)

    def _read(self) -> None:
        self._perhaps_die()
        if self.chances.strikes("broker away"):
            raise BrokerUnavailable("no usable answer")

    def _perhaps_die(self) -> None:
        if self.chances.strikes("killed"):
            raise Killed
