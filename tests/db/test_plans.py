"""A million orders: indexes carry every question of the pages, every policy and every function.

The questions are asked by `db.queries` itself, through a real PostgREST that tells how Postgres answered
each: no query is repeated here. Neither a sequential scan over a big table nor many buffers are allowed.
"""

import contextlib
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pandas as pd
import psycopg
import pytest
from supabase import Client, ClientOptions, create_client

import db.queries
from db.queries import (
    alerts,
    approvals,
    audit,
    bars,
    controls,
    decisions,
    drills,
    engine_state,
    equity,
    jobs,
    lockouts,
    members,
    orders,
    overrides,
    performance,
    positions,
    profiles,
    replays,
    risk_configs,
    runtime,
    schedules,
    signals,
    trades,
)
from db.queries.alerts import AlertFilters
from db.queries.approvals import ApprovalFilters
from db.queries.audit import ENGINE, AuditFilters
from db.queries.decisions import DecisionFilters
from db.queries.lockouts import LockoutFilters
from db.queries.orders import OrderFilters
from db.queries.paging import Cursor
from db.queries.performance import StatisticsFilters
from db.queries.positions import PositionFilters
from db.queries.signals import SignalFilters
from db.queries.trades import TradeFilters
from engine.domain.price_path import Plan
from engine.domain.replay import Fate, RecordedEntry
from local import postgres, postgrest_install
from local.auth.tokens import AccessTokens
from local.processes import Child
from tests.support import million
from tests.support.million import ADMIN, BUSY, FIRST_DAY, SMALL, entry_of
from tests.support.plans import (
    BUFFERS_MAX,
    ROWS_MAX,
    Enough,
    Explained,
    acting_as,
    buffers,
    complaints,
    explained,
    nodes,
)

pytestmark = pytest.mark.timeout(600)  # the first one waits for a million orders

ROLES = {"admin": ADMIN, "busy": BUSY, "small": SMALL}  # busy: a tenth of all orders; small: a few hundred

# Blocks of traded orders in the middle of the history, by who sees them.
BLOCK = {"admin": 160_010, "busy": 160_010, "small": 160_000}
MIDDLE = FIRST_DAY + 160_000 * timedelta(seconds=180)
CURSOR = Cursor(MIDDLE, str(entry_of(160_000)))
CURSOR_OF_A_NUMBER = Cursor(MIDDLE, "1")  # for tables whose rows are numbered
LAST = Cursor(FIRST_DAY + timedelta(hours=1), str(entry_of(20)))
WEEK = DecisionFilters(MIDDLE - timedelta(days=6), MIDDLE + timedelta(days=1))
PAUSES = pd.DataFrame({"started_at": [pd.Timestamp(MIDDLE)], "ended_at": [pd.Timestamp(MIDDLE + timedelta(days=2))],
                       "reason": ["Check"]})  # fmt: skip


