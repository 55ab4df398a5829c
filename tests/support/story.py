"""A short history of trading, told through the same functions that the engine uses.

Prices are real daily bars; entries are taken in turn, and each ends at its stop, its target or by a
signal, whichever the bars reach first. Nothing is written past the authority.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from bokeh_sampledata import stocks
from supabase import Client

from db import commands
from db.models import Answer
from engine import __version__

SYMBOLS = {"AAPL": stocks.AAPL, "IBM": stocks.IBM, "GOOG": stocks.GOOG}  # what every demo profile trades
FIRST_SESSION = "2007-01-03"
CLOSE = time(20, 0)
HOLDING_SESSIONS = 12
DENIED_EVERY = 9


@dataclass
class Bracket:
    """An entry at the broker with its two legs."""

    id: UUID
    symbol: str
    qty: str
    stop: Decimal
    target: Decimal
    opened_on: int
    price: Decimal
    broker_id: str = field(default_factory=lambda: str(uuid4()))
    stop_id: str = field(default_factory=lambda: str(uuid4()))
    target_id: str = field(default_factory=lambda: str(uuid4()))

    def says(self, status: str, at: str, *, filled: str = "0", price: Decimal | None = None,
             leg: str | None = None, leg_price: Decimal | None = None) -> dict[str, Any]:  # fmt: skip
        """Return the broker's word on the entry; `leg` names the one that was filled."""
        return {
            "client_order_id": str(self.id), "broker_order_id": self.broker_id, "status": status,
            "symbol": self.symbol, "side": "buy", "qty": self.qty, "type": "limit", "filled_qty": filled,
            "filled_avg_price": str(price) if price else None, "updated_at": at,
            "legs": [self._leg("limit", at, leg, leg_price), self._leg("stop", at, leg, leg_price)],
        }  # fmt: skip

    def _leg(self, kind: str, at: str, filled_leg: str | None, price: Decimal | None) -> dict[str, Any]:
        is_filled = filled_leg == kind
        status = "filled" if is_filled else "canceled" if filled_leg else "held" if kind == "stop" else "new"
        return {
            "client_order_id": str(uuid4()), "broker_order_id": self.target_id if kind == "limit" else self.stop_id,
            "status": status, "symbol": self.symbol, "side": "sell", "qty": self.qty, "type": kind,
            "limit_price": str(self.target) if kind == "limit" else None,
            "stop_price": str(self.stop) if kind == "stop" else None,
            "filled_qty": self.qty if is_filled else "0", "filled_avg_price": str(price) if is_filled else None,
            "updated_at": at,
        }  # fmt: skip


