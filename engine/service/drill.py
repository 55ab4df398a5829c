"""The fire drill: stop trading for real, in paper mode, and see whether what is promised about it holds.

A halt leaves nothing but cancels. That exits pass can therefore mean one thing only while halted: the stops that
rest at the broker stay there, and the broker fills them; an exit that is asked for is refused. After it the drill
steps down to a pause, where an exit has to be claimed, sent and filled, and then puts back what was before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from engine.domain.errors import BrokerUnavailable, EngineError, Refused
from engine.ports.clock import Clock
from engine.ports.drill import Control, DrillDesk, Held, OpenOrders
from engine.service.drill_report import Finding, Proof, Report

T = TypeVar("T")
LOOK_EVERY_S: Final = 0.1
NO_ENTRY_WITHIN_S: Final = 30.0
CANCELLED_WITHIN_S: Final = 30.0
EXIT_WITHIN_S: Final = 60.0
RESTORE_WITHIN_S: Final = 60.0
_BACK: Final = "What was before is back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which drill. `hold_s`: how long no entry must be seen."""

    drill_id: str
    who: str
    versions: dict[str, str]
    halts: bool = True
    hold_s: float = 5.0


class _Interrupted(Exception):
    """Somebody wants the drill to end now."""


class Drill:
    """One drill. What it changed it puts back, whatever happens."""

    def __init__(
        self, desk: DrillDesk, broker: OpenOrders, clock: Clock, plan: Plan, interrupt: threading.Event,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._desk = desk
        self._broker = broker
        self._clock = clock
        self._plan = plan
        self._interrupt = interrupt
        self._tell = tell
        self._findings: list[Finding] = []
        self._reason = f"Fire drill {plan.drill_id}"
        self._ours: Control | None = None  # what the drill set last
        self._tried = False  # whether anything may have been changed

    def run(self) -> Report:
        """Run the drill and return what it found.

        Raises
        ------
        Refused when it may not start; nothing was changed then
        """
        before, began_at = self._may_start(), self._clock.now()
        interrupted = False
        try:
            for act in self._acts(before):
                self._stop_if_asked()
                act()
        except _Interrupted:
            interrupted = True
        except EngineError as error:
            self._note("The drill runs to its end", Proof.BROKEN, f"It broke off: {error}")
        finally:
            after = self._put_back(before)
        return Report(
            drill_id=self._plan.drill_id,
            kind="halt" if self._plan.halts else "pause",
            who=self._plan.who,
            began_at=began_at,
            ended_at=self._clock.now(),
            before=before.mode,
            after=after,
            interrupted=interrupted,
            versions=self._plan.versions,
            findings=tuple(self._findings),
        )

    def _may_start(self) -> Control:
        control = self._desk.control()
        if control.mode != "RUNNING":
            hint = "A drill starts from RUNNING: resume first, or wait."
            raise Refused("CONFLICT", f"Trading is {control.mode} already, by {control.changed_by}.", hint)
        if obstacles := self._desk.obstacles():
            raise Refused("CONFLICT", f"No drill now: {' '.join(obstacles)}", "Settle what is named, then try again.")
        return control

    def _acts(self, before: Control) -> Iterator[Callable[[], None]]:
        if self._plan.halts:
            yield lambda: self._stop("HALTED", before)
            yield self._see_stops_rest
            yield self._see_exit_refused
            yield self._step_down
        else:
            yield lambda: self._stop("PAUSED", before)
        yield self._see_stops_rest
        yield self._see_exit_pass

    def _stop(self, mode: str, before: Control) -> None:
        """Set the mode, then see that no entry follows and that those at the broker go."""
        self._tell(f"Setting {mode}.")
        began_s = self._clock.monotonic_s()
        self._tried = True
        self._ours = self._desk.change(mode, self._reason, expected_version=before.version)
        answered_s = self._since(began_s)
        quiet = self._await(lambda: self._desk.control().quiesced_at, NO_ENTRY_WITHIN_S)
        self._see_no_entry(mode, quiet, answered_s)
        resting = self._entries_at_broker()
        gone = not resting or self._await(lambda: not self._entries_at_broker(), CANCELLED_WITHIN_S)
        figures = {"entries seen resting after the stop": len(resting), "seen gone after s": self._since(began_s)}
        self._note(
            f"{mode}: no entry rests at the broker",
            Proof.HELD if gone else Proof.BROKEN,
            f"{len(resting)} entries still rested after the stop; "
            + ("none does now." if gone else f"some still do after {CANCELLED_WITHIN_S:.0f} s."),
            figures,
        )
        self._see_quiet(mode, quiet or self._ours.changed_at)

    def _see_no_entry(self, mode: str, quiet: datetime | None, answered_s: float) -> None:
        assert self._ours is not None, "the mode was set"
        if quiet is None:
            said = f"Permits were still open {NO_ENTRY_WITHIN_S:.0f} s after {mode} was set."
            self._note(f"{mode}: no entry can be sent", Proof.BROKEN, said)
            return
        took_s = (quiet - self._ours.changed_at).total_seconds()
        figures = {"order answered after s": answered_s, "no entry after s (database's clock)": round(took_s, 3)}
        said = f"The last permit was settled {took_s:.3f} s after the mode was set."
        self._note(f"{mode}: no entry can be sent", Proof.HELD, said, figures)

    def _see_quiet(self, mode: str, since: datetime) -> None:
        """Watch for a while: nothing is sent, nothing appears at the broker."""
        self._tell(f"Watching for {self._plan.hold_s:.0f} s.")
        appeared: set[str] = set()
        until_s = self._clock.monotonic_s() + self._plan.hold_s
        while self._clock.monotonic_s() < until_s:
            appeared |= self._entries_at_broker()
            self._rest()
        sent = self._desk.entries_sent_after(since)
        broken = bool(sent or appeared)
        said = (
            f"{sent} entries were sent and {len(appeared)} seen at the broker in {self._plan.hold_s:.0f} s of watching."
        )
        self._note(f"{mode}: it stays so", Proof.BROKEN if broken else Proof.HELD, said)

    def _step_down(self) -> None:
        self._tell("Stepping down to PAUSED, to see an exit pass.")
        assert self._ours is not None, "trading was halted"
        self._ours = self._desk.change("PAUSED", self._reason, expected_version=self._ours.version)

    def _see_stops_rest(self) -> None:
        """See at the broker itself that each position's stops are there, those that wait behind a target too."""
        assert self._ours is not None, "the mode was set"
        promise = f"{self._ours.mode}: positions keep their stops"
        held = self._desk.held()
        naked = [position.symbol for position in held if not self._is_covered(position)]
        if naked:
            self._note(promise, Proof.BROKEN, f"No stop at the broker covers {', '.join(naked)} in full.")
        elif held:
            said = f"A stop at the broker covers each of {len(held)} positions in full."
            self._note(promise, Proof.HELD, said, {"positions": len(held)})
        else:
            self._note(promise, Proof.NOT_PROVEN, "No position is open, so no stop could be seen. Try again with one.")

    def _is_covered(self, position: Held) -> bool:
        orders = [order for stop in position.stops if (order := self._broker.order(stop)) and order.is_open]
        return sum((order.qty - order.filled_qty for order in orders), Decimal(0)) >= position.qty

    def _see_exit_refused(self) -> None:
        promise = "HALTED: nothing but cancels"
        position = self._smallest()
        if position is None:
            self._note(promise, Proof.NOT_PROVEN, "No position is open, so no exit could be tried. Try again with one.")
            return
        try:
            self._desk.close(position.trade_id, self._reason)
        except Refused as refusal:
            told = refusal.code == "TRADING_HALTED"
            proof = Proof.HELD if told else Proof.NOT_PROVEN
            self._note(promise, proof, f"An exit of {position.symbol} was asked for and refused: {refusal.message}")
        else:
            self._note(promise, Proof.BROKEN, f"An exit of {position.symbol} was accepted although trading was halted.")

    def _see_exit_pass(self) -> None:
        """Close the smallest position for real."""
        promise = "PAUSED: exits pass"
        position = self._smallest()
        if position is None:
            self._note(promise, Proof.NOT_PROVEN, "No position is open, so no exit could be tried. Try again with one.")
            return
        self._tell(f"Closing {position.qty.normalize():f} {position.symbol}, to see an exit pass.")
        try:
            order_id = self._desk.close(position.trade_id, self._reason)
        except Refused as refusal:
            proof = Proof.BROKEN if refusal.code.startswith("TRADING_") else Proof.NOT_PROVEN
            self._note(promise, proof, f"An exit of {position.symbol} was refused: {refusal.message}")
            return
        self._await(lambda: self._desk.exit_order(order_id).ended_at, EXIT_WITHIN_S)
        order = self._desk.exit_order(order_id)
        figures: dict[str, object] = {"order": order_id, "symbol": position.symbol, "qty": position.qty}
        for name, at in (("claimed after s", order.sent_at), ("filled after s", order.ended_at)):
            if at is not None:
                figures[name] = round((at - order.asked_at).total_seconds(), 3)
        proof = Proof.HELD if order.state == "filled" else Proof.BROKEN
        self._note(promise, proof, f"An exit of {position.symbol} was asked for and is {order.state}.", figures)

    def _put_back(self, before: Control) -> str:
        """Resume as it was before, for as long as that takes; return the mode that holds now."""
        if not self._tried:
            return before.mode
        self._tell("Putting back what was before.")
        began_s = self._clock.monotonic_s()
        while True:
            try:
                return self._resume(before, began_s)
            except EngineError as error:
                if self._since(began_s) >= RESTORE_WITHIN_S:
                    return self._not_put_back(str(error))
            self._clock.sleep(1)

    def _resume(self, before: Control, began_s: float) -> str:
        now = self._desk.control()  # asked anew: a change without an answer may have been made all the same
        if now.version == before.version:
            return now.mode
        if now.reason != self._reason:
            self._note(
                _BACK, Proof.BROKEN, f"{now.changed_by} changed the mode meanwhile: it is {now.mode} and stays so."
            )
            return now.mode
        after = self._desk.change("RUNNING", f"{self._reason} is over", expected_version=now.version, before=before)
        self._note(_BACK, Proof.HELD, f"Trading is {after.mode} again.", {"back after s": self._since(began_s)})
        return after.mode

    def _not_put_back(self, why: str) -> str:
        try:
            mode = self._desk.control().mode
        except EngineError:
            mode = "UNKNOWN"
        said = f"Trading is {mode} now. {why} Look at `python -m engine status`, then `python -m engine resume`."
        self._note(_BACK, Proof.BROKEN, said)
        return mode

    def _smallest(self) -> Held | None:
        return min(self._desk.held(), key=lambda position: position.worth_usd, default=None)

    def _entries_at_broker(self) -> set[str]:
        try:
            return self._desk.entries_among([order.client_order_id for order in self._broker.open_orders()])
        except BrokerUnavailable:
            return {"unknown: the broker did not answer"}

    def _await(self, look: Callable[[], T], within_s: float) -> T:
        until_s = self._clock.monotonic_s() + within_s
        while not (seen := look()) and self._clock.monotonic_s() < until_s:
            self._rest()
        return seen

    def _rest(self) -> None:
        self._interrupt.wait(LOOK_EVERY_S)
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._interrupt.is_set():
            raise _Interrupted

    def _since(self, began_s: float) -> float:
        return round(self._clock.monotonic_s() - began_s, 3)

    def _note(self, promise: str, proof: Proof, said: str, figures: Mapping[str, object] | None = None) -> None:
        self._tell(f"  {proof}: {promise}. {said}")
        self._findings.append(Finding(promise, proof, said, dict(figures or {})))
