"""The strategies by name, and how a profile's parameters are bound to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from engine.domain.errors import ConfigError
from engine.domain.strategies.donchian_breakout import DONCHIAN_BREAKOUT
from engine.domain.strategies.ma_crossover import MA_CROSSOVER
from engine.domain.strategies.momentum import CROSS_SECTIONAL_MOMENTUM
from engine.domain.strategies.rsi_reversion import RSI_REVERSION
from engine.domain.strategies.strategy import BARS_MAX, Params, Strategy

BUILT_IN: Final[tuple[Strategy[Any], ...]] = (
    MA_CROSSOVER,
    RSI_REVERSION,
    DONCHIAN_BREAKOUT,
    CROSS_SECTIONAL_MOMENTUM,
)


@dataclass(frozen=True, slots=True)
class BoundStrategy:
    """A strategy with its parameters; equal ones judge alike, so that many profiles can share one pass."""

    strategy: Strategy[Any]
    params: Params

    @property
    def name(self) -> str:
        return self.strategy.name

    @property
    def bars_needed(self) -> int:
        return self.strategy.bars_needed(self.params)

    def __hash__(self) -> int:
        return hash((self.strategy.name, self.params))


class StrategyRegistry:
    """The built-in strategies and a user's own."""

    def __init__(self, own: Iterable[Strategy[Any]] = ()) -> None:
        """Take over the strategies.

        Raises
        ------
        ConfigError when two share a name
        """
        self._by_name: dict[str, Strategy[Any]] = {}
        for strategy in (*BUILT_IN, *own):
            if strategy.name in self._by_name:
                raise ConfigError(f"Two strategies are named {strategy.name!r}; give yours another name.")
            self._by_name[strategy.name] = strategy

    def __iter__(self) -> Iterator[Strategy[Any]]:
        return iter(self._by_name.values())

    def bind(self, name: str, params: Mapping[str, Any]) -> BoundStrategy:
        """Bind a strategy to a profile's parameters.

        Raises
        ------
        ConfigError when the name is unknown, or naming each parameter that is missing or out of range
        """
        strategy = self._by_name.get(name)
        if strategy is None:
            raise ConfigError(
                f"strategy {name!r} is unknown; use one of {', '.join(self._by_name)}, "
                "or name the file of your own in ENGINE_STRATEGIES"
            )
        try:
            bound = BoundStrategy(strategy, strategy.params.model_validate(params))
        except ValidationError as error:
            raise ConfigError(f"parameters of strategy {name} do not fit: {_in_words(error)}") from error
        if not 1 <= bound.bars_needed <= BARS_MAX:
            raise ConfigError(
                f"strategy {name} asks for {bound.bars_needed} bars with these parameters; 1 to {BARS_MAX} can be had"
            )
        return bound


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {_message(problem)}" if problem["loc"] else _message(problem)
        for problem in error.errors()
    )


def _message(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{problem['msg'].replace('Input should', 'should')}, is {problem['input']!r}"