class Story:
    """Writes sessions one after another, holding the lease like an engine."""

    def __init__(self, client: Client, profiles: dict[str, UUID]) -> None:
        self._client = client
        self._profiles = sorted(profiles.items())
        lease = commands.acquire_lease(client, shard="main", holder=f"story-{uuid4()}", ttl_s=600)
        assert lease.token is not None
        self._lease: dict[str, Any] = {"shard": "main", "token": lease.token}
        self._held: list[Bracket] = []
        self._session = 0
        self._first = {symbol: list(data["date"]).index(FIRST_SESSION) for symbol, data in SYMBOLS.items()}

    def tell(self, sessions: int) -> None:
        """Write so many sessions: bars, marks, equity, exits that were reached, new entries."""
        for _ in range(sessions):
            self._exit_what_was_reached()
            self._enter()
            self._mark()
            self._session += 1
        self._keep_bars()
        self.beat()

    def beat(self) -> None:
        """Leave a sign of life as a healthy engine does, after comparing the books with the broker's."""
        commands.reconcile_apply(self._client, **self._lease, run={"kind": "full"}, findings=[])
        self.report(broker_blocked=False, data_age_s=1, market_open=True)

    def report(self, **detail: Any) -> None:
        """Leave a sign of life with these details, such as a broker account that is blocked."""
        commands.heartbeat(
            self._client, **self._lease, version=__version__, market_at=self._at(), jobs={}, detail=detail, ttl_s=600
        )

    def lock_out(self, ticker: str, reason: str) -> None:
        """Keep entries out of a symbol for a headline, as the engine does."""
        commands.engine_lockout(self._client, **self._lease, ticker=ticker, reason=reason, duration_minutes=30,
                                lockout_type="news_shock")  # fmt: skip

    def ask(self, profile: str, symbol: str, *, qty: str = "10") -> Answer:
        """Put one entry to the gate at the present price."""
        return self._request(dict(self._profiles)[profile], symbol, qty)[1]

    def _enter(self) -> None:
        _, profile_id = self._profiles[self._session % len(self._profiles)]
        symbol = list(SYMBOLS)[self._session // len(self._profiles) % len(SYMBOLS)]
        qty = "20000" if self._session % DENIED_EVERY == 4 else str(max(int(5000 / self._price(symbol, "close")), 1))
        bracket, answer = self._request(profile_id, symbol, qty)
        if answer.state != "ready":
            return
        commands.claim_orders(self._client, **self._lease)
        accepted = {"id": str(bracket.id), "outcome": "accepted", "order": bracket.says("new", self._iso())}
        commands.record_submission(self._client, **self._lease, results=[accepted])
        self._update(bracket.says("filled", self._iso(), filled=qty, price=bracket.price))
        self._held.append(bracket)

    def _request(self, profile_id: UUID, symbol: str, qty: str) -> tuple[Bracket, Answer]:
        price = self._price(symbol, "close")
        bracket = Bracket(uuid4(), symbol, qty, _cents(price * Decimal("0.95")), _cents(price * Decimal("1.08")),
                          self._session, price)  # fmt: skip
        request = {
            "id": str(bracket.id), "profile_id": str(profile_id), "symbol": symbol, "side": "buy", "qty": qty,
            "limit_price": str(_cents(price * Decimal("1.002"))), "reference_price": str(price),
            "stop_loss_price": str(bracket.stop), "take_profit_price": str(bracket.target), "market_at": self._iso(),
            "quote_at": self._iso(), "market_open": False,
            "signal": {"strategy": "story", "strength": "1", "bar_at": self._iso(), "detail": {}},
        }  # fmt: skip
        return bracket, commands.request_entries(self._client, **self._lease, requests=[request])[0]

    def _exit_what_was_reached(self) -> None:
        for held in list(self._held):
            low, high = self._price(held.symbol, "low"), self._price(held.symbol, "high")
            if low <= held.stop:
                self._close(held, "stop", held.stop)
            elif high >= held.target:
                self._close(held, "limit", held.target)
            elif self._session - held.opened_on >= HOLDING_SESSIONS:
                self._close(held, "limit", self._price(held.symbol, "close"))

    def _close(self, held: Bracket, leg: str, price: Decimal) -> None:
        self._update(held.says("filled", self._iso(), filled=held.qty, price=held.price, leg=leg,
                               leg_price=price))  # fmt: skip
        self._held.remove(held)

    def _update(self, order: dict[str, Any]) -> None:
        commands.record_order_updates(self._client, **self._lease, updates=[order])

    def _mark(self) -> None:
        marks = [
            {"trade_id": str(held.id), "mark_price": str(self._price(held.symbol, "close")),
             "stop_price": str(held.stop), "take_profit_price": str(held.target), "protected_qty": held.qty,
             "market_at": self._iso()}
            for held in self._held
        ]  # fmt: skip
        if marks:
            commands.record_marks(self._client, **self._lease, marks=marks)
        commands.record_equity(self._client, **self._lease, market_at=self._at(), session_date=self._at().date())

    def _keep_bars(self) -> None:
        fields = ("open", "high", "low", "close", "volume")
        bars = [
            {"symbol": symbol, "timeframe": "1Day", "bar_at": f"{data['date'][i]}T05:00:00+00:00"}
            | {name: str(data[name][i]) for name in fields}
            for symbol, data in SYMBOLS.items()
            for i in range(self._first[symbol], self._first[symbol] + self._session)
        ]
        commands.record_bars(self._client, **self._lease, bars=bars)

    def _price(self, symbol: str, name: str) -> Decimal:
        return Decimal(str(SYMBOLS[symbol][name][self._first[symbol] + self._session]))

    def _at(self) -> datetime:
        day = date.fromisoformat(SYMBOLS["IBM"]["date"][self._first["IBM"] + self._session])
        return datetime.combine(day, CLOSE, UTC)

    def _iso(self) -> str:
        return self._at().isoformat()


def _cents(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.01"))
