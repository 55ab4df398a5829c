"""An engine under test: in this process on stepped time, or as a process of its own."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from engine.adapters.sim_clock import SimClock
from engine.bootstrap import Engine, bootstrap
from engine.config import Settings
from engine.domain.book import Order
from engine.domain.broker_types import MarketTime
from local.migrations import ROOT
from local.processes import Child
from tests.support.exchange import RunningExchange

# An RSI is below 98 or above 2 on almost every bar: one enters at once, the other leaves at once.
EAGER_TO_ENTER = {"period": 14, "low": 98, "high": 99}
EAGER_TO_LEAVE = {"period": 14, "low": 1, "high": 2}
SIZES = {"position_pct": "0.2", "stop_loss_pct": "0.05", "take_profit_pct": "0.5", "collar_pct": "0.02"}


@dataclass
class SteppedEngine:
    """Every service of a real engine, run by hand in the order of a replay."""

    engine: Engine
    sim: SimClock
    exchange: RunningExchange

    def start(self) -> None:
        assert self.engine.recovery.run(should_stop=lambda: False)

    def act(self) -> MarketTime:
        """Run every trading job once."""
        market = self.now()
        self.engine.lease.beat(market)
        self.engine.sync.run(market)
        self.engine.settlement.run()
        self.engine.monitor.run(market)
        self.engine.trader.tick(market)
        self.engine.executor.submit_ready()
        self.engine.sync.run(market)
        return market

    def claim_one(self) -> Order:
        """Let the trader ask for its entry and claim it, and send nothing: the brake is on while it asks."""
        engine = self.engine
        engine.settings.brake_path.parent.mkdir(parents=True, exist_ok=True)
        engine.settings.brake_path.touch()
        engine.trader.tick(self.now())
        engine.settings.brake_path.unlink()
        (claimed,) = engine.executor._desk.claim()
        return claimed

    def step(self, minutes: int = 60) -> MarketTime:
        """Let market time pass, then act."""
        self.sim.step_minutes(minutes)
        return self.act()

    def now(self) -> MarketTime:
        self.engine.market.outdate()
        return self.engine.market.read()

    def orders_at_exchange(self) -> list[dict[str, Any]]:
        """Return every order the exchange ever accepted, legs included."""
        ledger = self.exchange.sim("GET", "ledger")
        assert ledger["ok"], ledger["problems"]
        orders: list[dict[str, Any]] = ledger["orders"]
        return orders


def settings_for(env: Mapping[str, str], exchange: RunningExchange, home: Path, **changes: Any) -> Settings:
    """Return settings for a stack and an exchange of the tests; nothing is read from files."""
    values = {**env, **exchange.env}
    known = {name: values[name.upper()] for name in Settings.model_fields if name.upper() in values}
    return Settings(**known | {"local_home": home, "engine_api_port": 0, "metrics_port": 0} | changes)


def stepped_engine(env: Mapping[str, str], exchange: RunningExchange, home: Path, **changes: Any) -> SteppedEngine:
    """Return an engine that has not started yet; its books are read afresh at every look."""
    settings = settings_for(env, exchange, home, engine_senders=1, **changes)
    sim = SimClock(base_url=exchange.url, admin_token=exchange.env["EXCHANGE_ADMIN_TOKEN"])
    return SteppedEngine(bootstrap(settings, view_age_max_s=0), sim, exchange)


def start_engine_process(
    env: Mapping[str, str], exchange: RunningExchange, home: Path, *, crash_at: str = "", **settings: str
) -> Child:
    """Start `python -m engine`; its log is engine.log in its home; `settings` are more environment variables."""
    own = {
        "LOCAL_HOME": str(home),
        "ENGINE_API_PORT": "0",
        "METRICS_PORT": "0",
        "ENGINE_CRASH_AT": crash_at,
        "PYTHONPATH": str(ROOT),
    }
    home.mkdir(exist_ok=True)
    return Child(
        "The engine",
        [sys.executable, "-m", "engine"],
        log=home / "engine.log",
        environment=os.environ | env | exchange.env | own | settings,
    )


def only_profile(
    db: psycopg.Connection, name: str, *, params: Mapping[str, Any], symbols: tuple[str, ...] = ("AAPL",)
) -> str:
    """Make one hourly profile the only active one; return its id."""
    db.execute("update profiles set active = (name = %s)", [name])
    row = db.execute(
        "update profiles set strategy = 'rsi_reversion', timeframe = '1Hour', symbols = %s, params = %s "
        "where name = %s returning id",
        [list(symbols), Jsonb({**SIZES, **params}), name],
    ).fetchone()
    assert row is not None
    return str(row[0])
