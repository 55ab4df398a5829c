"""Alerting: have the database look for what somebody should know of, and carry the notices out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from engine.domain.alerts import Message, deliveries_of, messages_of
from engine.ports.alert_desk import AlertDesk
from engine.ports.clock import Clock
from engine.ports.notifier import Notifier
from engine.service import metrics

CLAIM_MAX: Final = 50
CLAIM_TTL_S: Final = 60
# A claim is left alone this long before its end: what is sent then would be sent by the next holder as well.
CLAIM_RESERVE_S: Final = 20.0
log = structlog.get_logger(__name__)


class Alerting:
    """Needs no lease: every engine looks and delivers, the database keeps them out of each other's way."""

    def __init__(self, desk: AlertDesk, notifier: Notifier, clock: Clock, *, holder: str) -> None:
        self._desk = desk
        self._notifier = notifier
        self._clock = clock
        self._holder = holder
        self._pool = ThreadPoolExecutor(max(1, len(notifier.targets)), thread_name_prefix="notifier")

    def evaluate(self) -> int:
        """Have the alerts looked at; return how many opened."""
        looked = self._desk.evaluate(len(self._notifier.targets))
        if looked.opened or looked.resolved:
            log.warning("alerts changed", opened=looked.opened, resolved=looked.resolved)
        return looked.opened

    def deliver(self) -> int:
        """Send the notices that are due; return how many every target has now."""
        if not self._notifier.targets:
            return 0
        asked_s = self._clock.monotonic_s()
        notices = self._desk.claim(self._holder, limit=CLAIM_MAX, ttl_s=CLAIM_TTL_S)
        delivered = 0
        for message in messages_of(notices):
            if self._clock.monotonic_s() - asked_s > CLAIM_TTL_S - CLAIM_RESERVE_S:
                log.warning("slow targets: the rest of the claimed notices is left for the next claim")
                break
            delivered += self._deliver(message)
        return delivered

    def _deliver(self, message: Message) -> int:
        """Send one message to the targets that do not have it, all at once, and report what came of it."""
        targets = [target for target in self._notifier.targets if target not in message.delivered_to]
        started_s = self._clock.monotonic_s()
        answers = self._pool.map(lambda target: self._notifier.send(target, message), targets)
        refused = {target: why for target, why in zip(targets, answers, strict=True) if why is not None}
        metrics.NOTICE_DELIVERY.observe(self._clock.monotonic_s() - started_s)
        for target, why in refused.items():
            log.warning("notice refused", target=target, why=why, notices=[notice.id for notice in message.notices])
        given_up = self._desk.settle(self._holder, deliveries_of(message, refused, targets))
        if given_up:
            log.error("notices given up after the last try", notices=given_up)
            metrics.NOTICES.labels("failed").inc(given_up)
        if refused:
            metrics.NOTICES.labels("refused").inc(len(message.notices))
            return 0
        metrics.NOTICES.labels("sent").inc(len(message.notices))
        return len(message.notices)
