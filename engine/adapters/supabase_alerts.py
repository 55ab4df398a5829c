"""The alerts, their outbox and the telemetry in Supabase behind the ports AlertDesk and TelemetrySource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db import commands
from db.alert_models import Notification
from engine.adapters.supabase_authority import ShardSession
from engine.domain.alerts import Delivery, Notice
from engine.ports.alert_desk import Looked
from engine.ports.telemetry import Change, Cursors, Stage, Telemetry


class SupabaseAlertDesk:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def evaluate(self, notifiers: int) -> Looked:
        """Bring the alerts in line with what holds now."""
        looked = self._session.call(commands.evaluate_alerts, notifiers=notifiers)
        return Looked(looked.evaluated, looked.opened, looked.resolved)

    def claim(self, holder: str, *, limit: int, ttl_s: int) -> list[Notice]:
        claimed = self._session.call(commands.claim_notifications, holder=holder, limit=limit, ttl_s=ttl_s)
        return [_notice(row) for row in claimed]

    def settle(self, holder: str, deliveries: Sequence[Delivery]) -> int:
        results = [
            {
                "id": delivery.notice.id,
                "token": delivery.notice.token,
                "delivered_to": sorted(delivery.delivered_to),
                "error": delivery.error,
            }
            for delivery in deliveries
        ]
        settled = self._session.call(commands.settle_notifications, holder=holder, results=results)
        return sum(row.status == "failed" for row in settled)


class SupabaseTelemetry:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def read(self, after: Cursors | None) -> Telemetry:
        """Return what happened since the cursors, or since the lease was taken, and how things stand."""
        found = self._session.call(
            commands.engine_telemetry,
            shard=self._session.shard,
            control_after=after.control if after else None,
            order_after=after.order if after else None,
        )
        return Telemetry(
            cursors=Cursors(control=found["control_id"], order=found["order_id"]),
            changes=tuple(_change(row) for row in found["changes"]),
            stages=tuple(Stage(row["purpose"], row["stage"], float(row["seconds"])) for row in found["stages"]),
            denied=dict(found["denied"]),
            findings=dict(found["findings"]),
            alerts=dict(found["alerts"]),
            notices_waiting=found["notices_waiting"],
        )


def _notice(row: Notification) -> Notice:
    return Notice(
        id=str(row.id),
        token=row.token,
        severity=row.severity,
        event=row.event,
        title=row.title,
        body=row.body,
        delivered_to=frozenset(row.delivered_to),
    )


def _change(row: dict[str, Any]) -> Change:
    stopped_s = row["stopped_s"]
    return Change(row["scope"], row["to_mode"], row["by"], None if stopped_s is None else float(stopped_s))
