"""Routes under `/_sim` for what the market itself does: jumps through its time."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response
from local.exchange.http.sim import clock_body
from local.exchange.market.calendar import TICK, Moment
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange


async def jump(request: web.Request) -> web.Response:
    """Bring the market to a time: every tick on the way is processed, so orders fill and expire.

    A date alone means shortly before that day's open, or the next one's where it is no session.
    """
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    target = str(body.get("to") or "")
    try:
        at = _before_open(exchange, date.fromisoformat(target)) if len(target) == 10 else _time(target)
    except ValueError:
        raise invalid("to must be a date (2008-09-15) or a time (2008-09-15T14:30:00Z)") from None
    last = exchange.market.tape.last_session
    end = exchange.market.calendar.time_of(Moment(last, exchange.market.calendar[last].last_tick))
    if not exchange.ledger.now <= at <= end:
        raise invalid(f"time goes forward and ends at {end:%Y-%m-%dT%H:%M:%SZ}")
    await _advance(exchange, at)
    return json_response(clock_body(exchange))


async def _advance(exchange: Exchange, at: datetime) -> None:
    """Process tick after tick up to `at`; others are served after each session."""
    ledger, calendar = exchange.ledger, exchange.market.calendar
    while not exchange.is_over:
        day = calendar[ledger.moment.session]
        if ledger.moment.tick >= day.last_tick:
            if calendar[day.index + 1].opens - TICK > at:
                return
            exchange.step_to_pre_open()
            await asyncio.sleep(0)
        elif day.closes <= at:
            exchange.step_to_close()
        elif calendar.time_of(Moment(day.index, ledger.moment.tick + 1)) <= at:
            exchange.step()
        else:
            return


def _before_open(exchange: Exchange, day: date) -> datetime:
    calendar = exchange.market.calendar
    index = min(calendar.index_from(day), len(calendar) - 1)
    return calendar[index].opens - TICK


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
