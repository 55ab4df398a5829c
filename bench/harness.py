"""A fresh stack with many profiles, and what every measurement needs."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from postgrest.exceptions import APIError
from supabase import Client

from db import commands
from db.client import engine_client
from db.models import Answer
from local.home import Home
from local.migrations import ROOT
from local.ports import Ports
from local.stack import Stack, start_stack

SYMBOL = "AAPL"
NOOP = """
    create or replace function public.bench_noop(p_shard text, p_token bigint, p_requests jsonb) returns jsonb
    language sql as $$
        select jsonb_build_array(jsonb_build_object(
            'id', p_requests -> 0 ->> 'id', 'state', 'ready', 'code', null, 'reason', null))
    $$"""

# Market time goes on from entry to entry, so that the measured profiles stay within their order rates.
_START, _STEP, _STEPS = datetime(2007, 1, 3, 15, tzinfo=UTC), timedelta(minutes=10), itertools.count()


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    measured: str
    target: str
    detail: str
    reached: bool


@dataclass(frozen=True)
class Bench:
    """The authority under measurement."""

    env: dict[str, str]
    passwords: dict[str, str]
    client: Client
    db: psycopg.Connection
    token: int
    profiles: list[str]

    def entry(self, profile: str) -> dict[str, Any]:
        """Return an entry request that the gate accepts."""
        return {
            "id": str(uuid4()),
            "profile_id": profile,
            "symbol": SYMBOL,
            "side": "buy",
            "qty": "1",
            "limit_price": "100.50",
            "reference_price": "100.00",
            "stop_loss_price": "95",
            "take_profit_price": "110",
            "market_at": (market_at := (_START + next(_STEPS) * _STEP).isoformat()),
            "quote_at": market_at,
            "market_open": True,
            "signal": {"strategy": "bench", "strength": "1", "bar_at": market_at, "detail": {}},
        }

    def entries(self, profiles: list[str]) -> list[dict[str, Any]]:
        """End what is open, so that none is a duplicate, and return an entry for each profile."""
        self.clear()
        return [self.entry(profile) for profile in profiles]

    def ask(self, client: Client, requests: list[dict[str, Any]]) -> list[Any]:
        """Put entries to the gate in one call; all of them must pass."""
        answers = commands.request_entries(client, shard="bench", token=self.token, requests=requests)
        refused = [a for a in answers if a.state != "ready"]
        assert not refused, refused[:3]
        return answers

    def make_noop(self) -> None:
        """Make a function that is called as the gate is and answers as it does, and decides nothing."""
        self.db.execute(NOOP)
        self.db.execute("grant execute on function public.bench_noop(text, bigint, jsonb) to service_role")
        self.db.execute("notify pgrst, 'reload schema'")
        for _ in range(50):
            with suppress(APIError):
                self.do_nothing(self.client, self.entries(self.profiles[:1]))
                return
            time.sleep(0.1)
        raise RuntimeError("PostgREST did not pick up the no-op function")

    def do_nothing(self, client: Client, requests: list[dict[str, Any]]) -> None:
        """Send what entries are sent as to the function that decides nothing."""
        self._rpc(client, "bench_noop", requests)

    def ask_plainly(self, client: Client, requests: list[dict[str, Any]]) -> None:
        """Put entries to the gate over the very path of the function that decides nothing: supabase-py's own."""
        answers = [Answer.model_validate(row) for row in self._rpc(client, "request_entries", requests)]
        assert all(answer.state == "ready" for answer in answers), answers[:3]

    def _rpc(self, client: Client, function: str, requests: list[dict[str, Any]]) -> Any:
        told = {"p_shard": "bench", "p_token": self.token, "p_requests": requests}
        return client.rpc(function, told).execute().data

    def clear(self) -> None:
        """End what is open."""
        self.db.execute(
            "update orders set state = 'canceled' where shard = 'bench' and state in ('ready', 'submitting')"
        )

    def settle(self) -> None:
        """Bring a new database to where one in service is: with rows, and with statistics of them."""
        for _ in range(10):
            self.ask(self.client, self.entries(self.profiles))
        self.clear()
        self.db.execute("analyze")

    def new_client(self) -> Client:
        """Return a further connection of the engine's."""
        return engine_client(self.env["SUPABASE_URL"], self.env["SUPABASE_SECRET_KEY"])


@contextmanager
def authority(profiles: int = 200) -> Iterator[Bench]:
    """Start a stack of its own in a temporary folder and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as folder, _stack(Path(folder)) as stack:
        client = engine_client(stack.env["SUPABASE_URL"], stack.env["SUPABASE_SECRET_KEY"])
        with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as db:
            lease = commands.acquire_lease(client, shard="bench", holder="bench", ttl_s=300)
            assert lease.token is not None
            yield Bench(
                env=dict(stack.env),
                passwords={account.email: account.password for account in stack.accounts},
                client=client,
                db=db,
                token=lease.token,
                profiles=_make_profiles(db, profiles),
            )


@contextmanager
def _stack(folder: Path) -> Iterator[Stack]:
    folder.chmod(0o755)  # Postgres runs as a user of its own and has to get through
    running = start_stack(Home(folder / "home", tools=ROOT / ".local" / "tools"), Ports.free().settled())
    try:
        yield running
    finally:
        running.stop()


def durations_ms(run: Callable[[], object], times: int, before: Callable[[], object] | None = None) -> list[float]:
    """Return each duration of `run` in milliseconds; `before` is not counted."""
    taken = []
    for _ in range(times):
        if before:
            before()
        start = time.perf_counter()
        run()
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def percentile(values: list[float], fraction: float) -> float:
    """Return the value that `fraction` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def _make_profiles(db: psycopg.Connection, count: int) -> list[str]:
    db.execute(
        "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd)"
        " select (select user_id from members order by email limit 1), 'bench ' || n, 'bench',"
        " array[%s, 'MSFT', 'IBM'], 'bench', 1000000 from generate_series(1, %s) n",
        (SYMBOL, count),
    )
    rows = db.execute("select id::text from profiles where shard = 'bench' order by name").fetchall()
    return [id for (id,) in rows]
