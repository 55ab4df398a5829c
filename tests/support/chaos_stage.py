"""The stage of a chaos case: a database, an exchange, engines, and lines between them that can be cut."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import psycopg
from psycopg.types.json import Jsonb

from db import commands
from tests.support.chaos_checks import problems
from tests.support.chaos_line import Line
from tests.support.chaos_process import Forked, fork_engine
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_ENTER, SIZES, only_profile
from tests.support.exchange import RunningExchange

PROFILE = "Alice dips hourly"
SEEN_WITHIN_S = 60.0
SETTLED_WITHIN_S = 60.0
SLOW_S = 10.0  # from here on a case tells what it waits for
LOOK_S = 0.1
# The exchange stands before its first session: the newest bar and quote are from before the holidays.
LIMITS = {"permit_ttl_s": 2, "signal_bars_max": 1000, "quote_age_max_s": 864000}
SEEDS = {"sample": 1, "full": 2, "long": 20}
SAMPLE_BY_DAY: Final = "CHAOS_DAY"
T = TypeVar("T")


def scope() -> str:
    """Return how much of the chaos runs: `sample`, `full` or `long`."""
    asked = os.environ.get("CHAOS", "sample")
    assert asked in SEEDS, f"CHAOS is one of {', '.join(SEEDS)}, not {asked!r}"
    return asked


def seeds() -> range:
    """Return the seeds of each generated case."""
    return range(SEEDS[scope()])


def sample(cases: Sequence[T], size: int, *, day: int | None = None) -> list[T]:
    """Return a few of the cases: the same in each run, or those of CHAOS_DAY, until all have had their turn."""
    if day is None:
        day = int(os.environ.get(SAMPLE_BY_DAY, "0"))
    mixed = random.Random(0).sample(cases, len(cases))
    return [mixed[(day * size + n) % len(mixed)] for n in range(min(size, len(mixed)))]


@dataclass
class Machine:
    """An engine on a machine of its own, with its own lines to the database and to the broker."""

    name: str
    home: Path
    authority: Line
    broker: Line
    engine: Forked | None = None

    def start(self, env: Mapping[str, str], *, crash_at: str = "", **more: str) -> Forked:
        lines = {
            "SUPABASE_URL": self.authority.address,
            "ALPACA_BASE_URL": self.broker.address,
            "ALPACA_DATA_URL": self.broker.address,
        }
        self.engine = fork_engine(dict(env) | lines, self.home, crash_at=crash_at, **more)
        return self.engine

    @property
    def log(self) -> str:
        path = self.home / "engine.log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Stage:
    """Everything that a case moves; `rng` decides the story."""

    db: psycopg.Connection
    env: Mapping[str, str]
    exchange: RunningExchange
    sign_in: SignIn
    folder: Path
    rng: random.Random
    superuser_url: str = ""
    jwt_secret: str = ""
    machines: list[Machine] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    story: list[str] = field(default_factory=list)
    at_close: list[Callable[[], object]] = field(default_factory=list)

    def tell(self, what: str) -> None:
        self.story.append(f"{time.strftime('%H:%M:%S')} {what}")

    # People and the market

    def set_the_scene(self, *, symbols: int | None = None, **params: Any) -> str:
        """Make one profile that wants to enter at once; its symbols and sizes are drawn."""
        names = tuple(self.rng.sample(["AAPL", "MSFT", "IBM"], symbols or self.rng.randint(1, 2)))
        size = {"position_pct": str(self.rng.choice(["0.05", "0.1", "0.15"]))}
        self.db.execute(
            "update risk_configs set config = jsonb_set(config, '{order_limits}', config -> 'order_limits' || %s)",
            [Jsonb(LIMITS)],
        )
        self.tell(f"{PROFILE} trades {names}, {size} {params}")
        return only_profile(self.db, PROFILE, params=EAGER_TO_ENTER | SIZES | size | params, symbols=names)

    def no_more_entries(self) -> None:
        """Switch the profiles off as an admin does: under the lock of the controls."""
        with self.db.transaction():
            self.db.execute("select pg_advisory_xact_lock(7201, 1)")
            self.db.execute("update profiles set active = false")

    def pause(self, reason: str = "Chaos") -> None:
        self.tell("pause")
        commands.pause_trading(self.sign_in("admin"), reason=reason, cancel_entries=self.rng.random() < 0.5)

    def resume(self) -> None:
        self.tell("resume")
        commands.resume_trading(self.sign_in("admin"), reason="Chaos", override_reason="Chaos")

    def step(self, minutes: int) -> None:
        self.tell(f"{minutes} market minutes")
        self.exchange.sim("POST", "step", minutes=minutes)

    def broker_as_person(self, method: str, path: str, **body: Any) -> Any:
        """Call the exchange as somebody does who has the account's keys."""
        keys = {"APCA-API-KEY-ID": self.env["ALPACA_API_KEY"], "APCA-API-SECRET-KEY": self.env["ALPACA_SECRET_KEY"]}
        given = {"params": body} if method in ("GET", "DELETE") else {"json": body}
        answer = httpx.request(method, f"{self.exchange.url}{path}", headers=keys, timeout=10, trust_env=False, **given)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def fault(self, kind: str, **fields: Any) -> None:
        self.tell(f"fault {kind} {fields}")
        self.exchange.sim("POST", "faults", kind=kind, **fields)

    def hits(self) -> int:
        """Return how often the armed faults have struck."""
        return sum(fault["hits"] for fault in self.exchange.sim("GET", "faults"))

    def connect(self) -> None:
        """Connect to the database again, once it is there, after all connections were lost."""
        deadline = time.monotonic() + SEEN_WITHIN_S
        while True:
            try:
                self.db = psycopg.connect(self.env["DATABASE_URL"], autocommit=True)
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the database does not come back"
                time.sleep(LOOK_S)
            else:
                self.at_close.append(self.db.close)
                return

    # Engines

    def machine(self, name: str) -> Machine:
        found = next((m for m in self.machines if m.name == name), None)
        if found is None:
            lines = Line(self.env["SUPABASE_URL"]), Line(self.exchange.url)
            found = Machine(name, self.folder / name, *lines)
            self.machines.append(found)
        return found

    def start(self, name: str = "first", *, crash_at: str = "", **more: str) -> Machine:
        machine = self.machine(name)
        self.tell(f"engine {name} starts {crash_at}")
        machine.start(dict(self.env) | self.exchange.env, crash_at=crash_at, **more)
        return machine

    def expire_lease(self) -> None:
        """Let the lease run out now, as it does by itself after ten seconds."""
        self.db.execute("update engine_leases set expires_at = clock_timestamp()")

    def kill(self, machine: Machine) -> None:
        assert machine.engine is not None
        machine.engine.signal(signal.SIGKILL)
        machine.engine.wait(10)
        self.tell(f"engine {machine.name} is killed")

    # Waiting

    def wait(self, until: Callable[[], object], what: str, timeout_s: float = SEEN_WITHIN_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, self.report(f"{what}: not within {timeout_s:.0f} s")
            time.sleep(LOOK_S)
        self.tell(what)

    def wait_sprung(self, sprung: threading.Event, what: str) -> None:
        assert sprung.wait(SEEN_WITHIN_S), self.report(f"the fault was not seen: {what}")
        self.tell(f"seen: {what}")

    def states(self, purpose: str = "entry") -> list[str]:
        query = "select state::text from orders where purpose = %s::order_purpose order by created_at, id"
        return [row[0] for row in self.db.execute(query, [purpose]).fetchall()]

    def entries_work(self) -> bool:
        states = self.states()
        return bool(states) and all(state in ("working", "denied") for state in states) and "working" in states

    def is_covered(self) -> bool:
        """Tell whether something is held and stops rest at the broker for all of it, once no entry is open."""
        return bool(self.ledger()["positions"]) and not self.problems()

    def ledger(self) -> dict[str, Any]:
        found: dict[str, Any] = self.exchange.sim("GET", "ledger")
        return found

    def problems(self) -> list[str]:
        return problems(self.db, self.ledger(), foreign=self.foreign)

    def settle(self, *, within_s: float = SETTLED_WITHIN_S) -> None:
        """Wait until everything holds that must hold, with an engine that lives."""
        began = time.monotonic()
        if not any(m.engine is not None and m.engine.exit_code is None for m in self.machines):
            self.start("heir")
        told = False
        while left := self.problems():
            took_s = time.monotonic() - began
            assert took_s < within_s, self.report("\n".join(["does not settle:", *left]))
            if took_s > SLOW_S and not told:
                told = True
                self.tell(f"not settled yet: {'; '.join(left)[:300]}")
            time.sleep(0.3)
        self.tell(f"settled after {time.monotonic() - began:.1f} s")

    def report(self, what: str) -> str:
        """Return what happened, with the ends of the engines' logs."""
        logs = [f"--- {m.name}\n" + "\n".join(m.log.splitlines()[-25:]) for m in self.machines]
        rows = self.db.execute(
            "select id, symbol, purpose, state, code, reason, filled_qty, broker_order_id from orders"
        )
        orders = [str(row) for row in rows.fetchall()]
        return "\n".join([what, *self.story, *orders, *(str(o) for o in self.ledger()["orders"]), *logs])

    def close(self) -> None:
        for machine in self.machines:
            machine.authority.close()
            machine.broker.close()
            if machine.engine is not None:
                machine.engine.signal(signal.SIGKILL)
                machine.engine.wait(5)
        for end in self.at_close:
            end()
        self.exchange.child.signal(signal.SIGKILL)
        self.exchange.child.wait(5)
