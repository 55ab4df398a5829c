"""A batch of claimed orders on its way to the broker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from engine.domain.book import Order
from engine.domain.submission import Outcome, Submission

FEW_LEFT: Final = 10  # orders of a batch that wait for a sender while the next batch is claimed


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one order until a moment of this machine's monotonic clock."""

    order: Order
    until_s: float


class Sending:
    """Each sender takes the next order, as soon as it is free: nobody is woken up for each of them."""

    def __init__(
        self, permits: Sequence[Permit], send: Callable[[Permit], Submission], pool: ThreadPoolExecutor, senders: int
    ) -> None:
        self.permits = permits
        self._send = send
        self._waiting = iter(permits)
        self._sent: dict[str, Submission] = {}
        self._few_left = threading.Event()
        self._has_failed = False
        self._senders = [pool.submit(self._send_on) for _ in range(min(senders, len(permits)))]

    def wait_for_few_left(self) -> None:
        """Return once hardly any order waits for a sender any more."""
        self._few_left.wait()

    @property
    def is_held_up(self) -> bool:
        """Tell whether an order was handed back so far, or a sender was stopped by an error."""
        return self._has_failed or any(each.outcome is Outcome.NOT_SENT for each in tuple(self._sent.values()))

    def submissions(self) -> list[Submission]:
        """Wait until all are sent; return what came of each, in the order of the permits.

        Raises
        ------
        What sending an order has raised: the others then wait no more, and are not sent
        """
        for sender in self._senders:
            sender.result()
        return [self._sent[permit.order.id] for permit in self.permits]

    def _send_on(self) -> None:
        is_done = False
        try:
            for permit in self._waiting:  # all senders share it
                self._sent[permit.order.id] = self._send(permit)
                if len(self.permits) - len(self._sent) <= FEW_LEFT:
                    self._few_left.set()
            is_done = True
        finally:
            self._has_failed = self._has_failed or not is_done
            deque(self._waiting, maxlen=0)  # after an error nothing more is sent
            self._few_left.set()
