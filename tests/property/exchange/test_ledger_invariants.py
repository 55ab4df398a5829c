"""Random orders, cancels, replacements, clock steps and restarts: the ledger always agrees."""

from __future__ import annotations

import tempfile
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local.exchange.market.tape import Tape, load_tape
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.order import Order, Status

SYMBOLS = st.sampled_from(["AAPL", "MSFT", "GOOG"])
SIDES = st.sampled_from(["buy", "sell"])
QUANTITIES = st.one_of(st.integers(1, 300), st.decimals("0.001", 50, places=3))
OFFSETS = st.decimals("-0.02", "0.02", places=3)
# Just before AAPL's split of 2005-02-28, so that some runs walk through it.
STARTS = st.sampled_from([date(2005, 2, 25), date(2007, 7, 2)])


@cache
def tape() -> Tape:
    return load_tape()


class LedgerMachine(RuleBasedStateMachine):
    """One exchange under random use; refusals are fine, contradictions are not."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sent = 0
        self.accepted: set[str] = set()
        self.filled: dict[str, Decimal] = {}
        self.ended: dict[str, Status] = {}

    @initialize(start=STARTS)
    def open(self, start: date) -> None:
        self.start = start
        self.exchange = self._open()

    def _open(self) -> Exchange:
        path = Path(self.folder.name) / "ledger.sqlite"
        return open_exchange(path, tape(), Birth(seed=3, start=self.start))

    def teardown(self) -> None:
        if hasattr(self, "exchange"):
            self.exchange.ledger.store.close()
        self.folder.cleanup()

    def _price(self, symbol: str, offset: Decimal) -> str:
        tick = self.exchange.market.tick(symbol, self.exchange.ledger.moment)
        return str(round(tick.trade * (1 + offset), 2))

    def _submit(self, **body: object) -> None:
        self.sent += 1
        body["client_order_id"] = f"order-{self.sent}"
        try:
            self.exchange.submit(body)
        except Refusal:
            return
        self.accepted.add(str(body["client_order_id"]))

    @rule(symbol=SYMBOLS, side=SIDES, qty=QUANTITIES, tif=st.sampled_from(["day", "gtc", "ioc"]))
    def send_market_order(self, symbol: str, side: str, qty: object, tif: str) -> None:
        self._submit(symbol=symbol, side=side, qty=str(qty), type="market", time_in_force=tif)

    @rule(
        symbol=SYMBOLS,
        side=SIDES,
        qty=QUANTITIES,
        offset=OFFSETS,
        kind=st.sampled_from(["limit", "stop"]),
        tif=st.sampled_from(["day", "gtc"]),
    )
    def send_priced_order(self, symbol: str, side: str, qty: object, offset: Decimal, kind: str, tif: str) -> None:
        price = {f"{kind}_price": self._price(symbol, offset)}
        self._submit(symbol=symbol, side=side, qty=str(qty), type=kind, time_in_force=tif, **price)

    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 300), tif=st.sampled_from(["day", "gtc"]))
    def send_bracket(self, symbol: str, side: str, qty: int, tif: str) -> None:
        near, far = Decimal("0.01"), Decimal("-0.01")
        profit, stop = (near, far) if side == "buy" else (far, near)
        self._submit(
            symbol=symbol,
            side=side,
            qty=str(qty),
            type="market",
            time_in_force=tif,
            order_class="bracket",
            take_profit={"limit_price": self._price(symbol, profit)},
            stop_loss={"stop_price": self._price(symbol, stop)},
        )

    @rule(symbol=SYMBOLS, qty=st.integers(1, 300))
    def protect_with_oco(self, symbol: str, qty: int) -> None:
        side = "sell" if self.exchange.account.qty(symbol) >= 0 else "buy"
        above, below = Decimal("0.02"), Decimal("-0.02")
        profit, stop = (above, below) if side == "sell" else (below, above)
        self._submit(
            symbol=symbol,
            side=side,
            qty=str(qty),
            type="limit",
            time_in_force="gtc",
            order_class="oco",
            take_profit={"limit_price": self._price(symbol, profit)},
            stop_loss={"stop_price": self._price(symbol, stop)},
        )

    @precondition(lambda self: len(self.exchange.ledger.book) > 0)
    @rule(data=st.data())
    def cancel_an_order(self, data: st.DataObject) -> None:
        order: Order = data.draw(st.sampled_from(list(self.exchange.ledger.book)))
        self.exchange.cancel(order.id)

    @precondition(lambda self: len(self.exchange.ledger.book) > 0)
    @rule(data=st.data(), qty=st.none() | st.integers(1, 300), offset=OFFSETS)
    def replace_an_order(self, data: st.DataObject, qty: int | None, offset: Decimal) -> None:
        order: Order = data.draw(st.sampled_from(list(self.exchange.ledger.book)))
        price = self._price(order.symbol, offset)
        body: dict[str, object] = {"limit_price": price} if order.type.has_limit else {}
        body |= {"stop_price": price} if order.type.has_stop else {}
        try:
            self.exchange.replace(order.id, body | ({"qty": str(qty)} if qty else {}))
        except Refusal:
            return

    @rule(symbol=SYMBOLS)
    def close_a_position(self, symbol: str) -> None:
        try:
            self.exchange.close_position(symbol, abs(self.exchange.account.qty(symbol)))
        except Refusal:
            return

    @rule(ticks=st.integers(1, 100))
    def let_time_pass(self, ticks: int) -> None:
        self.exchange.step(ticks)

    @rule(symbol=SYMBOLS, pct=st.decimals("-0.3", "0.3", places=2))
    def shock_a_price(self, symbol: str, pct: Decimal) -> None:
        self.exchange.shock(symbol, pct)

    @rule()
    def restart(self) -> None:
        before = _picture(self.exchange)
        self.exchange.ledger.store.close()
        self.exchange = self._open()
        assert _picture(self.exchange) == before

    @invariant()
    def ledger_agrees_with_its_fills(self) -> None:
        if hasattr(self, "exchange"):
            assert check_ledger(self.exchange.ledger.store) == []

    @invariant()
    def nothing_is_reserved_twice(self) -> None:
        if not hasattr(self, "exchange"):
            return
        for symbol in ("AAPL", "MSFT", "GOOG"):
            held: dict[str, Decimal] = {}
            for order in self.exchange.ledger.book.closing(symbol):
                key = order.group_id
                held[key] = max(held.get(key, Decimal(0)), order.remaining)
            assert self.exchange.ledger.book.reserved(symbol) == sum(held.values())
            assert sum(held.values()) <= abs(self.exchange.account.qty(symbol))

    @invariant()
    def no_order_is_lost_doubled_or_taken_back(self) -> None:
        if not hasattr(self, "exchange"):
            return
        seen: set[str] = set()
        for order in self.exchange.ledger.store.orders("true order by seq", []):
            assert order.client_order_id not in seen
            seen.add(order.client_order_id)
            assert order.filled_qty >= self.filled.get(order.id, Decimal(0))
            self.filled[order.id] = order.filled_qty
            assert self.ended.get(order.id, order.status) == order.status
            if order.status.is_terminal:
                self.ended[order.id] = order.status
        assert self.accepted <= seen


def _picture(exchange: Exchange) -> object:
    ledger = exchange.ledger
    return ledger.account, ledger.state, list(ledger.book)


TestLedgerInvariants = LedgerMachine.TestCase
TestLedgerInvariants.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
