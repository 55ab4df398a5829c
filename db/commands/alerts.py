"""Alerts: have them looked at, mute and acknowledge them, and the outbox that the engines empty."""

from typing import Any
from uuid import UUID

from supabase import Client

from db.alert_models import Alert, AlertMute, Evaluated, NoticeSettled, Notification, QueuedTest
from db.commands._call import Payload, call


def evaluate_alerts(client: Client, *, notifiers: int = 0) -> Evaluated:
    """Bring the alerts in line with what holds now. Engines, operators and admins.

    Parameters
    ----------
    notifiers : how many targets the calling engine can send to
    """
    return Evaluated.model_validate(call(client, "evaluate_alerts", p_notifiers=notifiers))


def mute_alert(
    client: Client,
    *,
    reason: str,
    rule: str | None = None,
    subject: str | None = None,
    minutes: int = 60,
    request_id: UUID | None = None,
) -> AlertMute:
    """Hold notices back: of a rule, of a subject, or of one rule about one subject. Operators and admins."""
    data = call(
        client,
        "mute_alert",
        p_reason=reason,
        p_rule=rule,
        p_subject=subject,
        p_minutes=minutes,
        p_request_id=request_id,
    )
    return AlertMute.model_validate(data["mute"])


def unmute_alert(client: Client, *, mute_id: UUID, reason: str, request_id: UUID | None = None) -> AlertMute:
    """End a mute early. Operators and admins."""
    data = call(client, "unmute_alert", p_mute_id=mute_id, p_reason=reason, p_request_id=request_id)
    return AlertMute.model_validate(data["mute"])


def acknowledge_alert(client: Client, *, alert_id: UUID, note: str = "", request_id: UUID | None = None) -> Alert:
    """Say that somebody looks after an open alert. Operators and admins."""
    data = call(client, "acknowledge_alert", p_alert_id=alert_id, p_note=note, p_request_id=request_id)
    return Alert.model_validate(data["alert"])


def test_alert(client: Client, *, request_id: UUID | None = None) -> QueuedTest:
    """Queue a notice that only shows whether notices arrive. Admins."""
    return QueuedTest.model_validate(call(client, "test_alert", p_request_id=request_id))


test_alert.__test__ = False  # type: ignore[attr-defined]  # its name is the function's, not that of a test


def claim_notifications(client: Client, *, holder: str, limit: int, ttl_s: int) -> list[Notification]:
    """Take notices that are due, the oldest first; nobody else gets them for `ttl_s` seconds. Engines."""
    data = call(client, "claim_notifications", p_holder=holder, p_limit=limit, p_ttl_s=ttl_s)
    return [Notification.model_validate(row) for row in data]


def settle_notifications(client: Client, *, holder: str, results: Payload) -> list[NoticeSettled]:
    """Say what came of claimed notices; a token that is not the newest settles nothing. Engines."""
    data = call(client, "settle_notifications", p_holder=holder, p_results=list(results))
    return [NoticeSettled.model_validate(row) for row in data]


def engine_telemetry(
    client: Client, *, shard: str, control_after: int | None = None, order_after: int | None = None
) -> dict[str, Any]:
    """Return what happened since the cursors, for an engine's metrics; without cursors, since its lease was taken."""
    return dict(
        call(client, "engine_telemetry", p_shard=shard, p_control_after=control_after, p_order_after=order_after)
    )
