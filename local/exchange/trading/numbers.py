"""Decimal helpers that the whole trading side shares."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

ZERO = Decimal(0)
CENT = Decimal("0.01")
SHARE = Decimal("0.000000001")  # Alpaca counts shares to nine decimals


def plain(value: Decimal) -> str:
    """Write a number the way Alpaca does: no exponent, no trailing zeros."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def is_whole(quantity: Decimal) -> bool:
    return quantity == quantity.to_integral_value()


def truncated(quantity: Decimal) -> Decimal:
    """Cut a quantity after its ninth decimal, as Alpaca does."""
    return quantity.quantize(SHARE, ROUND_DOWN).normalize() + ZERO
