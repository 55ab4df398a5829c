"""Our books in Supabase behind the port Ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from db import commands
from engine.adapters import rows
from engine.adapters.supabase_authority import ShardSession
from engine.domain.broker_types import BrokerOrder, Split
from engine.domain.reconcile import Adoption, Finding
from engine.ports.ledger import PageAnswer, Run


class SupabaseLedger:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def held(self) -> Mapping[str, Decimal]:
        """Return what the books of all shards say the broker account holds, by symbol."""
        return self._session.call(commands.reconcile_books, shard=self._session.shard, token=self._session.token)

    def compare(self, orders: Sequence[BrokerOrder]) -> PageAnswer:
        """Hold orders of the broker (legs as orders of their own) against ours; changes nothing."""
        answer = self._session.call(
            commands.reconcile_orders,
            shard=self._session.shard,
            token=self._session.token,
            client_ids=[order.client_order_id for order in orders],
            broker_ids=[order.broker_order_id for order in orders],
            statuses=[order.status for order in orders],
            filled=[str(order.filled_qty) for order in orders],
        )
        return PageAnswer([orders[n - 1] for n in answer.news], [orders[n - 1] for n in answer.unknown])

    def adopt(self, orders: Sequence[BrokerOrder]) -> list[Adoption]:
        """Bring orders that are not ours into our books where the account's policy says so."""
        answers = self._session.call(
            commands.adopt_orders,
            shard=self._session.shard,
            token=self._session.token,
            orders=[rows.broker_order_row(order) for order in orders],
        )
        return [
            Adoption(order, answer.adopted, answer.policy, answer.reason or "")
            for order, answer in zip(orders, answers, strict=True)
        ]

    def apply_split(self, split: Split, expected_qty: Decimal) -> bool:
        """Restate our books after a split; False when they would not say `expected_qty` then."""
        return self._session.call(
            commands.record_split,
            shard=self._session.shard,
            token=self._session.token,
            symbol=split.symbol,
            ratio=split.ratio,
            effective_at=split.effective_at,
            expected_qty=expected_qty,
            source=f"{split.ratio} for 1, effective {split.effective_at:%Y-%m-%d}",
        )

    def note(self, run: Run, findings: Sequence[Finding]) -> None:
        """Put a run and what it found on record; what stays as it was is not written again."""
        self._session.call(
            commands.reconcile_apply,
            shard=self._session.shard,
            token=self._session.token,
            run={
                "kind": run.kind,
                "orders_checked": run.orders_checked,
                "orders_changed": run.orders_changed,
                "positions_checked": run.positions_checked,
                "broker_cursor": None if run.cursor is None else run.cursor.isoformat(),
            },
            findings=[rows.finding_row(finding) for finding in findings],
        )
