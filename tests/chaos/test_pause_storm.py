"""Pauses at random moments while the gate is saturated and three engines send: none is sent while it is quiet.

CHAOS=full pauses a thousand times and freezes fifty senders; PAUSES=50 and FROZEN=2 set other figures.
"""

import os
import random
import signal
import threading
import time
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from supabase import Client

from db import commands
from db.errors import AuthorityError
from tests.chaos.conftest import MakeStage
from tests.support.chaos_stage import LIMITS, Machine, Stage, scope
from tests.support.engine import EAGER_TO_LEAVE, SIZES

SHARDS = ("main", "east", "west")
SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
PAUSES = int(os.environ.get("PAUSES", {"sample": 10, "full": 1000, "long": 10_000}[scope()]))
IN_A_STORM = 100
STORMS = [(seed, min(IN_A_STORM, PAUSES - first)) for seed, first in enumerate(range(0, PAUSES, IN_A_STORM))]
FROZEN = int(os.environ.get("FROZEN", {"sample": 1, "full": 50, "long": 500}[scope()]))
QUIET_WITHIN_S = 30  # of engines that run: the longest of 300 pauses took 2 s on a machine with ten times its load
NO_LIMIT = {
    "position_limits": {"positions_max": 10_000, "open_orders_max": 10_000},
    "order_rate": {"per_minute_max": 100_000, "per_day_max": 100_000, "repeats_max": 100_000},
    "order_limits": LIMITS,
}


class Crowd:
    """Twelve profiles in three shards, each shard with an engine, and a thread that asks for entries all the time."""

    def __init__(self, stage: Stage, client: Client, *, shards: tuple[str, ...] = SHARDS) -> None:
        self.stage, self.client, self.shards = stage, client, shards
        for section, content in NO_LIMIT.items():
            stage.db.execute(
                "update risk_configs set config ="
                " jsonb_set(config, array[%s], coalesce(config -> %s::text, '{}') || %s::jsonb)",
                [section, section, Jsonb(content)],
            )
        stage.db.execute("update profiles set active = false")
        self.profiles = {shard: [self._profile(f"{shard} {n}", shard) for n in range(4)] for shard in shards}
        self.asked, self.let_through = 0, 0
        self._decisions = count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(shard,), daemon=True) for shard in shards]

    def _profile(self, name: str, shard: str) -> str:
        row = self.stage.db.execute(
            "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd, timeframe, params)"
            " select user_id, %s, 'rsi_reversion', %s, %s, 100000, '1Hour', %s from members limit 1 returning id",
            [name, list(SYMBOLS), shard, Jsonb(SIZES | EAGER_TO_LEAVE)],
        ).fetchone()
        assert row is not None
        return str(row[0])

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _ask_on(self, shard: str) -> None:
        rng = random.Random(f"{shard}")
        now = datetime.fromisoformat(self.stage.exchange.sim("GET", "clock")["now"])
        while not self._stop.is_set():
            token = commands_token(self.client, shard)
            entries = [self._entry(rng, shard, now) for _ in range(6)]
            try:
                answers = commands.request_entries(self.client, shard=shard, token=token, requests=entries)
            except AuthorityError:  # its engine is not there yet, or has just been replaced
                time.sleep(0.1)
                continue
            self.asked += len(answers)
            self.let_through += sum(answer.state == "ready" for answer in answers)

    def _entry(self, rng: random.Random, shard: str, now: datetime) -> dict[str, Any]:
        at = now.isoformat()
        bar_at = (now - timedelta(microseconds=next(self._decisions))).isoformat()  # each is a decision of its own
        price = Decimal(rng.randint(900, 1000)) / 100  # far below the market: it rests until it is cancelled
        return {
            "id": str(uuid4()), "profile_id": rng.choice(self.profiles[shard]), "symbol": rng.choice(SYMBOLS),
            "side": "buy", "qty": str(rng.randint(1, 5)), "limit_price": str(price), "reference_price": str(price),
            "stop_loss_price": str(price - 2), "take_profit_price": str(price + 5), "market_at": at, "quote_at": at,
            "market_open": True, "signal": {"strategy": "storm", "strength": "1", "bar_at": bar_at, "detail": {}},
        }  # fmt: skip


def commands_token(client: Client, shard: str) -> int:
    rows: Any = client.table("engine_leases").select("token").eq("shard", shard).execute().data
    return int(rows[0]["token"]) if rows else 0


def at_exchange(stage: Stage) -> set[str]:
    return {order["client_order_id"] for order in stage.ledger()["orders"] if order["parent_id"] is None}


def statuses(stage: Stage, ids: set[str]) -> set[str]:
    return {order["status"] for order in stage.ledger()["orders"] if order["client_order_id"] in ids}


