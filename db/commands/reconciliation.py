"""What an engine asks when it holds our books against the broker's; each call carries its fencing token."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from supabase import Client

from db.commands._call import Payload, call
from db.models import Adoption, OrderPage


def reconcile_books(client: Client, *, shard: str, token: int) -> dict[str, Decimal]:
    """Return what our books of all shards say the shard's broker account holds, by symbol."""
    data = call(client, "reconcile_books", p_shard=shard, p_token=token)
    return {symbol: Decimal(qty) for symbol, qty in data.items()}


def reconcile_orders(
    client: Client,
    *,
    shard: str,
    token: int,
    client_ids: Sequence[str],
    broker_ids: Sequence[str],
    statuses: Sequence[str],
    filled: Sequence[str],
) -> OrderPage:
    """Hold a page of the broker's orders against ours; all four lists go by the same order."""
    data = call(
        client,
        "reconcile_orders",
        p_shard=shard,
        p_token=token,
        p_client_ids=list(client_ids),
        p_broker_ids=list(broker_ids),
        p_statuses=list(statuses),
        p_filled=list(filled),
    )
    return OrderPage.model_validate(data)


def adopt_orders(client: Client, *, shard: str, token: int, orders: Payload) -> list[Adoption]:
    """Have external orders brought into our books where the policy says so; answers in the same order."""
    data = call(client, "adopt_orders", p_shard=shard, p_token=token, p_orders=list(orders))
    return [Adoption.model_validate(row) for row in data]


def record_split(
    client: Client,
    *,
    shard: str,
    token: int,
    symbol: str,
    ratio: Decimal,
    effective_at: datetime,
    expected_qty: Decimal,
    source: str,
) -> bool:
    """Note a split of shares; false when it was noted before or does not explain what the broker holds."""
    return bool(
        call(
            client,
            "record_split",
            p_shard=shard,
            p_token=token,
            p_symbol=symbol,
            p_ratio=str(ratio),
            p_effective_at=effective_at,
            p_expected_qty=str(expected_qty),
            p_source=source,
        )
    )


def set_external_order_policy(
    client: Client,
    *,
    policy: str,
    reason: str,
    request_id: UUID,
    broker_account: str = "main",
    profile_id: UUID | None = None,
) -> dict[str, Any]:
    """Set what becomes of orders in the account that are not ours: lock, ignore or adopt."""
    return dict(
        call(
            client,
            "set_external_order_policy",
            p_policy=policy,
            p_reason=reason,
            p_broker_account=broker_account,
            p_profile_id=profile_id,
            p_request_id=request_id,
        )
    )
