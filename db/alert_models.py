"""Rows and answers about alerts and their notices."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from db.models import Row


class Alert(Row):
    """What somebody should know of; open while `resolved_at` is None."""

    id: UUID
    rule: str
    subject: str
    severity: Literal["warning", "critical"]
    owner_id: UUID | None
    profile_id: UUID | None
    symbol: str | None
    message: str
    detail: dict[str, Any]
    opened_at: datetime
    notified_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by_email: str | None
    acknowledged_note: str | None
    resolved_at: datetime | None


class AlertMute(Row):
    """Notices that are held back; "*" stands for every rule or every subject."""

    id: UUID
    rule: str
    subject: str
    reason: str
    starts_at: datetime
    expires_at: datetime
    created_by_email: str
    removed_at: datetime | None
    removed_by_email: str | None
    removed_reason: str | None


class Evaluated(Row):
    """What a look at the alerts changed; `evaluated` is False when somebody else has just looked."""

    evaluated: bool
    opened: int
    resolved: int


class Notification(Row):
    """A notice in the outbox, as claimed; `token` fences the claim."""

    id: UUID
    alert_id: UUID | None
    event: Literal["opened", "resolved", "test"]
    severity: Literal["warning", "critical"]
    title: str
    body: str
    status: Literal["queued", "sending", "sent", "failed", "expired"]
    attempts: int
    token: int
    delivered_to: list[str]
    created_at: datetime


class NoticeSettled(Row):
    """What a notice is after its result was reported; `settled` is False when the claim was no longer ours."""

    id: UUID
    settled: bool
    status: str | None


class QueuedTest(Row):
    """A test notice that waits in the outbox; `notifier` tells whether any engine can send it."""

    notification_id: UUID
    notifier: bool
