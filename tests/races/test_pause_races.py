"""A pause against everyone who wants to send: nothing is sent after it, and it never waits long."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from db import commands
from db.models import Order
from tests.races.conftest import SHARDS, SYMBOLS, Floor, at_once, rounds

PAUSE_WITHIN_S = 5


class Claimer:
    """A thread of an engine that asks, takes permits and hands them back as fast as it can.

    Every second one takes them with the gate's answer, the others claim.
    """

    def __init__(self, floor: Floor, n: int) -> None:
        self._floor = floor
        self._shard = SHARDS[n % 3]
        self._engine = floor.engine(self._shard)
        self._profile = random.Random(n).choice(floor.profiles[self._shard])
        self._symbol = SYMBOLS[n]
        self._permits_asked = n % 2
        self.permits = 0

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            for order in [*self._permitted(), *self._claimed()]:
                self.permits += 1
                self._engine.record(order.id, "not_sent")

    def _permitted(self) -> list[Order]:
        entry = self._floor.entry(self._engine, self._profile, self._symbol)
        answers = self._engine.ask(entry, permits=self._permits_asked)
        return [answer.permit for answer in answers if answer.permit]

    def _claimed(self) -> list[Order]:
        return commands.claim_orders(self._engine.client, shard=self._shard, token=self._engine.token, limit=3)


class TestPauseAgainstClaims:
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize(("claimers", "turns"), [(8, rounds(full=400, sample=12)), (16, rounds(full=300, sample=8)),
                                                     (32, rounds(full=300, sample=8))])  # fmt: skip
    def test_no_permit_is_issued_after_a_pause_and_none_of_them_starves(self, floor, claimers, turns):
        crowd, stop, chance = [Claimer(floor, n) for n in range(claimers)], Event(), random.Random(claimers)
        scopes = [("global", None), ("symbol", "S1"), ("profile", str(floor.world.profiles["Crowd 0"]))]
        took: list[float] = []

        with ThreadPoolExecutor(claimers) as pool:
            running = [pool.submit(claimer.run, stop) for claimer in crowd]
            for turn in range(turns):
                kind, key = scopes[turn % 5 % 3]
                stopping = commands.halt_trading if turn % 4 == 3 else commands.pause_trading
                time.sleep(chance.uniform(0, 0.02))
                began = time.monotonic()
                stopping(floor.admin, reason=f"Turn {turn}", scope=kind, scope_key=key)
                took.append(time.monotonic() - began)
                time.sleep(chance.uniform(0, 0.01))
                commands.resume_trading(
                    floor.admin, reason=f"Turn {turn}", scope=kind, scope_key=key, override_reason="Race"
                )
            stop.set()
            for future in running:
                future.result()

        took.sort()
        permits = sum(claimer.permits for claimer in crowd)
        print(f"{claimers} claimers, {turns} pauses, {permits} permits, pause p50 {took[len(took) // 2] * 1000:.0f} ms,"
              f" p99 {took[int(len(took) * 0.99)] * 1000:.0f} ms, max {took[-1] * 1000:.0f} ms")  # fmt: skip
        assert took[-1] < PAUSE_WITHIN_S
        assert permits > turns, "the claimers were at work while it was paused and resumed"
        stopped = "select count(*) from trading_control_events where to_mode <> 'RUNNING'"
        assert floor.world.rows(stopped) == [(turns,)]
        assert floor.watch.breaches() == []

    def test_one_pause_sent_by_eight_admins_at_once_acts_once(self, floor):
        clients, request = [floor.client("admin") for _ in range(8)], uuid4()

        answers = at_once(
            *(partial(commands.pause_trading, client, reason="Once", request_id=request) for client in clients)
        )

        assert all(answer == answers[0] for answer in answers)
        assert floor.watch.breaches() == []
        assert floor.world.rows("select count(*) from trading_control_events where to_mode = 'PAUSED'") == [(1,)]


def in_flight(floor: Floor, *profiles: str) -> list[str]:
    """Bring one entry of each profile to where its permit is out."""
    engine = floor.world.engines["main"]
    asked = engine.ask(*(floor.entry(engine, profile, f"S{n + 1}") for n, profile in enumerate(profiles)))
    assert len(engine.claim()) == len(profiles)
    return [str(answer.id) for answer in asked]


def recording(floor: Floor) -> psycopg.Connection:
    """Return an engine's connection on which a call stays open until it is committed."""
    connection = psycopg.connect(floor.world.url)
    connection.execute("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)")
    return connection


