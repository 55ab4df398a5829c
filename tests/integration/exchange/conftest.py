"""A fresh exchange for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from local.exchange.market.tape import Tape, load_tape
from tests.integration.exchange.live import LiveExchange


@pytest.fixture(scope="session")
def tape() -> Tape:
    return load_tape()


@pytest.fixture
def start_exchange(tmp_path: Path, tape: Tape) -> Iterator[Callable[..., LiveExchange]]:
    """Return a function that starts an exchange before its first session."""
    started: list[LiveExchange] = []

    def start(day: date = date(2007, 1, 3), rate_limit: int = 0) -> LiveExchange:
        started.append(LiveExchange(tmp_path, tape, start=day, rate_limit=rate_limit))
        return started[-1]

    yield start
    for exchange in started:
        exchange.stop()


@pytest.fixture
def closed_market(start_exchange: Callable[..., LiveExchange]) -> LiveExchange:
    return start_exchange()


@pytest.fixture
def live(closed_market: LiveExchange) -> LiveExchange:
    """An exchange whose market has just opened."""
    closed_market.step(to="open")
    return closed_market


@pytest.fixture
def holding(live: LiveExchange) -> LiveExchange:
    """An open market, and ten shares of AAPL in the account."""
    assert live.order().status_code == 200
    live.step(ticks=1)
    return live
