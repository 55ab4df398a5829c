"""The securities that can be traded here."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

# Asset ids are the same on every installation, as they are at Alpaca.
_NAMESPACE = UUID("6a1d3c1e-2f55-4c58-9a3f-0d6b1a4b7c11")


@dataclass(frozen=True, slots=True)
class Asset:
    symbol: str
    name: str
    exchange: str

    @property
    def id(self) -> str:
        return str(uuid5(_NAMESPACE, self.symbol))


ASSETS = {
    asset.symbol: asset
    for asset in (
        Asset("AAPL", "Apple Inc. Common Stock", "NASDAQ"),
        Asset("FB", "Facebook, Inc. Class A Common Stock", "NASDAQ"),
        Asset("GOOG", "Google Inc. Class A Common Stock", "NASDAQ"),
        Asset("IBM", "International Business Machines Corporation", "NYSE"),
        Asset("MSFT", "Microsoft Corporation Common Stock", "NASDAQ"),
    )
}


def find_asset(symbol_or_id: str) -> Asset | None:
    """Return an asset by its symbol or its id."""
    by_symbol = ASSETS.get(symbol_or_id.upper())
    if by_symbol:
        return by_symbol
    return next((asset for asset in ASSETS.values() if asset.id == symbol_or_id.lower()), None)
