"""Position monitor: marks every position, and sees to it that none stays without protection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import structlog
from pydantic import ValidationError

from engine.domain.book import OpenTrade, Order, Profile, Purpose, Snapshot
from engine.domain.broker_types import MarketTime, Quote
from engine.domain.errors import AuthorityUnavailable, BrokerRefused, BrokerUnavailable, ConfigError
from engine.domain.exit_rules import ExitRules
from engine.domain.exits import Care, Look, Watch, fresh, is_fully_at_broker, watch_trade
from engine.domain.risk_config import PortfolioRiskConfig
from engine.ports.authority import Mark, StateStore
from engine.ports.clock import Clock
from engine.ports.market_data import MarketData
from engine.service.exit_desk import Exit, ExitDesk
from engine.service.views import Book

# A resting stop that should have acted gets this many looks before the engine closes the position.
SUSPECT_LOOKS_MAX: Final = 3
QUOTE_AGE_MAX_S: Final = Decimal(300)  # where the risk configuration sets none
log = structlog.get_logger(__name__)


class PositionMonitor:
    """Exits are never gated by pause or approval."""

    def __init__(
        self,
        market_data: MarketData,
        store: StateStore,
        exits: ExitDesk,
        book: Book,
        clock: Clock,
        *,
        without_authority: Callable[[], Snapshot | None] | None = None,
    ) -> None:
        self._market_data = market_data
        self._store = store
        self._exits = exits
        self._book = book
        self._clock = clock
        self._without_authority = without_authority or (lambda: book.last)
        self._suspicions: Counter[str] = Counter()
        self._partial_since: dict[str, int | float] = {}
        self._reached: dict[str, Decimal] = {}
        self._rules: dict[str, tuple[Mapping[str, Any], ExitRules]] = {}

    def run(self, market: MarketTime) -> int:
        """Look at every open trade once; return how many exits are under way because of it."""
        watches, under_way = self._care(self._read_book(), market)
        marks = [mark for watch in watches if (mark := self._mark(watch, market)) is not None]
        self._record(marks)
        return under_way

    def run_urgent(self, market: MarketTime) -> int:
        """As `run`, but only when some trade is not fully looked after by the broker, and without other marks."""
        snapshot = self._read_book()
        if snapshot is None or all(self._is_at_broker(trade, snapshot) for trade in snapshot.trades):
            return 0
        watches, under_way = self._care(snapshot, market)
        trailed = [mark for watch in watches if self._has_moved(watch) and (mark := self._mark(watch, market))]
        self._record(trailed)
        return under_way

    def _care(self, snapshot: Snapshot | None, market: MarketTime) -> tuple[list[Watch], int]:
        watches = self._watch(snapshot, market)
        wishes = [wish for watch in watches if (wish := self._wish(watch)) is not None]
        under_way = self._exits.request(wishes, market.now)
        self._exits.cancel([(order, watch.reason) for watch in watches if (order := _to_cancel(watch, snapshot))])
        return watches, under_way

    def _record(self, marks: Sequence[Mark]) -> None:
        if not marks:
            return
        try:
            self._store.record_marks(marks)
        except AuthorityUnavailable:  # marks are for people to see; how far a stop has trailed is kept here
            self._reached |= {mark.trade_id: mark.stop_price for mark in marks if mark.stop_price is not None}
        else:
            for mark in marks:
                self._reached.pop(mark.trade_id, None)

    def _read_book(self) -> Snapshot | None:
        try:
            return self._book.read()
        except AuthorityUnavailable:
            return self._without_authority()  # exits fail open: go on from what was known last

    def _watch(self, snapshot: Snapshot | None, market: MarketTime) -> list[Watch]:
        if snapshot is None or not snapshot.trades:
            self._partial_since.clear()
            return []
        quotes = self._quotes({trade.symbol for trade in snapshot.trades})
        age_max_s = _quote_age_max_s(snapshot)
        self._note_partials(snapshot)
        return [
            watch_trade(trade, self._look(trade, snapshot, market, fresh(quotes.get(trade.symbol), market, age_max_s)))
            for trade in map(self._as_reached, snapshot.trades)
        ]

    def _as_reached(self, trade: OpenTrade) -> OpenTrade:
        """Return a trade with the stop that it had reached when the authority could not be told."""
        reached = self._reached.get(trade.trade_id)
        return trade if reached is None else replace(trade, stop_price=reached)

    def _quotes(self, symbols: Iterable[str]) -> Mapping[str, Quote]:
        """Return the latest quotes; none when there is no market data: protection is repaired all the same."""
        try:
            return self._market_data.quotes(symbols)
        except (BrokerUnavailable, BrokerRefused) as error:
            log.warning("no quotes, positions are judged without prices", error=str(error))
            return {}

    def _look(self, trade: OpenTrade, snapshot: Snapshot, market: MarketTime, quote: Quote | None) -> Look:
        profile = snapshot.profiles_by_id.get(trade.profile_id)
        since = self._partial_since.get(trade.trade_id)
        return Look(
            market=market,
            quote=quote,
            rules=self._rules_of(profile),
            timeframe="1Day" if profile is None else profile.timeframe,
            entry=snapshot.open_entries.get(trade.trade_id),
            entry_seen_s=0 if since is None else self._clock.monotonic_s() - since,
        )

    def _note_partials(self, snapshot: Snapshot) -> None:
        """Remember since when each entry has been seen partly filled."""
        now = self._clock.monotonic_s()
        partial = [trade.trade_id for trade in snapshot.trades if trade.trade_id in snapshot.open_entries]
        self._partial_since = {trade_id: self._partial_since.get(trade_id, now) for trade_id in partial}

    def _is_at_broker(self, trade: OpenTrade, snapshot: Snapshot) -> bool:
        return is_fully_at_broker(trade, self._rules_of(snapshot.profiles_by_id.get(trade.profile_id)))

    def _rules_of(self, profile: Profile | None) -> ExitRules:
        """Return a profile's exit rules; without any, its trades keep the stops that were planned for them."""
        if profile is None:
            return ExitRules()
        params, rules = self._rules.get(profile.id, (None, None))
        if rules is None or params != profile.params:
            try:
                rules = ExitRules.from_params(profile.params)
            except ConfigError as error:
                log.error("profile's exit rules do not apply", profile=profile.name, error=str(error))
                rules = ExitRules()
            self._rules[profile.id] = (profile.params, rules)
        return rules

    def _wish(self, watch: Watch) -> Exit | None:
        trade = watch.trade
        if watch.care is not Care.SUSPECT:
            self._suspicions.pop(trade.trade_id, None)
        match watch.care:
            case Care.CLOSE:
                return _close(watch)
            case Care.SUSPECT:
                self._suspicions[trade.trade_id] += 1
                return _close(watch) if self._suspicions[trade.trade_id] >= SUSPECT_LOOKS_MAX else None
            case Care.PROTECT:
                return _stop(watch, qty=watch.uncovered_qty)
            case Care.MOVE_STOP if watch.leg is not None:
                return _stop(watch, replaces=watch.leg.broker_order_id)
        return None

    def _mark(self, watch: Watch, market: MarketTime) -> Mark | None:
        """Return what to note of a position; without a price of now, its protection beside the last one."""
        known = watch.mark_price is not None
        price, at = (watch.mark_price, market.now) if known else (watch.trade.mark_price, watch.trade.marked_at)
        if price is None or at is None:
            return None
        return Mark(
            trade_id=watch.trade.trade_id,
            mark_price=price,
            protected_qty=watch.protected_qty,
            market_at=at,
            stop_price=watch.stop_price if self._has_moved(watch) else None,
        )

    def _has_moved(self, watch: Watch) -> bool:
        """Tell whether the stop is elsewhere than the authority knows."""
        return watch.stop_price != watch.trade.stop_price or watch.trade.trade_id in self._reached


def _close(watch: Watch) -> Exit:
    return Exit(trade_id=watch.trade.trade_id, exit_reason=watch.exit_reason, reason=watch.reason)


def _stop(watch: Watch, *, qty: Decimal | None = None, replaces: str | None = None) -> Exit:
    return Exit(
        trade_id=watch.trade.trade_id,
        purpose=Purpose.STOP_LOSS,
        exit_reason=watch.exit_reason,
        reason=watch.reason,
        qty=qty,
        stop_price=watch.stop_price,
        replaces_broker_id=replaces,
    )


def _to_cancel(watch: Watch, snapshot: Snapshot | None) -> Order | None:
    match watch.care:
        case Care.DROP:
            return watch.leg
        case Care.CANCEL_ENTRY if snapshot is not None:
            return snapshot.open_entries.get(watch.trade.trade_id)
    return None


def _quote_age_max_s(snapshot: Snapshot) -> Decimal:
    try:
        limits = PortfolioRiskConfig.from_db_json(snapshot.risk_config).order_limits
    except ValidationError:  # a configuration that cannot be read must not keep positions from being closed
        return QUOTE_AGE_MAX_S
    return limits.quote_age_max_s or QUOTE_AGE_MAX_S