# Every function of db.queries, asked as the pages ask it.
QUESTIONS: dict[str, Callable[[str], partial[Any]]] = {
    "alerts open": lambda _: partial(alerts.open_alerts, filters=AlertFilters()),
    "alerts open, as rows": lambda _: partial(alerts.open_alert_rows),
    "alerts past": lambda _: partial(alerts.past_alerts, filters=AlertFilters()),
    "alerts past, further on": lambda _: partial(alerts.past_alerts, filters=AlertFilters(), after=CURSOR),
    "alerts past of a rule": lambda _: partial(alerts.past_alerts, filters=AlertFilters(rules=("ORDER_UNKNOWN",))),
    "alerts exported": lambda _: partial(alerts.alerts_for_export, filters=AlertFilters()),
    "alerts muted": lambda _: partial(alerts.mutes_in_force),
    "notices": lambda _: partial(alerts.notices),
    "notices, further on": lambda _: partial(alerts.notices, after=CURSOR),
    "approvals waiting": lambda _: partial(approvals.waiting_approvals, filters=ApprovalFilters()),
    "approvals decided": lambda _: partial(approvals.decided_approvals, filters=ApprovalFilters()),
    "approvals decided, further on": lambda _: partial(
        approvals.decided_approvals, filters=ApprovalFilters(), after=CURSOR
    ),
    "approvals exported": lambda _: partial(approvals.approvals_for_export, filters=ApprovalFilters()),
    "approvals as rows": lambda _: partial(
        approvals.approval_rows, filters=ApprovalFilters(statuses=("rejected",)), after=None, size=100
    ),
    "audit log": lambda _: partial(audit.audit_page, filters=AuditFilters()),
    "audit log, further on": lambda _: partial(audit.audit_page, filters=AuditFilters(), after=CURSOR_OF_A_NUMBER),
    "audit log of a member": lambda _: partial(audit.audit_page, filters=AuditFilters(actor=str(BUSY))),
    "audit log of the engine": lambda _: partial(audit.audit_page, filters=AuditFilters(actor=ENGINE)),
    "audit log of an action": lambda _: partial(audit.audit_page, filters=AuditFilters(actions=("halt_trading",))),
    "audit log of refusals": lambda _: partial(audit.audit_page, filters=AuditFilters(outcomes=("refused",))),
    "audit log of a day": lambda _: partial(
        audit.audit_page, filters=AuditFilters(since=MIDDLE.date(), until=MIDDLE.date())
    ),
    "audit log exported": lambda _: partial(audit.audit_for_export, filters=AuditFilters()),
    "a row of the audit log": lambda _: partial(audit.audit_entry, entry_id="1000"),
    "bars of a day": lambda _: partial(
        bars.price_bars, symbol="AAPL", timeframe="5Min", start=MIDDLE, end=MIDDLE + timedelta(days=1)
    ),
    "bars of a year": lambda _: partial(
        bars.price_bars, symbol="AAPL", timeframe="1Day", start=FIRST_DAY, end=FIRST_DAY + timedelta(days=365)
    ),
    "latest prices": lambda _: partial(bars.latest_prices, symbols=["AAPL"]),
    "control history": lambda _: partial(controls.control_history),
    "equity curve": lambda _: partial(equity.equity_curve),
    "equity curve of a session": lambda _: partial(equity.equity_curve, since=date(2026, 1, 5)),
    "equity by profile": lambda _: partial(equity.equity_by_profile),
    "pauses in market time": lambda _: partial(equity.in_market_time, spans=PAUSES),
    "engines": lambda _: partial(engine_state.engines),
    "reconciliation runs": lambda _: partial(engine_state.reconciliation_runs),
    "reconciliation runs, further on": lambda _: partial(engine_state.reconciliation_runs, after=CURSOR),
    "open findings": lambda _: partial(engine_state.open_findings),
    "past findings": lambda _: partial(engine_state.past_findings),
    "past findings, further on": lambda _: partial(engine_state.past_findings, after=CURSOR_OF_A_NUMBER),
    "members": lambda _: partial(members.members),
    "overrides in force": lambda role: partial(overrides.overrides_in_force, profile_ids=[str(PROFILE[role])]),
    "versions of the risk configuration": lambda _: partial(risk_configs.risk_versions),
    "a version of the risk configuration": lambda _: partial(risk_configs.risk_config_at, version=1),
    "lockouts in force": lambda _: partial(lockouts.lockouts_in_force, filters=LockoutFilters()),
    "past lockouts": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters()),
    "past lockouts, further on": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters(), after=CURSOR),
    "past lockouts of a symbol": lambda _: partial(lockouts.past_lockouts, filters=LockoutFilters(tickers=("AAPL",))),
    "lockouts exported": lambda _: partial(lockouts.lockouts_for_export, filters=LockoutFilters()),
    "lockouts as rows": lambda _: partial(
        lockouts.lockout_rows, filters=LockoutFilters(), after=None, size=100, in_force=True
    ),
    "orders": lambda _: partial(orders.orders_page, filters=OrderFilters()),
    "orders, further on": lambda _: partial(orders.orders_page, filters=OrderFilters(), after=CURSOR),
    "orders, the last page": lambda _: partial(orders.orders_page, filters=OrderFilters(), after=LAST),
    "orders of a symbol": lambda _: partial(orders.orders_page, filters=OrderFilters(symbols=("FB",))),
    "orders of a purpose": lambda _: partial(orders.orders_page, filters=OrderFilters(purposes=("stop_loss",))),
    "orders that were filled": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("filled",))),
    "orders that work": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("working",))),
    "orders whose fate is unknown": lambda _: partial(orders.orders_page, filters=OrderFilters(states=("unknown",))),
    "orders that the broker rejected": lambda _: partial(
        orders.orders_page, filters=OrderFilters(states=("rejected",))
    ),
    "orders of a profile": lambda role: partial(
        orders.orders_page, filters=OrderFilters(profile_ids=(str(PROFILE[role]),))
    ),
    "orders exported": lambda _: partial(orders.orders_for_export, filters=OrderFilters()),
    "an order": lambda role: partial(orders.order_by_id, order_id=str(entry_of(BLOCK[role]))),
    "an order's events": lambda role: partial(orders.order_events, order_id=str(entry_of(BLOCK[role]))),
    "an order's decision": lambda role: partial(orders.decision, order_id=str(entry_of(BLOCK[role]))),
    "denials": lambda _: partial(orders.latest_denials),
    "decisions of a week": lambda _: partial(decisions.entries_page, filters=WEEK),
    "decisions of a week, further on": lambda _: partial(decisions.entries_page, filters=WEEK, after=CURSOR),
    "decisions of a week with a code": lambda _: partial(
        decisions.entries_page, filters=replace(WEEK, codes=("ORDER_QTY_MAX",))
    ),
    "decisions of a profile": lambda role: partial(
        decisions.entries_page, filters=replace(WEEK, profile_ids=(str(PROFILE[role]),))
    ),
    "decisions exported": lambda _: partial(decisions.entries_for_export, filters=WEEK),
    "how the entries of a week ended": lambda _: partial(decisions.entry_outcomes, filters=WEEK),
    "signals of a week that layers blocked": lambda _: partial(
        decisions.blocked_in_period, profile_ids=[str(UUID(int=1000 + n)) for n in range(100)], filters=WEEK
    ),
    "the last decisions before a moment": lambda _: partial(decisions.entries_before, symbol="FB", at=MIDDLE),
    "modes at a moment": lambda _: partial(decisions.modes_at, at=MIDDLE),
    "lockouts at a moment": lambda _: partial(decisions.lockouts_at, symbol="AAPL", at=MIDDLE),
    "decisions to judge again": lambda _: partial(replays.recorded_entries, filters=WEEK),
    "bars to follow an entry over": lambda _: partial(replays.paths_of, entries=[a_denied_entry()]),
    "pauses as spans": lambda _: partial(replays.pause_spans),
    "lockouts as spans": lambda _: partial(replays.lockout_spans, filters=WEEK),
    "signals of a profile": lambda role: partial(signals.signals_page, filters=signals_of(role)),
    "signals of a profile, further on": lambda role: partial(
        signals.signals_page, filters=signals_of(role), after=CURSOR
    ),
    "signals of a profile that layers blocked": lambda role: partial(
        signals.signals_page, filters=replace(signals_of(role), blocked=True)
    ),
    "what signals led to": lambda role: partial(
        signals.entries_of_signals,
        profile_id=str(PROFILE[role]),
        signals=pd.DataFrame({"id": ["1", "2"], "created_at": pd.to_datetime([WEEK.since, WEEK.until])}),
    ),
    "signals exported": lambda role: partial(signals.signals_for_export, filters=signals_of(role)),
    "layers that are switched on": lambda _: partial(signals.layer_switches),
    "a drill: live profiles": lambda _: partial(drills.live_profiles),
    "a drill: signs of life": lambda _: partial(drills.drill_heartbeats),
    "a drill: an order": lambda role: partial(drills.drill_order, order_id=str(entry_of(BLOCK[role]))),
    "a drill: positions and their stops": lambda _: partial(drills.drill_positions),
    "a drill: entries that were sent": lambda _: partial(drills.entries_sent_after, at=datetime.now(UTC)),
    "a drill: which are entries": lambda role: partial(drills.entry_ids, order_ids=[str(entry_of(BLOCK[role]))]),
    "positions": lambda _: partial(positions.open_positions),
    "profiles": lambda _: partial(profiles.profiles),
    "states of the profiles": lambda _: partial(runtime.profile_states),
    "positions held": lambda _: partial(runtime.held_positions),
    "positions held of a symbol": lambda _: partial(runtime.held_positions, symbol="AAPL"),
    "open orders": lambda _: partial(runtime.open_orders),
    "open orders of a symbol": lambda _: partial(runtime.open_orders, symbol="AAPL"),
    "planned changes": lambda _: partial(schedules.planned_changes),
    "what trades add up to": lambda _: partial(performance.trade_statistics, filters=StatisticsFilters()),
    "what the trades of some months add up to": lambda role: partial(
        performance.trade_statistics,
        filters=StatisticsFilters(date(2025, 3, 1), date(2025, 9, 1), (str(PROFILE[role]),), ("AAPL", "FB")),
    ),
    "equity of some profiles": lambda role: partial(equity.equity_of_profiles, profile_ids=[str(PROFILE[role])]),
    "closes of a year": lambda _: partial(
        bars.daily_closes, symbols=["AAPL", "IBM"], start=FIRST_DAY, end=FIRST_DAY + timedelta(days=365)
    ),
    "positions of a symbol": lambda _: partial(positions.open_positions, filters=PositionFilters(symbols=("AAPL",))),
    "exposure by sector": lambda _: partial(positions.sector_exposure),
    "exits under way": lambda _: partial(positions.exits_under_way),
    "owners' addresses": lambda _: partial(positions.owner_emails),
    "health of the jobs": lambda _: partial(jobs.job_health),
    "orders of a day": lambda _: partial(
        orders.orders_page, filters=OrderFilters(recorded_on=MIDDLE.date(), zone="America/New_York")
    ),
    "orders of a trade": lambda role: partial(orders.orders_of_trade, trade_id=str(entry_of(BLOCK[role]))),
    "an order's moments": lambda role: partial(orders.order_moments, order=an_order(role)),
    "a page of trades": lambda _: partial(trades.trades_page, filters=TradeFilters()),
    "a page of trades, further on": lambda _: partial(trades.trades_page, filters=TradeFilters(), after=CURSOR),
    "trades of a day": lambda _: partial(trades.trades_page, filters=TradeFilters(closed_on=MIDDLE.date())),
    "trades of a side": lambda _: partial(trades.trades_page, filters=TradeFilters(sides=("long",))),
    "trades exported": lambda _: partial(trades.trades_for_export, filters=TradeFilters()),
    "a trade": lambda role: partial(trades.trade_by_id, trade_id=str(entry_of(BLOCK[role]))),
    "closed trades": lambda _: partial(trades.closed_trades, filters=TradeFilters()),
    "closed trades of a symbol": lambda _: partial(trades.closed_trades, filters=TradeFilters(symbols=("AAPL",))),
    "closed trades of a profile": lambda role: partial(
        trades.closed_trades, filters=TradeFilters(profile_ids=(str(PROFILE[role]),))
    ),
    "fills of a trade": lambda role: partial(trades.trade_fills, trade_id=str(entry_of(BLOCK[role]))),
    "planned exits of a trade": lambda role: partial(trades.planned_exits, trade_id=str(entry_of(BLOCK[role]))),
}


