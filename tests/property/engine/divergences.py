"""A world in which our books and the exchange have come apart, in many random ways at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import httpx
import psycopg

from engine.domain.book import Order
from engine.domain.submission import Outcome, Submission
from tests.support.engine import SteppedEngine

SYMBOLS: Final = ("AAPL", "MSFT", "IBM", "GOOG")
# What our side knows of an order, and what happens to it at the exchange before and after the market moves.
KNOWN: Final = ("working", "unknown", "dead permit", "given up", "never sent", "other broker id")
BEFORE: Final = ("nothing", "nothing", "cancel", "move", "move twice", "enlarge")
AFTER: Final = ("nothing", "nothing", "cancel", "cancel a leg", "move a leg", "suspend")
BYSTANDERS: Final = ("order by hand", "trade by hand", "bracket by hand")
# Written by every pass, whatever it finds.
SIGNS_OF_LIFE: Final = ("reconciliation_runs", "engine_leases", "engine_heartbeats")
BOOKS: Final = "select symbol, sum(case side when 'long' then qty else -qty end) from positions group by 1"
REPORTED: Final = "select symbol from reconciliation_findings where status = 'open' and kind = 'POSITION_MISMATCH'"
ASK: Final = """
    with f as (
        insert into profiles (owner_id, name, strategy, symbols, capital_usd, active)
        select user_id, %(name)s, 'rsi_reversion', array[%(symbol)s], 100000, false from members limit 1 returning *)
    insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, limit_price, stop_loss_price, take_profit_price, notional_usd, reserved_usd, state, trade_id,
        market_at)
    select %(id)s, f.owner_id, f.id, 'main', %(symbol)s, 'buy', 'long', 'entry', %(qty)s, 'limit', 'bracket',
        %(limit)s, %(stop)s, %(target)s, %(limit)s * %(qty)s, %(limit)s * %(qty)s, 'ready', %(id)s, %(at)s
    from f"""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One order, or one act of a person, with what went apart."""

    kind: str
    symbol: str
    qty: int
    marketable: bool
    known: str = "working"
    before: str = "nothing"
    after: str = "nothing"


def batch(rng: random.Random, size: int) -> list[Divergence]:
    """Draw many; among them each state of our knowledge alone, with an order that fills and one that rests."""
    alone = [
        Divergence(kind="order", symbol=rng.choice(SYMBOLS), qty=2, marketable=marketable, known=known)
        for known in KNOWN
        for marketable in (True, False)
    ]
    return alone + [draw(rng) for _ in range(size - len(alone))]


def draw(rng: random.Random) -> Divergence:
    """Draw one divergence; one in ten is somebody trading by hand."""
    base = {"symbol": rng.choice(SYMBOLS), "qty": rng.randint(2, 6), "marketable": rng.random() < 0.6}
    if rng.random() < 0.1:
        return Divergence(kind=rng.choice(BYSTANDERS), **base)
    return Divergence(kind="order", known=rng.choice(KNOWN), before=rng.choice(BEFORE), after=rng.choice(AFTER), **base)


