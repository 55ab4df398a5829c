"""The authority in Supabase behind the ports Leases, OrderDesk and StateStore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from db import commands, errors
from engine.adapters import rows
from engine.domain.book import Order, OrderState, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder
from engine.domain.control import TradingControl
from engine.domain.errors import AuthorityUnavailable, LeaseLost, Refused
from engine.domain.reconcile import Finding
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Submission
from engine.ports.authority import CancelRequest, Mark, UpdateAnswer

P = ParamSpec("P")
R = TypeVar("R")


class ShardSession:
    """The client and the fencing token that every call of a shard's engine carries."""

    def __init__(self, client: Any, shard: str) -> None:  # a supabase Client, whose name stays in db
        self.shard = shard
        self.token = 0
        self._client = client

    def call(self, command: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a command, its errors in the domain's words."""
        try:
            return command(self._client, *args, **kwargs)
        except errors.LeaseLost as error:
            raise LeaseLost(error.message) from error
        except (errors.Unreachable, errors.NotSignedIn) as error:
            raise AuthorityUnavailable(error.message) from error
        except errors.AuthorityError as error:
            raise Refused(error.code, error.message, error.hint) from error


class SupabaseLeases:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def acquire(self, holder: str, ttl_s: int) -> bool:
        """Take the lease when it is free; False while another holder has it."""
        lease = self._session.call(commands.acquire_lease, shard=self._session.shard, holder=holder, ttl_s=ttl_s)
        if lease.acquired and lease.token is not None:
            self._session.token = lease.token
        return lease.acquired

    def heartbeat(
        self,
        *,
        version: str,
        market_at: datetime | None,
        jobs: Mapping[str, Any],
        detail: Mapping[str, Any],
        ttl_s: int,
    ) -> TradingControl:
        """Renew the lease and note the sign of life; answers what the controls say now."""
        status = self._session.call(
            commands.heartbeat,
            shard=self._session.shard,
            token=self._session.token,
            version=version,
            market_at=market_at,
            jobs=jobs,
            detail=detail,
            ttl_s=ttl_s,
        )
        return rows.to_control(status)

    def release(self) -> None:
        self._session.call(commands.release_lease, shard=self._session.shard, token=self._session.token)


class SupabaseOrderDesk:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def request_entries(self, requests: Sequence[EntryRequest]) -> list[Answer]:
        """Put entries to the gate; answers in the same order, the same id twice acts once."""
        return self._ask(commands.request_entries, [rows.entry_row(request) for request in requests])

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]:
        return self._ask(commands.request_exits, [rows.exit_row(request) for request in requests])

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        """Have orders cancelled at the broker by id; what was not sent ends at once; answers how many."""
        return self._session.call(
            commands.request_cancels,
            shard=self._session.shard,
            token=self._session.token,
            requests=[{"id": request.id, "reason": request.reason} for request in requests],
        )

    def claim(self) -> list[Order]:
        """Take permits for orders that are ready, exits first."""
        claimed = self._session.call(commands.claim_orders, shard=self._session.shard, token=self._session.token)
        return [rows.to_order(row) for row in claimed]

    def record_submissions(self, submissions: Sequence[Submission]) -> None:
        results = [rows.submission_row(submission) for submission in submissions]
        self._session.call(
            commands.record_submission, shard=self._session.shard, token=self._session.token, results=results
        )

    def record_updates(self, orders: Sequence[BrokerOrder]) -> list[UpdateAnswer]:
        """Take over what the broker says; monotone and idempotent; answers in the same order."""
        updates = [rows.broker_order_row(order) for order in orders]
        recorded = self._session.call(
            commands.record_order_updates, shard=self._session.shard, token=self._session.token, updates=updates
        )
        return [
            UpdateAnswer(
                None if row.id is None else str(row.id),
                None if row.state is None else OrderState(row.state),
                row.changed,
                row.late,
            )
            for row in recorded
        ]

    def _ask(self, command: Callable[..., Any], requests: list[dict[str, Any]]) -> list[Answer]:
        answers = self._session.call(command, shard=self._session.shard, token=self._session.token, requests=requests)
        return [Answer(str(row.id), OrderState(row.state), row.code, row.reason) for row in answers]


class SupabaseStateStore:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def snapshot(self) -> Snapshot:
        return rows.to_snapshot(
            self._session.call(commands.engine_snapshot, shard=self._session.shard, token=self._session.token)
        )

    def record_marks(self, marks: Sequence[Mark]) -> None:
        payload = [
            {
                "trade_id": mark.trade_id,
                "mark_price": str(mark.mark_price),
                "protected_qty": str(mark.protected_qty),
                "market_at": mark.market_at.isoformat(),
                "stop_price": None if mark.stop_price is None else str(mark.stop_price),
            }
            for mark in marks
        ]
        self._session.call(commands.record_marks, shard=self._session.shard, token=self._session.token, marks=payload)

    def record_equity(self, market_at: datetime, session_date: date) -> None:
        self._session.call(
            commands.record_equity,
            shard=self._session.shard,
            token=self._session.token,
            market_at=market_at,
            session_date=session_date,
        )

    def record_bars(self, bars: Iterable[Bar]) -> None:
        self._session.call(
            commands.record_bars,
            shard=self._session.shard,
            token=self._session.token,
            bars=[rows.bar_row(bar) for bar in bars],
        )

    def save_state(self, state: Mapping[str, Any]) -> None:
        self._session.call(commands.save_bot_state, shard=self._session.shard, token=self._session.token, state=state)

    def load_state(self) -> Mapping[str, Any] | None:
        saved = self._session.call(commands.load_bot_state, shard=self._session.shard, token=self._session.token)
        return None if saved is None else saved.state

    def record_reconciliation(
        self, *, kind: str, orders_checked: int, positions_checked: int, findings: Sequence[Finding]
    ) -> None:
        run = {"kind": kind, "orders_checked": orders_checked, "positions_checked": positions_checked}
        self._session.call(
            commands.reconcile_apply,
            shard=self._session.shard,
            token=self._session.token,
            run=run,
            findings=[rows.finding_row(finding) for finding in findings],
        )
