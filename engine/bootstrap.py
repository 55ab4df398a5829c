"""The one place where the engine is wired."""

from __future__ import annotations

from dataclasses import dataclass

from db.client import engine_client
from engine.adapters.alpaca_broker import AlpacaBroker
from engine.adapters.alpaca_market_data import AlpacaMarketData
from engine.adapters.alpaca_rate import AlpacaRateLimit
from engine.adapters.alpaca_stream import AlpacaTradeUpdates
from engine.adapters.apprise_notifier import AppriseNotifier
from engine.adapters.strategy_files import load_strategies
from engine.adapters.supabase_alerts import SupabaseAlertDesk, SupabaseTelemetry
from engine.adapters.supabase_authority import (
    ShardSession,
    SupabaseLeases,
    SupabaseOrderDesk,
    SupabaseSchema,
    SupabaseStateStore,
)
from engine.adapters.supabase_ledger import SupabaseLedger
from engine.adapters.supabase_protections import SupabaseGuards, SupabaseUpkeep
from engine.adapters.supabase_signals import SupabaseSignalLog
from engine.adapters.system_clock import SystemClock
from engine.config import Settings
from engine.domain.strategies import StrategyRegistry
from engine.ports.clock import Clock
from engine.service import metrics
from engine.service.alerting import Alerting
from engine.service.auto_trader import AutoTrader
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import ExitDesk
from engine.service.failover import FailoverDesk
from engine.service.health_tracker import HealthTracker
from engine.service.housekeeping import Housekeeping
from engine.service.journal import Journal
from engine.service.judgement import Judgement
from engine.service.lease import TTL_S, Lease
from engine.service.local_brake import LocalBrake
from engine.service.offline_desk import OfflineDesk
from engine.service.order_sync import OrderSync
from engine.service.position_monitor import PositionMonitor
from engine.service.protections import Protections
from engine.service.recognition import Recognition
from engine.service.reconciler import Reconciler
from engine.service.recovery import Recovery
from engine.service.settlement import Settlement
from engine.service.snapshots import Snapshots
from engine.service.telemetry import TelemetryReader
from engine.service.trade_executor import TradeExecutor
from engine.service.update_hints import UpdateHints
from engine.service.views import Book, MarketClock
from engine.upgrade import schema_check


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
    hints: UpdateHints
    settlement: Settlement
    monitor: PositionMonitor
    offline: OfflineDesk
    recognition: Recognition
    trader: AutoTrader
    executor: TradeExecutor
    reconciler: Reconciler
    snapshots: Snapshots
    history: BarHistory
    alerting: Alerting
    telemetry: TelemetryReader
    protections: Protections
    housekeeping: Housekeeping


def bootstrap(settings: Settings, *, view_age_max_s: float = 0.4) -> Engine:
    """Wire an engine; nothing is called yet.

    Parameters
    ----------
    view_age_max_s : how old the shared view of our books may be; infinite for a sole writer, whose
        every change outdates it
    """
    clock = SystemClock()
    secret_key = settings.supabase_secret_key.get_secret_value()
    session = ShardSession(
        engine_client(settings.supabase_url, secret_key),
        settings.engine_shard,
        clock,
    )
    authority, store = SupabaseOrderDesk(session), SupabaseStateStore(session)
    keys = {
        "api_key": settings.alpaca_api_key.get_secret_value(),
        "secret_key": settings.alpaca_secret_key.get_secret_value(),
    }
    rate = AlpacaRateLimit()
    broker = AlpacaBroker(base_url=settings.alpaca_base_url, rate=rate, **keys)
    data = AlpacaMarketData(
        base_url=settings.alpaca_base_url, data_url=settings.alpaca_data_url, feed=settings.feed, rate=rate, **keys
    )

    health = HealthTracker(clock, LocalBrake(settings.brake_path), control_age_max_s=TTL_S)
    lease = Lease(SupabaseLeases(session), health, clock)
    book = Book(store, clock, age_max_s=view_age_max_s)
    market = MarketClock(data, clock, age_max_s=0.2)
    sync = OrderSync(broker, authority, book)
    settlement = Settlement(broker, authority, book, health, clock, quiet_s=settings.cadence.quiet_s)
    journal = Journal(settings.journal_path, clock, health.note_disk)
    offline = OfflineDesk(broker, authority, authority, journal, book, health, clock, is_away=lambda: session.is_away)
    recognition = Recognition(broker, authority, book)
    desk = FailoverDesk(authority, offline)
    exits = ExitDesk(desk, book, clock)
    history = BarHistory(data, store)
    judgement = Judgement(history, StrategyRegistry(load_strategies(settings.engine_strategies)))
    reconciler = Reconciler(
        broker, broker, SupabaseLedger(session), sync, book, health, clock, quiet_s=settings.cadence.quiet_s
    )
    snapshots = Snapshots(
        store,
        book,
        clock,
        settings.state_path,
        shard=session.shard,
        token=lambda: session.token,
        halted=lambda: frozenset() if health.control is None else health.control.halted,
        report=health.note_disk,
    )
    monitor = PositionMonitor(data, store, exits, book, clock, without_authority=offline.view)
    executor = TradeExecutor(broker, desk, book, sync, health, lease, clock, senders=settings.engine_senders, rate=rate)
    metrics.watch(health)
    metrics.RATE_LIMIT_REMAINING.set_function(rate.calls_left)
    return Engine(
        settings=settings,
        clock=clock,
        health=health,
        lease=lease,
        book=book,
        market=market,
        recovery=Recovery(
            lease,
            book,
            market,
            settlement,
            reconciler,
            snapshots,
            offline,
            recognition,
            clock,
            check_schema=schema_check(SupabaseSchema(session, clock), settings),
            care=lambda now: (monitor.run(now), offline.carry_on(now)),
        ),
        sync=sync,
        hints=UpdateHints(
            AlpacaTradeUpdates(base_url=settings.alpaca_base_url, **keys),
            sync,
            market,
            clock,
            gap_s=settings.cadence.sync_s / 2,
        ),
        settlement=settlement,
        monitor=monitor,
        offline=offline,
        recognition=recognition,
        trader=AutoTrader(
            data,
            desk,
            SupabaseSignalLog(session),
            exits,
            history,
            judgement,
            book,
            health,
            executor,
            without_authority=offline.view,
        ),
        executor=executor,
        reconciler=reconciler,
        snapshots=snapshots,
        history=history,
        alerting=Alerting(
            SupabaseAlertDesk(session),
            AppriseNotifier(settings.alert_addresses, secret_key),
            clock,
            holder=lease.holder,
        ),
        telemetry=TelemetryReader(SupabaseTelemetry(session), book),
        protections=Protections(data, SupabaseGuards(session), book),
        housekeeping=Housekeeping(SupabaseUpkeep(session)),
    )
