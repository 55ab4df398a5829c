"""Two engines and one lease: one holds it, and what the other writes is refused or was written before."""

import random
import time
from functools import partial
from typing import Any

import pytest

from db import commands
from db.errors import LeaseLost
from db.models import Lease
from tests.db.conftest import Engine
from tests.property.authority.world import attempt
from tests.races.conftest import SYMBOLS, Floor, at_once, rounds

ROUNDS = rounds(full=200, sample=25)


def claim_one_by_one(engine: Engine, *, times: int) -> list[Any]:
    """Claim one order at a time; return each answer or error."""
    call = partial(commands.claim_orders, engine.client, shard=engine.shard, token=engine.token, limit=1)
    return [attempt(call) for _ in range(times)]


def take_over(floor: Floor, client: Any, *, holder: str, after_s: float) -> Lease:
    time.sleep(after_s)
    floor.world.let_lease_run_out("west")
    return commands.acquire_lease(client, shard="west", holder=holder, ttl_s=60)


class TestTwoEngines:
    @pytest.mark.timeout(600)
    def test_one_of_two_gets_a_free_lease_and_the_other_can_write_nothing(self, floor):
        clients = floor.client(), floor.client()
        for n in range(ROUNDS):
            floor.world.let_lease_run_out("west")

            leases = at_once(
                *(
                    lambda c=client, h=f"engine {n} {i}": commands.acquire_lease(c, shard="west", holder=h, ttl_s=60)
                    for i, client in enumerate(clients)
                )
            )

            assert sorted(lease.acquired for lease in leases) == [False, True]
            winner = next(lease for lease in leases if lease.acquired)
            assert commands.claim_orders(clients[0], shard="west", token=winner.token) == []
            stale = attempt(lambda t=winner.token: commands.claim_orders(clients[1], shard="west", token=t - 1))
            assert isinstance(stale, LeaseLost)

    @pytest.mark.timeout(600)
    def test_a_takeover_while_the_old_holder_claims_leaves_no_permit_after_it(self, floor):
        old, taker, chance = floor.engine("west"), floor.client(), random.Random(3)
        profile, refused, served = floor.profiles["west"][0], 0, 0
        for n in range(ROUNDS):
            asked = old.ask(*(floor.entry(old, profile, symbol) for symbol in SYMBOLS[:8]))
            assert {answer.state for answer in asked} == {"ready"}

            claims, lease = at_once(
                partial(claim_one_by_one, old, times=8),
                partial(take_over, floor, taker, holder=f"taker {n}", after_s=chance.uniform(0, 0.02)),
            )

            permits = [len(claim) for claim in claims if not isinstance(claim, Exception)]
            assert all(isinstance(claim, LeaseLost) for claim in claims[len(permits) :]), "once lost, it stays lost"
            refused, served = refused + len(claims) - len(permits), served + sum(permits)
            late = floor.world.rows(
                "select o.id from orders o join engine_leases l on l.shard = o.shard"
                " where o.permit_token < l.token and o.submitted_at >= l.acquired_at"
            )
            assert late == []
            left = commands.claim_orders(taker, shard="west", token=lease.token)
            assert len(left) == len(asked) - sum(permits)
            assert {order.permit_token for order in left} <= {lease.token}
            old.token = lease.token  # the taker is the old holder of the next round
            floor.clear()
        print(f"{ROUNDS} takeovers: {refused} claims refused, {served} permits issued before")
        assert refused and served, "a takeover fell between two claims now and then"
