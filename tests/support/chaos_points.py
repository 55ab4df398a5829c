"""The crash points: where in an order's life something goes wrong, and how an engine is brought there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from supabase import Client

from db import commands
from db.client import sign_in_client
from db.errors import AuthorityError
from tests.support.chaos_line import Moment, Trap
from tests.support.chaos_process import VERSION
from tests.support.chaos_stage import PROFILE, Machine, Stage
from tests.support.engine import EAGER_TO_LEAVE, SIZES

BEFORE, HALF, AFTER = Moment.BEFORE, Moment.HALF, Moment.AFTER
AUTHORITY, BROKER, ENGINE, PERSON, DATABASE = "authority", "broker", "engine", "person", "database"
PERMIT: Final = '"submitting"'
SENT: Final = {"working", "partially_filled", "filled"}
SEND: Final = "POST /v2/orders"
WAITING: Final = (
    "select pid from pg_stat_activity where usename = 'authenticator' and wait_event_type = 'Lock'"
    " and query like '%request_entries%'"
)
PAUSE_ID: Final = UUID("00000000-0000-4000-8000-00000000c4a0")
TRAILING: Final = {"trailing_stop_pct": "0.02", "take_profit_pct": "0.5"}


@dataclass(frozen=True)
class Story:
    """What has happened before the point (`lead_up`), and what brings the engine to it (`provoke`).

    `setting` is what people have decided before any engine starts; `once_there` happens while it is held, `at_the_end`
    when all is over but for the settling; `engine` is what the first engine's environment has besides.
    """

    lead_up: Callable[[Stage, Machine], None] | None = None
    provoke: Callable[[Stage, Machine], None] = lambda _stage, _machine: None
    scene: tuple[tuple[str, str], ...] = ()
    setting: Callable[[Stage], None] = lambda _stage: None
    once_there: Callable[[Stage], None] = lambda _stage: None
    at_the_end: Callable[[Stage], None] = lambda _stage: None
    engine: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Point:
    """One row of the matrix: `line` carries the request that is held, or is the engine's own crash point."""

    number: int
    name: str
    story: Story
    line: str
    request: str
    moment: Moment = BEFORE
    answer: str = ""

    def __str__(self) -> str:
        return f"CP{self.number:02} {self.name}"

    def arm(self, stage: Stage, machine: Machine) -> Trap | LockTrap:
        if self.line == DATABASE:
            trap = LockTrap(stage.superuser_url, self.request)
            stage.at_close.append(lambda: trap.let_go(drop=False))
            return trap
        lines = {AUTHORITY: machine.authority, BROKER: machine.broker, PERSON: stage.machine("person").authority}
        return lines[self.line].arm(self.request, self.moment, self.answer)


