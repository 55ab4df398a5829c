"""The watcher: looks at the alerts and delivers them beside the engines, so that the death of the last one is told.

It holds no lease, asks the broker nothing and trades nothing. It may run on another machine, as often as one likes.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Final

import structlog

from db.client import engine_client
from engine.adapters.apprise_notifier import AppriseNotifier
from engine.adapters.supabase_alerts import SupabaseAlertDesk
from engine.adapters.supabase_authority import ShardSession
from engine.adapters.system_clock import SystemClock
from engine.config import Settings
from engine.domain.errors import ConfigError, Refused, Retryable
from engine.service.alerting import Alerting

LOOK_EVERY_S: Final = 1.0
log = structlog.get_logger(__name__)


def watch(settings: Settings) -> None:
    """Look and deliver, until told to stop.

    Raises
    ------
    ConfigError when there is nowhere to send alerts to
    """
    if not settings.alert_addresses:
        raise ConfigError("ALERT_URLS is not set: say where alerts are sent to. See docs/alerts.md.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    alerting = watching(settings)
    log.info("watching", targets=len(settings.alert_addresses))
    while not stop.wait(LOOK_EVERY_S):
        look(alerting)


def watching(settings: Settings) -> Alerting:
    """Wire what looks and delivers; nothing is called yet."""
    clock, key = SystemClock(), settings.supabase_secret_key.get_secret_value()
    session = ShardSession(engine_client(settings.supabase_url, key), settings.engine_shard, clock)
    holder = f"watch:{socket.gethostname()}:{os.getpid()}"
    return Alerting(SupabaseAlertDesk(session), AppriseNotifier(settings.alert_addresses, key), clock, holder=holder)


def look(alerting: Alerting) -> None:
    """Look once and deliver what is due; an authority that is away, or refuses, is waited for."""
    try:
        alerting.evaluate()
        alerting.deliver()
    except (Retryable, Refused) as error:
        log.warning("the authority does not answer as it should, trying again", error=str(error))
