"""When a position is closed, and whether it is protected until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from engine.domain.book import OpenTrade, Order, Purpose
from engine.domain.broker_types import MarketTime, Quote
from engine.domain.coverage import blocking_legs as blocking_legs
from engine.domain.coverage import left_of, planned_qty, reserved_qty, stops_of, targets_of
from engine.domain.coverage import protected_qty as protected_qty
from engine.domain.exit_rules import ExitRules, away_from

# A resting stop triggers on trades, we see quotes: leave it alone until the quote is this far
# through it (a fraction of the stop price).
STOP_SLACK_PCT: Final = Decimal("0.01")
# A trailing stop is moved at the broker once that brings it this much closer (a fraction of its price).
TRAIL_STEP_PCT: Final = Decimal("0.001")
# How long an entry may stay partly filled: its legs do not work before it is filled whole.
PARTIAL_WAIT_S: Final = 1.5


class Care(StrEnum):
    """What a position needs now."""

    NOTHING = "nothing"
    CLOSE = "close"  # close it at market: nothing at the broker will
    PROTECT = "protect"  # rest a stop at the broker for the uncovered part
    SUSPECT = "suspect"  # its resting stop should have acted; close it when this lasts
    MOVE_STOP = "move_stop"  # bring `leg`, a resting stop, to `stop_price`
    DROP = "drop"  # cancel `leg`: more would be sold than is held
    CANCEL_ENTRY = "cancel_entry"  # cancel the rest of its entry, so that it can be protected


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known around a trade when it is looked at.

    Attributes
    ----------
    quote : None when there is none, or none that is fresh enough to judge by
    entry : its entry while that can still fill, so the broker does not work its legs yet
    entry_seen_s : for how many seconds the entry has been seen partly filled
    """

    market: MarketTime
    quote: Quote | None = None
    rules: ExitRules = field(default_factory=ExitRules)
    timeframe: str = "1Day"
    entry: Order | None = None
    entry_seen_s: int | float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One look at an open trade. Prices in US dollars, quantities in shares; `reason` is never empty.

    `stop_price` is where its stop belongs from now on; None: no stop is planned.
    """

    trade: OpenTrade
    mark_price: Decimal | None
    protected_qty: Decimal
    stop_price: Decimal | None
    care: Care
    reason: str
    exit_reason: str = ""
    leg: Order | None = None

    @property
    def uncovered_qty(self) -> Decimal:
        """How many shares no stop covers, counting those that are on their way to the broker."""
        return self.trade.qty - planned_qty(self.trade)


@dataclass(frozen=True, slots=True)
class _Verdict:
    care: Care
    reason: str
    exit_reason: str = ""
    leg: Order | None = None


def watch_trade(trade: OpenTrade, look: Look) -> Watch:
    """Judge one open trade at the price it could be closed at now.

    Nothing is judged by a price without a quote or outside regular hours: stops do not act then
    either, and orders would wait for the opening. Missing protection is repaired at any time.
    """
    mark = None if look.quote is None else look.quote.bid if trade.is_long else look.quote.ask
    stop = _stop_level(trade, look, mark)
    verdict = _entry_verdict(trade, look, stop, mark) if look.entry else _verdict(trade, look, stop, mark)
    return Watch(
        trade=trade,
        mark_price=mark,
        protected_qty=Decimal(0) if look.entry else protected_qty(trade),
        stop_price=stop,
        care=verdict.care,
        reason=verdict.reason,
        exit_reason=verdict.exit_reason,
        leg=verdict.leg,
    )


def fresh(quote: Quote | None, market: MarketTime, age_max_s: Decimal) -> Quote | None:
    """Return a quote that may be judged by: not crossed and, while the market is open, not too old."""
    if quote is None or quote.bid > quote.ask:
        return None
    age_max = timedelta(seconds=float(age_max_s))
    return None if market.is_open and market.now - quote.at > age_max else quote


def is_fully_at_broker(trade: OpenTrade, rules: ExitRules) -> bool:
    """Tell whether stop and target both rest at the broker for all of it, so that no look is urgent."""
    covered = protected_qty(trade) == planned_qty(trade) == trade.qty
    return covered and _has_leg(trade, Purpose.TAKE_PROFIT) and not rules.needs_looks


def _entry_verdict(trade: OpenTrade, look: Look, stop: Decimal | None, mark: Decimal | None) -> _Verdict:
    if trade.exit_working:
        return _Verdict(Care.NOTHING, "its exit is under way")
    if look.entry is not None and look.entry.cancel_requested_at is not None:
        return _Verdict(Care.NOTHING, "the rest of its entry is being cancelled")
    if look.market.is_open and mark is not None and stop is not None and _is_through(trade, mark, stop):
        return _Verdict(Care.CANCEL_ENTRY, f"{mark} is through the stop {stop} before the entry was filled whole")
    if look.entry_seen_s >= PARTIAL_WAIT_S:
        return _Verdict(
            Care.CANCEL_ENTRY, f"partly filled for {look.entry_seen_s:.0f} s, and no leg works before the rest"
        )
    return _Verdict(Care.NOTHING, "its entry is still being filled")


def _verdict(trade: OpenTrade, look: Look, stop: Decimal | None, mark: Decimal | None) -> _Verdict:
    if trade.exit_working:
        return _Verdict(Care.NOTHING, "its exit is under way")
    if look.market.is_open:
        verdict = _overdue(trade, look) or (_by_price(trade, look, stop, mark) if mark is not None else None)
        if verdict is not None:
            return verdict
    return _coverage(trade, stop) or _trail(trade, look, stop, mark) or _Verdict(Care.NOTHING, _at_rest(trade, stop))


def _overdue(trade: OpenTrade, look: Look) -> _Verdict | None:
    why = None if trade.opened_at is None else look.rules.overdue(trade.opened_at, look.timeframe, look.market)
    return None if why is None else _Verdict(Care.CLOSE, why, "time_stop")


def _by_price(trade: OpenTrade, look: Look, stop: Decimal | None, mark: Decimal) -> _Verdict | None:
    covered = protected_qty(trade) >= trade.qty
    if stop is not None and _is_through(trade, mark, stop):
        why = "trailing_stop" if _has_trailed(trade, stop) else "stop_loss"
        if not covered or not _rests_at(trade, stop):
            return _Verdict(Care.CLOSE, f"{mark} is through the stop {stop}", why)
        if _stop_is_idle(trade) and _is_through(trade, mark, _slackened(trade, stop)):
            return _Verdict(Care.SUSPECT, f"{mark} is through the stop {stop}, and the resting stop has not acted", why)
    target = _target(trade, look.rules)
    if target is not None and not _has_leg(trade, Purpose.TAKE_PROFIT) and _is_through(trade, target, mark):
        return _Verdict(Care.CLOSE, f"{mark} has reached the target {target}", "take_profit")
    return None


def _coverage(trade: OpenTrade, stop: Decimal | None) -> _Verdict | None:
    """Bring what would be sold in line with what is held; never more, and no less if a stop is planned."""
    planned = planned_qty(trade)
    if planned == trade.qty:
        return None
    if any(leg.cancel_requested_at is not None for leg in trade.legs):
        return _Verdict(Care.NOTHING, "one of its resting orders is being cancelled")
    if planned > trade.qty:
        spare = max(stops_of(trade), key=lambda leg: (leg.parent_id is None, left_of(trade, leg)))
        return _Verdict(Care.DROP, f"stops for {planned} shares, but only {trade.qty} are held", leg=spare)
    if stop is None:
        return _Verdict(Care.NOTHING, "no stop is planned for it")
    missing = trade.qty - planned
    if reserved_qty(trade) + missing > trade.qty:
        why = f"its target holds shares that a stop for {missing} of {trade.qty} needs"
        return _Verdict(Care.DROP, why, leg=targets_of(trade)[0])
    return _Verdict(Care.PROTECT, f"no stop rests at the broker for {missing} of {trade.qty} shares", "stop_loss")


def _trail(trade: OpenTrade, look: Look, stop: Decimal | None, mark: Decimal | None) -> _Verdict | None:
    """Move a resting stop that the trailing stop has left behind; while the market is open only."""
    if not look.market.is_open or mark is None or stop is None or look.rules.trailing_stop_pct is None:
        return None
    stops = stops_of(trade)
    if any(not leg.state.is_at_broker for leg in trade.legs if leg.purpose is Purpose.STOP_LOSS):
        return None  # one move at a time
    behind = [leg for leg in stops if leg.stop_price is not None and _lags(trade, leg.stop_price, stop)]
    if not behind:
        return None
    return _Verdict(Care.MOVE_STOP, f"the trailing stop is at {stop} now", "trailing_stop", behind[0])


def _stop_level(trade: OpenTrade, look: Look, mark: Decimal | None) -> Decimal | None:
    """Return where the stop belongs: the tighter of what was planned or reached before, and what trails now."""
    entry, rules = trade.avg_entry_price, look.rules
    known = [] if trade.stop_price is None else [trade.stop_price]
    if not known and entry is not None and rules.stop_loss_pct is not None:
        known = [away_from(entry, rules.stop_loss_pct, down=trade.is_long)]
    if look.market.is_open and look.entry is None and mark is not None and _trails(trade, rules, mark):
        assert rules.trailing_stop_pct is not None
        known.append(away_from(mark, rules.trailing_stop_pct, down=trade.is_long))
    if not known:
        return None
    return max(known) if trade.is_long else min(known)


def _trails(trade: OpenTrade, rules: ExitRules, mark: Decimal) -> bool:
    if rules.trailing_stop_pct is None:
        return False
    if rules.trailing_activation_pct == 0:
        return True
    if trade.avg_entry_price is None:
        return False
    active_from = away_from(trade.avg_entry_price, rules.trailing_activation_pct, down=not trade.is_long)
    return mark >= active_from if trade.is_long else mark <= active_from


def _target(trade: OpenTrade, rules: ExitRules) -> Decimal | None:
    entry, pct = trade.avg_entry_price, rules.take_profit_pct
    if trade.take_profit_price is not None or entry is None or pct is None:
        return trade.take_profit_price
    return away_from(entry, pct, down=not trade.is_long) if trade.is_long or pct < 1 else None


def _at_rest(trade: OpenTrade, stop: Decimal | None) -> str:
    resting = protected_qty(trade)
    if resting < trade.qty:
        return f"stops for {trade.qty - resting} shares are on their way to the broker"
    return f"stops for all {trade.qty} shares rest at the broker, at {stop}"


def _has_leg(trade: OpenTrade, purpose: Purpose) -> bool:
    return any(leg.purpose is purpose for leg in trade.legs)


def _has_trailed(trade: OpenTrade, stop: Decimal) -> bool:
    """Tell whether the stop lies where only a trailing stop can have brought it: in our favour."""
    entry = trade.avg_entry_price
    return entry is not None and (stop >= entry if trade.is_long else stop <= entry)


def _rests_at(trade: OpenTrade, stop: Decimal) -> bool:
    """Tell whether its resting stops are where they belong, so that the broker acts by itself."""
    return not any(leg.stop_price is not None and _lags(trade, leg.stop_price, stop) for leg in stops_of(trade))


def _lags(trade: OpenTrade, resting: Decimal, wanted: Decimal) -> bool:
    gain = wanted - resting if trade.is_long else resting - wanted
    return gain >= resting * TRAIL_STEP_PCT and gain > 0


def _stop_is_idle(trade: OpenTrade) -> bool:
    """A bracket's stop is `held` until it is set off; of a plain one only fills tell."""
    return all(leg.broker_status == "held" if leg.parent_id else leg.filled_qty == 0 for leg in stops_of(trade))


def _is_through(trade: OpenTrade, mark: Decimal, level: Decimal) -> bool:
    return mark <= level if trade.is_long else mark >= level


def _slackened(trade: OpenTrade, stop: Decimal) -> Decimal:
    return stop * (1 - STOP_SLACK_PCT if trade.is_long else 1 + STOP_SLACK_PCT)