@dataclass
class World:
    """An engine, its database and its exchange; `foreign` are the exchange's ids that are not ours."""

    stepped: SteppedEngine
    db: psycopg.Connection
    rng: random.Random
    foreign: set[str] = field(default_factory=set)
    by_hand: dict[str, Decimal] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        env = self.stepped.exchange.env
        headers = {"APCA-API-KEY-ID": env["ALPACA_API_KEY"], "APCA-API-SECRET-KEY": env["ALPACA_SECRET_KEY"]}
        self.http = httpx.Client(base_url=self.stepped.exchange.url, headers=headers, trust_env=False, timeout=10)
        self.prices = {
            symbol: Decimal(str(quote.ask))
            for symbol, quote in self.stepped.engine.trader._market_data.quotes(SYMBOLS).items()
        }

    def diverge(self, divergences: list[Divergence]) -> None:
        """Bring every one of them about, with one move of the market in their middle."""
        ours = [each for each in divergences if each.kind == "order"]
        pairs = list(zip(ours, self._claimed(ours), strict=True))
        for each, order in pairs:
            self._send(each, order)
        for each, order in pairs:
            self._act(each.before, order)
        for each in divergences:
            if each.kind != "order":
                self._by_hand(each)
        for fraction in (0.3, 0.5, 0.8):
            self._sim(
                "faults", kind="partial_fill", count=3, probability=0.5, seed=self.rng.randint(0, 99), fraction=fraction
            )
        self.stepped.sim.step_minutes(5)
        for each, order in pairs:
            self._act(each.after, order)
        self.db.execute(
            "update orders set permit_deadline = now() - interval '1 minute' where permit_deadline is not null"
        )

    def converge(self) -> None:
        """Run one pass: settle what is unsettled, then reconcile in full."""
        engine, market = self.stepped.engine, self.stepped.now()
        engine.lease.beat(market)
        for _ in range(3):
            engine.settlement.run()
        engine.reconciler.run(market, "full")

    def fingerprint(self) -> dict[str, Any]:
        """Return a checksum of every table, but for the list of the runs and signs of life."""
        rows = self.db.execute(
            "select table_name from information_schema.tables where table_schema = 'public'"
            " and table_type = 'BASE TABLE' order by 1"
        ).fetchall()
        tables = [name for (name,) in rows if name not in SIGNS_OF_LIFE]
        query = "select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {} t"
        sums = {name: self.db.execute(query.format(name)).fetchone() for name in tables}  # type: ignore[arg-type]
        orders = [(o["id"], o["status"], o["filled_qty"]) for o in self.stepped.orders_at_exchange()]
        return {**sums, "exchange": orders}

    def problems(self) -> list[str]:
        """Return where our books still say something else than the exchange."""
        theirs = {order["id"]: order for order in self.stepped.orders_at_exchange()}
        ours = {row[0]: row[1:] for row in self.db.execute(
            "select broker_order_id, state::text, private.is_terminal(state), filled_qty from orders"
            " where broker_order_id is not null").fetchall()}  # fmt: skip
        found = []
        for id, order in theirs.items():
            if id in self.foreign or order["parent_id"] in self.foreign:
                continue
            if id not in ours:
                found.append(f"nobody knows {order}")
                continue
            state, is_over, filled = ours[id]
            over_there = order["status"] in ("filled", "canceled", "expired", "replaced", "rejected")
            if filled != Decimal(order["filled_qty"]) or is_over != over_there:
                found.append(f"{order} is {state} with {filled} filled in our books")
        found += [f"{id} {row} is not at the exchange" for id, row in ours.items() if id not in theirs and not row[1]]
        unsettled = "select id from orders where state in ('submitting', 'unknown')"
        found += [f"{id} is not settled" for (id,) in self.db.execute(unsettled)]
        return found + self._gaps()

    def _gaps(self) -> list[str]:
        held = {s: Decimal(qty) for s, qty in self.stepped.exchange.sim("GET", "ledger")["positions"].items()}
        books = dict(self.db.execute(BOOKS).fetchall())
        reported = {row[0] for row in self.db.execute(REPORTED)}
        found = []
        for symbol in SYMBOLS:
            gap = held.get(symbol, Decimal(0)) - books.get(symbol, Decimal(0))
            if gap != self.by_hand.get(symbol, Decimal(0)):
                found.append(f"{symbol}: {gap} too many at the exchange, by hand {self.by_hand.get(symbol)}")
            if (gap != 0) != (symbol in reported):
                found.append(f"{symbol}: a gap of {gap} is {'not ' * (symbol not in reported)}on record")
        return found

    def _claimed(self, divergences: list[Divergence]) -> list[Order]:
        """Make a profile and an entry for each, and permits for all of them."""
        ids = [str(uuid4()) for _ in divergences]
        for id, each in zip(ids, divergences, strict=True):
            self._ask(id, each)
        desk, claimed = self.stepped.engine.executor._desk, []
        while batch := desk.claim():
            claimed += batch
        by_id = {order.id: order for order in claimed}
        return [by_id[id] for id in ids]

    def _ask(self, id: str, each: Divergence) -> None:
        limit = (self.prices[each.symbol] * (Decimal("1.02") if each.marketable else Decimal("0.8"))).quantize(
            Decimal("0.01")
        )
        values = {
            "id": id,
            "name": f"d {id}",
            "symbol": each.symbol,
            "qty": each.qty,
            "limit": limit,
            "at": self.stepped.now().now,
            "stop": (limit * Decimal("0.7")).quantize(Decimal("0.01")),
            "target": (limit * Decimal("1.5")).quantize(Decimal("0.01")),
        }
        self.db.execute(ASK, values)
        self.db.execute(
            "update profile_capital c set reserved_usd = o.reserved_usd from orders o"
            " where o.id = %s and c.profile_id = o.profile_id", [id],
        )  # fmt: skip

    def _send(self, each: Divergence, order: Order) -> None:
        """Let the order reach the exchange or not, and our books learn of it or not."""
        desk, broker = self.stepped.engine.executor._desk, self.stepped.engine.executor._broker
        sent = None if each.known == "never sent" else broker.submit(order)
        assert sent is None or sent.outcome is Outcome.ACCEPTED, sent
        match each.known:
            case "working" | "other broker id":
                assert sent is not None
                desk.record_submissions([sent])
            case "unknown":
                desk.record_submissions([Submission(id=order.id, outcome=Outcome.UNKNOWN)])
            case "given up":
                desk.record_submissions([Submission(id=order.id, outcome=Outcome.NOT_SENT)])
            case "never sent":
                self.db.execute(
                    "update orders set state = 'working', broker_order_id = %s, broker_status = 'new',"
                    " accepted_at = now() where id = %s",
                    [str(uuid4()), order.id],
                )
        if each.known == "other broker id":
            self.db.execute("update orders set broker_order_id = %s where id = %s", [str(uuid4()), order.id])
        self._count(f"known: {each.known}")

    def _act(self, act: str, order: Order) -> None:
        found = self.http.get("/v2/orders:by_client_order_id", params={"client_order_id": order.id})
        if found.status_code == 404 or act == "nothing":
            return
        body = found.json()
        legs = [leg for leg in body["legs"] or [] if leg["status"] in ("new", "held")]
        done = False
        match act:
            case "cancel":
                done = self.http.delete(f"/v2/orders/{body['id']}").is_success
            case "move" | "move twice" | "enlarge":
                limit, qty = Decimal(body["limit_price"]) - 1, int(body["qty"]) + (3 if act == "enlarge" else 0)
                done = self._patch(body["id"], limit_price=str(limit), qty=str(qty), twice=act == "move twice")
            case "cancel a leg" if legs and body["status"] == "filled":
                done = self.http.delete(f"/v2/orders/{legs[0]['id']}").is_success
            case "move a leg" if legs and body["status"] == "filled":
                stop = next((leg for leg in legs if leg["stop_price"]), None)
                done = stop is not None and self._patch(stop["id"], stop_price=str(Decimal(stop["stop_price"]) - 1))
            case "suspend":
                done = self._sim(f"orders/{body['id']}/status", status="suspended")
        self._count(f"{act}: {'done' if done else 'refused'}")

    def _patch(self, order_id: str, *, twice: bool = False, **body: str) -> bool:
        answer = self.http.patch(f"/v2/orders/{order_id}", json=body)
        if answer.is_success and twice:
            self.http.patch(f"/v2/orders/{answer.json()['id']}", json=body).raise_for_status()
        return answer.is_success

    def _by_hand(self, each: Divergence) -> None:
        """Trade beside the engine: nothing of this is ours, and the account's policy is to lock."""
        limit = str((self.prices[each.symbol] * Decimal("0.5")).quantize(Decimal("0.01")))
        order = {
            "symbol": each.symbol,
            "qty": str(each.qty),
            "side": "buy",
            "type": "limit",
            "time_in_force": "gtc",
            "limit_price": limit,
        }
        if each.kind == "trade by hand":
            done = self._sim("trade", symbol=each.symbol, side="buy", qty=str(each.qty))
            if done:
                self.by_hand[each.symbol] = self.by_hand.get(each.symbol, Decimal(0)) + each.qty
                self.foreign.add(done["id"])
        else:
            if each.kind == "bracket by hand":
                order |= {"order_class": "oto", "stop_loss": {"stop_price": "1"}}
            answer = self.http.post("/v2/orders", json=order)
            done = answer.is_success
            if done:
                self.foreign.add(answer.json()["id"])
        self._count(f"{each.kind}: {'done' if done else 'refused'}")

    def _sim(self, path: str, **body: Any) -> Any:
        headers = self.stepped.exchange.admin_headers
        answer = httpx.post(
            f"{self.stepped.exchange.url}/_sim/{path}", json=body, headers=headers, timeout=10, trust_env=False
        )
        return answer.json() if answer.is_success else False

    def _count(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1


def impatient(stepped: SteppedEngine) -> None:
    """Take the quiet windows away: in these tests nothing is in flight."""
    stepped.engine.settlement._quiet_s = 0
    stepped.engine.reconciler._quiet_s = 0