@dataclass
class LockTrap:
    """Holds a call inside its transaction: the last table that it writes is locked by somebody else."""

    url: str
    table: str
    sprung: threading.Event = field(default_factory=threading.Event)
    goes_on_by_itself: bool = True  # whatever becomes of the asker, the database has the whole request

    def __post_init__(self) -> None:
        self._lock = psycopg.connect(self.url)
        self._lock.execute(f"lock table {self.table} in exclusive mode")  # type: ignore[arg-type]
        threading.Thread(target=self._watch, daemon=True).start()

    def let_go(self, *, drop: bool) -> None:
        """Let the transaction go on, or end it as a crash of its connection does."""
        if drop:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"select pg_terminate_backend(pid) from ({WAITING}) w")  # type: ignore[arg-type]
        self._lock.close()

    def _watch(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._lock.closed and not self.sprung.is_set():
                if connection.execute(WAITING).fetchone():
                    self.sprung.set()
                time.sleep(0.05)


def to_work(stage: Stage, machine: Machine) -> None:
    """An entry works at the broker."""
    stage.start(machine.name)
    stage.wait(stage.entries_work, "entries work")


def to_hold(stage: Stage, machine: Machine) -> None:
    """A filled entry is covered, and no further one is wanted."""
    to_work(stage, machine)
    stage.step(30)
    stage.wait(stage.is_covered, "held and covered")
    stage.no_more_entries()


def to_hold_while_paused(stage: Stage, machine: Machine) -> None:
    to_hold(stage, machine)
    stage.pause()


def fill(stage: Stage, _machine: Machine) -> None:
    stage.step(30)


def fill_in_part(stage: Stage, machine: Machine) -> None:
    stage.fault("partial_fill", fraction=0.4, count=5)
    fill(stage, machine)


def strip(stage: Stage, _machine: Machine) -> None:
    """Somebody cancels by hand what protects the positions."""
    for order in stage.broker_as_person("GET", "/v2/orders", status="open"):
        stage.broker_as_person("DELETE", f"/v2/orders/{order['id']}")


def leave(stage: Stage, _machine: Machine) -> None:
    """The strategy wants to be out at its next bar."""
    stage.db.execute(
        "update profiles set active = true, params = %s where name = %s", [Jsonb(SIZES | EAGER_TO_LEAVE), PROFILE]
    )
    stage.step(60)


def fall(stage: Stage, _machine: Machine) -> None:
    """The price falls through every stop."""
    for symbol in stage.ledger()["positions"]:
        stage.exchange.sim("POST", "price", symbol=symbol, pct="-0.2")
    stage.step(10)


def rise(stage: Stage, _machine: Machine) -> None:
    """The price rises, and a trailing stop with it."""
    for symbol in stage.ledger()["positions"]:
        stage.exchange.sim("POST", "price", symbol=symbol, pct="0.05")
    stage.step(3)


def ask_people(stage: Stage) -> None:
    """A person has to approve each entry."""
    commands.update_approval_config(stage.sign_in("admin"), patch={"auto_approve_paper": False})


def to_be_approved(stage: Stage, machine: Machine) -> None:
    """Entries wait for a person."""
    ask_people(stage)
    stage.start(machine.name)
    stage.wait(lambda: "awaiting_approval" in stage.states(), "entries wait for approval")


def approve(stage: Stage, _machine: Machine) -> None:
    for (id,) in stage.db.execute("select id from operator_approvals where status = 'pending'").fetchall():
        commands.decide_approval(stage.sign_in("operator"), approval_id=id, decision="approve")


def approve_one_and_refuse_the_rest(stage: Stage) -> None:
    stage.wait(lambda: "awaiting_approval" in stage.states(), "entries wait for approval")
    approve(stage, stage.machine("first"))
    stage.wait(lambda: SENT & set(stage.states()), "what was approved is sent")
    refuse_the_rest(stage)


def refuse_the_rest(stage: Stage) -> None:
    stage.no_more_entries()
    time.sleep(2)  # until the engine has seen it
    for (id,) in stage.db.execute("select id from operator_approvals where status = 'pending'").fetchall():
        _decide(stage, stage.env["SUPABASE_URL"], id, "reject")


def approve_from_afar(stage: Stage, _machine: Machine) -> None:
    """Somebody approves over a line of their own."""
    row = stage.db.execute("select id from operator_approvals where status = 'pending'").fetchone()
    assert row is not None
    address = stage.machine("person").authority.address
    threading.Thread(target=_decide, args=(stage, address, row[0], "approve"), daemon=True).start()


def let_approvals_expire(stage: Stage) -> None:
    """Everything that waits for a person expires about now."""
    soon_s = stage.rng.uniform(0, 1)
    stage.db.execute(
        "update operator_approvals set expires_at = clock_timestamp() + make_interval(secs => %s)"
        " where status = 'pending'", [soon_s])  # fmt: skip
    stage.tell(f"approvals expire in {soon_s:.1f} s")


def _decide(stage: Stage, address: str, id: UUID, decision: Literal["approve", "reject"]) -> None:
    try:
        commands.decide_approval(_person(stage, "operator", address), approval_id=id, decision=decision)
    except AuthorityError as error:
        stage.tell(f"{decision} was not answered, or refused: {error}")


def deploy(stage: Stage) -> None:
    """The current version takes the place of an older one, which has opened nothing."""
    old = stage.machine("first")
    assert not old.broker.posts, stage.report("an engine that is older than the schema has sent an entry")
    if old.engine is not None and old.engine.exit_code is None:
        stage.kill(old)
        stage.expire_lease()
        stage.start("heir")


def pause_from_afar(stage: Stage, _machine: Machine) -> None:
    """Somebody pauses over a line of their own, and is not told what became of it."""
    threading.Thread(target=_pause, args=(stage, stage.machine("person").authority.address), daemon=True).start()


def pause_again(stage: Stage) -> None:
    """Whoever was not told says it again, with the same request: it has acted once, and is on record once."""
    _pause(stage, stage.env["SUPABASE_URL"])
    query = "select count(*) from {} where {}"
    for table, which in (("audit_log", "action = 'pause_trading' and outcome = 'done'"),
                         ("trading_control_events", "to_mode = 'PAUSED'")):  # fmt: skip
        assert stage.db.execute(query.format(table, which)).fetchone() == (1,), stage.report("paused more than once")  # type: ignore[arg-type]


def _pause(stage: Stage, address: str) -> None:
    try:
        commands.pause_trading(_person(stage, "admin", address), reason="Chaos", request_id=PAUSE_ID)
    except AuthorityError as error:
        stage.tell(f"the pause was not answered: {error}")


def _person(stage: Stage, name: str, address: str) -> Client:
    session = stage.sign_in(name).auth.get_session()
    assert session is not None
    return sign_in_client(address, stage.env["SUPABASE_PUBLISHABLE_KEY"], session.access_token)


def pause_and_resume(stage: Stage, _machine: Machine) -> None:
    stage.pause()
    stage.resume()


def is_quiet(stage: Stage) -> None:
    """A pause that found a permit out comes to its end."""
    stage.wait(lambda: commands.trading_status(stage.sign_in("admin")).phase == "quiesced", "nothing is under way")


def pause(stage: Stage, _machine: Machine) -> None:
    commands.pause_trading(stage.sign_in("admin"), reason="Chaos", cancel_entries=True)


def pause_and_lose_the_race(stage: Stage, machine: Machine) -> None:
    stage.fault("cancel_too_late", count=4)
    pause(stage, machine)


def reject(stage: Stage, _machine: Machine) -> None:
    stage.fault("refuse", route="POST /v2/orders", status=403, body={"code": 40310000, "message": "insufficient"})


def garble(stage: Stage, _machine: Machine) -> None:
    stage.fault(stage.rng.choice(["truncated_json", "empty_body", "html_body"]), route="POST /v2/orders")


def gateway_times_out(stage: Stage, _machine: Machine) -> None:
    stage.fault(stage.rng.choice(["504_after_accept", "429_before", "500_after_accept"]), route="POST /v2/orders")


def sleep_over_the_close(stage: Stage, _machine: Machine) -> None:
    stage.exchange.sim("POST", "step", to="close")
    stage.exchange.sim("POST", "step", to="open")


ENTER = Story()
ASKED_FOR = Story(setting=ask_people, at_the_end=approve_one_and_refuse_the_rest)
REJECTED, GARBLED, TIMED_OUT = Story(provoke=reject), Story(provoke=garble), Story(provoke=gateway_times_out)
FILLED, FILLED_IN_PART = Story(to_work, fill), Story(to_work, fill_in_part)
STRIPPED, LEFT, FELL = Story(to_hold, strip), Story(to_hold, leave), Story(to_hold, fall)
LEFT_PAUSED = Story(to_hold_while_paused, leave)
ROSE = Story(to_hold, rise, tuple(TRAILING.items()))
CANCELLED, RACED = Story(to_work, pause), Story(to_work, pause_and_lose_the_race)
PAUSED_MEANWHILE = Story(once_there=lambda stage: stage.pause(), at_the_end=is_quiet)
RESUMED = Story(to_work, pause_and_resume)
PAUSED = Story(to_work, pause_from_afar, at_the_end=pause_again)
APPROVED = Story(to_be_approved, approve, at_the_end=refuse_the_rest)
CLICKED_TWICE = Story(to_work, pause_from_afar, once_there=pause_again, at_the_end=pause_again)
EXPIRING = Story(to_be_approved, approve_from_afar, once_there=let_approvals_expire, at_the_end=refuse_the_rest)
OUTDATED = Story(at_the_end=deploy, engine=((VERSION, "0.1.0"),))
OVERNIGHT = Story(to_hold, sleep_over_the_close)

POINTS: Final = (
    # Intent and reservation
    Point(1, "before the intent is asked for", ENTER, AUTHORITY, "rpc/request_entries", BEFORE),
    Point(2, "the intent is half asked for", ENTER, AUTHORITY, "rpc/request_entries", HALF),
    Point(3, "the intent is committed and its answer lost", ASKED_FOR, AUTHORITY, "rpc/request_entries", AFTER),
    Point(4, "within the transaction, before the reservation is committed", ENTER, DATABASE, "public.decisions"),
    Point(5, "reserved, not claimed", APPROVED, AUTHORITY, "rpc/claim_orders", BEFORE),
    # Submit
    Point(6, "the permit is out, nothing was sent", ENTER, ENGINE, "after_claim"),
    Point(7, "connected, no byte of the order was sent", ENTER, BROKER, SEND, BEFORE),
    Point(8, "the order is half sent", ENTER, BROKER, SEND, HALF),
    Point(9, "the permit is committed and its answer lost", ENTER, AUTHORITY, "rpc/request_entries", AFTER, PERMIT),
    Point(10, "accepted, the answer was not read", ENTER, BROKER, SEND, AFTER),
    Point(11, "the answer was read, nothing was recorded", ENTER, ENGINE, "after_submit"),
    Point(12, "the acceptance is committed and its answer lost", ENTER, AUTHORITY, "rpc/record_submission", AFTER),
    Point(13, "the answer cannot be read", GARBLED, ENGINE, "after_submit"),
    Point(14, "a rejection was read and not recorded", REJECTED, ENGINE, "after_submit"),
    Point(15, "too many requests, or a gateway's timeout", TIMED_OUT, ENGINE, "after_submit"),
    # Events, fills, exits
    Point(16, "a fill was seen and not recorded", FILLED, AUTHORITY, "rpc/record_order_updates", BEFORE),
    Point(17, "a fill is committed and its answer lost", FILLED, AUTHORITY, "rpc/record_order_updates", AFTER),
    Point(18, "a part is filled and not protected", FILLED_IN_PART, AUTHORITY, "rpc/record_order_updates", AFTER),
    Point(19, "an exit is committed and not sent, while paused", LEFT_PAUSED, AUTHORITY, "rpc/request_exits", AFTER),
    Point(20, "a stop was accepted, its answer was not read", STRIPPED, BROKER, SEND, AFTER),
    Point(21, "an exit is due and not committed", LEFT, AUTHORITY, "rpc/request_exits", BEFORE),
    Point(22, "a cancel loses against a fill", RACED, BROKER, "DELETE /v2/orders/", AFTER),
    Point(23, "a stop was replaced, the answer was not read", ROSE, BROKER, "PATCH /v2/orders/", AFTER),
    Point(24, "the closing fill was seen and not recorded", FELL, AUTHORITY, "rpc/record_order_updates", BEFORE),
    Point(25, "the session closes and the next one opens", OVERNIGHT, AUTHORITY, "rpc/record_marks", BEFORE),
    # Pause and approval
    Point(26, "a pause was asked for and is not committed", PAUSED, PERSON, "rpc/pause_trading", BEFORE),
    Point(27, "a pause is committed and its answer lost", PAUSED, PERSON, "rpc/pause_trading", AFTER),
    Point(28, "a permit is out while somebody pauses", PAUSED_MEANWHILE, AUTHORITY, "rpc/record_submission", BEFORE),
    Point(29, "resumed, and the engine is not told", RESUMED, AUTHORITY, "rpc/heartbeat", AFTER),
    Point(30, "an approval arrives as it expires", EXPIRING, PERSON, "rpc/decide_approval", BEFORE),
    Point(31, "approved, and its permit's answer lost", APPROVED, AUTHORITY, "rpc/claim_orders", AFTER, PERMIT),
    # Reconciliation, leadership
    Point(32, "between two writes of a reconciliation", ENTER, AUTHORITY, "rpc/reconcile_apply", BEFORE),
    Point(33, "an exit's permit is out", LEFT, AUTHORITY, "rpc/claim_orders", AFTER, PERMIT),
    Point(34, "older than the schema: no permit", OUTDATED, AUTHORITY, "rpc/claim_orders", AFTER, "ENGINE_OUTDATED"),
    Point(35, "a tick is late", FILLED, AUTHORITY, "rpc/engine_snapshot", BEFORE),
    # Pages
    Point(36, "a click is repeated while it is on its way", CLICKED_TWICE, PERSON, "rpc/pause_trading", BEFORE),
    # Beside the list
    Point(37, "a cancel is due after a pause", CANCELLED, BROKER, "DELETE /v2/orders/", BEFORE),
)
