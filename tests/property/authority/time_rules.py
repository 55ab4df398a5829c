"""What time does: decisions get old, approvals run out, pauses end, windows begin and end."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db import commands
from db.errors import Conflict
from tests.property.authority.machine import ANY, RANK, SCOPE, SHARD, Authority
from tests.property.authority.world import attempt


class TimeRules(Authority):
    """What happens because time passes."""

    @precondition(lambda self: self.watch.have["ready"])
    @rule(shard=SHARD)
    def ready_entries_get_too_old(self, shard: str) -> None:
        old = self.world.rows(
            "update orders set ready_at = clock_timestamp() - interval '2 minutes'"
            " where state = 'ready' and purpose = 'entry' and shard = %s returning id", shard
        )  # fmt: skip
        claimed = self.world.engines[shard].claim()
        assert not {order.id for order in claimed} & {row[0] for row in old}
        for (id,) in old:
            assert self.world.rows("select state::text from orders where id = %s", id) == [("expired",)]
            self.note("clocked out")

    @precondition(lambda self: self.watch.have["pending"])
    @rule(n=ANY, found_by=st.sampled_from(["claim", "expire", "approve", "reject"]))
    def approval_expires(self, n: int, found_by: str) -> None:
        waiting = self.pending()
        if not waiting:
            return
        approval, order, shard, shown = waiting[n % len(waiting)]
        self.world.rows(
            "update operator_approvals set expires_at = clock_timestamp() where id = %s returning id", approval
        )
        engine = self.world.engines[shard]
        if found_by == "claim":
            engine.claim()
        elif found_by == "expire":
            commands.expire_stale_approvals(self.world.engine_client, shard=shard, token=engine.token)
        else:
            late = attempt(lambda: self.decide_as("admin", approval, found_by, shown))
            assert isinstance(late, Conflict) and late.code == "APPROVAL_EXPIRED"
        assert self.world.rows("select state::text from orders where id = %s", order) == [("approval_expired",)]
        self.note(f"expired, found by {found_by}")

    @precondition(lambda self: self.watch.have["ending"])
    @rule(beat=st.booleans())
    def planned_resume_comes(self, beat: bool) -> None:
        due = self.world.rows(
            "update trading_controls set resume_at = clock_timestamp() where mode <> 'RUNNING'"
            " and resume_at is not null returning scope::text, scope_key"
        )
        if not due:
            return
        if beat:
            self.world.beat()
        else:
            self.world.engines["main"].ask_one("Alice trend daily", id=str(self.next_id()))
        for scope in due:
            if self.mode(*scope) == "RUNNING":
                self.held.pop(scope, None)
            self.note(f"planned resume: {self.mode(*scope)}")
        # What the pre-flight list still holds back becomes a pause without an end.
        self.world.rows("update trading_controls set resume_at = null where resume_at is not null returning 1")

    @rule(scope=SCOPE, mode=st.sampled_from(["PAUSED", "HALTED"]))
    def window_begins(self, scope: tuple[str, str | None], mode: str) -> None:
        target = self.target(scope)
        if any(window[1] == target for window in self.windows):
            return
        now = datetime.now(UTC)
        schedule = commands.schedule_trading_mode(
            self.world.client("admin"), mode=mode, kind="once", reason="Planned", scope=scope[0], scope_key=target[1],
            starts_at=now - timedelta(seconds=5), ends_at=now + timedelta(hours=1),
        )  # fmt: skip
        self.windows.append((schedule.id, target))
        assert RANK.index(self.mode(*target)) >= RANK.index(mode)
        self.note(f"window: {mode}")

    @precondition(lambda self: self.windows)
    @rule(n=ANY)
    def window_ends(self, n: int) -> None:
        if not self.windows:
            return
        schedule, target = self.windows.pop(n % len(self.windows))
        self.world.rows(
            "update control_schedules set ends_at = clock_timestamp(), next_at = clock_timestamp() where id = %s"
            " returning id", schedule
        )  # fmt: skip
        self.world.beat()
        self.note(f"window over: {self.mode(*target)}")
        if self.world.rows("select 1 from control_schedules where id = %s and active", schedule):
            commands.cancel_schedule(self.world.client("admin"), schedule_id=schedule, reason="Held by pre-flight")
