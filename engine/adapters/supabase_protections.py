"""The authority in Supabase behind the ports Guards and Upkeep."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from db import commands, models
from engine.adapters.supabase_authority import ShardSession
from engine.domain.protections import Break, ClosedTrade, LockoutPlan, ProtectionFacts


class SupabaseGuards:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def facts(self, since: datetime) -> ProtectionFacts:
        """Return the trades closed after a market time, and the open breaks."""
        found = self._session.call(
            commands.protection_facts, shard=self._session.shard, token=self._session.token, since=since
        )
        return ProtectionFacts(tuple(map(_trade, found.trades)), tuple(map(_break, found.breaks)))

    def lock_out(self, plan: LockoutPlan) -> None:
        """Set a lockout; the same cause never locks the same thing twice."""
        self._session.call(
            commands.engine_lockout,
            shard=self._session.shard,
            token=self._session.token,
            ticker=plan.ticker,
            reason=plan.reason,
            duration_minutes=plan.minutes,
            lockout_type=plan.lockout_type,
            profile_id=None if plan.profile_id is None else UUID(plan.profile_id),
            detail={**plan.detail, "cause": plan.cause},
        )


class SupabaseUpkeep:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def expire_approvals(self) -> int:
        """End the approvals that nobody decided in time; return how many."""
        return self._session.call(commands.expire_stale_approvals, shard=self._session.shard, token=self._session.token)

    def prune_history(self) -> int:
        """Remove a part of what is older than it is kept; return how many rows, 0 when nothing is left."""
        removed = self._session.call(commands.prune_history, shard=self._session.shard, token=self._session.token)
        return sum(removed.values())


def _trade(row: models.ProtectionTrade) -> ClosedTrade:
    return ClosedTrade(
        trade_id=str(row.trade_id),
        profile_id=str(row.profile_id),
        symbol=row.symbol,
        exit_reason=row.exit_reason,
        pnl_usd=row.pnl_usd,
        closed_at=row.closed_at,
        age_s=row.age_s,
    )


def _break(row: models.ProtectionBreak) -> Break:
    return Break(
        finding_id=str(row.finding_id),
        kind=row.kind,
        symbol=row.symbol,
        age_s=row.age_s,
        seen_again=row.seen_again,
    )
