"""Auto trader: bars in, entries and exits asked for. It decides nothing that the gate decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import structlog
from pydantic import ValidationError

from engine.domain.book import Order, OrderState, Profile, Snapshot
from engine.domain.broker_types import MarketTime, Quote, Side
from engine.domain.errors import AuthorityUnavailable, ConfigError
from engine.domain.layers import Ruling, daily_symbols, switched_on
from engine.domain.layers.blocked import BlockedEntry
from engine.domain.requests import Answer, EntryRequest, entry_id
from engine.domain.risk_config import PortfolioRiskConfig
from engine.domain.sizing import SizingRules, plan_entry
from engine.ports.authority import OrderDesk
from engine.ports.market_data import MarketData
from engine.ports.signals import SignalLog
from engine.service import metrics
from engine.service.bar_history import BarHistory
from engine.service.crash_points import MID_TICK, crash_point
from engine.service.exit_desk import ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.judgement import Judgement, Wish
from engine.service.signal_exits import SignalExits
from engine.service.trade_executor import TradeExecutor
from engine.service.views import Book

LAYERS_TIMEFRAME: Final = "1Day"
ENTRIES_PER_CALL: Final = 500
log = structlog.get_logger(__name__)


class AutoTrader:
    """One tick judges every new bar of every active profile, once."""

    def __init__(
        self,
        market_data: MarketData,
        desk: OrderDesk,
        signals: SignalLog,
        exits: ExitDesk,
        history: BarHistory,
        judgement: Judgement,
        book: Book,
        health: HealthTracker,
        executor: TradeExecutor,
        *,
        without_authority: Callable[[], Snapshot | None] | None = None,
    ) -> None:
        self._market_data = market_data
        self._desk = desk
        self._signals = signals
        self._exits = exits
        self._history = history
        self._judgement = judgement
        self._book = book
        self._health = health
        self._executor = executor
        self._without_authority = without_authority or (lambda: book.last)
        self._signal_exits = SignalExits(history)

    def refresh(self, market: MarketTime) -> None:
        """Fetch the bars that were completed since the last call, those that the layers look at too."""
        try:
            snapshot: Snapshot | None = self._book.read_aged()
        except AuthorityUnavailable:
            snapshot = self._book.last
        if snapshot is None:
            return
        symbols: dict[str, set[str]] = defaultdict(set)
        for profile in _active(snapshot):
            symbols[profile.timeframe] |= set(profile.symbols)
        symbols[LAYERS_TIMEFRAME] |= _looked_at_by_layers(snapshot)
        for timeframe, wanted in symbols.items():
            if wanted:
                self._history.refresh(wanted, timeframe, market)

    def tick(self, market: MarketTime, *, may_enter: bool = True) -> int:
        """Judge new bars, ask for what follows from them and send what passes; return how many requests were made.

        While the authority is away, or nothing may be entered for another reason, exits go on from what is
        known; entries wait and are judged again after.
        """
        self.refresh(market)
        snapshot, is_away = self._read_book()
        if snapshot is None:
            return 0
        wishes = self._judgement.wishes(_active(snapshot), snapshot)
        to_leave, to_enter = _sorted(wishes)
        closings = self._signal_exits.due(to_leave, snapshot, market)
        self._exits.request(closings, market.now)
        self._judgement.remember(to_leave)
        if closings and not is_away:
            self._executor.submit_ready()  # before anything is entered
        if is_away or not may_enter:
            return len(closings)
        entries = self._entries(to_enter, snapshot, market)
        self.handle_signals(entries)
        self._judgement.remember(to_enter)
        return len(closings) + len(entries)

    def handle_signal(self, request: EntryRequest) -> Answer | None:
        """Put one entry to the gate, send it if it passes; None when trading is paused: it was only put on record."""
        return self.handle_signals([request])[0]

    def handle_signals(self, requests: Sequence[EntryRequest]) -> list[Answer | None]:
        """Put entries to the gate, hundreds in one call, and send those that pass.

        While paused they go there too, so that each denial is recorded where people look for it;
        nothing becomes of them, and the answer is None.
        """
        calls = [requests[at : at + ENTRIES_PER_CALL] for at in range(0, len(requests), ENTRIES_PER_CALL)]
        answers = [answer for asked in calls[:-1] for answer in self._ask(asked)]

        def ask_last(permits: int) -> list[Order]:  # with the last call, so that no permit waits for another one
            last = self._ask(calls[-1], permits)
            answers.extend(last)
            return [answer.permit for answer in last if answer.permit]

        if calls:
            self._executor.submit_asked(ask_last)
        if any(answer.state is OrderState.READY for answer in answers):
            self._executor.submit_ready()
        return [self._heed_pause(*pair) for pair in zip(requests, answers, strict=True)]

    def _ask(self, requests: Sequence[EntryRequest], permits: int = 0) -> list[Answer]:
        with metrics.GATE_CALL.time():
            answers = self._desk.request_entries(requests, permits=permits)
        self._book.outdate()
        crash_point(MID_TICK)
        return answers

    def _read_book(self) -> tuple[Snapshot | None, bool]:
        """Return our books, and whether the authority is away."""
        try:
            return self._book.read(), False
        except AuthorityUnavailable:
            return self._without_authority(), True

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

    def _entries(self, wishes: Sequence[Wish], snapshot: Snapshot, market: MarketTime) -> list[EntryRequest]:
        if not wishes:
            return []
        config = PortfolioRiskConfig.from_db_json(snapshot.risk_config)
        passed = self._through_layers(wishes, config, snapshot, market)
        quotes = self._market_data.quotes({wish.symbol for wish, _ in passed}) if passed else {}
        limits = config.order_limits
        requests = []
        for wish, rulings in passed:
            quote = quotes.get(wish.symbol)
            if quote is None:
                log.warning("no quote, no entry", symbol=wish.symbol)
                continue
            request = _entry(
                wish, rulings, quote, market, qty_max=limits.qty_max, notional_max_usd=limits.notional_max_usd
            )
            if request is not None:
                requests.append(request)
        return requests

    def _through_layers(
        self, wishes: Sequence[Wish], config: PortfolioRiskConfig, snapshot: Snapshot, market: MarketTime
    ) -> list[tuple[Wish, list[Ruling]]]:
        """Return the entries that every layer lets pass; the others are put on record."""
        layers = switched_on(config, self._history.bars(LAYERS_TIMEFRAME), _traded(snapshot))
        passed, blocked = [], []
        for wish in wishes:
            rulings = [layer.rule(wish.symbol, wish.position_side) for layer in layers]
            against = next((ruling for ruling in rulings if not ruling.passed), None)
            if against is None:
                passed.append((wish, rulings))
            else:
                blocked.append(_blocked(wish, rulings, against, market))
        for first in range(0, len(blocked), ENTRIES_PER_CALL):
            self._signals.record_blocked(blocked[first : first + ENTRIES_PER_CALL])
        return passed


def _active(snapshot: Snapshot) -> list[Profile]:
    return [profile for profile in snapshot.profiles if profile.active]


def _traded(snapshot: Snapshot) -> set[str]:
    return {symbol for profile in _active(snapshot) for symbol in profile.symbols}


def _sorted(wishes: Sequence[Wish]) -> tuple[list[Wish], list[Wish]]:
    """Return the wishes to leave, and those to enter."""
    return [wish for wish in wishes if not wish.is_entry], [wish for wish in wishes if wish.is_entry]


def _looked_at_by_layers(snapshot: Snapshot) -> set[str]:
    try:
        config = PortfolioRiskConfig.from_db_json(snapshot.risk_config)
    except ValidationError as error:
        log.error("risk configuration cannot be read, no entry will pass", error=str(error))
        return set()
    return daily_symbols(config, _traded(snapshot))


def _blocked(wish: Wish, rulings: Sequence[Ruling], against: Ruling, market: MarketTime) -> BlockedEntry:
    metrics.LAYER_BLOCKS.labels(against.layer).inc()
    log.info("entry blocked by a layer", symbol=wish.symbol, layer=against.layer, why=against.reason)
    return BlockedEntry(
        profile_id=wish.profile.id,
        symbol=wish.symbol,
        side=wish.entry_side,
        signal=wish.signal(rulings),
        blocked_by=against.layer,
        market_at=market.now,
    )


def _entry(
    wish: Wish,
    rulings: Sequence[Ruling],
    quote: Quote,
    market: MarketTime,
    *,
    qty_max: Decimal | None,
    notional_max_usd: Decimal | None,
) -> EntryRequest | None:
    profile, side = wish.profile, wish.entry_side
    price = quote.ask if side is Side.BUY else quote.bid
    try:
        rules = SizingRules.from_params(profile.params)
    except ConfigError as error:
        log.error("profile cannot be sized", profile=profile.name, error=str(error))
        return None
    plan = plan_entry(
        rules,
        side=side,
        capital_usd=profile.capital_usd,
        price=price,
        qty_max=qty_max,
        notional_max_usd=notional_max_usd,
    )
    if plan is None:
        log.info("not even one share fits", profile=profile.name, symbol=quote.symbol)
        return None
    return EntryRequest(
        id=entry_id(profile_id=profile.id, symbol=quote.symbol, side=side, bar_at=wish.bar.at),
        profile_id=profile.id,
        symbol=quote.symbol,
        side=side,
        qty=plan.qty,
        limit_price=plan.limit_price,
        reference_price=price,
        take_profit_price=plan.take_profit_price,
        stop_loss_price=plan.stop_loss_price,
        market_at=market.now,
        signal=wish.signal(rulings),
        quote_at=quote.at,
        market_open=market.is_open,
    )