def an_order(role: str) -> pd.Series:
    """Return what `order_moments` needs to know of the first order of a traded block."""
    return pd.Series({"id": str(entry_of(BLOCK[role])), "signal_id": str(entry_of(BLOCK[role]))})


def signals_of(role: str) -> SignalFilters:
    """Return the filters for a week of the signals of a profile that a role sees."""
    return SignalFilters(str(PROFILE[role]), WEEK.since, WEEK.until)


def a_denied_entry() -> RecordedEntry:
    """Return an entry whose path over the bars is asked for."""
    plan = Plan(is_long=True, qty=Decimal(1), limit_price=Decimal(100), stop_price=None, target_price=None,
                asked_at=MIDDLE)  # fmt: skip
    return RecordedEntry(id="1", owner_id="1", profile_id="1", symbol="AAPL", asked_at=MIDDLE, plan=plan, decisions=(),
                         fate=Fate.DENIED, code="DAILY_LOSS")  # fmt: skip


PROFILE = {"admin": UUID(int=1010), "busy": UUID(int=1010), "small": UUID(int=1099)}


@pytest.fixture(scope="module")
def big(stack: Any, db: psycopg.Connection) -> Iterator[str]:
    """The database with a million orders."""
    with million.million_orders(stack, db) as name:
        yield name


