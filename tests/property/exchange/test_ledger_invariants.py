"""Random orders of every kind, clock steps, faults, crashes and restarts: the ledgers always agree."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local.exchange.http.render import order_text
from local.exchange.market.tape import Tape, load_tape
from local.exchange.trading import interventions
from local.exchange.trading.accounts import Accounts
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import RARE, Order, Status

NAMES = ["AAPL", "MSFT", "GOOG"]
COIN = "BTC/USD"
SYMBOLS = st.sampled_from(NAMES)
SIDES = st.sampled_from(["buy", "sell"])
QUANTITIES = st.one_of(st.integers(1, 300), st.decimals("0.001", 50, places=3))
OFFSETS = st.decimals("-0.02", "0.02", places=3)
TICKS = st.integers(0, 3)
WHO = st.sampled_from([0, 1])  # the first account, or the one that follows it
# Just before AAPL's split of 2005-02-28, so that some runs walk through it.
STARTS = st.sampled_from([date(2005, 2, 25), date(2007, 7, 2)])


@cache
def tape() -> Tape:
    return load_tape()


class Crash(Exception):
    """The process ends here, as far as what was written goes."""


class LedgerMachine(RuleBasedStateMachine):
    """Two accounts under random use; refusals are fine, contradictions are not."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runs = 0
        self.sent = 0
        self.accepted: set[tuple[int, str]] = set()
        self.filled: dict[str, Decimal] = {}
        self.ended: dict[str, Status] = {}

    @initialize(start=STARTS)
    def open(self, start: date) -> None:
        self.start = start
        self.path = Path(self.folder.name) / "0" / "ledger.sqlite"
        self._open()
        self.accounts.open("PKSECOND", "hush", Decimal(30_000))

    def _open(self) -> None:
        self.exchange = open_exchange(self.path, tape(), Birth(seed=3, start=self.start))
        self.accounts = Accounts(self.exchange, "PKFIRST", "secret")

    def _close(self) -> None:
        self.accounts.close()
        self.exchange.ledger.store.close()

    def teardown(self) -> None:
        if hasattr(self, "exchange"):
            self._close()
        self.folder.cleanup()

    @property
    def both(self) -> list[Exchange]:
        return [member.exchange for member in self.accounts] if hasattr(self, "exchange") else []

    def _price(self, symbol: str, offset: Decimal) -> str:
        tick = self.exchange.market.tick(symbol, self.exchange.ledger.moment)
        return str(round(tick.trade * (1 + offset), 2))

    def _submit(self, who: int, rejected_after: int | None = None, **body: object) -> None:
        self.sent += 1
        body["client_order_id"] = f"order-{self.sent}"
        try:
            self.both[who].submit(body, rejected_after=rejected_after)
        except Refusal:
            return
        self.accepted.add((who, str(body["client_order_id"])))

    @rule(
        who=WHO,
        symbol=SYMBOLS,
        side=SIDES,
        qty=QUANTITIES,
        tif=st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
        rejected_after=st.none() | st.none() | TICKS,
    )
    def send_market_order(
        self, who: int, symbol: str, side: str, qty: object, tif: str, rejected_after: int | None
    ) -> None:
        order = {"symbol": symbol, "side": side, "qty": str(qty), "type": "market", "time_in_force": tif}
        self._submit(who, rejected_after, **order)

    @rule(who=WHO, symbol=SYMBOLS, side=SIDES, dollars=st.integers(1, 20_000))
    def send_order_in_dollars(self, who: int, symbol: str, side: str, dollars: int) -> None:
        order = {"symbol": symbol, "side": side, "notional": str(dollars), "type": "market", "time_in_force": "day"}
        self._submit(who, **order)

    @rule(
        who=WHO,
        symbol=SYMBOLS,
        side=SIDES,
        qty=QUANTITIES,
        offset=OFFSETS,
        kind=st.sampled_from(["limit", "stop"]),
        tif=st.sampled_from(["day", "gtc", "fok"]),
        extended=st.booleans(),
    )
    def send_priced_order(
        self, who: int, symbol: str, side: str, qty: object, offset: Decimal, kind: str, tif: str, extended: bool
    ) -> None:
        price = {f"{kind}_price": self._price(symbol, offset)}
        order = {"symbol": symbol, "side": side, "qty": str(qty), "type": kind, "time_in_force": tif}
        self._submit(who, **order, **price, extended_hours=extended and kind == "limit")

    @rule(
        who=WHO,
        side=SIDES,
        qty=st.decimals("0.001", 2, places=9),
        offset=OFFSETS,
        kind=st.sampled_from(["market", "limit", "stop_limit"]),
        tif=st.sampled_from(["gtc", "ioc"]),
    )
    def send_crypto_order(self, who: int, side: str, qty: Decimal, offset: Decimal, kind: str, tif: str) -> None:
        price = self._price(COIN, offset)
        prices = {"limit": {"limit_price": price}, "stop_limit": {"limit_price": price, "stop_price": price}}
        order = {"symbol": COIN, "side": side, "qty": str(qty), "type": kind, "time_in_force": tif}
        self._submit(who, **order, **prices.get(kind, {}))

    @rule(who=WHO, symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 300), percent=st.decimals("0.1", 3, places=1))
    def send_trailing_stop(self, who: int, symbol: str, side: str, qty: int, percent: Decimal) -> None:
        order = {"symbol": symbol, "side": side, "qty": str(qty), "type": "trailing_stop", "time_in_force": "gtc"}
        self._submit(who, **order, trail_percent=str(percent))

    @rule(who=WHO, symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 300), tif=st.sampled_from(["day", "gtc"]))
    def send_bracket(self, who: int, symbol: str, side: str, qty: int, tif: str) -> None:
        near, far = Decimal("0.01"), Decimal("-0.01")
        profit, stop = (near, far) if side == "buy" else (far, near)
        self._submit(
            who,
            symbol=symbol,
            side=side,
            qty=str(qty),
            type="market",
            time_in_force=tif,
            order_class="bracket",
            take_profit={"limit_price": self._price(symbol, profit)},
            stop_loss={"stop_price": self._price(symbol, stop)},
        )

    @rule(who=WHO, symbol=SYMBOLS, qty=st.integers(1, 300))
    def protect_with_oco(self, who: int, symbol: str, qty: int) -> None:
        side = "sell" if self.both[who].account.qty(symbol) >= 0 else "buy"
        above, below = Decimal("0.02"), Decimal("-0.02")
        profit, stop = (above, below) if side == "sell" else (below, above)
        self._submit(
            who,
            symbol=symbol,
            side=side,
            qty=str(qty),
            type="limit",
            time_in_force="gtc",
            order_class="oco",
            take_profit={"limit_price": self._price(symbol, profit)},
            stop_loss={"stop_price": self._price(symbol, stop)},
        )

    def _an_open_order(self, data: st.DataObject) -> tuple[Exchange, Order]:
        held = [(each, order) for each in self.both for order in each.ledger.book]
        found: tuple[Exchange, Order] = data.draw(st.sampled_from(held))
        return found

    @precondition(lambda self: any(len(each.ledger.book) for each in self.both))
    @rule(data=st.data(), pending=st.none() | st.none() | TICKS, stuck=st.booleans())
    def cancel_an_order(self, data: st.DataObject, pending: int | None, stuck: bool) -> None:
        exchange, order = self._an_open_order(data)
        with refusals():
            if pending is None:
                exchange.cancel(order.id)
            else:
                exchange.cancel_slowly(order.id, None if stuck else pending)

    @rule(who=WHO)
    def cancel_all(self, who: int) -> None:
        exchange = self.both[who]
        answers = dict(exchange.cancel_all())
        for order in exchange.ledger.book:
            assert answers[order.id] is not None

    @precondition(lambda self: any(len(each.ledger.book) for each in self.both))
    @rule(data=st.data(), qty=st.none() | st.integers(1, 300), offset=OFFSETS, due=st.none() | TICKS)
    def replace_an_order(self, data: st.DataObject, qty: int | None, offset: Decimal, due: int | None) -> None:
        exchange, order = self._an_open_order(data)
        price = self._price(order.symbol, offset)
        body: dict[str, object] = {"limit_price": price} if order.type.has_limit else {}
        body |= {"stop_price": price} if order.type.has_stop else {}
        with refusals():
            exchange.replace(order.id, body | ({"qty": str(qty)} if qty else {}), due=due)

    @precondition(lambda self: any(len(each.ledger.book) for each in self.both))
    @rule(data=st.data(), status=st.sampled_from(sorted({*RARE, Status.NEW, Status.REJECTED})))
    def force_a_status(self, data: st.DataObject, status: Status) -> None:
        exchange, order = self._an_open_order(data)
        with refusals():
            interventions.force_status(exchange, order.id, status)

    @precondition(lambda self: any(len(each.ledger.book) for each in self.both))
    @rule(data=st.data())
    def fill_an_order_early(self, data: st.DataObject) -> None:
        exchange, order = self._an_open_order(data)
        interventions.fill_now(exchange, order.id)

    @rule(who=WHO, symbol=st.sampled_from([*NAMES, COIN]))
    def close_a_position(self, who: int, symbol: str) -> None:
        with refusals():
            self.both[who].close_position(symbol, abs(self.both[who].account.qty(symbol)))

    @rule(who=WHO, symbol=SYMBOLS, side=st.sampled_from(interventions.Side), qty=st.integers(1, 50))
    def trade_by_hand(self, who: int, symbol: str, side: interventions.Side, qty: int) -> None:
        with refusals():
            interventions.trade_by_hand(self.both[who], symbol, side, Decimal(qty))

    @rule(symbol=SYMBOLS, halted=st.booleans())
    def halt_or_release(self, symbol: str, halted: bool) -> None:
        for each in self.both:
            interventions.halt(each, symbol, halted=halted)

    @rule(profile=st.sampled_from(FillProfile), part=st.none() | st.integers(1, 20))
    def change_how_orders_fill(self, profile: FillProfile, part: int | None) -> None:
        self.exchange.profile = profile
        for each in self.both:
            each.throttle = None if part is None else lambda _, qty: min(qty, Decimal(part))

    @rule(ticks=st.integers(1, 100))
    def let_time_pass(self, ticks: int) -> None:
        self.exchange.step(ticks)

    @rule(to=st.sampled_from(["open", "close", "pre_open"]))
    def go_to(self, to: str) -> None:
        getattr(self.exchange, f"step_to_{to}")()

    @rule(symbol=SYMBOLS, pct=st.decimals("-0.3", "0.3", places=2))
    def shock_a_price(self, symbol: str, pct: Decimal) -> None:
        self.exchange.shock(symbol, pct)

    @rule()
    def restart(self) -> None:
        before = [_picture(each) for each in self.both]
        self._close()
        self._open()
        assert [_picture(each) for each in self.both] == before

    @rule()
    def kill(self) -> None:
        """Go on from the files as they lie there, never closed."""
        before = [_picture(each) for each in self.both]
        self.runs += 1
        copied = self.path.parent.parent / str(self.runs)
        shutil.copytree(self.path.parent, copied)
        self._close()
        self.path = copied / "ledger.sqlite"
        self._open()
        assert [_picture(each) for each in self.both] == before

    @rule(ticks=st.integers(1, 30), who=WHO)
    def break_off_a_step(self, ticks: int, who: int) -> None:
        """End in the middle of a step: one account may be written and the other one not."""
        store = self.both[who].ledger.store
        write = store._write

        def crash(*_: object) -> None:
            raise Crash

        store._write = crash  # type: ignore[method-assign]
        with suppress(Crash):
            self.exchange.step(ticks)
        store._write = write  # type: ignore[method-assign]
        self._close()
        self._open()

    @invariant()
    def ledgers_agree_with_their_fills(self) -> None:
        for each in self.both:
            assert check_ledger(each.ledger.store) == []

    @invariant()
    def accounts_are_at_the_same_moment(self) -> None:
        assert len({each.ledger.clock for each in self.both}) <= 1

    @invariant()
    def nothing_is_reserved_twice(self) -> None:
        for exchange in self.both:
            for symbol in [*NAMES, COIN]:
                held: dict[str, Decimal] = {}
                for order in exchange.ledger.book.closing(symbol):
                    held[order.group_id] = max(held.get(order.group_id, Decimal(0)), order.remaining)
                assert exchange.ledger.book.reserved(symbol) == sum(held.values())
                assert sum(held.values()) <= abs(exchange.account.qty(symbol))

    @invariant()
    def what_resting_orders_cost_is_what_they_cost_one_by_one(self) -> None:
        for book in (exchange.ledger.book for exchange in self.both):
            opening = [order for order in book if not order.intent.closes]
            assert book.own_cost == sum(order.own_cost or Decimal(0) for order in opening)
            assert {*book.opening_at_quotes} == {order.id for order in opening if order.own_cost is None}

    @invariant()
    def no_order_is_lost_doubled_or_taken_back(self) -> None:
        for who, exchange in enumerate(self.both):
            seen: set[tuple[int, str]] = set()
            for order in exchange.ledger.store.orders("true order by seq", []):
                assert (who, order.client_order_id) not in seen
                seen.add((who, order.client_order_id))
                assert order.filled_qty >= self.filled.get(order.id, Decimal(0))
                self.filled[order.id] = order.filled_qty
                assert self.ended.get(order.id, order.status) == order.status
                if order.status.is_terminal:
                    self.ended[order.id] = order.status
            assert {each for each in self.accepted if each[0] == who} <= seen

    @invariant()
    def orders_by_number_are_orders_by_time(self) -> None:
        for exchange in self.both:
            times = [order.submitted_at for order in exchange.ledger.store.orders("true order by seq", [])]
            assert times == sorted(times)

    @invariant()
    def open_orders_in_memory_are_those_on_disk(self) -> None:
        for exchange in self.both:
            book, stored = exchange.ledger.book, list(exchange.ledger.store.open_orders())
            assert list(book) == stored
            assert [book.told(order, order_text) for order in book] == [order_text(order) for order in stored]


@contextmanager
def refusals() -> Iterator[None]:
    """Let the exchange say no."""
    with suppress(Refusal):
        yield


def _picture(exchange: Exchange) -> object:
    ledger = exchange.ledger
    return ledger.account, ledger.state, list(ledger.book), ledger.controls


TestLedgerInvariants = LedgerMachine.TestCase
TestLedgerInvariants.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
