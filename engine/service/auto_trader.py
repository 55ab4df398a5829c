"""Auto trader: bars in, entries and exits asked for. It decides nothing that the gate decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import structlog

from engine.domain.book import OpenTrade, Profile, Snapshot
from engine.domain.broker_types import MarketTime, Quote, Side
from engine.domain.errors import ConfigError
from engine.domain.requests import Answer, EntryRequest, Signal, entry_id
from engine.domain.risk_config import PortfolioRiskConfig
from engine.domain.sizing import SizingRules, plan_entry
from engine.domain.strategies import build_strategy
from engine.ports.authority import OrderDesk
from engine.ports.market_data import MarketData
from engine.service import metrics
from engine.service.bar_history import BarHistory
from engine.service.crash_points import MID_TICK, crash_point
from engine.service.exit_desk import Exit, ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.views import Book

Wish = tuple[Profile, str, Signal]
log = structlog.get_logger(__name__)


class AutoTrader:
    """One tick judges every new bar of every active profile, once."""

    def __init__(
        self,
        market_data: MarketData,
        desk: OrderDesk,
        exits: ExitDesk,
        history: BarHistory,
        book: Book,
        health: HealthTracker,
    ) -> None:
        self._market_data = market_data
        self._desk = desk
        self._exits = exits
        self._history = history
        self._book = book
        self._health = health
        self._judged: dict[tuple[str, str], datetime] = {}

    def refresh(self, market: MarketTime) -> None:
        """Fetch the bars that were completed since the last call."""
        symbols: dict[str, set[str]] = defaultdict(set)
        for profile in _active(self._book.read_aged()):
            symbols[profile.timeframe] |= set(profile.symbols)
        for timeframe, wanted in symbols.items():
            self._history.refresh(wanted, timeframe, market)

    def tick(self, market: MarketTime) -> int:
        """Judge new bars, ask for what follows from them; return how many requests were made."""
        self.refresh(market)
        snapshot = self._book.read()
        profiles = _active(snapshot)
        wishes = [wish for profile in profiles for wish in self._judge(profile)]
        closings = [exit for wish in wishes if wish[2].action == "exit" for exit in _closings(wish, snapshot)]
        entries = self._entries([w for w in wishes if _may_enter(w, snapshot)], snapshot, market)
        self._exits.request(closings, market.now)
        self.handle_signals(entries)
        self._judged.update({(p.id, symbol): signal.bar_at for p, symbol, signal in wishes})
        return len(closings) + len(entries)

    def handle_signal(self, request: EntryRequest) -> Answer | None:
        """Put one entry to the gate; None when trading is paused and it was only put on record."""
        return self.handle_signals([request])[0]

    def handle_signals(self, requests: Sequence[EntryRequest]) -> list[Answer | None]:
        """Put entries to the gate in one call.

        While paused they go there too, so that each denial is recorded where people look for it;
        nothing becomes of them, and the answer is None.
        """
        if not requests:
            return []
        answers = self._desk.request_entries(requests)
        self._book.outdate()
        crash_point(MID_TICK)
        return [self._heed_pause(*pair) for pair in zip(requests, answers, strict=True)]

    def _heed_pause(self, request: EntryRequest, answer: Answer) -> Answer | None:
        paused = self._health.is_paused(request.profile_id, request.symbol)
        metrics.GATE_ANSWERS.labels(answer.code or answer.state).inc()
        log.info(
            "entry put to the gate",
            order_id=request.id,
            symbol=request.symbol,
            why=request.signal.reason,
            state=answer.state,
            code=answer.code,
            paused=paused,
        )
        return None if paused else answer

    def _judge(self, profile: Profile) -> list[Wish]:
        """Judge each symbol's newest bar unless that was done; holds are remembered at once."""
        try:
            strategy = build_strategy(profile.strategy, profile.params)
        except ConfigError as error:
            log.error("profile cannot be traded", profile=profile.name, error=str(error))
            return []
        wishes = []
        for symbol in profile.symbols:
            bar = self._history.last_bar(symbol, profile.timeframe)
            if bar is None or self._judged.get((profile.id, symbol)) == bar.at:
                continue
            verdict = strategy.judge(self._history.closes(symbol, profile.timeframe))
            if verdict.action == "hold":
                self._judged[profile.id, symbol] = bar.at
                continue
            signal = Signal(
                strategy=strategy.name,
                action=verdict.action,
                strength=verdict.strength,
                bar_at=bar.at,
                reason=verdict.reason,
                detail={"reason": verdict.reason, "close": str(bar.close)},
            )
            wishes.append((profile, symbol, signal))
        return wishes

    def _entries(self, wishes: Sequence[Wish], snapshot: Snapshot, market: MarketTime) -> list[EntryRequest]:
        if not wishes:
            return []
        limits = PortfolioRiskConfig.from_db_json(snapshot.risk_config).order_limits
        quotes = self._market_data.quotes({symbol for _, symbol, _ in wishes})
        requests = []
        for profile, symbol, signal in wishes:
            quote = quotes.get(symbol)
            if quote is None:
                log.warning("no quote, no entry", symbol=symbol)
                continue
            request = _entry(
                profile, quote, signal, market, qty_max=limits.qty_max, notional_max_usd=limits.notional_max_usd
            )
            if request is not None:
                requests.append(request)
        return requests


def _active(snapshot: Snapshot) -> list[Profile]:
    return [profile for profile in snapshot.profiles if profile.active]


def _may_enter(wish: Wish, snapshot: Snapshot) -> bool:
    """One position per profile and symbol: what is held is not added to."""
    profile, symbol, signal = wish
    return signal.action == "enter" and (profile.id, symbol) not in snapshot.held


def _closings(wish: Wish, snapshot: Snapshot) -> list[Exit]:
    profile, symbol, signal = wish
    trades: list[OpenTrade] = snapshot.held.get((profile.id, symbol), [])
    return [
        Exit(trade_id=trade.trade_id, exit_reason="signal", reason=signal.reason)
        for trade in trades
        if not trade.exit_working
    ]


def _entry(
    profile: Profile,
    quote: Quote,
    signal: Signal,
    market: MarketTime,
    *,
    qty_max: Decimal | None,
    notional_max_usd: Decimal | None,
) -> EntryRequest | None:
    try:
        rules = SizingRules.from_params(profile.params)
    except ConfigError as error:
        log.error("profile cannot be sized", profile=profile.name, error=str(error))
        return None
    plan = plan_entry(
        rules, capital_usd=profile.capital_usd, ask=quote.ask, qty_max=qty_max, notional_max_usd=notional_max_usd
    )
    if plan is None:
        log.info("not even one share fits", profile=profile.name, symbol=quote.symbol)
        return None
    return EntryRequest(
        id=entry_id(profile_id=profile.id, symbol=quote.symbol, side=Side.BUY, bar_at=signal.bar_at),
        profile_id=profile.id,
        symbol=quote.symbol,
        side=Side.BUY,
        qty=plan.qty,
        limit_price=plan.limit_price,
        reference_price=quote.ask,
        take_profit_price=plan.take_profit_price,
        stop_loss_price=plan.stop_loss_price,
        market_at=market.now,
        signal=signal,
        quote_at=quote.at,
        market_open=market.is_open,
    )
