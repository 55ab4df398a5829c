"""The authority as a drill needs it, with the rights of the person who runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from db import commands
from db.errors import AuthorityError, Unreachable
from db.models import TradingStatus
from db.queries.drills import (
    drill_heartbeats,
    drill_order,
    drill_positions,
    entries_sent_after,
    entry_ids,
    live_profiles,
)
from engine.domain.errors import AuthorityUnavailable, Refused
from engine.ports.drill import Control, ExitOrder, Held

REASON_CODE: Final = "drill"


class PersonsDrillDesk:
    """Raises AuthorityUnavailable when there is no answer, Refused when the answer is no."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def control(self) -> Control:
        return _control(self.status())

    def status(self) -> TradingStatus:
        """Return all that the authority says."""
        with _told_apart():
            return commands.trading_status(self._client)

    def obstacles(self) -> Sequence[str]:
        """Return why no drill may start now; empty when one may."""
        with _told_apart():
            if commands.trading_status(self._client).role != "admin":
                return ["Only an admin may stop trading."]
            live = [
                f"Profile {name} is live: drills are for paper trading only." for name in live_profiles(self._client)
            ]
            unmet = [item.detail for item in commands.preflight_resume(self._client).items if not item.ok]
            closed = [
                f"The market of shard {beat['shard']} is closed, and no exit would be filled."
                for beat in drill_heartbeats(self._client)
                if (beat["detail"] or {}).get("market_open") is not True
            ]
        return [*live, *(f"Not met before a resume: {detail}" for detail in unmet), *closed]

    def change(self, mode: str, reason: str, *, expected_version: int, before: Control | None = None) -> Control:
        """Set the mode, unless somebody was faster; a resume brings the stage of `before` back."""
        about: dict[str, Any] = {
            "reason": reason, "reason_code": REASON_CODE, "expected_version": expected_version,
        }  # fmt: skip
        with _told_apart():
            if mode == "HALTED":
                answer = commands.halt_trading(self._client, **about)
            elif mode == "PAUSED":
                answer = commands.pause_trading(self._client, **about)
            else:
                stage: dict[str, Any] = {
                    "stage_entries": before and before.stage_entries,
                    "stage_fraction": before and before.stage_fraction,
                }
                answer = commands.resume_trading(self._client, **about, **stage)
        return _control(answer.status)

    def entries_among(self, order_ids: Sequence[str]) -> set[str]:
        """Return which of these are entries of ours."""
        with _told_apart():
            return entry_ids(self._client, [text for text in order_ids if _is_uuid(text)])

    def entries_sent_after(self, at: datetime) -> int:
        with _told_apart():
            return entries_sent_after(self._client, at)

    def held(self) -> Sequence[Held]:
        with _told_apart():
            return [_held(row) for row in drill_positions(self._client)]

    def close(self, trade_id: str, reason: str) -> str:
        """Ask for an exit; return its order's id."""
        with _told_apart():
            return str(commands.close_position(self._client, trade_id=UUID(trade_id), reason=reason).order_id)

    def exit_order(self, order_id: str) -> ExitOrder:
        with _told_apart():
            row = drill_order(self._client, order_id)
        ended = row["state"] in ("filled", "canceled", "expired", "rejected", "replaced", "denied")
        return ExitOrder(
            state=row["state"],
            asked_at=datetime.fromisoformat(row["created_at"]),
            sent_at=_maybe_time(row["submitted_at"]),
            ended_at=_maybe_time(row["updated_at"]) if ended else None,
        )


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise AuthorityUnavailable(error.message) from error
    except AuthorityError as error:
        raise Refused(error.code, error.message, error.hint) from error


def _control(status: TradingStatus) -> Control:
    return Control(
        mode=status.mode,
        version=status.version,
        changed_at=status.changed_at,
        changed_by=status.lastChangedBy,
        reason=status.reason,
        quiesced_at=status.quiesced_at,
        stage_entries=status.stage.entries_left if status.stage else None,
        stage_fraction=status.stage.fraction if status.stage else None,
    )


def _held(row: dict[str, Any]) -> Held:
    price = Decimal(row["mark_price"] or row["avg_entry_price"])
    qty = Decimal(row["qty"])
    return Held(row["trade_id"], row["symbol"], qty, qty * price, tuple(row["stops"]))


def _maybe_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
