"""What the tests of the faults share: arming one, and looking at the order it struck."""

from __future__ import annotations

from typing import Any

import requests

from tests.integration.exchange.live import LiveExchange

SUBMIT = "POST /v2/orders"
LOOK_UP = "GET /v2/orders:by_client_order_id"
CANCEL = "DELETE /v2/orders/{order_id}"
REPLACE = "PATCH /v2/orders/{order_id}"


def arm(live: LiveExchange, kind: str, **fields: Any) -> dict[str, Any]:
    armed: dict[str, Any] = live.sim("POST", "faults", kind=kind, **fields)["armed"]
    return armed


def look_up(live: LiveExchange, name: str = "one") -> requests.Response:
    return live.send("GET", "/v2/orders:by_client_order_id", params={"client_order_id": name})


def resting(live: LiveExchange, **fields: Any) -> dict[str, Any]:
    """Place a purchase far below the market and return it."""
    fields = {"type": "limit", "limit_price": "50", "client_order_id": "one"} | fields
    order: dict[str, Any] = live.order(**fields).json()
    return order
