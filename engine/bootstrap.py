"""The one place where the engine is wired."""

from __future__ import annotations

from dataclasses import dataclass

from db.client import engine_client
from engine.adapters.alpaca_broker import AlpacaBroker
from engine.adapters.alpaca_market_data import AlpacaMarketData
from engine.adapters.strategy_files import load_strategies
from engine.adapters.supabase_authority import (
    ShardSession,
    SupabaseLeases,
    SupabaseOrderDesk,
    SupabaseStateStore,
)
from engine.adapters.supabase_signals import SupabaseSignalLog
from engine.adapters.system_clock import SystemClock
from engine.config import Settings
from engine.domain.strategies import StrategyRegistry
from engine.ports.clock import Clock
from engine.service.auto_trader import AutoTrader
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import ExitDesk
from engine.service.health_tracker import HealthTracker
from engine.service.judgement import Judgement
from engine.service.lease import TTL_S, Lease
from engine.service.local_brake import LocalBrake
from engine.service.order_sync import OrderSync
from engine.service.position_monitor import PositionMonitor
from engine.service.reconciler import Reconciler
from engine.service.recovery import Recovery
from engine.service.settlement import Settlement
from engine.service.snapshots import Snapshots
from engine.service.trade_executor import TradeExecutor
from engine.service.views import Book, MarketClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The wired services."""

    settings: Settings
    clock: Clock
    health: HealthTracker
    lease: Lease
    book: Book
    market: MarketClock
    recovery: Recovery
    sync: OrderSync
    settlement: Settlement
    monitor: PositionMonitor
    trader: AutoTrader
    executor: TradeExecutor
    reconciler: Reconciler
    snapshots: Snapshots
    history: BarHistory


def bootstrap(settings: Settings, *, view_age_max_s: float = 0.4) -> Engine:
    """Wire an engine; nothing is called yet.

    Parameters
    ----------
    view_age_max_s : how old the shared view of our books may be; infinite for a sole writer, whose
        every change outdates it
    """
    clock = SystemClock()
    session = ShardSession(
        engine_client(settings.supabase_url, settings.supabase_secret_key.get_secret_value()),
        settings.engine_shard,
    )
    desk, store = SupabaseOrderDesk(session), SupabaseStateStore(session)
    keys = {
        "api_key": settings.alpaca_api_key.get_secret_value(),
        "secret_key": settings.alpaca_secret_key.get_secret_value(),
    }
    broker = AlpacaBroker(base_url=settings.alpaca_base_url, **keys)
    data = AlpacaMarketData(
        base_url=settings.alpaca_base_url, data_url=settings.alpaca_data_url, feed=settings.feed, **keys
    )

    health = HealthTracker(clock, LocalBrake(settings.brake_path), control_age_max_s=TTL_S)
    lease = Lease(SupabaseLeases(session), health, clock)
    book = Book(store, clock, age_max_s=view_age_max_s)
    market = MarketClock(data, clock, age_max_s=0.2)
    sync = OrderSync(broker, desk, book)
    settlement = Settlement(broker, desk, book, health, clock, quiet_s=settings.cadence.quiet_s)
    exits = ExitDesk(desk, book)
    history = BarHistory(data, store)
    judgement = Judgement(history, StrategyRegistry(load_strategies(settings.engine_strategies)))
    reconciler = Reconciler(broker, broker, store, sync, book, health)
    snapshots = Snapshots(store, book, clock, settings.state_path)
    return Engine(
        settings=settings,
        clock=clock,
        health=health,
        lease=lease,
        book=book,
        market=market,
        recovery=Recovery(lease, book, market, settlement, reconciler, snapshots, clock),
        sync=sync,
        settlement=settlement,
        monitor=PositionMonitor(data, store, exits, book, clock),
        trader=AutoTrader(data, desk, SupabaseSignalLog(session), exits, history, judgement, book, health),
        executor=TradeExecutor(broker, desk, book, sync, health, lease, clock, senders=settings.engine_senders),
        reconciler=reconciler,
        snapshots=snapshots,
        history=history,
    )