class TestPauseAgainstRecords:
    def test_the_drain_ends_when_the_last_two_permits_are_settled_at_once(self, floor):
        first, second = floor.profiles["main"][:2]
        orders = in_flight(floor, first, second)
        commands.pause_trading(floor.admin, reason="Drain")

        calls = [recording(floor) for _ in orders]

        def settle(call: psycopg.Connection, order: str) -> None:
            call.execute(
                "select public.record_submission('main', %s, %s)",
                (floor.world.engines["main"].token, Jsonb([{"id": order, "outcome": "not_sent"}])),
            )

        settle(calls[0], orders[0])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(settle, calls[1], orders[1])  # judged while the first one is not committed
            time.sleep(0.2)
            calls[0].commit()
            second.result()
        for call in calls:
            call.commit()
            call.close()

        status = commands.trading_status(floor.admin)
        assert (status.entries_in_flight, status.phase) == ([], "quiesced")

    def test_the_drain_ends_when_the_last_permit_is_settled_while_the_pause_commits(self, floor):
        (order,) = in_flight(floor, floor.profiles["main"][0])
        call = recording(floor)
        call.execute(
            "select public.record_submission('main', %s, %s)",
            (floor.world.engines["main"].token, Jsonb([{"id": order, "outcome": "not_sent"}])),
        )

        with ThreadPoolExecutor(1) as pool:
            pausing = pool.submit(commands.pause_trading, floor.admin, reason="Drain", cancel_entries=False)
            time.sleep(0.2)
            call.commit()
            pausing.result()
        call.close()

        status = commands.trading_status(floor.admin)
        assert (status.entries_in_flight, status.phase) == ([], "quiesced")

    def test_a_pause_succeeds_while_a_batch_is_being_recorded(self, floor):
        profile = floor.profiles["main"][0]
        orders = in_flight(floor, profile, profile)
        failures = []
        for batch in (orders, orders[::-1]):
            call = recording(floor)
            call.execute("select private.lock_controls(false), private.lock_capital_of(%s::uuid[], '{}')", (orders,))
            first, second = (Jsonb({"id": order, "outcome": "unknown"}) for order in batch)
            call.execute("select private.apply_submissions(array[%s], 'main')", (first,))
            with ThreadPoolExecutor(1) as pool:
                pausing = pool.submit(commands.pause_trading, floor.admin, reason="Stop")
                time.sleep(0.2)  # the pause waits for the order that is being recorded
                call.execute("select private.apply_submissions(array[%s], 'main')", (second,))
                call.commit()
                call.close()
                failures += [pausing.exception()]
            commands.resume_trading(floor.admin, reason="Again", override_reason="Race")
            floor.world.rows("update orders set cancel_requested_at = null where state = 'unknown' returning id")

        assert failures == [None, None]


class TestClaimsThatFindOldDecisions:
    def test_a_claim_locks_capital_in_the_order_that_all_callers_keep(self, floor):
        engine = floor.world.engines["main"]
        first, last = sorted(floor.profiles["main"][:2], key=lambda name: floor.world.profiles[name])
        engine.ask(floor.entry(engine, first, "S1"))
        commands.update_approval_config(floor.admin, patch={"auto_approve_paper": False})
        engine.ask(floor.entry(engine, last, "S2"))
        floor.world.rows("update operator_approvals set expires_at = clock_timestamp() returning id")
        floor.world.rows(
            "update orders set ready_at = clock_timestamp() - interval '2 min' where state = 'ready' returning id"
        )

        lock = "select 1 from profile_capital where profile_id = %s for update"
        with psycopg.connect(floor.world.url) as another, ThreadPoolExecutor(1) as pool:
            another.execute(lock, (floor.world.profiles[first],))  # as a batch for both profiles would, in order
            claiming = pool.submit(engine.claim)
            time.sleep(0.2)
            another.execute(lock, (floor.world.profiles[last],))
            another.commit()
            failure = claiming.exception()

        assert failure is None
