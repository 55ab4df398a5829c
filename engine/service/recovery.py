"""Recovery: what every start does before anything is traded."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable
from engine.ports.clock import Clock
from engine.service.lease import ACQUIRE_EVERY_S, Lease
from engine.service.reconciler import Reconciler
from engine.service.settlement import Settlement
from engine.service.snapshots import Snapshots
from engine.service.views import Book, MarketClock

log = structlog.get_logger(__name__)


class Recovery:
    """Lease, state, unsettled orders, full reconciliation; then trade."""

    def __init__(
        self,
        lease: Lease,
        book: Book,
        market: MarketClock,
        settlement: Settlement,
        reconciler: Reconciler,
        snapshots: Snapshots,
        clock: Clock,
    ) -> None:
        self._lease = lease
        self._book = book
        self._market = market
        self._settlement = settlement
        self._reconciler = reconciler
        self._snapshots = snapshots
        self._clock = clock

    def run(self, should_stop: Callable[[], bool]) -> bool:
        """Recover; False when asked to stop before the lease could be had.

        Raises
        ------
        NeedsHuman when the broker refuses the keys or the lease is lost again meanwhile
        """
        while not should_stop():
            try:
                if self._lease.try_acquire():
                    self._recover()
                    return True
                log.info("another engine holds the lease, waiting for its end")
            except AuthorityUnavailable as error:
                self._tell_last_state(str(error))
            except BrokerUnavailable as error:
                log.warning("broker cannot be reached, retrying", error=str(error))
                self._lease.release()
            self._clock.sleep(ACQUIRE_EVERY_S)
        return False

    def _recover(self) -> None:
        market = self._market.read()
        self._lease.beat(market)
        unsettled = self._settlement.run_after_restart()
        findings = self._reconciler.run(market, "full")
        self._lease.beat(market)
        log.info(
            "recovered",
            open_orders=len(self._book.read().orders),
            open_trades=len(self._book.read().trades),
            unsettled=unsettled,
            findings=len(findings),
        )

    def _tell_last_state(self, error: str) -> None:
        state = self._snapshots.load_file() or {}
        log.warning(
            "authority cannot be reached, retrying; protective orders rest at the broker",
            error=error,
            saved_at=state.get("saved_at"),
            open_trades=len(state.get("trades", [])),
        )
