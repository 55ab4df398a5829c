"""The crash points: where in an order's life something goes wrong, and how an engine is brought there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from psycopg.types.json import Jsonb

from db import commands
from tests.support.chaos_line import Moment, Trap
from tests.support.chaos_stage import PROFILE, Machine, Stage
from tests.support.engine import EAGER_TO_LEAVE, SIZES

BEFORE, HALF, AFTER = Moment.BEFORE, Moment.HALF, Moment.AFTER
AUTHORITY, BROKER, ENGINE = "authority", "broker", "engine"
SEND: Final = "POST /v2/orders"
TRAILING: Final = {"trailing_stop_pct": "0.02", "take_profit_pct": "0.5"}


@dataclass(frozen=True)
class Story:
    """What has happened before the point (`lead_up`), and what brings the engine to it (`provoke`)."""

    lead_up: Callable[[Stage, Machine], None] | None = None
    provoke: Callable[[Stage, Machine], None] = lambda _stage, _machine: None
    scene: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Point:
    """One row of the matrix: `line` carries the request that is held, or is the engine's own crash point."""

    number: int
    name: str
    story: Story
    line: str
    request: str
    moment: Moment = BEFORE

    def __str__(self) -> str:
        return f"CP{self.number:02} {self.name}"

    def arm(self, machine: Machine) -> Trap:
        return (machine.authority if self.line == AUTHORITY else machine.broker).arm(self.request, self.moment)


def to_work(stage: Stage, machine: Machine) -> None:
    """An entry works at the broker."""
    stage.start(machine.name)
    stage.wait(stage.entries_work, "entries work")


def to_hold(stage: Stage, machine: Machine) -> None:
    """A filled entry is covered, and no further one is wanted."""
    to_work(stage, machine)
    stage.no_more_entries()
    stage.step(30)
    stage.wait(stage.is_covered, "held and covered")


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


def rest_too_long(stage: Stage, machine: Machine) -> None:
    """An entry is filled in part, and its rest is cancelled after a quarter of an hour."""
    fill_in_part(stage, machine)
    stage.step(40)


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
REJECTED, GARBLED, TIMED_OUT = Story(provoke=reject), Story(provoke=garble), Story(provoke=gateway_times_out)
FILLED, FILLED_IN_PART = Story(to_work, fill), Story(to_work, fill_in_part)
RESTED = Story(to_work, rest_too_long)
STRIPPED, LEFT, FELL = Story(to_hold, strip), Story(to_hold, leave), Story(to_hold, fall)
LEFT_PAUSED = Story(to_hold_while_paused, leave)
ROSE = Story(to_hold, rise, tuple(TRAILING.items()))
CANCELLED, RACED = Story(to_work, pause), Story(to_work, pause_and_lose_the_race)
OVERNIGHT = Story(to_hold, sleep_over_the_close)

POINTS: Final = (
    # Intent and reservation
    Point(1, "before the intent is asked for", ENTER, AUTHORITY, "rpc/request_entries", BEFORE),
    Point(2, "the intent is half asked for", ENTER, AUTHORITY, "rpc/request_entries", HALF),
    Point(3, "the intent is committed and its answer lost", ENTER, AUTHORITY, "rpc/request_entries", AFTER),
    Point(5, "reserved, not claimed", ENTER, ENGINE, "mid_tick"),
    # Submit
    Point(6, "the permit is out, nothing was sent", ENTER, ENGINE, "after_claim"),
    Point(7, "connected, no byte of the order was sent", ENTER, BROKER, SEND, BEFORE),
    Point(8, "the order is half sent", ENTER, BROKER, SEND, HALF),
    Point(9, "the permit is committed and its answer lost", ENTER, AUTHORITY, "rpc/claim_orders", AFTER),
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
    # Pause
    Point(28, "a permit is out while somebody pauses", ENTER, AUTHORITY, "rpc/record_submission", BEFORE),
    Point(29, "a cancel is due after a pause", CANCELLED, BROKER, "DELETE /v2/orders/", BEFORE),
    # Reconciliation, leadership
    Point(32, "between two writes of a reconciliation", ENTER, AUTHORITY, "rpc/reconcile_apply", BEFORE),
    Point(33, "an exit's permit is out", LEFT, AUTHORITY, "rpc/claim_orders", AFTER),
    Point(35, "a tick is late", FILLED, AUTHORITY, "rpc/engine_snapshot", BEFORE),
)
