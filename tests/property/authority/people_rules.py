"""What people do: pause and resume, lock, decide, configure, and try what they may not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db import commands
from db.errors import AuthorityError, Conflict, Forbidden, PreflightFailed
from tests.property.authority.machine import ANY, PROFILE, SCOPE, Authority
from tests.property.authority.world import attempt

DECISION = st.sampled_from(["approve", "approve", "reject"])
AS_SHOWN = st.sampled_from([True, True, False])
WHO = st.sampled_from(["admin", "operator", "operator", "alice"])
PATCHES: list[dict[str, Any]] = [
    {"auto_approve_paper": False},
    {"auto_approve_paper": False, "notional_above_usd": "5000"},
    {"auto_approve_paper": True},
    {"first_trade_in_symbol": True},
    {"four_eyes": True},
]


class PeopleRules(Authority):
    """What admins, operators and others do."""

    @rule(scope=SCOPE, halt=st.booleans(), cancel=st.booleans(), ends=st.booleans())
    def pause(self, scope: tuple[str, str | None], halt: bool, cancel: bool, ends: bool) -> None:
        target = self.target(scope)
        to, function = ("HALTED", commands.halt_trading) if halt else ("PAUSED", commands.pause_trading)
        before = self.mode(*target)
        # What a window has stopped becomes the person's own.
        taken_over = bool(self.world.rows(
            "select 1 from trading_controls where scope::text = %s and scope_key = %s and schedule_id is not null"
            " and mode <> 'RUNNING'", target[0], target[1] or "*"
        ))  # fmt: skip
        arguments: dict[str, Any] = {"scope": scope[0], "scope_key": target[1], "request_id": self.next_id()}
        if not halt:
            arguments |= {"cancel_entries": cancel}
            arguments |= {"resume_at": datetime.now(UTC) + timedelta(hours=1)} if ends else {}
        answer = function(self.world.client("admin"), reason="Stop", **arguments)
        assert answer.changed == (before != to or taken_over) and self.mode(*target) == to
        if answer.changed:
            self.held[target] = to
        if answer.changed and (halt or cancel):
            assert not self.world.rows(
                "select id from orders where purpose = 'entry' and (state in ('ready', 'awaiting_approval')"
                " or state in ('submitting', 'unknown', 'working', 'partially_filled') and cancel_requested_at is null)"
                " and private.in_scope(%s, %s, profile_id, symbol)", *target
            ), "what was not sent is cancelled, what rests is marked"  # fmt: skip
        if not (halt or cancel):
            for shard in self.world.engines:  # what was left waiting must not be handed out now
                self.world.engines[shard].claim()
        self.controlled.append((function, {"reason": "Stop"} | arguments, answer))
        self.note(f"{before} to {to} by a person, {scope[0]}")

    @rule(scope=SCOPE, healthy=st.booleans(), override=st.sampled_from([None, None, "We know why"]),
          staged=st.sampled_from([None, None, None, Decimal("0.5"), Decimal(0)]))  # fmt: skip
    def resume(
        self, scope: tuple[str, str | None], healthy: bool, override: str | None, staged: Decimal | None
    ) -> None:
        target = self.target(scope)
        if healthy:
            self.world.beat()
        admin, before = self.world.client("admin"), self.mode(*target)
        clear = commands.preflight_resume(admin, scope=scope[0], scope_key=target[1]).ok  # type: ignore[arg-type]
        arguments: dict[str, Any] = {"scope": scope[0], "scope_key": target[1], "request_id": self.next_id(),
                                     "override_reason": override, "reason": "Go on"}  # fmt: skip
        if staged is not None:
            arguments |= {"stage_entries": 2, "stage_fraction": staged or None}
        state = self.world.state()
        answer = attempt(lambda: commands.resume_trading(admin, **arguments))
        if before == "RUNNING" or clear or override:
            assert answer.changed == (before != "RUNNING") and self.mode(*target) == "RUNNING"
            self.held.pop(target, None)
            self.controlled.append((commands.resume_trading, arguments, answer))
        else:
            assert isinstance(answer, PreflightFailed) and answer.details
            assert self.world.state() == state
        self.note(f"resume {before}: {'clear' if clear else 'overridden' if override else 'refused'}")

    @precondition(lambda self: self.watch.have["restricted"] + self.watch.have["locks"] > 1)
    @rule()
    def everything_is_cleared(self) -> None:
        admin = self.world.client("admin")
        for scope in self.world.rows("select scope::text, scope_key from trading_controls where mode <> 'RUNNING'"):
            commands.resume_trading(admin, scope=scope[0], scope_key=scope[1], reason="Clear", override_reason="Clear")
            self.held.pop(scope, None)
        for (id,) in self.world.rows("select id from symbol_lockouts where removed_at is null"):
            commands.remove_lockout(admin, lockout_id=id, reason="Clear")
        self.note("everything cleared")

    @precondition(lambda self: self.controlled)
    @rule(n=ANY)
    def control_again(self, n: int) -> None:
        if not self.controlled:
            return
        function, arguments, answer = self.controlled[n % len(self.controlled)]
        before = self.world.state(), self.world.audit_rows("done")
        assert function(self.world.client("admin"), **arguments) == answer
        assert (self.world.state(), self.world.audit_rows("done")) == before, "a repeat acts once"
        self.note("control again")

    @rule(who=st.sampled_from(["operator", "alice"]))
    def others_try_to_control(self, who: str) -> None:
        client = self.world.client(who)
        self.refused(lambda: commands.pause_trading(client, reason="Let me"))
        self.refused(lambda: commands.resume_trading(client, reason="Let me"))
        self.refused(lambda: commands.update_approval_config(client, patch={"auto_approve_paper": True}))
        if who != "operator" or self.operator_is != "operator":
            self.refused(lambda: commands.create_lockout(client, ticker="IBM", reason="Let me"))
        self.note(f"refused: {who}")

    @rule(ticker=st.sampled_from(["AAPL", "IBM", "*"]), side=st.sampled_from([None, None, "long", "short"]))
    def lock(self, ticker: str, side: str | None) -> None:
        who = "operator" if self.operator_is == "operator" else "admin"
        commands.create_lockout(self.world.client(who), ticker=ticker, reason="News", side=side, duration_minutes=5)
        self.note("locked")

    @precondition(lambda self: self.watch.have["locks"])
    @rule(n=ANY)
    def unlock(self, n: int) -> None:
        locked = self.world.rows("select id from symbol_lockouts where removed_at is null order by starts_at")
        if locked:
            commands.remove_lockout(self.world.client("admin"), lockout_id=locked[n % len(locked)][0], reason="Over")
            self.note("unlocked")

    @precondition(lambda self: self.watch.have["pending"])
    @rule(n=ANY, decision=DECISION, as_shown=AS_SHOWN, who=WHO)
    def decide(self, n: int, decision: str, as_shown: bool, who: str) -> None:
        waiting = self.pending()
        if not waiting:
            return
        approval, order, _, shown = waiting[n % len(waiting)]
        hash = shown if as_shown else "0" * 64
        answer = attempt(lambda: self.decide_as(who, approval, decision, hash))
        if who == "alice" or (who == "operator" and self.operator_is != "operator"):
            assert isinstance(answer, Forbidden)
        elif isinstance(answer, AuthorityError):
            assert isinstance(answer, Conflict) and decision == "approve", "only what was shown can be approved"
        else:
            assert as_shown or decision == "reject"
            assert answer.order_state in (["ready", "denied"] if decision == "approve" else ["approval_rejected"])
            self.note(f"decided: {answer.order_state}")
            return
        assert self.world.rows("select state::text from orders where id = %s", order) == [("awaiting_approval",)]
        self.note(f"decision refused: {type(answer).__name__}")

    @precondition(lambda self: self.watch.have["decided"])
    @rule(n=ANY, decision=st.sampled_from(["approve", "reject"]))
    def decide_again(self, n: int, decision: str) -> None:
        decided = self.world.rows(
            "select id, shown_hash from operator_approvals where status <> 'pending' order by order_id"
        )
        if decided:
            approval, shown = decided[n % len(decided)]
            self.refused(lambda: self.decide_as("admin", approval, decision, shown), Conflict)
            self.note("decided again")

    @rule(patch=st.sampled_from(PATCHES), gross=st.sampled_from([None, "0.6", "1"]))
    def change_config(self, patch: dict[str, Any], gross: str | None) -> None:
        admin = self.world.client("admin")
        before = commands.risk_config(admin)
        commands.update_approval_config(admin, patch=patch)
        after = commands.risk_config(admin)
        asks = before.config["operator_approval"] | patch
        assert after.config == before.config | {"operator_approval": asks}, "no other key moves"
        if gross:
            config = after.config | {"gross_exposure": {"max_pct": gross}}
            commands.update_risk_config(admin, config=config, expected_version=after.version, reason="Other limit")
        self.note("config changed")

    @rule(
        profile=PROFILE,
        mode=st.sampled_from(["paper", "live", "disabled"]),
        capital=st.sampled_from([None, 5000, 25000]),
    )
    def profile_changes(self, profile: str, mode: str, capital: int | None) -> None:
        id = self.world.profiles[profile]
        self.world.rows("update profiles set trading_mode = %s where id = %s returning id", mode, id)
        if capital:
            self.world.rows("update profiles set capital_usd = %s where id = %s returning id", capital, id)
            (self.watch.lowered.discard if capital == 25000 else self.watch.lowered.add)(str(id))
        self.note(f"profile: {mode} {capital or ''}")

    @precondition(lambda self: self.operator_is != "operator" or self.minute % 5 == 0)
    @rule()
    def operator_changes_role(self) -> None:
        self.operator_is = "analyst" if self.operator_is == "operator" else "operator"
        commands.set_member_role(
            self.world.client("admin"), user_id=self.world.people["operator"], role=self.operator_is, reason="Moves on"
        )
        self.note(f"operator is {self.operator_is}")
