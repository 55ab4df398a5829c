"""Failover: the authority's desk as long as it answers, the offline desk for exits when it does not."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.book import Order
from engine.domain.broker_types import BrokerOrder
from engine.domain.errors import AuthorityUnavailable
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Submission
from engine.ports.authority import CancelRequest, OrderDesk, UpdateAnswer
from engine.service.offline_desk import OfflineDesk


class FailoverDesk:
    """Entries and permits come from the authority alone: without it there are none."""

    def __init__(self, desk: OrderDesk, offline: OfflineDesk) -> None:
        self._desk = desk
        self._offline = offline

    def request_entries(self, requests: Sequence[EntryRequest], *, permits: int = 0) -> list[Answer]:
        """Put entries to the gate, nowhere else; permits come once it knows what was done without it."""
        if permits:
            self._offline.replay()
        return self._desk.request_entries(requests, permits=permits)

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]:
        """Ask the authority, once it knows what was done without it; or carry the exits out without it."""
        try:
            self._offline.replay()
            return self._desk.request_exits(requests)
        except AuthorityUnavailable:
            return self._offline.request_exits(requests)

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        """Ask the authority, or cancel without it."""
        try:
            return self._desk.request_cancels(requests)
        except AuthorityUnavailable:
            return self._offline.request_cancels(requests)

    def claim(self, *, limit: int = 50, exits_only: bool = False) -> list[Order]:
        """Take permits from the authority, once it knows what was done without it; nowhere else."""
        self._offline.replay()
        return self._desk.claim(limit=limit, exits_only=exits_only)

    def record_submissions(self, submissions: Sequence[Submission]) -> None:
        """Tell the authority; what it does not hear is written down and told later."""
        try:
            self._desk.record_submissions(submissions)
        except AuthorityUnavailable:
            self._offline.keep(submissions)
            raise

    def record_updates(self, orders: Sequence[BrokerOrder]) -> list[UpdateAnswer]:
        """Tell the authority; the broker tells the same again."""
        return self._desk.record_updates(orders)
