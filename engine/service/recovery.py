"""Recovery: what every start does before anything is traded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from engine.domain.broker_types import MarketTime
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable, LeaseLost, Refused, Retryable
from engine.ports.clock import Clock
from engine.service.lease import ACQUIRE_EVERY_S, Lease
from engine.service.offline_desk import OfflineDesk
from engine.service.recognition import Recognition
from engine.service.reconciler import Reconciler
from engine.service.settlement import Settlement
from engine.service.snapshots import Snapshots
from engine.service.views import Book, MarketClock

# A recovery that has not come round for this long is stuck.
TURN_MAX_S: Final = 180.0
BEAT_EVERY_S: Final = 2.0
log = structlog.get_logger(__name__)


class Recovery:
    """Schema, lease, state, journal, unsettled orders, full reconciliation; then trade.

    Parameters
    ----------
    check_schema : raises NeedsHuman when database and engine do not fit each other
    care : looks after open positions while the authority cannot be reached
    """

    def __init__(
        self,
        lease: Lease,
        book: Book,
        market: MarketClock,
        settlement: Settlement,
        reconciler: Reconciler,
        snapshots: Snapshots,
        offline: OfflineDesk,
        recognition: Recognition,
        clock: Clock,
        *,
        check_schema: Callable[[], None],
        care: Callable[[MarketTime], object],
    ) -> None:
        self._lease = lease
        self._book = book
        self._market = market
        self._settlement = settlement
        self._reconciler = reconciler
        self._snapshots = snapshots
        self._offline = offline
        self._recognition = recognition
        self._clock = clock
        self._check_schema = check_schema
        self._care = care
        self._turned_s: int | float = clock.monotonic_s()
        self._is_without = False

    @property
    def is_turning(self) -> bool:
        """Tell whether it has come round lately, be it only to wait for another engine's lease."""
        return self._clock.monotonic_s() - self._turned_s <= TURN_MAX_S

    def run(self, should_stop: Callable[[], bool]) -> bool:
        """Recover; False when asked to stop before the lease could be had.

        Raises
        ------
        LeaseLost when another engine may have taken over meanwhile; NeedsHuman when the broker refuses the keys,
        or the database's schema does not fit
        """
        has_begun = False
        while not should_stop():
            self._turn()
            try:
                self._check_schema()
                if self._lease.try_acquire():
                    has_begun = True
                    self._recover()
                    return True
                if has_begun:  # and was away, asleep or without an answer, until its lease had run out
                    raise LeaseLost("another engine has taken the lease in the midst of this one's recovery")
                log.info("another engine holds the lease, waiting for its end")
            except AuthorityUnavailable as error:
                self._go_on_without(error)
            except BrokerUnavailable as error:
                log.warning("broker cannot be reached, retrying", error=str(error))
                self._give_back_lease()
                has_begun = False
            except Refused as error:  # such as a gateway that does not know the functions after an upgrade
                log.error("the database refuses what a start needs, retrying", code=error.code, error=error.message)
                self._give_back_lease()
                has_begun = False
            self._clock.sleep(ACQUIRE_EVERY_S)
        return False

    def _give_back_lease(self) -> None:
        with suppress(AuthorityUnavailable, LeaseLost, Refused):  # it runs out by itself
            self._lease.release()

    def _recover(self) -> None:
        self._is_without = False
        market = self._market.read()
        self._lease.beat(market)
        with self._keeping_lease(market):
            self._compare_states()
            told = self._offline.replay() + self._recognised()
            unsettled = self._settlement.run_after_restart()
            findings = self._reconciler.run(market, "full", on_page=self._turn)
        self._lease.beat(market)
        snapshot = self._book.read()
        self._snapshots.save_file(snapshot, market)
        log.info(
            "recovered",
            open_orders=len(snapshot.orders),
            open_trades=len(snapshot.trades),
            told=told,
            unsettled=unsettled,
            findings=len(findings),
        )

    def _recognised(self) -> int:
        """Have exits looked for; what the broker's limit stops goes on at the next turn, where it was stopped."""
        told = self._recognition.run()
        if not self._recognition.is_complete:
            raise BrokerUnavailable("not all exits that the books do not know could be looked for yet")
        return told

    def _turn(self) -> None:
        """Note that it comes round: a long history that is read is no standstill."""
        self._turned_s = self._clock.monotonic_s()

    @contextmanager
    def _keeping_lease(self, market: MarketTime) -> Iterator[None]:
        """Renew the lease while the body runs: a slow broker, or many orders to look up, may take longer than it."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep_lease, args=(market, done), name="lease", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def _keep_lease(self, market: MarketTime, done: threading.Event) -> None:
        with suppress(LeaseLost, Refused):  # the body's next write is told so too
            while not done.wait(BEAT_EVERY_S) and self.is_turning:
                with suppress(AuthorityUnavailable):
                    self._lease.beat(market)

    def _compare_states(self) -> None:
        """Prefer the database's state; a file from a later lease than ours means that the database went back."""
        saved, file = self._snapshots.load_database(), self._snapshots.load_file()
        if file is not None and file.token >= self._snapshots.token:
            log.error(
                "the database is older than this machine's state: was it restored? Compare it with the broker",
                file_lease=file.token,
                our_lease=self._snapshots.token,
            )
        log.info(
            "state loaded",
            source="none" if saved is None and file is None else "file" if saved is None else "database",
            open_trades=len((saved or {}).get("trades", file.trades if file else ())),
        )

    def _go_on_without(self, error: AuthorityUnavailable) -> None:
        """Look after what is open; say so once, and not at every turn."""
        if not self._is_without:
            self._is_without = True
            state = None if self._book.last is not None else self._snapshots.load_file()
            if state is not None:
                self._offline.start_from(state.snapshot, state.halted)
            log.warning(
                "authority cannot be reached: no entries, exits go on; protective orders rest at the broker",
                error=str(error),
                saved_at=None if state is None else state.saved_at.isoformat(),
                open_trades=None if state is None else len(state.trades),
            )
        try:
            self._care(self._market.read())
        except Retryable as failed:
            log.warning("open positions could not be looked after", error=str(failed))
