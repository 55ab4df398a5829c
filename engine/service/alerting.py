"""Alerting: have the database look for what somebody should know of, and carry the notices out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from engine.domain.alerts import Message, Notice, deliveries_of, messages_of
from engine.domain.errors import AuthorityUnavailable
from engine.ports.alert_desk import AlertDesk
from engine.ports.clock import Clock
from engine.ports.notifier import Notifier
from engine.service import metrics

CLAIM_MAX: Final = 50
CLAIM_TTL_S: Final = 60
# A claim is left alone this long before its end: what is sent then would be sent by the next holder as well.
CLAIM_RESERVE_S: Final = 20.0
AWAY_TOLD_AFTER_S: Final = 30.0
AWAY_WAIT_MAX_S: Final = 60.0  # between two tries of telling it
log = structlog.get_logger(__name__)


class Alerting:
    """Needs no lease: every engine looks and delivers, the database keeps them out of each other's way."""

    def __init__(self, desk: AlertDesk, notifier: Notifier, clock: Clock, *, holder: str) -> None:
        self._desk = desk
        self._notifier = notifier
        self._clock = clock
        self._holder = holder
        self._away_since_s: float | None = None
        self._away_told: set[str] = set()  # the targets that know it
        self._away_tries = 0
        self._try_again_s: int | float = 0
        self._pool = ThreadPoolExecutor(max(1, len(notifier.targets)), thread_name_prefix="notifier")

    def evaluate(self) -> int:
        """Have the alerts looked at; return how many opened.

        Raises
        ------
        AuthorityUnavailable; when that lasts, the targets are told without the outbox, since nobody else can
        """
        try:
            looked = self._desk.evaluate(len(self._notifier.targets))
        except AuthorityUnavailable:
            self._note_away()
            raise
        self._note_back()
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

    def _note_away(self) -> None:
        now_s = self._clock.monotonic_s()
        self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
        missing = [target for target in self._notifier.targets if target not in self._away_told]
        if missing and now_s >= max(self._away_since_s + AWAY_TOLD_AFTER_S, self._try_again_s):
            said = "The authority cannot be reached: entries are stopped, exits go on."
            self._away_told |= self._tell_directly(missing, "opened", said)
            self._try_again_s = self._clock.monotonic_s() + min(2**self._away_tries, AWAY_WAIT_MAX_S)
            self._away_tries += 1

    def _note_back(self) -> None:
        if self._away_told:
            self._tell_directly(sorted(self._away_told), "resolved", "The authority can be reached again.")
        self._away_since_s, self._away_told, self._away_tries, self._try_again_s = None, set(), 0, 0

    def _tell_directly(self, targets: Sequence[str], event: str, body: str) -> set[str]:
        """Send without the outbox; return the targets that have it now."""
        notice = Notice(
            id=f"authority-away {self._holder}",
            token=0,
            severity="critical",
            event=event,
            title="Critical: authority away" if event == "opened" else "Resolved: authority away",
            body=f"{body} Told by {self._holder}.",
        )
        (message,) = messages_of([notice])
        answers = self._pool.map(lambda target: self._notifier.send(target, message), targets)
        refused = {target: why for target, why in zip(targets, answers, strict=True) if why is not None}
        for target, why in refused.items():
            log.error("notice refused", target=target, why=why, notices=[notice.id])
        return set(targets) - refused.keys()

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
