"""The lease: the right to write for a shard, and how long this process may believe to have it."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Final

import structlog

from engine import __version__
from engine.domain.broker_types import MarketTime
from engine.ports.authority import Leases
from engine.ports.clock import Clock
from engine.service.health_tracker import HealthTracker

TTL_S: Final = 10
ACQUIRE_EVERY_S: Final = 1.0
log = structlog.get_logger(__name__)


class Lease:
    """Held from `acquire` until the database says otherwise or the time runs out unrenewed."""

    def __init__(self, leases: Leases, health: HealthTracker, clock: Clock) -> None:
        self._leases = leases
        self._health = health
        self._clock = clock
        # Unique per process: a restarted engine is another holder and waits for the old lease's end.
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._held_until_s = float("-inf")

    @property
    def is_held(self) -> bool:
        """Tell by this machine's monotonic clock, pessimistically, whether the lease still runs."""
        return self._clock.monotonic_s() < self._held_until_s

    def try_acquire(self) -> bool:
        """Take the lease if it is free."""
        asked_s = self._clock.monotonic_s()
        if not self._leases.acquire(self.holder, TTL_S):
            return False
        self._held_until_s = asked_s + TTL_S
        log.info("lease acquired", holder=self.holder)
        return True

    def beat(self, market: MarketTime | None, data_age_s: float = 0.0) -> None:
        """Renew the lease, leave a sign of life and take over what the controls say.

        `data_age_s` tells how long ago the market could last be read.

        Raises
        ------
        LeaseLost when another engine may be writing
        """
        asked_s = self._clock.monotonic_s()
        control = self._leases.heartbeat(
            version=__version__,
            market_at=None if market is None else market.now,
            jobs=self._health.jobs(),
            detail={
                "brake": self._health.brake_is_on,
                "broker_blocked": self._health.broker_blocked,
                "local_fault": self._health.local_fault,
                "data_age_s": None if market is None else round(data_age_s, 1),
                "market_open": None if market is None else market.is_open,
            },
            ttl_s=TTL_S,
        )
        self._held_until_s = asked_s + TTL_S
        self._health.record_trading_control(control)

    def release(self) -> None:
        """Give the lease back, so that the next engine need not wait."""
        self._held_until_s = float("-inf")
        self._leases.release()
