"""The fault switch: lets a test make chosen routes, orders or the stream misbehave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Kind(StrEnum):
    """What goes wrong.

    `..._before`: the exchange never sees the request. `..._after_accept`: it does, and the client
    is not told. `refuse` answers `status` and `body`; `set_field` and `missing_field` change `field`
    of the answer (to `value`); `clock_skew` moves the clock's time by `delay_ms`.

    `quote_locked`, `quote_crossed`, `quote_stale` (the quote of `delay_ms` ago, as old as it says),
    `bars_missing` and `volume_zero` change what the data endpoints show, and that alone: orders are
    checked and filled by the tape's own quote, as at a broker whose data feed has gone wrong.

    Carried out by orders: `reject_later` (accepted, rejected after `ticks`), `cancel_ignored` (204
    and nothing happens), `cancel_pending` (takes `ticks`, and may lose to a fill), `cancel_stuck`,
    `cancel_too_late` (fills first), `replace_pending` (takes `ticks`; if the old order fills, the new
    one is rejected), `partial_fill` (lets `fraction` of the next fill through). `read_lag` and
    `position_lag` show what was `delay_ms` ago.

    `stream_mute` and `stream_drop` are told apart by how often they strike.
    """

    ERROR_BEFORE = "500_before"
    BAD_GATEWAY_BEFORE = "502_before"
    UNAVAILABLE_BEFORE = "503_before"
    GATEWAY_TIMEOUT_BEFORE = "504_before"
    UNAUTHORIZED = "401_before"
    RATE_LIMITED = "429_before"
    REFUSE = "refuse"
    HANG = "hang"
    DELAY = "delay"
    GATEWAY_TIMEOUT_AFTER_ACCEPT = "504_after_accept"
    ERROR_AFTER_ACCEPT = "500_after_accept"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    HANG_AFTER_ACCEPT = "hang_after_accept"
    DELAY_AFTER_ACCEPT = "delay_after_accept"
    TRUNCATED_JSON = "truncated_json"
    EMPTY_BODY = "empty_body"
    HTML_BODY = "html_body"
    SET_FIELD = "set_field"
    MISSING_FIELD = "missing_field"
    CLOCK_SKEW = "clock_skew"
    QUOTE_LOCKED = "quote_locked"
    QUOTE_CROSSED = "quote_crossed"
    QUOTE_STALE = "quote_stale"
    BARS_MISSING = "bars_missing"
    VOLUME_ZERO = "volume_zero"

    REJECT_LATER = "reject_later"
    CANCEL_IGNORED = "cancel_ignored"
    CANCEL_PENDING = "cancel_pending"
    CANCEL_STUCK = "cancel_stuck"
    CANCEL_TOO_LATE = "cancel_too_late"
    REPLACE_PENDING = "replace_pending"
    READ_LAG = "read_lag"
    POSITION_LAG = "position_lag"

    PARTIAL_FILL = "partial_fill"

    STREAM_MUTE = "stream_mute"
    STREAM_DROP = "stream_drop"
    STREAM_DUPLICATE = "stream_duplicate"
    STREAM_REORDER = "stream_reorder"
    STREAM_DELAY = "stream_delay"
    STREAM_DISCONNECT = "stream_disconnect"
    STREAM_AUTH_FAILURE = "stream_auth_failure"
    STREAM_REFUSE_SECOND = "stream_refuse_second"
    STREAM_UNKNOWN_STATUS = "stream_unknown_status"

    @property
    def is_of_stream(self) -> bool:
        return self.value.startswith("stream_")

    @property
    def is_of_route(self) -> bool:
        return not self.is_of_stream and self is not Kind.PARTIAL_FILL


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault.

    `route` is a method and a path as in the table of routes, such as `POST /v2/orders`, where `*`
    stands for anything; `symbol` narrows it to one security. It strikes `count` times (None: until
    it is cleared), each time with `probability`, drawn from its own seeded generator.
    """

    kind: Kind
    route: str = "*"
    symbol: str | None = None
    count: int | None = 1
    probability: float = 1.0
    seed: int = 0
    delay_ms: int = 0
    ticks: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    id: int = 0
    hits: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    @property
    def is_spent(self) -> bool:
        return self.count is not None and self.hits >= self.count

    def strikes(self) -> bool:
        """Draw whether the fault strikes now, and count it if so."""
        if self.is_spent or self.rng.random() >= self.probability:
            return False
        self.hits += 1
        return True


class FaultSwitch:
    """Armed faults, first armed first used; hangs last until `clear`."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self._released = asyncio.Event()
        self._ids = count(1)

    def arm(self, fault: Fault) -> None:
        fault.id = next(self._ids)
        self.armed.append(fault)

    def disarm(self, fault_id: int) -> bool:
        """Disarm one fault; return whether there was such a one."""
        before = len(self.armed)
        self.armed = [fault for fault in self.armed if fault.id != fault_id]
        return len(self.armed) < before

    def clear(self) -> None:
        """Disarm everything and let hanging requests go."""
        self.armed.clear()
        self._released.set()
        self._released = asyncio.Event()

    def take_for_route(self, route: str, symbol: str | None) -> Fault | None:
        """Return the fault that strikes a request, if one does."""
        for fault in self.armed:
            if not fault.kind.is_of_route:
                continue
            if fnmatchcase(route, fault.route) and _is_about(fault, symbol) and fault.strikes():
                return fault
        return None

    def take(self, *kinds: Kind, symbol: str | None = None) -> Fault | None:
        """Return the fault of one of `kinds` that strikes now, if one does."""
        for fault in self.armed:
            if fault.kind in kinds and _is_about(fault, symbol) and fault.strikes():
                return fault
        return None

    async def hang(self) -> None:
        """Wait until the faults are cleared."""
        await self._released.wait()


def _is_about(fault: Fault, symbol: str | None) -> bool:
    return fault.symbol is None or fault.symbol == symbol
