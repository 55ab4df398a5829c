"""The built-in tape, read once, and a market on it."""

from __future__ import annotations

import pytest

from local.exchange.market.market import Market
from local.exchange.market.tape import Tape, load_tape


@pytest.fixture(scope="session")
def tape() -> Tape:
    return load_tape()


@pytest.fixture(scope="session")
def market(tape: Tape) -> Market:
    return Market(tape, seed=7)
