"""What a lockout goes back to: the headline with its source and score, the move, the trades or the difference."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from pages.components.formats import count, moment, money, share, signed_percent, words

Detail = Mapping[str, Any]


def source_words(detail: Detail, zone: ZoneInfo) -> str:
    """Return what the system saw, in a sentence; nothing for a lockout that a person has set."""
    if "headline" in detail:
        found = ", ".join(map(str, detail.get("words") or []))
        return (
            f"Headline from {detail.get('source') or 'an unnamed source'}, {_time(detail.get('published_at'), zone)}: "
            f"{count(int(detail.get('score') or 0), 'point')} for {found or 'no word'} "
            f"(scorer {detail.get('scorer') or 'unknown'})."
        )
    if "move_pct" in detail:
        sigmas = f", {detail['sigmas']} times its usual day" if "sigmas" in detail else ""
        move = signed_percent(_number(detail["move_pct"]))
        return f"{words(detail.get('kind'))} of {move}{sigmas}, at {_time(detail.get('market_at'), zone)} market time."
    if "lost_usd" in detail:
        lost, capital, limit = (_number(detail.get(name)) for name in ("lost_usd", "capital_usd", "limit"))
        return f"Lost {money(lost)} of {money(capital)}; the limit is {share(limit)}."
    if "trades" in detail:
        return f"{count(len(detail['trades']), 'trade')} stopped out; the limit is {detail.get('limit')}."
    if "finding_id" in detail:
        return f"Difference {words(str(detail.get('kind') or '').lower())}, number {detail['finding_id']} on Engine."
    return f"After {_exit(detail)}." if "trade_id" in detail else ""


def source_link(detail: Detail) -> str | None:
    """Return where what the system saw can be looked at: the article, or the trade that it began with."""
    url = detail.get("url")
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return url
    trades = detail.get("trades") or []
    trade = detail.get("trade_id") or (trades[-1] if trades else None)
    return f"/trades?trade={trade}" if trade else None


def _exit(detail: Detail) -> str:
    result = _number(detail.get("pnl_usd"))
    brought = "" if result != result else f" that brought {money(result)}"
    return f"a trade{brought}"


def _number(value: object) -> float:
    try:
        return float(Decimal(str(value)))
    except InvalidOperation:
        return float("nan")


def _time(value: object, zone: ZoneInfo) -> str:
    try:
        return moment(datetime.fromisoformat(str(value)), zone)
    except ValueError:
        return "at an unknown time"
