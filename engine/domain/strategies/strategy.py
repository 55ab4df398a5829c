"""What a strategy is: a name, its parameters, and a pure function from bars to wishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engine.domain.indicators import Matrix
from engine.domain.strategies.bars import Bars

BARS_MAX: Final = 400  # how many bars of a symbol the engine remembers
Signs = NDArray[np.int8]
Window = Annotated[int, Field(ge=1, le=BARS_MAX - 1)]


class Params(BaseModel):
    """The parameters that every strategy has. What else a profile's parameters hold is not for the strategy."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    allow_short: bool = False


P = TypeVar("P", bound=Params)


class Move(StrEnum):
    """What a strategy can want of one symbol."""

    ENTER_LONG = "enter_long"
    EXIT_LONG = "exit_long"
    ENTER_SHORT = "enter_short"
    EXIT_SHORT = "exit_short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a strategy wants at each bar; every matrix has the shape of the bars (time x symbols).

    Attributes
    ----------
    long : int8; 1 to open a long position, -1 to close one, 0 for neither
    short : int8; the same for short positions
    strength : from 0 to 1; anything else is brought into it
    facts : what the strategy looked at, by name; the reasons' texts may quote it
    """

    long: Signs
    short: Signs
    strength: Matrix
    facts: Mapping[str, Matrix] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy(Generic[P]):
    """A strategy, not yet bound to parameters.

    Attributes
    ----------
    name : what profiles name it by
    about : one sentence for people
    params : the pydantic model of its parameters
    judge : bars and parameters in, verdicts out; pure. A verdict may depend on its own bar and on the
        `bars_needed` - 1 before it, never on later ones
    bars_needed : how many bars of a symbol make it decide; at most BARS_MAX
    reasons : per move a text that may quote parameters and facts, as in "RSI {rsi:.1f} is below {low}"
    looks_across : it compares symbols: rows are moments and may have gaps (NaN). Otherwise each column holds one
        symbol's own bars without gaps
    """

    name: str
    about: str
    params: type[P]
    judge: Callable[[Bars, P], Verdicts]
    bars_needed: Callable[[P], int]
    reasons: Mapping[Move, str] = field(default_factory=dict)
    looks_across: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a strategy wants of one symbol at one bar, in words."""

    move: Move
    reason: str
    strength: Decimal
    facts: Mapping[str, Any]


def signs(up: NDArray[np.bool_], down: NDArray[np.bool_]) -> Signs:
    """Return 1 where `up`, -1 where `down`, else 0."""
    return up.astype(np.int8) - (down & ~up).astype(np.int8)
