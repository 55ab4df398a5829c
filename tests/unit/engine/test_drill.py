"""What a drill says when a promise is broken: a running engine keeps them, so here a scripted one breaks them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.domain.broker_types import BrokerOrder
from engine.domain.errors import AuthorityUnavailable, Refused
from engine.ports.drill import Control, ExitOrder, Held
from engine.service.drill import Drill, Plan
from engine.service.drill_report import Proof, Report

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)
RUNNING = Control("RUNNING", 7, AT, "admin", "All clear", None, 3, Decimal("0.25"))


class SteppingClock:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> datetime:
        return AT + timedelta(seconds=self.now_s)

    def monotonic_s(self) -> float:
        self.now_s += 1
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class ScriptedDesk:
    """An authority that keeps every promise unless told to break one."""

    state: Control = RUNNING
    positions: list[Held] = field(default_factory=lambda: [Held("t1", "AAPL", Decimal(10), Decimal(900), ("stop-1",))])
    quiesces: bool = True
    entries: set[str] = field(default_factory=set)
    sent: int = 0
    accepts_exits_while_halted: bool = False
    exit_state: str = "filled"
    resumed_with: Control | None = None
    after_stop: Callable[["ScriptedDesk"], None] = lambda _: None
    on_resume: list[Exception] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def control(self) -> Control:
        return self.state

    def obstacles(self) -> Sequence[str]:
        return []

    def change(self, mode: str, reason: str, *, expected_version: int, before: Control | None = None) -> Control:
        if mode == "RUNNING" and self.on_resume:
            raise self.on_resume.pop(0)
        if expected_version != self.state.version:
            raise Refused("CONFLICT", "Someone changed this control meanwhile.")
        quiet = AT if self.quiesces and mode != "RUNNING" else None
        self.state = Control(mode, self.state.version + 1, AT, "admin", reason, quiet)
        self.changes.append(mode)
        self.resumed_with = before
        self.after_stop(self)
        return self.state

    def entries_among(self, order_ids: Sequence[str]) -> set[str]:
        return self.entries & set(order_ids)

    def entries_sent_after(self, at: datetime) -> int:
        return self.sent

    def held(self) -> Sequence[Held]:
        return self.positions

    def close(self, trade_id: str, reason: str) -> str:
        if self.state.mode == "HALTED" and not self.accepts_exits_while_halted:
            raise Refused("TRADING_HALTED", "Trading is halted: nothing but cancels.")
        return "exit-1"

    def exit_order(self, order_id: str) -> ExitOrder:
        return ExitOrder(self.exit_state, AT, AT, AT + timedelta(seconds=2))


@dataclass
class ScriptedBroker:
    """A broker with these orders open."""

    orders: list[BrokerOrder] = field(default_factory=lambda: [order("stop-1", "leg")])

    def open_orders(self) -> Sequence[BrokerOrder]:
        return self.orders

    def order(self, broker_order_id: str) -> BrokerOrder | None:
        return next((each for each in self.orders if each.broker_order_id == broker_order_id), None)


def order(broker_id: str, client_id: str, status: str = "held", qty: int = 10) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=broker_id, client_order_id=client_id, status=status, symbol="AAPL", side="sell", type="stop",
        qty=Decimal(qty), order_class="bracket", filled_qty=Decimal(0), submitted_at=AT, updated_at=AT,
    )  # fmt: skip


def drilled(
    desk: ScriptedDesk,
    broker: ScriptedBroker | None = None,
    *,
    halts: bool = True,
    interrupt: threading.Event | None = None,
) -> Report:
    stop = interrupt or threading.Event()
    plan = Plan(drill_id="d1", who="admin@interlock.local", versions={"engine": "1"}, halts=halts, hold_s=0.5)
    return Drill(desk, broker or ScriptedBroker(), SteppingClock(), plan, stop, lambda _: None).run()


def proof_of(report: Report, promise: str) -> Proof:
    (found,) = [finding.proof for finding in report.findings if finding.promise == promise]
    return found


@pytest.mark.parametrize(("halts", "modes"), [(True, ["HALTED", "PAUSED", "RUNNING"]), (False, ["PAUSED", "RUNNING"])])
def test_it_passes_and_brings_the_stage_back_when_everything_holds(halts: bool, modes: list[str]) -> None:
    desk = ScriptedDesk()

    report = drilled(desk, halts=halts)

    assert report.passed, report.verdict
    assert desk.changes == modes
    assert desk.resumed_with is RUNNING
    assert (report.before, report.after) == ("RUNNING", "RUNNING")


@pytest.mark.parametrize(
    ("desk", "broker", "promise"),
    [
        # a permit that is never settled
        (ScriptedDesk(quiesces=False), None, "HALTED: no entry can be sent"),
        # an entry that nobody cancels
        (ScriptedDesk(entries={"e1"}), ScriptedBroker([order("stop-1", "leg"), order("b", "e1")]),
         "HALTED: no entry rests at the broker"),
        # an entry sent after quiescence
        (ScriptedDesk(sent=1), None, "HALTED: it stays so"),
        # a stop that went with the halt, one that ended, and one for half of the shares
        (ScriptedDesk(), ScriptedBroker([]), "HALTED: positions keep their stops"),
        (ScriptedDesk(), ScriptedBroker([order("stop-1", "leg", "canceled")]), "PAUSED: positions keep their stops"),
        (ScriptedDesk(), ScriptedBroker([order("stop-1", "leg", qty=5)]), "HALTED: positions keep their stops"),
        # a halt that lets an exit through
        (ScriptedDesk(accepts_exits_while_halted=True), None, "HALTED: nothing but cancels"),
        # an exit that the broker refuses
        (ScriptedDesk(exit_state="rejected"), None, "PAUSED: exits pass"),
    ],
)  # fmt: skip
def test_a_broken_promise_fails_it_in_a_sentence_and_trading_is_put_back(
    desk: ScriptedDesk, broker: ScriptedBroker | None, promise: str
) -> None:
    report = drilled(desk, broker)

    assert proof_of(report, promise) is Proof.BROKEN
    assert not report.passed
    assert report.verdict.startswith("The drill failed: ")
    assert desk.state.mode == "RUNNING"


def test_what_cannot_be_seen_is_not_called_proven() -> None:
    report = drilled(ScriptedDesk(positions=[]))

    unproven = [finding.promise for finding in report.findings if finding.proof is Proof.NOT_PROVEN]
    assert unproven == [
        "HALTED: positions keep their stops", "HALTED: nothing but cancels", "PAUSED: positions keep their stops",
        "PAUSED: exits pass",
    ]  # fmt: skip
    assert not report.passed


def test_the_smallest_position_is_the_one_that_is_closed() -> None:
    small, large = (Held(name, name, Decimal(1), Decimal(worth), ("stop-1",)) for name, worth in (("S", 5), ("L", 500)))

    report = drilled(ScriptedDesk(positions=[large, small]))

    (closed,) = [finding.figures for finding in report.findings if finding.promise == "PAUSED: exits pass"]
    assert closed["symbol"] == "S"


@pytest.mark.parametrize("mode", ["HALTED", "PAUSED", "RUNNING"])
def test_an_interrupted_one_puts_back_whenever_it_is_interrupted(mode: str) -> None:
    interrupt = threading.Event()
    desk = ScriptedDesk(after_stop=lambda desk: interrupt.set() if desk.state.mode == mode else None)

    report = drilled(desk, interrupt=interrupt)

    assert desk.state.mode == report.after == "RUNNING"
    assert report.interrupted is (mode != "RUNNING")
    assert report.passed is (mode == "RUNNING")


def test_one_that_is_interrupted_before_it_begins_changes_nothing() -> None:
    desk, interrupt = ScriptedDesk(), threading.Event()
    interrupt.set()

    report = drilled(desk, interrupt=interrupt)

    assert (desk.changes, report.after, report.interrupted) == ([], "RUNNING", True)


def test_it_puts_back_what_an_unanswered_call_has_changed() -> None:
    def cut_off(desk: ScriptedDesk) -> None:
        if desk.changes == ["HALTED"]:
            raise AuthorityUnavailable("the database cannot be reached")

    desk = ScriptedDesk(after_stop=cut_off)

    report = drilled(desk)

    assert desk.changes == ["HALTED", "RUNNING"]
    assert proof_of(report, "The drill runs to its end") is Proof.BROKEN


def test_it_tries_again_to_resume_until_the_preflight_list_is_met() -> None:
    desk = ScriptedDesk(on_resume=[Refused("PREFLIGHT_FAILED", "Not met."), AuthorityUnavailable("away")])

    report = drilled(desk)

    assert report.passed
    assert desk.state.mode == "RUNNING"


def test_it_says_so_when_trading_cannot_be_resumed() -> None:
    report = drilled(ScriptedDesk(on_resume=[Refused("PREFLIGHT_FAILED", "Not met: ENGINE_ALIVE.")] * 500))

    assert proof_of(report, "What was before is back") is Proof.BROKEN
    assert "Not met: ENGINE_ALIVE." in report.verdict
    assert "python -m engine resume" in report.verdict
    assert report.after == "PAUSED"


def test_what_somebody_else_decided_meanwhile_stays() -> None:
    def take_over(desk: ScriptedDesk) -> None:
        if desk.state.mode == "PAUSED":
            desk.state = replace(desk.state, mode="HALTED", reason="Real trouble", changed_by="bob", version=99)

    desk = ScriptedDesk(after_stop=take_over)

    report = drilled(desk)

    assert (desk.state.mode, desk.state.reason) == ("HALTED", "Real trouble")
    assert proof_of(report, "What was before is back") is Proof.BROKEN


def test_it_does_not_start_when_trading_is_stopped_already() -> None:
    desk = ScriptedDesk(state=replace(RUNNING, mode="PAUSED"))

    with pytest.raises(Refused, match="PAUSED already"):
        drilled(desk)

    assert desk.changes == []


def test_the_page_holds_every_finding_with_its_figures() -> None:
    page = drilled(ScriptedDesk()).as_markdown()

    assert "**The drill passed: everything held.**" in page
    assert "Run by admin@interlock.local" in page
    assert "| PAUSED: exits pass | filled after s | 2.0 |" in page
