"""Every function and every event, sent one to ten times and in any order: each acts once."""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from db import commands
from db.models import Answer
from tests.property.authority.world import said
from tests.races.conftest import SHARDS, SYMBOLS, Floor, rounds

INTENTS = rounds(full=1000, sample=60)
PER_ROUND = 60
SENDERS = 6
ENTRY_PRICE, EXIT_PRICE = Decimal(100), Decimal(101)


class Crowd:
    """Engine threads of every shard that send calls as often and as shuffled as chance has it."""

    def __init__(self, floor: Floor, chance: random.Random) -> None:
        self.floor = floor
        self.chance = chance
        self.calls = 0
        self._engines = [{shard: floor.engine(shard) for shard in SHARDS} for _ in range(SENDERS)]

    def send(self, calls: Iterable[Callable[[Any], Any]]) -> list[Any]:
        """Send each call one to ten times, all shuffled; return every answer."""
        copies = [call for call in calls for _ in range(self.chance.randint(1, 10))]
        self.chance.shuffle(copies)
        self.calls += len(copies)
        shares = [copies[n::SENDERS] for n in range(SENDERS)]
        with ThreadPoolExecutor(SENDERS) as pool:
            answered = pool.map(lambda engines, share: [call(engines) for call in share], self._engines, shares)
            return [answer for share in answered for answer in share]


class Intent:
    """One entry from its request to the end of its exit, with what the broker truly did."""

    def __init__(self, floor: Floor, n: int, chance: random.Random) -> None:
        self.shard = SHARDS[n % 3]
        profile = floor.profiles[self.shard][n // 3 % 4]
        engine = floor.world.engines[self.shard]
        self.request = floor.entry(engine, profile, SYMBOLS[n // 12 % 32], qty="10")
        self.order = (self.request["id"], self.request["symbol"], "buy", 10, "simple")
        self.end = chance.choice(["filled", "filled", "canceled", "rejected"])
        self.bought = {"filled": 10, "canceled": chance.randint(0, 9), "rejected": 0}[self.end]
        self.exit_id = str(uuid4())

    def ask(self, engines: Any) -> Answer:
        return engines[self.shard].ask(self.request)[0]

    def events(self) -> list[Callable[[Any], Any]]:
        """Return everything that is reported on the entry: what came of sending it, and each news of the broker."""
        if self.end == "rejected":
            return [lambda e: e[self.shard].record(self.order[0], "rejected", code="42210000", reason="No")]
        steps = [said(self.order, "new"), *(self._fill(n) for n in range(1, self.bought, 3))]
        last = said(self.order, self.end, filled=Decimal(self.bought), price=ENTRY_PRICE if self.bought else None)
        news = [*steps, last]
        return [
            lambda e: e[self.shard].record(self.order[0], "accepted", order=steps[0]),
            *((lambda e, n=n: e[self.shard].update(n)) for n in news),
            lambda e: e[self.shard].update(*news),
        ]

    def _fill(self, n: int) -> dict[str, Any]:
        return said(self.order, "partially_filled", filled=Decimal(n), price=ENTRY_PRICE)

    def exit(self, engines: Any) -> Answer:
        return engines[self.shard].exit(self.order[0], id=self.exit_id)

    def exit_events(self) -> list[Callable[[Any], Any]]:
        order = (self.exit_id, self.order[1], "sell", self.bought, "simple")
        half = said(order, "partially_filled", filled=Decimal(self.bought) / 2, price=EXIT_PRICE)
        whole = said(order, "filled", filled=Decimal(self.bought), price=EXIT_PRICE)
        return [
            lambda e: e[self.shard].record(self.exit_id, "accepted", order=said(order, "new")),
            *((lambda e, n=n: e[self.shard].update(n)) for n in (half, whole)),
        ]


def claim(shard: str) -> Callable[[Any], list[str]]:
    return lambda engines: [str(order.id) for order in engines[shard].claim()]


def live(crowd: Crowd, intents: list[Intent]) -> None:
    """Take intents through their lives, everything sent too often."""
    answers = crowd.send(intent.ask for intent in intents)
    assert {(answer.state, answer.reason) for answer in answers} <= {("ready", None)}
    claimed = [id for claims in crowd.send(map(claim, SHARDS)) for id in claims]
    assert sorted(claimed) == sorted(intent.request["id"] for intent in intents), "each is handed out once"
    crowd.send(event for intent in intents for event in intent.events())
    held = [intent for intent in intents if intent.bought]
    crowd.send(intent.exit for intent in held)
    claimed = [id for claims in crowd.send(map(claim, SHARDS)) for id in claims]
    assert sorted(claimed) == sorted(intent.exit_id for intent in held)
    crowd.send(event for intent in held for event in intent.exit_events())


class TestEverythingSentOneToTenTimes:
    @pytest.mark.timeout(1200)
    def test_each_intent_acts_once_and_the_books_are_the_truth(self, floor):
        chance = random.Random(11)
        crowd, told = Crowd(floor, chance), []
        for first in range(0, INTENTS, PER_ROUND):
            intents = [Intent(floor, n, chance) for n in range(first, min(first + PER_ROUND, INTENTS))]
            live(crowd, intents)
            told += intents

        print(f"{len(told)} intents, {crowd.calls} calls")
        books = {
            str(id): (state, filled) for id, state, filled in
            floor.world.rows("select id, state::text, filled_qty from orders")
        }  # fmt: skip
        expected = {intent.request["id"]: (intent.end, intent.bought) for intent in told}
        expected |= {intent.exit_id: ("filled", intent.bought) for intent in told if intent.bought}
        assert books == expected
        assert floor.world.rows("select count(*) from positions") == [(0,)]
        gain = sum(intent.bought for intent in told) * (EXIT_PRICE - ENTRY_PRICE)
        assert floor.world.rows("select sum(realized_usd) from profile_capital") == [(gain,)]
        assert floor.watch.breaches() == []

    def test_each_control_request_acts_once(self, floor):
        commands.update_approval_config(floor.admin, patch={"auto_approve_paper": True})
        admins = [floor.client("admin") for _ in range(5)]
        acts = [
            lambda c, r: commands.pause_trading(c, reason="Again", request_id=r),
            lambda c, r: commands.resume_trading(c, reason="Again", request_id=r, override_reason="Race"),
            lambda c, r: commands.halt_trading(c, reason="Again", request_id=r, scope="symbol", scope_key="S1"),
            lambda c, r: commands.create_lockout(c, ticker="S2", reason="Again", request_id=r),
            lambda c, r: commands.update_approval_config(c, patch={"four_eyes": True}, request_id=r),
            lambda c, r: commands.schedule_trading_mode(
                c, mode="PAUSED", kind="weekly", reason="Again", request_id=r, weekdays=[6], start_time="02:00",
                end_time="02:01", scope="symbol", scope_key="S3"),
            lambda c, r: commands.set_member_role(
                c, user_id=floor.world.people["bob"], role="operator", reason="Again", request_id=r),
        ]  # fmt: skip
        for act in acts:
            request, rows = uuid4(), floor.world.audit_rows("done")
            with ThreadPoolExecutor(5) as pool:
                answers = list(pool.map(lambda c, a=act, r=request: a(c, r), admins * 2))
            assert all(answer == answers[0] for answer in answers)
            assert floor.world.audit_rows("done") == rows + 1
        assert floor.watch.breaches() == []
