"""The same seed and the same requests give the same tape and the same ledger, byte for byte."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.exchange.market.tape import Tape, load_tape
from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.matching import FillProfile

LEDGER_ID = "00000000-0000-0000-0000-000000000007"


@pytest.fixture(scope="module")
def tape() -> Tape:
    return load_tape()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), profile=st.sampled_from(FillProfile))
def test_ledger_is_the_same_when_seed_and_requests_are(tape: Tape, seed: int, profile: FillProfile) -> None:
    first, second = (trade_at_random(tape, seed, profile) for _ in "ab")

    assert first == second
    assert first.count('INSERT INTO "fills"') > 5


def test_fills_differ_when_the_seed_of_the_market_does(tape: Tape) -> None:
    first, second = (trade_at_random(tape, seed, FillProfile.ALPACA_PAPER) for seed in (1, 2))

    assert first != second


def test_ledger_is_the_same_in_another_process_whatever_its_hash_seed(tape: Tape) -> None:
    here = digest(trade_at_random(tape, 7, FillProfile.ALPACA_PAPER))

    script = (
        "from tests.property.exchange.test_exchange_determinism import *;"
        "print(digest(trade_at_random(load_tape(), 7, FillProfile.ALPACA_PAPER)))"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(root)}
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, check=True
    )

    assert there.stdout.strip() == here


def trade_at_random(tape: Tape, seed: int, profile: FillProfile) -> str:
    """Send the same drawn requests to a new exchange; return its whole ledger as SQL."""
    rng = random.Random(99)
    with tempfile.TemporaryDirectory() as folder:
        birth = Birth(seed=seed, start=date(2007, 7, 2), ledger_id=LEDGER_ID)
        exchange = open_exchange(Path(folder) / "ledger.sqlite", tape, birth, profile)
        for _ in range(60):
            _act(exchange, rng)
        text = "\n".join(exchange.ledger.store.dump())
        exchange.ledger.store.close()
    return text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _act(exchange: Exchange, rng: random.Random) -> None:
    symbol, side = rng.choice(["AAPL", "MSFT", "IBM"]), rng.choice(["buy", "sell"])
    tick = exchange.market.tick(symbol, exchange.ledger.moment)
    near = str(round(tick.trade * Decimal(rng.choice(["0.995", "1.005"])), 2))
    kind: dict[str, object] = rng.choice(
        [
            {"type": "market"},
            {"type": "limit", "limit_price": near},
            {"type": "stop", "stop_price": near},
            {"type": "trailing_stop", "trail_percent": "0.5"},
            {"type": "limit", "limit_price": near, "extended_hours": True},
        ]
    )
    body = {"symbol": symbol, "side": side, "qty": str(rng.randint(2, 60)), "time_in_force": "gtc"}
    with suppress(Refusal):
        exchange.submit(body | kind)
    if rng.random() < 0.2:
        exchange.cancel_all()
    exchange.step(rng.randint(1, 12))
