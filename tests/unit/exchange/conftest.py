"""The exchange without HTTP: its core, on a ledger of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from local.exchange.market.market import Market
from local.exchange.market.tape import Tape, load_tape
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.matching import FillProfile


@pytest.fixture(scope="session")
def tape() -> Tape:
    return load_tape()


@pytest.fixture
def market(tape: Tape) -> Market:
    return Market(tape, seed=7)


@pytest.fixture
def found(tmp_path: Path, tape: Tape) -> Iterator[Callable[..., Exchange]]:
    """Return a function that founds an exchange which opens on a given day."""
    opened: list[Exchange] = []

    def open_one(
        start: date = date(2007, 1, 3),
        profile: FillProfile = FillProfile.IDEAL,
        ledger_id: str | None = None,
    ) -> Exchange:
        path = tmp_path / str(len(opened)) / "ledger.sqlite"
        birth = Birth(seed=7, start=start, ledger_id=ledger_id)
        opened.append(open_exchange(path, tape, birth, profile))
        return opened[-1]

    yield open_one
    for exchange in opened:
        exchange.ledger.store.close()
