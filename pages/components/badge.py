"""The badge: what is known about trading, as HTML that fades to UNKNOWN when it is not renewed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from db.errors import AuthorityError
from db.models import EngineStatus, TradingStatus
from pages.components.formats import age, clock_time, count
from pages.session.status import Reading

TICK_S = 3
EXPIRES_AFTER_S = 15

# The header is renewed every few seconds. When the pages' process or the network dies, nothing renews
# it, and nothing could replace a green badge either: so it carries its own end.
STYLE = f"""<style>
@keyframes il-show {{ from {{ visibility: hidden; height: 0 }} to {{ visibility: visible; height: auto }} }}
@keyframes il-hide {{ to {{ visibility: hidden; height: 0; overflow: hidden; position: absolute }} }}
.il-live {{ animation: il-hide 0s linear {EXPIRES_AFTER_S}s forwards }}
.il-expired {{ visibility: hidden; height: 0; animation: il-show 0s linear {EXPIRES_AFTER_S}s forwards }}
.il-row {{ display: flex; flex-wrap: wrap; gap: 8px; align-items: center }}
.il-pill {{ display: inline-flex; align-items: center; gap: 6px; padding: 4px 12px; border-radius: 999px;
  font-weight: 650; font-size: 14px; line-height: 20px; color: #fff; white-space: nowrap }}
.il-running {{ background: #047857 }} .il-paused {{ background: #B54708 }} .il-halted {{ background: #B42318 }}
.il-unknown {{ background: #475569 }}
.il-waiting {{ background: #6D28D9 }} .il-paper {{ background: #1D4ED8 }} .il-live-money {{ background: #B42318 }}
.il-note {{ font-size: 13px; opacity: .78; margin-top: 4px; line-height: 18px; overflow-wrap: anywhere }}
.il-facts {{ display: grid; grid-template-columns: max-content 1fr; gap: 5px 16px; margin: 0; padding: 0;
  font-size: 14px }}
.il-facts dt {{ opacity: .7 }} .il-facts dd {{ margin: 0; padding: 0; overflow-wrap: anywhere }}
[data-testid=stButtonGroup] [data-selected]:not([data-disabled]) {{ color: inherit; font-weight: 600 }}
.st-key-header_pause button {{ background: #B42318; border-color: #B42318; color: #fff }}
.st-key-header_pause button:is(:hover, :focus) {{ background: #912018; border-color: #912018; color: #fff }}
.st-key-header_pause button:disabled {{ background: transparent; border-color: currentColor; color: inherit;
  opacity: .45 }}
</style>"""


@dataclass(frozen=True)
class Surroundings:
    """What the badge knows beside the reading. `market`: PAPER, LIVE, or what is known; `profiles`: names by id."""

    market: str = "UNKNOWN MARKET"
    profiles: Mapping[str, str] = field(default_factory=dict)


_LOOKS = {"RUNNING": ("il-running", "▶"), "PAUSED": ("il-paused", "‖"), "HALTED": ("il-halted", "■")}


def badge_html(reading: Reading, around: Surroundings, zone: ZoneInfo) -> str:
    """Return the badge for one reading."""
    market = _market_pill(around.market)
    status = reading.status
    if status is None:
        return f'<div class="il-row">{market}{_unknown()}</div>{_note(_why_unknown(reading, zone))}'
    pills = f"{market}{_mode_pill(status)}{_engine_pill(status.engine)}{_waiting_pill(status.approvals_waiting)}"
    live = f'<div class="il-row">{pills}</div>{_note(_who_when_why(status, around.profiles, zone))}'
    return f'<div class="il-live">{live}</div><div class="il-expired">{_expired(market, reading, zone)}</div>'


def mode_words(status: TradingStatus) -> str:
    """Return the mode and how far it has taken hold, in a few words."""
    if status.mode == "RUNNING":
        return f"RUNNING, {count(len(status.scopes), 'scope')} stopped" if status.scopes else "RUNNING"
    if status.phase == "draining":
        return f"{status.mode} · draining, {count(len(status.entries_in_flight), 'entry')} in flight"
    return f"{status.mode} · quiesced"


def next_change_words(change: Mapping[str, Any], profiles: Mapping[str, str], zone: ZoneInfo) -> str:
    """Return the next planned change in a few words: next: IBM PAUSED at 23 Nov 09:30 EST."""
    at = datetime.fromisoformat(change["at"]).astimezone(zone)
    scope = _scope_words(change["scope"], change["scope_key"], profiles)
    return f"next: {scope} {change['to_mode']} at {at:%d %b %H:%M %Z}"


def _scope_words(scope: str, key: str, profiles: Mapping[str, str]) -> str:
    if scope == "global":
        return "all trading"
    return f"profile {profiles.get(key, key)}"[:60] if scope == "profile" else f"symbol {key}"[:60]


def _market_pill(market: str) -> str:
    return _pill("il-live-money" if "LIVE" in market else "il-paper" if market == "PAPER" else "il-unknown", market)


def _waiting_pill(waiting: int) -> str:
    if not waiting:
        return ""
    return _pill("il-waiting", f"{count(waiting, 'approval')} waiting", testid="approvals")


def _mode_pill(status: TradingStatus) -> str:
    look, icon = _LOOKS[status.mode]
    if status.mode == "RUNNING" and status.scopes:
        look = "il-paused"
    return _pill(look, f"{icon} AUTO-TRADING: {mode_words(status)}", testid="mode", is_announced=True)


def _engine_pill(engine: EngineStatus) -> str:
    if engine.age_s is None:
        return _pill("il-unknown", "Engine: no sign of life yet", testid="engine")
    since = age(timedelta(seconds=float(engine.age_s)))
    if not engine.alive:
        return _pill("il-halted", f"Engine STALE · last seen {since} ago", testid="engine")
    return _pill("il-running", f"Engine alive · {since} ago", testid="engine")


def _who_when_why(status: TradingStatus, profiles: Mapping[str, str], zone: ZoneInfo) -> str:
    since = f"{status.mode.capitalize()} for {age(status.checked_at - status.changed_at)}"
    parts = [f"{since}, since {status.changed_at.astimezone(zone):%d %b %H:%M:%S %Z}, by {status.lastChangedBy}"]
    if status.reason:
        parts.append(f"“{status.reason[:120]}”")
    parts.append("scope: all profiles")
    parts += [f"{_scope_words(held.scope, held.scope_key, profiles)} {held.mode}" for held in status.scopes[:3]]
    if status.next_change:
        parts.append(next_change_words(status.next_change, profiles, zone))
    parts.append(f"checked {clock_time(status.checked_at, zone)}")
    return " · ".join(parts)


def _why_unknown(reading: Reading, zone: ZoneInfo) -> str:
    error = reading.error or AuthorityError("Nothing was read yet.")
    return f"{error.message} Whether entries may flow is not known. Tried {clock_time(reading.read_at, zone)}."


def _expired(market: str, reading: Reading, zone: ZoneInfo) -> str:
    note = f"This page is no longer kept up to date. Last read {clock_time(reading.read_at, zone)}. Reload it."
    return f'<div class="il-row">{market}{_unknown()}</div>{_note(note)}'


def _unknown() -> str:
    return _pill("il-unknown", "? AUTO-TRADING: UNKNOWN", testid="mode", is_announced=True)


def _pill(look: str, text: str, testid: str = "marker", *, is_announced: bool = False) -> str:
    """Return a pill. Screen readers announce the mode as it changes; ages that count up would never let them rest."""
    role = ' role="status"' if is_announced else ""
    return f'<span class="il-pill {look}" data-testid="badge-{testid}"{role}>{escape(text)}</span>'


def _note(text: str) -> str:
    return f'<div class="il-note">{escape(text)}</div>'
