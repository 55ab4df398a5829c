"""One approval, five who want it at once: an admin, an operator, one who rejects, the clock, and the sender."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from db import commands
from tests.property.authority.world import attempt
from tests.races.conftest import Floor, at_once, rounds

ROUNDS = rounds(full=500, sample=40)


def waiting(floor: Floor, n: int) -> tuple[str, str, str]:
    """Ask for an entry that a person has to decide; return its order, approval and what is shown."""
    engine = floor.world.engines["main"]
    profile = floor.profiles["main"][n % 4]
    (answer,) = engine.ask(floor.entry(engine, profile, f"S{n % 32 + 1}"))
    assert answer.state == "awaiting_approval"
    ((approval, shown),) = floor.world.rows(
        "select id, shown_hash from operator_approvals where order_id = %s", answer.id
    )
    return str(answer.id), approval, shown


class TestOneApproval:
    @pytest.mark.timeout(900)
    def test_it_is_decided_once_and_runs_only_when_approved(self, floor):
        commands.update_approval_config(floor.admin, patch={"auto_approve_paper": False})
        admin, operator, rejecter = floor.client("admin"), floor.client("operator"), floor.client("operator")
        clock, sender, token = floor.engine("main"), floor.engine("main"), floor.world.engines["main"].token
        chance, ends = random.Random(7), Counter()

        for n in range(ROUNDS):
            order, approval, shown = waiting(floor, n)
            if n % 2:  # it runs out while they are at it
                soon = datetime.now(UTC) + timedelta(milliseconds=chance.uniform(0, 12))
                floor.world.rows(
                    "update operator_approvals set expires_at = %s where id = %s returning id", soon, approval
                )

            def decide(client, decision, approval=approval, shown=shown):
                return attempt(
                    lambda: commands.decide_approval(
                        client, approval_id=approval, decision=decision, reason="Race", shown_hash=shown
                    )
                )

            *decisions, _, claimed = at_once(
                lambda: decide(admin, "approve"),
                lambda: decide(operator, "approve"),
                lambda: decide(rejecter, "reject"),
                lambda: commands.expire_stale_approvals(clock.client, shard="main", token=token),
                lambda: [str(taken.id) for taken in sender.claim()] + [str(taken.id) for taken in sender.claim()],
            )

            successes = [d for d in decisions if not isinstance(d, Exception)]
            ((status, state),) = floor.world.rows(
                "select a.status::text, o.state::text from operator_approvals a join orders o on o.id = a.order_id"
                " where a.id = %s", approval
            )  # fmt: skip
            assert len(successes) == (0 if status == "expired" else 1), (status, decisions)
            assert status in {"approved", "rejected", "expired"}
            assert claimed.count(order) <= 1
            assert (order in claimed) == (state == "submitting")
            assert status == "approved" or not claimed
            ends[f"{status}, {state}"] += 1
            floor.clear()

        print(f"{ROUNDS} rounds: {dict(ends)}")
        assert len(ends) > 2, "more than one of them wins now and then"
        assert floor.watch.breaches() == []

    def test_it_is_not_released_after_its_expiry_when_the_gate_takes_its_time(self, floor):
        commands.update_approval_config(floor.admin, patch={"auto_approve_paper": False})
        order, approval, shown = waiting(floor, 0)
        with psycopg.connect(floor.world.url) as slow, ThreadPoolExecutor(1) as pool:
            slow.execute("lock table public.decision_log in share mode")  # whoever notes a decision waits
            floor.world.rows(
                "update operator_approvals set expires_at = clock_timestamp() + interval '300 ms'"
                " where id = %s returning id", approval
            )  # fmt: skip
            deciding = pool.submit(
                lambda: attempt(
                    lambda: commands.decide_approval(
                        floor.admin, approval_id=approval, decision="approve", shown_hash=shown
                    )
                )
            )
            time.sleep(0.8)
            slow.commit()
            deciding.result()

        assert floor.world.rows("select state::text from orders where id = %s", order) == [("approval_expired",)]
        assert floor.watch.breaches() == []


class TestOneDecisionSentOften:
    def test_eight_copies_of_one_request_decide_once_and_answer_the_same(self, floor):
        commands.update_approval_config(floor.admin, patch={"auto_approve_paper": False})
        clients = [floor.client("operator") for _ in range(8)]
        for n in range(rounds(full=100, sample=5)):
            _, approval, shown = waiting(floor, n)
            request = f"00000000-0000-4000-8000-{n:012}"

            answers = at_once(
                *(
                    lambda c=client, a=approval, s=shown, r=request: commands.decide_approval(
                        c, approval_id=a, decision="approve", shown_hash=s, request_id=r
                    )
                    for client in clients
                )
            )

            assert all(answer == answers[0] for answer in answers)
            floor.clear()
        assert floor.watch.breaches() == []
