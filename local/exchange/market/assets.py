"""The securities that can be traded here."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, UUID, uuid5

# Asset ids are the same on every installation, as they are at Alpaca.
_NAMESPACE = UUID("6a1d3c1e-2f55-4c58-9a3f-0d6b1a4b7c11")


@dataclass(frozen=True, slots=True)
class Asset:
    """A share, or a crypto pair; `namespace` is what its id is derived in."""

    symbol: str
    name: str
    exchange: str
    cusip: str = ""
    namespace: UUID = _NAMESPACE
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", str(uuid5(self.namespace, self.symbol)))

    @property
    def is_crypto(self) -> bool:
        return self.exchange == "CRYPTO"


ASSETS = {
    asset.symbol: asset
    for asset in (
        Asset("AAPL", "Apple Inc. Common Stock", "NASDAQ", "037833100"),
        Asset("BTC/USD", "Bitcoin (synthetic prices)", "CRYPTO"),
        Asset("ETH/USD", "Ethereum (synthetic prices)", "CRYPTO"),
        Asset("FB", "Facebook, Inc. Class A Common Stock", "NASDAQ", "30303M102"),
        Asset("GOOG", "Google Inc. Class A Common Stock", "NASDAQ", "38259P508"),
        Asset("IBM", "International Business Machines Corporation", "NYSE", "459200101"),
        Asset("MSFT", "Microsoft Corporation Common Stock", "NASDAQ", "594918104"),
    )
}


def own_asset(symbol: str) -> Asset:
    """Return the asset of a symbol that a user brought along."""
    return Asset(symbol, f"{symbol} (own bars)", "NASDAQ", namespace=NAMESPACE_URL)


def find_asset(symbol_or_id: str) -> Asset | None:
    """Return one of the exchange's own assets by its symbol or its id."""
    return find_among(ASSETS, symbol_or_id)


def find_among(assets: dict[str, Asset], symbol_or_id: str) -> Asset | None:
    """Return one of `assets` by its symbol (a pair also without its slash) or its id."""
    name = symbol_or_id.upper()
    if name in assets:
        return assets[name]
    lowered = symbol_or_id.lower()
    return next((each for each in assets.values() if each.id == lowered or each.symbol.replace("/", "") == name), None)
