"""How an exchange moves through simulated time, together with the accounts that follow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from local.exchange.market.market import Market
from local.exchange.trading import session
from local.exchange.trading.hours import Clock
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.matching import FillProfile


class Stepping:
    """The part of an exchange that is about time; ticks are processed, never skipped."""

    ledger: Ledger
    market: Market
    profile: FillProfile
    followers: Sequence[Stepping]
    throttle: session.Throttle | None

    @property
    def is_over(self) -> bool:
        return session.is_over(self.ledger, self.market)

    def step(self, ticks: int = 1) -> None:
        """Process the next `ticks` ticks, or as many as the tape has left."""
        with self._all_ledgers():
            for _ in range(ticks):
                self._tick()

    def step_minutes(self, minutes: int) -> None:
        """Process `minutes` of market time, begun five counted full; nights take none."""
        with self._all_ledgers():
            for _ in range(-(-minutes // 5)):
                if not self.ledger.is_open:
                    self._go_to_open()  # the next open itself; the five minutes follow it
                self._tick()

    def step_to_open(self) -> None:
        """Process everything up to and including the next open."""
        with self._all_ledgers():
            self._go_to_open()

    def step_to_close(self) -> None:
        """Process everything up to and including the next close."""
        with self._all_ledgers():
            self._tick()
            self._go_to_close()

    def step_to_pre_open(self) -> None:
        """Process everything up to shortly before the next open, when auction orders may come."""
        with self._all_ledgers():
            if self.ledger.moment.tick < 0:
                self._tick()
            if not self.ledger.clock.after:
                self._go_to_close()
            self._pass_night()

    def skip_night(self) -> None:
        """Go to shortly before the next open; the night is walked where orders may trade in it."""
        with self._all_ledgers():
            self._pass_night()

    def _go_to_open(self) -> None:
        self._tick()
        while not self.ledger.clock.is_open_tick and not self.is_over:
            self._tick()

    def _go_to_close(self) -> None:
        while not self.ledger.clock.is_close(self.market.calendar):
            self._tick()

    def _pass_night(self) -> None:
        for each in self.accounts:
            each.pass_night(self.profile)

    def pass_night(self, profile: FillProfile) -> None:
        """Take this account alone through the night, tick by tick where it has orders for it."""
        while not session.skip_night(self.ledger, self.market):
            self.catch_up(session.next_tick(self.ledger, self.market), profile)
            if self.ledger.moment.tick < 0:
                return

    @property
    def walks_the_night(self) -> bool:
        """Tell whether the coming tick lies outside regular hours, since orders may trade there."""
        return any(session.next_tick(each.ledger, self.market).is_outside for each in self.accounts)

    def _tick(self) -> None:
        """Take all accounts to the tick that comes next for any of them."""
        if self.is_over:
            return
        clock = min(session.next_tick(each.ledger, self.market) for each in self.accounts)
        for each in self.accounts:
            if each.ledger.clock < clock:
                session.process_tick(each.ledger, self.market, self.profile, clock, each.throttle)

    def catch_up(self, clock: Clock, profile: FillProfile) -> None:
        """Process this account's own ticks up to `clock`: the next one, or all it has missed."""
        while self.ledger.clock < clock:
            following = min(session.next_tick(self.ledger, self.market), clock)
            session.process_tick(self.ledger, self.market, profile, following, self.throttle)

    @property
    def accounts(self) -> list[Stepping]:
        return [self, *self.followers]

    @contextmanager
    def _all_ledgers(self) -> Iterator[None]:
        """Make a step of all accounts: written one after another, this one's first.

        An account that a crash kept from being written is behind, and catches up at the start.
        """
        with ExitStack() as stack:
            for each in reversed(self.accounts):
                stack.enter_context(each.ledger.transaction())
            yield
