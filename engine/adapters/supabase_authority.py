"""The authority in Supabase behind the ports Leases, OrderDesk and StateStore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog

from db import commands, errors
from engine.adapters import rows
from engine.domain.book import Order, OrderState, Purpose, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder
from engine.domain.control import TradingControl
from engine.domain.errors import AuthorityUnavailable, LeaseLost, Refused
from engine.domain.journal import OfflineExit
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Submission
from engine.ports.authority import CancelRequest, Mark, UpdateAnswer
from engine.ports.clock import Clock

# How long an authority that did not answer is left alone before somebody asks again.
ASK_AGAIN_S: Final = 0.5
NO_SUCH_FUNCTION: Final = "PGRST202"
UPGRADE_SHOWS_WITHIN_S: Final = 20.0
log = structlog.get_logger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class ShardSession:
    """The client and the fencing token that every call of a shard's engine carries.

    Once a call has gone unanswered the authority counts as away: calls fail at once instead of waiting for
    a timeout each, so that exits go on without it. One call at a time is let through to see whether it is back.
    """

    def __init__(self, client: Any, shard: str, clock: Clock) -> None:  # a supabase Client, whose name stays in db
        self.shard = shard
        self.token = 0
        self._client = client
        self._clock = clock
        self._away_since_s: int | float | None = None
        self._why_away = ""
        self._ask_again_s: int | float = 0
        self._asking = threading.Lock()

    @property
    def is_away(self) -> bool:
        """Tell whether the last call went unanswered."""
        return self._away_since_s is not None

    def call(self, command: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a command, its errors in the domain's words.

        Raises
        ------
        AuthorityUnavailable when there is no answer, or was none a moment ago
        """
        if self._away_since_s is None:
            return self._call(command, *args, **kwargs)
        is_due = self._clock.monotonic_s() >= self._ask_again_s
        if not is_due or not self._asking.acquire(blocking=False):
            raise AuthorityUnavailable(self._why_away)
        try:
            return self._call(command, *args, **kwargs)
        finally:
            self._asking.release()

    def _call(self, command: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            answer = self._translated(command, *args, **kwargs)
        except AuthorityUnavailable as error:
            now_s = self._clock.monotonic_s()
            if self._away_since_s is None:
                log.error("the authority is away: no entries, exits go on", error=str(error))
                self._away_since_s = now_s
            self._why_away, self._ask_again_s = str(error), now_s + ASK_AGAIN_S
            raise
        except (LeaseLost, Refused):
            self._note_back()
            raise
        self._note_back()
        return answer

    def _note_back(self) -> None:
        if self._away_since_s is not None:
            log.info("the authority is back", away_s=round(self._clock.monotonic_s() - self._away_since_s, 1))
            self._away_since_s = None

    def _translated(self, command: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(self._client, *args, **kwargs)
        except errors.LeaseLost as error:
            raise LeaseLost(error.message) from error
        except (errors.Unreachable, errors.NotSignedIn) as error:
            raise AuthorityUnavailable(error.message) from error
        except errors.AuthorityError as error:
            raise Refused(error.code, error.message, error.hint) from error


class SupabaseSchema:
    """What the database says of its own schema."""

    def __init__(self, session: ShardSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    def read(self) -> tuple[str, str] | None:
        """Return the schema's version and the oldest engine it serves; None when it is too old to say."""
        try:
            known = self._session.call(commands.schema_version)
        except Refused as refused:
            if refused.code == NO_SUCH_FUNCTION:
                return None
            raise
        return known.schema_, known.oldest_engine

    def read_until(self, schema: str) -> tuple[str, str] | None:
        """Read again until an upgrade shows: the gateway takes a moment to see it."""
        give_up_s = self._clock.monotonic_s() + UPGRADE_SHOWS_WITHIN_S
        while True:
            known = self.read()
            if (known is not None and known[0] >= schema) or self._clock.monotonic_s() >= give_up_s:
                return known
            self._clock.sleep(ASK_AGAIN_S)


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

    def request_entries(self, requests: Sequence[EntryRequest], *, permits: int = 0) -> list[Answer]:
        """Put entries to the gate; answers in the same order, the same id twice acts once."""
        asked = [rows.entry_row(request) for request in requests]
        return self._ask(partial(commands.request_entries, permits=permits), asked)

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

    def claim(self, *, limit: int = 50, exits_only: bool = False) -> list[Order]:
        """Take permits for orders that are ready, exits first."""
        if exits_only:
            return [order for purpose in (Purpose.EXIT, Purpose.STOP_LOSS) for order in self._claim(50, purpose)]
        return self._claim(limit, None)

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
                row.after_pause,
                row.deferred,
            )
            for row in recorded
        ]

    def record_offline_exits(self, exits: Sequence[tuple[OfflineExit, Submission]]) -> None:
        """Record exits that were sent without the authority; told again, in any order, nothing changes."""
        told = [rows.offline_exit_row(exit_, answer) for exit_, answer in exits]
        self._session.call(
            commands.record_offline_exits, shard=self._session.shard, token=self._session.token, exits=told
        )

    def _claim(self, limit: int, purpose: Purpose | None) -> list[Order]:
        claimed = self._session.call(
            commands.claim_orders, shard=self._session.shard, token=self._session.token, limit=limit, purpose=purpose
        )
        return [rows.to_order(row) for row in claimed]

    def _ask(self, command: Callable[..., Any], requests: list[dict[str, Any]]) -> list[Answer]:
        answers = self._session.call(command, shard=self._session.shard, token=self._session.token, requests=requests)
        return [rows.to_answer(row) for row in answers]


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
