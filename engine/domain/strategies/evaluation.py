"""Running strategies: over a whole history, or on the newest bar of each symbol."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np

from engine.domain.errors import StrategyFailed
from engine.domain.indicators import Matrix
from engine.domain.strategies.bars import Bars
from engine.domain.strategies.registry import BoundStrategy
from engine.domain.strategies.strategy import Move, Signs, Verdict, Verdicts

# What a faulty strategy may raise; it must not keep the others from being judged.
FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
_STRENGTH_DIGITS: Final = 4


def judge_history(bound: BoundStrategy, bars: Bars) -> Verdicts:
    """Judge every bar, as the engine would have judged it when it was the newest.

    Returns
    -------
    Verdicts in the shape of `bars`; nothing is wanted where a symbol has no bar or too short a history

    Raises
    ------
    StrategyFailed when the strategy's own code raises or returns another shape
    """
    order = None if bound.strategy.looks_across else bars.order_of_bars()
    verdicts = _judged(bound, bars if order is None else bars.packed())
    if order is None:
        return verdicts
    facts = {name: _put_back(values, order, np.nan) for name, values in verdicts.facts.items()}
    return Verdicts(
        long=_put_back(verdicts.long, order, 0),
        short=_put_back(verdicts.short, order, 0),
        strength=_put_back(verdicts.strength, order, 0.0),
        facts=facts,
    )


def judge_newest(bound: BoundStrategy, bars: Bars) -> Newest:
    """Judge the newest bar of each symbol, looking at no more bars than the strategy needs.

    A strategy that looks across symbols judges those alone that have a bar in the newest row.

    Raises
    ------
    StrategyFailed when the strategy's own code raises or returns another shape
    """
    seen = bars if bound.strategy.looks_across else bars.packed()
    return Newest(bound, _judged(bound, seen.tail(bound.bars_needed)), bars.symbols)


class Newest:
    """What a strategy wants of each symbol at its newest bar."""

    def __init__(self, bound: BoundStrategy, verdicts: Verdicts, symbols: tuple[str, ...]) -> None:
        self._bound = bound
        self._columns = {symbol: column for column, symbol in enumerate(symbols)}
        self._verdicts = verdicts
        self._long = verdicts.long[-1].tolist() if len(verdicts.long) else [0] * len(symbols)
        self._short = verdicts.short[-1].tolist() if len(verdicts.short) else [0] * len(symbols)

    @property
    def signs(self) -> list[tuple[int, int]]:
        """What is wanted of each symbol, long and short."""
        return list(zip(self._long, self._short, strict=True))

    def verdict(self, symbol: str, held: str | None) -> Verdict | None:
        """Return what to do about a symbol; None for nothing.

        Parameters
        ----------
        held : the side of the open position, "long" or "short"; None when there is none. What is held is not
            added to, and is closed before the other side is opened
        """
        move = self._move(self._columns[symbol], held)
        return None if move is None else self._verdict(move, self._columns[symbol])

    def _move(self, column: int, held: str | None) -> Move | None:
        long, short = self._long[column], self._short[column]
        if held == "long":
            return Move.EXIT_LONG if long < 0 else None
        if held == "short":
            return Move.EXIT_SHORT if short < 0 else None
        if long > 0:
            return Move.ENTER_LONG
        return Move.ENTER_SHORT if short > 0 else None

    def _verdict(self, move: Move, column: int) -> Verdict:
        facts = {name: float(values[-1, column]) for name, values in self._verdicts.facts.items()}
        strength = round(float(self._verdicts.strength[-1, column]), _STRENGTH_DIGITS)
        return Verdict(move, reason_of(self._bound, move, facts), Decimal(str(strength)), facts)


def first_difference(bound: BoundStrategy, bars: Bars) -> int | None:
    """Return the first row that is judged otherwise when it is the newest than when later bars are known.

    None is as it should be. A row tells of a strategy that looks into the future, or further back than the
    `bars_needed` that it declares: what a research run shows would not be what the engine does.
    """
    whole = judge_history(bound, bars)
    for row in range(len(bars.close)):
        newest = judge_newest(bound, bars.head(row + 1)).signs
        for column in np.flatnonzero(~np.isnan(bars.close[row])):
            if newest[column] != (whole.long[row, column], whole.short[row, column]):
                return row
    return None


def reason_of(bound: BoundStrategy, move: Move, facts: Mapping[str, Any]) -> str:
    """Return a move's reason in words.

    Raises
    ------
    StrategyFailed when its text quotes what is neither a parameter nor a fact
    """
    text = bound.strategy.reasons.get(move, f"{bound.name} wants to {move.replace('_', ' ')}")
    try:
        return text.format(**{**bound.params.model_dump(), **facts})
    except FAULTS as error:
        raise StrategyFailed(f"strategy {bound.name}: the reason {text!r} cannot be written: {error!r}") from error


def _judged(bound: BoundStrategy, bars: Bars) -> Verdicts:
    if not bars.close.size:
        empty = np.zeros(bars.close.shape, np.int8)
        return Verdicts(long=empty, short=empty, strength=np.zeros(bars.close.shape))
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            said = _as_arrays(bound.strategy.judge(bars, bound.params))
    except FAULTS as error:
        raise StrategyFailed(f"strategy {bound.name} failed: {error!r}") from error
    shapes = {said.long.shape, said.short.shape, said.strength.shape, *(fact.shape for fact in said.facts.values())}
    if shapes != {bars.close.shape}:
        raise StrategyFailed(
            f"strategy {bound.name} must return matrices of the shape of its bars {bars.close.shape}, not {shapes}"
        )
    return _cleaned(said, bars, allow_short=bound.params.allow_short)


def _as_arrays(said: Verdicts) -> Verdicts:
    """Take data frames and any numbers for what they are; what is not known (NaN) wants nothing."""
    return Verdicts(
        long=np.sign(np.nan_to_num(np.asarray(said.long, np.float64))).astype(np.int8),
        short=np.sign(np.nan_to_num(np.asarray(said.short, np.float64))).astype(np.int8),
        strength=np.clip(np.nan_to_num(np.asarray(said.strength, np.float64)), 0.0, 1.0),
        facts={name: np.asarray(values, np.float64) for name, values in said.facts.items()},
    )


def _cleaned(said: Verdicts, bars: Bars, *, allow_short: bool) -> Verdicts:
    """Want nothing where there is no bar, and open no short position unless that is allowed."""
    no_bar = np.isnan(bars.close)
    short = said.short if allow_short else np.minimum(said.short, 0)
    return Verdicts(
        long=np.where(no_bar, 0, said.long).astype(np.int8),
        short=np.where(no_bar, 0, short).astype(np.int8),
        strength=said.strength,
        facts=said.facts,
    )


def _put_back(packed: Matrix | Signs, order: np.ndarray, empty: float) -> Any:
    result = np.full_like(packed, empty)
    np.put_along_axis(result, order, packed, axis=0)
    return result