@pytest.fixture(scope="module")
def rest(stack: Any, big: str) -> Iterator[str]:
    """A PostgREST before the big database that tells its plans; the path of its socket."""
    socket = stack.home.sockets / "plans.sock"
    settings = {
        "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8",
        "PGRST_DB_URI": million.url(stack, "authenticator"), "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_ANON_ROLE": "anon", "PGRST_DB_MAX_ROWS": "1000", "PGRST_DB_PLAN_ENABLED": "true",
        "PGRST_JWT_SECRET": stack.keys.jwt_secret, "PGRST_JWT_AUD": "authenticated",
        "PGRST_SERVER_UNIX_SOCKET": str(socket), "PGRST_LOG_LEVEL": "error",
    }  # fmt: skip
    program = postgrest_install.find_or_install(stack.home, print)
    child = Child("PostgREST", [str(program)], log=stack.home.logs / "plans.log", environment=settings)
    child.wait_until(lambda: _answers(str(socket)), timeout_s=30)
    yield str(socket)
    child.stop()


def _answers(socket: str) -> bool:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            return client.get("http://rest/").status_code != 503
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def analysed(stack: Any, big: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the big database, in a transaction that is rolled back."""
    with psycopg.connect(million.url(stack, postgres.SUPERUSER)) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def big_tables(analysed: psycopg.Connection) -> set[str]:
    """The tables with more than ROWS_MAX rows, as the statistics know them."""
    found = analysed.execute(
        "select relname from pg_class where relkind = 'r' and reltuples > %s"
        " and relnamespace in ('public'::regnamespace, 'private'::regnamespace)",
        (ROWS_MAX,),
    )
    return {name for (name,) in found}


def asked_as(stack: Any, rest: str, role: str) -> tuple[Client, Explained]:
    """Return a client that a person's token is shown with, and what listens in."""
    listening = Explained(rest)
    user = {"id": ROLES[role], "role": "authenticated", "email": f"{role}@example.org", "raw_app_meta_data": {},
            "raw_user_meta_data": {}}  # fmt: skip
    now = datetime.now(UTC)
    token = AccessTokens(stack.keys.jwt_secret, issuer="tests").for_user(user, ROLES[role], signed_in_at=now, now=now)
    options = ClientOptions(
        auto_refresh_token=False, persist_session=False, httpx_client=httpx.Client(transport=listening)
    )
    client = create_client("http://rest", stack.env["SUPABASE_PUBLISHABLE_KEY"], options)
    client.postgrest.auth(token)
    return client, listening


OF_STAFF = {"reconciliation runs"}  # their page is not offered to others, who would see nothing


@pytest.mark.parametrize(
    ("question", "role"), [(q, role) for q in QUESTIONS for role in (["admin"] if q in OF_STAFF else ROLES)]
)
def test_a_page_asks_nothing_that_no_index_answers(stack, rest, big_tables, question, role):
    client, listening = asked_as(stack, rest, role)

    with contextlib.suppress(Enough):
        QUESTIONS[question](role)(client)

    assert listening.plans, "it asked nothing"
    found = {url[-200:]: problems for url, plan in listening.plans if (problems := complaints(plan, big_tables))}
    assert found == {}


def test_every_question_of_the_pages_is_looked_at():
    asked = {make("admin").func for make in QUESTIONS.values()}
    known = set()
    for module in pkgutil.iter_modules(db.queries.__path__):
        if module.name.startswith("_"):
            continue  # parts of questions
        here = importlib.import_module(f"db.queries.{module.name}")
        for name, function in inspect.getmembers(here, inspect.isfunction):
            takes_client = next(iter(inspect.signature(function).parameters), None) == "client"
            if function.__module__ == here.__name__ and takes_client and not name.startswith("_"):
                known.add(function)

    unasked = sorted(f"{f.__module__}.{f.__name__}" for f in known - asked)
    assert unasked == [], "ask them in QUESTIONS"


LEASE = "select acquire_lease('main', 'tests', 300)"
ENTRY = """'[{"id": "00000000-0000-4000-8000-000000000001", "profile_id": "00000000-0000-0000-0000-0000000003f2",
    "symbol": "AAPL", "side": "buy", "qty": "1", "limit_price": "100", "reference_price": "100",
    "market_at": "2026-11-20T15:00:00Z", "quote_at": "2026-11-20T15:00:00Z", "market_open": true}]'"""
ASKED = f"select request_entries('main', 1, {ENTRY})"
CLAIMED = "select claim_orders('main', 1)"
WAITING = entry_of((million.BLOCKS - 3) // 3 * 3)  # the newest blocks are open: an entry that waits for a person,
OPEN_TRADE = entry_of((million.BLOCKS - 3) // 3 * 3 + 1)  # and a position
PENDING = f"(select id from operator_approvals where order_id = '{WAITING}')"
NOTED = """update_risk_config((select config || '{"note": 1}' from risk_configs where active),
    (select version from risk_configs where active), 'Note')"""

ALERT = f"""reset role; insert into alerts (id, rule, subject, severity, message, opened_at)
    values ('{UUID(int=8)}', 'JOB_LATE', 's', 'critical', 'Late', now())"""
LOOK_AGAIN = "reset role; update private.alert_watch set evaluated_at = '-infinity'"  # the usual look: nothing is new
NOTICE = f"""reset role; insert into notifications (id, event, severity, title, body, created_at, due_at)
    values ('{UUID(int=9)}', 'test', 'warning', 't', 'b', now(), now())"""

# Every function of the authority: who calls it, what has to be there, the call.
CALLS: dict[str, tuple[UUID | None, list[str], str]] = {
    "trading_status": (SMALL, [], "trading_status()"),
    "why": (SMALL, [], "why('AAPL')"),
    "preflight_resume": (ADMIN, [], "preflight_resume()"),
    "risk_config": (ADMIN, [], "risk_config()"),
    "approval_config": (ADMIN, [], "approval_config()"),
    "pause_trading": (ADMIN, [], "pause_trading('Check')"),
    "halt_trading": (ADMIN, [], "halt_trading('Check')"),
    "resume_trading": (
        ADMIN, ["select pause_trading('Check')"], "resume_trading('Go', p_override_reason => 'Checked')",
    ),
    "schedule_trading_mode": (
        ADMIN, [], "schedule_trading_mode('PAUSED', 'once', 'Check', p_starts_at => now() + interval '1 hour')"
    ),
    "cancel_schedule": (
        ADMIN, ["select schedule_trading_mode('PAUSED', 'once', 'Check', p_starts_at => now() + interval '1 hour')"],
        "cancel_schedule((select id from control_schedules limit 1), 'No')",
    ),
    "create_lockout": (ADMIN, [], "create_lockout('AAPL', 'News')"),
    "remove_lockout": (
        ADMIN, ["select create_lockout('AAPL', 'News')"],
        "remove_lockout((select id from symbol_lockouts order by starts_at desc limit 1), 'Over')",
    ),
    "grant_override": (ADMIN, [], f"grant_override('{UUID(int=1010)}', 'PRICE_COLLAR', 'Once', 5)"),
    "revoke_override": (
        ADMIN, [f"select grant_override('{UUID(int=1010)}', 'PRICE_COLLAR', 'Once', 5)"],
        f"revoke_override((select id from gate_overrides where profile_id = '{UUID(int=1010)}'"
        " order by expires_at desc limit 1), 'No')",
    ),
    "close_position": (ADMIN, [], f"close_position('{OPEN_TRADE}', 'Earnings tonight')"),
    "trade_statistics": (ADMIN, [], "trade_statistics()"),
    "market_times": (SMALL, [], "market_times(array[now(), '2025-06-01 00:00Z'])"),
    "set_profile_active": (ADMIN, [], f"set_profile_active('{UUID(int=1010)}', false, 'Check')"),
    "set_member_role": (ADMIN, [], f"set_member_role('{BUSY}', 'operator', 'Helps out')"),
    "decide_approval": (ADMIN, [], f"decide_approval({PENDING}, 'reject', 'No')"),
    "decide_approvals": (ADMIN, [], f"decide_approvals(array[{PENDING}], 'reject', 'No')"),
    "update_risk_config": (ADMIN, [], NOTED),
    "revert_risk_config": (
        ADMIN, [f"select {NOTED}"], "revert_risk_config(1, (select version from risk_configs where active), 'Back')",
    ),
    "update_approval_config": (ADMIN, [], """update_approval_config('{"approval_timeout_minutes": 9}')"""),
    "acquire_lease": (None, [], "acquire_lease('main', 'tests', 300)"),
    "release_lease": (None, [LEASE], "release_lease('main', 1)"),
    "heartbeat": (None, [LEASE], "heartbeat('main', 1)"),
    "engine_snapshot": (None, [LEASE], "engine_snapshot('main', 1)"),
    "request_entries": (None, [LEASE], f"request_entries('main', 1, {ENTRY})"),
    "request_exits": (
        None, [LEASE],
        f"""request_exits('main', 1,
            '[{{"id": "00000000-0000-4000-8000-000000000002", "trade_id": "{OPEN_TRADE}"}}]')""",
    ),
    "claim_orders": (None, [LEASE, ASKED], "claim_orders('main', 1)"),
    "record_submission": (
        None, [LEASE, ASKED, CLAIMED],
        """record_submission('main', 1, '[{"id": "00000000-0000-4000-8000-000000000001", "outcome": "unknown"}]')""",
    ),
    "record_order_updates": (
        None, [LEASE],
        f"""record_order_updates('main', 1, '[{{"client_order_id": "{UUID(int=OPEN_TRADE.int + 1)}",
            "broker_order_id": "broker-{OPEN_TRADE.int + 1}", "status": "filled", "filled_qty": "10",
            "filled_avg_price": "101", "updated_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "expire_stale_approvals": (None, [LEASE], "expire_stale_approvals('main', 1)"),
    "record_marks": (
        None, [LEASE],
        f"""record_marks('main', 1,
            '[{{"trade_id": "{OPEN_TRADE}", "mark_price": "101", "market_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "record_equity": (None, [LEASE], "record_equity('main', 1, '2026-11-20 21:00Z', '2026-11-20')"),
    "record_bars": (
        None, [LEASE],
        """record_bars('main', 1, '[{"symbol": "AAPL", "timeframe": "1Day", "bar_at": "2026-11-20T05:00:00Z",
            "open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}]')""",
    ),
    "record_signals": (
        None, [LEASE],
        f"""record_signals('main', 1, '[{{"id": "{UUID(int=7)}", "profile_id": "{UUID(int=1010)}", "symbol": "AAPL",
            "side": "buy", "strategy": "s", "bar_at": "2026-11-20T15:00:00Z",
            "market_at": "2026-11-20T15:00:00Z", "detail": {{}}, "blocked_by": "macro"}}]')""",
    ),
    "engine_lockout": (None, [LEASE], "engine_lockout('main', 1, 'AAPL', 'After a loss', 5, 'cooldown')"),
    "save_bot_state": (None, [LEASE], "save_bot_state('main', 1, '{}')"),
    "load_bot_state": (None, [LEASE], "load_bot_state('main', 1)"),
    "reconcile_apply": (
        None, [LEASE],
        """reconcile_apply('main', 1, '{"kind": "incremental"}',
            '[{"key": "k", "kind": "ORDER_MISSING", "symbol": "AAPL"}]')""",
    ),
    "prune_history": (None, [LEASE], "prune_history('main', 1, 100)"),
    "evaluate_alerts": (
        None, [LEASE, "select evaluate_alerts(1)", LOOK_AGAIN], "evaluate_alerts(1)",
    ),
    "acknowledge_alert": (ADMIN, [ALERT], f"acknowledge_alert('{UUID(int=8)}', 'On it')"),
    "mute_alert": (ADMIN, [], "mute_alert('Known', 'JOB_LATE')"),
    "unmute_alert": (
        ADMIN, ["select mute_alert('Known', 'JOB_LATE')"],
        "unmute_alert((select id from alert_mutes order by starts_at desc limit 1), 'Over')",
    ),
    "test_alert": (ADMIN, [], "test_alert()"),
    "claim_notifications": (None, [NOTICE], "claim_notifications('tests', 10)"),
    "settle_notifications": (
        None, [NOTICE, "select claim_notifications('tests', 500)"],
        f"""settle_notifications('tests', '[{{"id": "{UUID(int=9)}", "token": 1, "error": null}}]')""",
    ),
    "adopt_orders": (
        None, [LEASE],
        f"""adopt_orders('main', 1, '[{{"client_order_id": "{UUID(int=OPEN_TRADE.int + 1)}",
            "broker_order_id": "broker-{OPEN_TRADE.int + 1}", "symbol": "AAPL", "side": "sell", "status": "new",
            "qty": "10", "filled_qty": "0", "order_type": "limit", "limit_price": "110",
            "updated_at": "2026-11-20T15:00:00Z"}}]')""",
    ),
    "protection_facts": (None, [LEASE], "protection_facts('main', 1, now() - interval '1 day')"),
    "reconcile_books": (None, [LEASE], "reconcile_books('main', 1)"),
    "reconcile_orders": (
        None, [LEASE],
        f"""reconcile_orders('main', 1, array['{OPEN_TRADE}'], array['broker-{OPEN_TRADE.int}'], array['new'],
            array[0])""",
    ),
    "record_offline_exits": (
        None, [LEASE],
        f"""record_offline_exits('main', 1, '[{{"id": "{UUID(int=2**100)}", "trade_id": "{OPEN_TRADE}",
            "purpose": "exit", "qty": "1", "order_type": "market", "exit_reason": "stop_loss", "reason": "Away",
            "market_at": "2026-11-20T15:00:00Z", "outcome": "unknown"}}]')""",
    ),
    "record_split": (None, [LEASE], "record_split('main', 1, 'AAPL', 2, '2026-11-20 15:00Z', 0, 'A split')"),
    "request_cancels": (
        None, [LEASE],
        f"""request_cancels('main', 1, '[{{"id": "{UUID(int=OPEN_TRADE.int + 1)}", "reason": "One too many"}}]')""",
    ),
    "schema_version": (None, [], "schema_version()"),
    "set_external_order_policy": (ADMIN, [], "set_external_order_policy('ignore', 'Ours to watch')"),
    "engine_telemetry": (None, [],  "engine_telemetry('main', (select max(id) - 9"
                         " from trading_control_events), (select max(id) - 99 from order_events))"),
}  # fmt: skip
READS_ALL = {"verify_audit_chain": "recomputes every hash, which is its purpose"}

SCANS = "select relname, seq_scan from pg_stat_xact_user_tables where relname = any (%s)"


@pytest.mark.parametrize("function", CALLS)
def test_a_function_reads_no_big_table_from_end_to_end(analysed, big_tables, function):
    user, before, call = CALLS[function]

    with acting_as(analysed, user):
        for statement in before:
            analysed.execute(statement)
        with analysed.transaction(force_rollback=True):
            answer = analysed.execute(f"select to_json({call})").fetchone()[0]  # plans and catalogue are known now
        scanned = dict(analysed.execute(SCANS, (list(big_tables),)).fetchall())
        touched = buffers(explained(analysed, f"select {call}"))
        scanned_after = dict(analysed.execute(SCANS, (list(big_tables),)).fetchall())

    assert not (isinstance(answer, dict) and "message" in answer and "code" in answer), f"refused: {answer}"
    assert sorted(name for name in scanned_after if scanned_after[name] > scanned.get(name, 0)) == []
    assert touched < BUFFERS_MAX


def test_every_function_is_looked_at(analysed):
    found = analysed.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()

    assert {name for (name,) in found} == {*CALLS, *READS_ALL}, "call them in CALLS"


def test_every_foreign_key_is_led_by_an_index(analysed):
    missing = analysed.execute("""
        select k.conrelid::regclass::text, k.conname from pg_constraint k
        where k.contype = 'f' and k.connamespace in ('public'::regnamespace, 'private'::regnamespace)
          and not exists (select from pg_index i where i.indrelid = k.conrelid
                          and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)""").fetchall()

    # A member's role is changed, a member is never removed: nothing looks from there.
    assert missing == []


def test_every_column_that_a_policy_compares_with_the_caller_is_led_by_an_index(analysed):
    pairs = {(table, column) for table, column in analysed.execute(POLICY_COLUMNS).fetchall()}
    led = set(
        analysed.execute(
            "select i.indrelid::regclass::text, a.attname from pg_index i"
            " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
        ).fetchall()
    )

    assert ("orders", "owner_id") in pairs
    assert sorted(pairs - led) == []


POLICY_COLUMNS = """
    select distinct p.tablename, m[1]
    from pg_policies p cross join regexp_matches(p.qual, '(\\w+) = \\( SELECT private\\.caller_id', 'g') m
    where p.schemaname = 'public'
"""


def test_a_callers_own_rows_of_every_big_table_are_found_by_index(analysed, big_tables):
    own = [(t, c) for t, c in analysed.execute(POLICY_COLUMNS).fetchall() if t in big_tables]
    found = {}

    for table, column in own:
        with acting_as(analysed, SMALL):
            plan = explained(analysed, f"select * from {table} where {column} = '{SMALL}' limit 1000")
        if problems := complaints(plan, big_tables):
            found[table, column] = problems

    assert len(own) > 10
    assert found == {}


def test_no_policy_looks_the_caller_up_for_each_row(analysed):
    tables = analysed.execute("select distinct tablename from pg_policies where schemaname = 'public'").fetchall()

    for (table,) in tables:
        with acting_as(analysed, SMALL):
            plan = explained(analysed, f"select * from {table} limit 1")
        per_row = [n for n in nodes(plan) if n.get("Parent Relationship") == "SubPlan"]
        assert per_row == [], table


class TestTheCheckItself:
    NEWEST = "select id from orders order by created_at desc, id limit 100"

    def test_it_is_content_while_the_index_is_there(self, analysed, big_tables):
        with acting_as(analysed, ADMIN):
            assert complaints(explained(analysed, self.NEWEST), big_tables) == []

    def test_it_complains_of_a_scan_when_the_index_is_gone(self, analysed, big_tables):
        with analysed.transaction(force_rollback=True):
            analysed.execute("drop index orders_created")
            with acting_as(analysed, ADMIN):
                found = complaints(explained(analysed, self.NEWEST), big_tables)

        assert found[0] == "reads all of orders"

    def test_it_complains_of_an_index_that_is_read_from_end_to_end(self, analysed, big_tables):
        with acting_as(analysed, ADMIN):
            analysed.execute("set local enable_seqscan = off")
            (found,) = complaints(explained(analysed, "select count(*) from orders"), big_tables)

        assert found.startswith("touches ")
