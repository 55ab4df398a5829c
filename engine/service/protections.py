"""Protections: lock symbols out for what the system saw, so that no entries are opened there for a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from engine.domain.book import Snapshot
from engine.domain.broker_types import NEW_YORK, Bar, MarketTime
from engine.domain.errors import Refused
from engine.domain.exits import fresh
from engine.domain.news import MoveLimits, Shock, headline_shocks, judge_move
from engine.domain.protections import (
    LockoutPlan,
    looks_back_to,
    plan_break_lockouts,
    plan_news_lockouts,
    plan_trade_lockouts,
)
from engine.domain.risk_config import NewsLockout, PortfolioRiskConfig
from engine.ports.market_data import MarketData
from engine.ports.protections import Guards
from engine.service.views import Book

# Articles appear with a delay and are corrected: look back a little each time. Repeats lock nothing twice.
NEWS_OVERLAP: Final = timedelta(minutes=15)
DAY_LOOKS_MAX: Final = 10  # for today's first bar; a symbol that is not traded has none
QUOTE_AGE_MAX_S: Final = Decimal(300)
CAUSES_KEPT: Final = 10_000
log = structlog.get_logger(__name__)


class Protections:
    """The database sees to it that a cause locks once; what is remembered here only spares calls."""

    def __init__(self, market_data: MarketData, guards: Guards, book: Book) -> None:
        self._market_data = market_data
        self._guards = guards
        self._book = book
        self._told: dict[tuple[str, str, str | None, str], None] = {}
        self._open: frozenset[str] | None = None
        self._news_until: datetime | None = None
        self._days: dict[str, list[Bar]] = {}
        self._days_of: tuple[date, frozenset[str]] | None = None
        self._day_looks = 0

    def run(self, market: MarketTime) -> int:
        """Look at closed trades, breaks, headlines and moves once; return how many lockouts were asked for."""
        snapshot = self._book.read()
        config = PortfolioRiskConfig.from_db_json(snapshot.risk_config)
        rules = config.news_lockout
        asked = self._guard_books(snapshot, config, market)
        symbols = _symbols(snapshot) if rules.enabled else frozenset()
        if symbols and rules.headlines:
            asked += self._lock(plan_news_lockouts(self._headlines(symbols, rules, market), rules))
            self._news_until = market.now  # only now: what could not be locked out is read again
        if symbols and rules.moves and market.is_open:
            asked += self._lock(plan_news_lockouts(self._moves(symbols, rules, market), rules))
        return asked

    def heed_exits(self, market: MarketTime) -> int:
        """Look at closed trades at once when a trade has ended since the last look, before anything is entered.

        The first look counts as one: trades may have ended before this engine started.
        """
        snapshot = self._book.read()
        now_open = frozenset(snapshot.trades_by_id)
        asked = 0
        if self._open is None or not self._open <= now_open:
            asked = self._guard_books(snapshot, PortfolioRiskConfig.from_db_json(snapshot.risk_config), market)
        self._open = now_open  # only now: what could not be looked at is looked at again
        return asked

    def _guard_books(self, snapshot: Snapshot, config: PortfolioRiskConfig, market: MarketTime) -> int:
        facts = self._guards.facts(looks_back_to(config, market.now))
        capital = {profile.id: profile.capital_usd for profile in snapshot.profiles}
        plans = plan_trade_lockouts(facts, config, capital_usd=capital, market_now=market.now)
        return self._lock([*plans, *plan_break_lockouts(facts.breaks, config.reconciliation_lockout)])

    def _lock(self, plans: Sequence[LockoutPlan]) -> int:
        fresh_plans = [plan for plan in plans if _key(plan) not in self._told]
        for plan in fresh_plans:
            try:
                self._guards.lock_out(plan)
            except Refused as error:  # one that is refused must not keep the others from being set
                log.error("lockout refused", ticker=plan.ticker, cause=plan.cause, error=str(error))
                continue
            self._told[_key(plan)] = None
            log.warning(
                "locked out",
                type=plan.lockout_type,
                ticker=plan.ticker,
                profile_id=plan.profile_id,
                minutes=plan.minutes,
                why=plan.reason,
                cause=plan.cause,
            )
        if fresh_plans:
            self._book.outdate()
        for key in list(self._told)[:-CAUSES_KEPT]:
            del self._told[key]
        return len(fresh_plans)

    def _headlines(self, symbols: frozenset[str], rules: NewsLockout, market: MarketTime) -> list[Shock]:
        first = market.now - timedelta(minutes=rules.lookback_minutes)
        since = first if self._news_until is None else self._news_until - NEWS_OVERLAP
        found = self._market_data.headlines(symbols, since)
        return [
            shock
            for headline in found
            if headline.at <= market.now
            for shock in headline_shocks(headline, symbols, score_min=rules.score_min)
        ]

    def _moves(self, symbols: frozenset[str], rules: NewsLockout, market: MarketTime) -> list[Shock]:
        self._read_days(symbols, rules, market)
        quotes = self._market_data.quotes(symbols)
        limits = MoveLimits(
            sigmas_min=rules.move_sigmas_min, move_pct_min=rules.move_min_pct, gap_pct_min=rules.gap_min_pct
        )
        shocks = []
        for symbol in sorted(symbols):
            quote = fresh(quotes.get(symbol), market, QUOTE_AGE_MAX_S)
            if quote is None:
                continue
            before, today = _split(self._days.get(symbol, []), market.session_date)
            shocks.append(
                judge_move(
                    symbol,
                    closes=[bar.close for bar in before[-rules.move_bars - 1 :]],
                    opened=None if today is None else today.open,
                    price=(quote.bid + quote.ask) / 2,
                    at=market.now,
                    limits=limits,
                )
            )
        return [shock for shock in shocks if shock is not None]

    def _read_days(self, symbols: frozenset[str], rules: NewsLockout, market: MarketTime) -> None:
        """Read the daily bars once a session, when its own bar has begun and tells the opening price."""
        wanted = (market.session_date, symbols)
        if self._days_of != wanted:
            self._day_looks = 0
        elif self._day_looks >= DAY_LOOKS_MAX or all(_has_begun(self._days.get(s, []), wanted[0]) for s in symbols):
            return
        start = market.now - timedelta(days=2 * rules.move_bars + 10)
        days: dict[str, list[Bar]] = {}
        for bar in self._market_data.bars(sorted(symbols), "1Day", start):
            days.setdefault(bar.symbol, []).append(bar)
        self._days, self._days_of = days, wanted
        self._day_looks += 1


def _symbols(snapshot: Snapshot) -> frozenset[str]:
    """Return what may be entered or is held."""
    traded = {symbol for profile in snapshot.profiles if profile.active for symbol in profile.symbols}
    return frozenset(traded | {trade.symbol for trade in snapshot.trades})


def _key(plan: LockoutPlan) -> tuple[str, str, str | None, str]:
    return plan.lockout_type, plan.ticker, plan.profile_id, plan.cause


def _split(days: Iterable[Bar], today: date) -> tuple[list[Bar], Bar | None]:
    """Return the bars before today, and today's if there is one."""
    dated = [(bar.at.astimezone(NEW_YORK).date(), bar) for bar in days]
    before = [bar for day, bar in dated if day < today]
    return before, next((bar for day, bar in dated if day == today), None)


def _has_begun(days: Sequence[Bar], today: date) -> bool:
    return bool(days) and days[-1].at.astimezone(NEW_YORK).date() == today