def quiet(stage: Stage) -> datetime:
    """Wait until the authority says that nothing is under way; return since when."""
    deadline = time.monotonic() + QUIET_WITHIN_S
    while (status := commands.trading_status(stage.sign_in("admin"))).phase != "quiesced":
        assert time.monotonic() < deadline, stage.report(f"still {status.phase}: {status.entries_in_flight}")
        time.sleep(0.02)
    assert status.quiesced_at is not None
    return status.quiesced_at


def machines(stage: Stage, shards: tuple[str, ...] = SHARDS) -> list[Machine]:
    return [stage.start(shard, ENGINE_SHARD=shard) for shard in shards]


@pytest.fixture
def storm(make_stage: MakeStage, service_client: Client, request: pytest.FixtureRequest) -> Any:
    def begin(seed: int, *, shards: tuple[str, ...] = SHARDS) -> Crowd:
        stage = make_stage(random.Random(seed))
        stage.exchange.sim("POST", "step", minutes=60)
        crowd = Crowd(stage, service_client, shards=shards)
        request.addfinalizer(crowd.stop)
        return crowd

    return begin


@pytest.mark.timeout(120 + 5 * IN_A_STORM)
@pytest.mark.parametrize(("seed", "pauses"), STORMS, ids=[f"storm-seed{seed:02}" for seed, _ in STORMS])
def test_no_entry_reaches_the_broker_between_quiescence_and_resume(storm: Any, seed: int, pauses: int) -> None:
    crowd = storm(seed)
    stage: Stage = crowd.stage
    engines = machines(stage)
    for machine in engines:
        stage.wait(lambda machine=machine: "recovered" in machine.log, f"{machine.name} has recovered")
    crowd.start()
    stage.wait(lambda: len(at_exchange(stage)) > 5, "entries flow")

    seen: list[int] = []
    took_s: list[float] = []
    for _ in range(pauses):
        time.sleep(stage.rng.uniform(0, 0.3))
        before = len(at_exchange(stage))
        stage.pause("Storm")
        began = time.monotonic()
        since = quiet(stage)
        took_s.append(time.monotonic() - began)
        known = at_exchange(stage)
        time.sleep(stage.rng.uniform(0, 0.2))
        assert at_exchange(stage) == known, "an entry was accepted while it was quiet"
        late = [at for machine in engines for at in machine.broker.posts if since.timestamp() < at < time.time()]
        assert not late, f"quiet since {since.timestamp()}, sent at {late}"
        stage.resume()
        seen.append(len(known) - before)
    crowd.stop()
    stage.no_more_entries()

    print(f"{pauses} pauses, {len(at_exchange(stage))} entries sent, {crowd.asked} asked, {sum(seen)} while draining")
    print(f"quiet after {sorted(took_s)[pauses // 2]:.2f} s, at most {max(took_s):.2f} s")
    assert len(at_exchange(stage)) > pauses, "the engines were sending while it was paused and resumed"
    stage.settle()


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", range(FROZEN), ids="frozen-seed{:02}".format)
def test_what_a_frozen_sender_sends_too_late_is_cancelled_and_raised(storm: Any, seed: int) -> None:
    crowd = storm(seed, shards=("main",))
    stage: Stage = crowd.stage
    frozen = stage.start("first", crash_at=f"before_send:freeze:{stage.rng.randint(2, 8)}")
    stage.wait(lambda: "recovered" in frozen.log, "recovered")
    crowd.start()
    stage.wait(lambda: frozen.engine is not None and frozen.engine.is_frozen, "frozen between its check and its send")
    crowd.stop()
    stage.pause("Storm")
    stage.expire_lease()
    heir = stage.start("heir")
    stage.wait(lambda: "recovered" in heir.log, "the heir has recovered")  # on a busy machine, that is most of it
    quiet(stage)
    known = at_exchange(stage)

    assert frozen.engine is not None
    frozen.engine.signal(signal.SIGCONT)
    stage.wait(lambda: len(at_exchange(stage) - known) > 0, "the late order has arrived")
    late = at_exchange(stage) - known
    stage.wait(lambda: late <= raised(stage), "raised as ENTRY_AFTER_PAUSE")

    # Raised as the books are told of them, and cancelled by who has told.
    stage.wait(lambda: statuses(stage, late) == {"canceled"}, "cancelled, every one of them")
    stage.resume()  # what a pause left unsent would wait for its horizon of a minute
    stage.settle()


def raised(stage: Stage) -> set[str]:
    query = "select key from reconciliation_findings where kind = 'ENTRY_AFTER_PAUSE'"
    return {row[0].partition(":")[2] for row in stage.db.execute(query)}
