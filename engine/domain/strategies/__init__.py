"""Strategies: matrices of bars in, wishes with their reasons out. How to add one: docs/strategies.md."""

from engine.domain.strategies.bars import Bars
from engine.domain.strategies.evaluation import FAULTS, first_difference, judge_history, judge_newest
from engine.domain.strategies.registry import BoundStrategy, StrategyRegistry
from engine.domain.strategies.strategy import BARS_MAX, Move, Params, Strategy, Verdict, Verdicts, Window, signs

__all__ = [
    "BARS_MAX",
    "FAULTS",
    "Bars",
    "BoundStrategy",
    "Move",
    "Params",
    "Strategy",
    "StrategyRegistry",
    "Verdict",
    "Verdicts",
    "Window",
    "first_difference",
    "judge_history",
    "judge_newest",
    "signs",
]
