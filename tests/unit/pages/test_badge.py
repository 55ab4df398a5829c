"""The badge never says more than is known."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from db.errors import Unreachable
from db.models import TradingStatus
from pages.components.badge import Surroundings, badge_html, mode_words
from pages.session.status import Reading

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
ZONE = ZoneInfo("UTC")


def status(**changes: Any) -> TradingStatus:
    """Return a running status, checked NOW, with changes."""
    values: dict[str, Any] = {
        "mode": "RUNNING", "lastChangedBy": "admin@interlock.local", "lastChangedAt": 0, "reason": "Call is over",
        "reason_code": "manual", "version": 3, "changed_at": NOW - timedelta(minutes=5), "resume_at": None,
        "phase": "running", "quiesced_at": None, "entries_in_flight": [], "scopes": [], "next_change": None,
        "role": "analyst", "email": "a@b.c", "checked_at": NOW,
        "engine": {"alive": True, "age_s": "0.4", "beat_at": NOW, "market_at": None, "holder": "h", "version": "1"},
    }  # fmt: skip
    return TradingStatus.model_validate(values | changes)


def shown(reading: Reading) -> str:
    return badge_html(reading, Surroundings("PAPER", {"p-1": "Alice trend daily"}), ZONE)


def test_badge_says_who_when_why_and_how_old_when_it_can_be_read() -> None:
    html = shown(Reading(status(), None, NOW))

    assert "AUTO-TRADING: RUNNING" in html
    assert "by admin@interlock.local" in html
    assert "Call is over" in html
    assert "Running for 5 min" in html
    assert "checked 09:00:00 UTC" in html


def test_badge_is_unknown_and_nothing_else_when_it_cannot_be_read() -> None:
    html = shown(Reading(None, Unreachable("The database cannot be reached."), NOW))

    assert "UNKNOWN" in html
    assert "cannot be reached" in html
    assert "RUNNING" not in html
    assert "alive" not in html


def test_badge_carries_its_own_end_when_it_is_not_renewed() -> None:
    live, expired = shown(Reading(status(), None, NOW)).split('<div class="il-expired">')

    assert live.startswith('<div class="il-live">')
    assert "UNKNOWN" in expired
    assert "no longer kept up to date" in expired


def test_engine_is_stale_when_the_database_says_it_is_not_alive() -> None:
    engine = {"alive": False, "age_s": "61", "beat_at": NOW, "market_at": None, "holder": "h", "version": "1"}

    html = shown(Reading(status(engine=engine), None, NOW))

    assert "Engine STALE · last seen 61 s ago" in html
    assert "Engine alive" not in html


def test_pause_is_draining_until_no_entry_is_in_flight() -> None:
    permit = {"order_id": uuid4(), "state": "submitting", "symbol": "IBM", "permit_deadline": NOW}

    draining = status(mode="PAUSED", phase="draining", entries_in_flight=[permit])
    quiesced = status(mode="PAUSED", phase="quiesced", quiesced_at=NOW)

    assert mode_words(draining) == "PAUSED · draining, 1 entry in flight"
    assert mode_words(quiesced) == "PAUSED · quiesced"


def test_running_names_the_scopes_that_are_stopped() -> None:
    scope = {"scope": "symbol", "scope_key": "IBM", "mode": "PAUSED", "version": 1, "reason": "", "reason_code": "x",
             "changed_by_email": "a", "changed_at": NOW}  # fmt: skip

    html = shown(Reading(status(scopes=[scope]), None, NOW))

    assert "RUNNING, 1 scope stopped" in html
    assert "symbol IBM PAUSED" in html


def test_reason_cannot_smuggle_markup_into_the_header() -> None:
    html = shown(Reading(status(reason="<img src=x onerror=alert(1)>"), None, NOW))

    assert "<img" not in html
    assert "&lt;img" in html


def test_next_planned_change_is_named_with_scope_and_time() -> None:
    close = {"scope": "global", "scope_key": "*", "at": "2026-11-23T14:30:00+00:00", "to_mode": "PAUSED"}
    own = {"scope": "profile", "scope_key": "p-1", "at": "2026-11-23T14:30:00+00:00", "to_mode": "RUNNING"}

    assert "next: all trading PAUSED at 23 Nov 14:30 UTC" in shown(Reading(status(next_change=close), None, NOW))
    assert "next: profile Alice trend daily RUNNING at 23 Nov" in shown(Reading(status(next_change=own), None, NOW))
    assert "next:" not in shown(Reading(status(), None, NOW))


def test_waiting_approvals_are_counted_when_there_are_any() -> None:
    assert "2 approvals waiting" in shown(Reading(status(approvals_waiting=2), None, NOW))
    assert "waiting" not in shown(Reading(status(), None, NOW))


def test_only_the_mode_is_announced_to_screen_readers() -> None:
    live = shown(Reading(status(approvals_waiting=1), None, NOW)).split('<div class="il-expired">')[0]

    assert live.count('role="status"') == 1
    assert 'data-testid="badge-mode" role="status"' in live
