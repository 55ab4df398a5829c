"""System lockouts: what the recent past says about where no entries should be opened for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Final

from engine.domain.news import Shock
from engine.domain.reconcile import FindingKind
from engine.domain.risk_config import (
    CooldownLockout,
    DrawdownLockout,
    NewsLockout,
    PortfolioRiskConfig,
    ReconciliationLockout,
    StoplossLockout,
)

EVERY_SYMBOL: Final = "*"
STOPPED: Final = frozenset({"stop_loss", "trailing_stop"})
# A position without a stop is repaired within seconds, a split is no difference: these are others.
LOCKING_KINDS: Final = frozenset(
    {
        FindingKind.POSITION_MISMATCH,
        FindingKind.ORDER_MISSING_AT_BROKER,
        FindingKind.ORDER_NOT_OURS,
        FindingKind.ENTRY_AFTER_PAUSE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTrade:
    """A trade that was closed; `closed_at` is market time, `age_s` counts from its booking by the database's clock."""

    trade_id: str
    profile_id: str
    symbol: str
    exit_reason: str
    pnl_usd: Decimal
    closed_at: datetime
    age_s: Decimal

    @property
    def was_stopped_out(self) -> bool:
        """Tell whether a stop closed it at a loss; a trailing stop may close at a profit."""
        return self.exit_reason in STOPPED and self.pnl_usd < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A difference between our books and the broker's that is open; `age_s` by the database's clock."""

    finding_id: str
    kind: str
    symbol: str | None
    age_s: Decimal
    seen_again: bool


@dataclass(frozen=True, slots=True)
class ProtectionFacts:
    """What is judged: trades closed lately, oldest first, and open breaks."""

    trades: tuple[ClosedTrade, ...] = ()
    breaks: tuple[Break, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockoutPlan:
    """No entries in `ticker` for `minutes` from now. The same `cause` never locks the same thing twice."""

    lockout_type: str
    ticker: str
    minutes: int
    reason: str
    cause: str
    profile_id: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


def looks_back_to(config: PortfolioRiskConfig, market_now: datetime) -> datetime:
    """Return from when on closed trades are wanted (market time)."""
    stops, losses = config.stoploss_lockout, config.drawdown_lockout
    hours = [Decimal(24)]
    hours += [stops.lookback_hours] if stops.enabled else []
    hours += [24 * losses.lookback_days] if losses.enabled else []
    return market_now - timedelta(hours=float(max(hours)))


def plan_trade_lockouts(
    facts: ProtectionFacts, config: PortfolioRiskConfig, *, capital_usd: Mapping[str, Decimal], market_now: datetime
) -> list[LockoutPlan]:
    """Return what closed trades ask for: cooldowns, guards against stop-loss streaks and drawdowns.

    Parameters
    ----------
    capital_usd : each profile's capital
    """
    return [
        *_cooldowns(facts.trades, config.cooldown_lockout),
        *_stop_streaks(facts.trades, config.stoploss_lockout, market_now),
        *_drawdowns(facts.trades, config.drawdown_lockout, capital_usd, market_now),
    ]


def plan_break_lockouts(breaks: Iterable[Break], rules: ReconciliationLockout) -> list[LockoutPlan]:
    """Return what open breaks ask for, once they were seen again: an order in flight is no break.

    The gate refuses entries in the symbol from the first sight on; the lockout outlasts the repair.
    """
    if not rules.enabled:
        return []
    plans = [
        _plan(
            "reconciliation",
            rules.lock_minutes,
            each.age_s,
            ticker=each.symbol or EVERY_SYMBOL,
            cause=f"finding:{each.finding_id}",
            reason=f"Our books and the broker's differ: {each.kind}{f' in {each.symbol}' if each.symbol else ''}.",
            detail={"finding_id": each.finding_id, "kind": each.kind},
        )
        for each in breaks
        if each.seen_again and each.kind in LOCKING_KINDS
    ]
    return [plan for plan in plans if plan is not None]


def plan_news_lockouts(shocks: Iterable[Shock], rules: NewsLockout) -> list[LockoutPlan]:
    """Return a lockout in each shocked symbol, for every profile."""
    return [
        LockoutPlan(
            lockout_type="news_shock",
            ticker=shock.symbol,
            minutes=rules.lock_minutes,
            reason=shock.reason,
            cause=shock.cause,
            detail=shock.detail,
        )
        for shock in shocks
    ]


def _cooldowns(trades: Iterable[ClosedTrade], rules: CooldownLockout) -> list[LockoutPlan]:
    if not rules.enabled:
        return []
    plans = [
        _plan(
            "cooldown",
            rules.lock_minutes,
            trade.age_s,
            ticker=trade.symbol,
            profile_id=trade.profile_id,
            cause=f"trade:{trade.trade_id}",
            reason=f"Cooling down: {trade.symbol} was closed by {_words(trade.exit_reason)}.",
            detail=_of_trade(trade),
        )
        for trade in trades
        if trade.pnl_usd < 0 or not rules.losses_only
    ]
    return [plan for plan in plans if plan is not None]


def _stop_streaks(trades: Iterable[ClosedTrade], rules: StoplossLockout, now: datetime) -> list[LockoutPlan]:
    if not rules.enabled:
        return []
    since = now - timedelta(hours=float(rules.lookback_hours))
    stops: dict[tuple[str, str], list[ClosedTrade]] = defaultdict(list)
    for trade in trades:
        if trade.was_stopped_out and trade.closed_at > since:
            stops[trade.profile_id, trade.symbol if rules.per_symbol else EVERY_SYMBOL].append(trade)
    plans = [
        _plan(
            "stoploss_guard",
            rules.lock_minutes,
            hits[-1].age_s,
            ticker=ticker,
            profile_id=profile_id,
            cause=f"trade:{hits[-1].trade_id}",
            reason=f"{len(hits)} positions were stopped out within {rules.lookback_hours:f} hours.",
            detail={"trades": [trade.trade_id for trade in hits], "limit": rules.stops_max},
        )
        for (profile_id, ticker), hits in stops.items()
        if len(hits) >= rules.stops_max
    ]
    return [plan for plan in plans if plan is not None]


def _drawdowns(
    trades: Iterable[ClosedTrade], rules: DrawdownLockout, capital_usd: Mapping[str, Decimal], now: datetime
) -> list[LockoutPlan]:
    if not rules.enabled:
        return []
    since = now - timedelta(days=float(rules.lookback_days))
    closed: dict[str, list[ClosedTrade]] = defaultdict(list)
    for trade in trades:
        if trade.closed_at > since:
            closed[trade.profile_id].append(trade)
    plans = []
    for profile_id, history in closed.items():
        capital = capital_usd.get(profile_id, Decimal(0))
        lost = drawdown_usd([trade.pnl_usd for trade in history])
        if capital <= 0 or lost < rules.drawdown_max_pct * capital:
            continue
        plans.append(
            _plan(
                "drawdown",
                rules.lock_minutes,
                history[-1].age_s,
                ticker=EVERY_SYMBOL,
                profile_id=profile_id,
                cause=f"trade:{history[-1].trade_id}",
                reason=f"Closed trades lost {lost / capital:.1%} of the capital within {rules.lookback_days:f} days.",
                detail={"lost_usd": str(lost), "capital_usd": str(capital), "limit": str(rules.drawdown_max_pct)},
            )
        )
    return [plan for plan in plans if plan is not None]


def drawdown_usd(profits_usd: Sequence[Decimal]) -> Decimal:
    """Return how far the running sum of profits lies below its highest point, the start included; >= 0."""
    total = peak = Decimal(0)
    for profit in profits_usd:
        total += profit
        peak = max(peak, total)
    return peak - total


def _plan(
    lockout_type: str,
    lock_minutes: int,
    age_s: Decimal,
    *,
    ticker: str,
    cause: str,
    reason: str,
    detail: Mapping[str, object],
    profile_id: str | None = None,
) -> LockoutPlan | None:
    """Return a lockout for what is left of its time since the cause; None when nothing is."""
    left = (lock_minutes - max(age_s, Decimal(0)) / 60).to_integral_value(ROUND_CEILING)
    if left < 1:
        return None
    return LockoutPlan(
        lockout_type=lockout_type,
        ticker=ticker,
        minutes=int(left),
        reason=reason,
        cause=cause,
        profile_id=profile_id,
        detail=detail,
    )


def _of_trade(trade: ClosedTrade) -> dict[str, object]:
    return {
        "trade_id": trade.trade_id,
        "exit_reason": trade.exit_reason,
        "pnl_usd": str(trade.pnl_usd),
        "closed_at": trade.closed_at.isoformat(),
    }


def _words(exit_reason: str) -> str:
    return exit_reason.replace("_", " ")
