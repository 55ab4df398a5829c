"""What the trading side asks of the market: the one place that knows how prices are had."""

from __future__ import annotations

from collections.abc import Iterable

from local.exchange.market.assets import find_asset
from local.exchange.market.calendar import Moment
from local.exchange.market.market import Market, Tick
from local.exchange.trading.ledger import Ledger


def tick_of(market: Market, ledger: Ledger, symbol: str) -> Tick:
    """Return the last trade and quote of a symbol."""
    return market.tick(symbol, ledger.moment)


def ticks_of(market: Market, ledger: Ledger) -> dict[str, Tick]:
    """Return the current tick of every symbol that is held or has an open order."""
    return ticks_for(market, ledger, {*ledger.account.positions, *ledger.book.symbols()})


def ticks_for(market: Market, ledger: Ledger, symbols: Iterable[str]) -> dict[str, Tick]:
    return {symbol: tick_of(market, ledger, symbol) for symbol in symbols}


def volume_before(market: Market, symbol: str, moment: Moment) -> int:
    """Return how many shares traded in the five minutes that ended at `moment`."""
    if moment.tick < 1:
        return market.path(symbol, moment.session).volumes[0] if moment.tick == 0 else 0
    return market.path(symbol, moment.session).volumes[moment.tick - 1]


def find_symbol(market: Market, name: str) -> str | None:
    """Return the symbol of an asset that is named by symbol, id, or a pair without its slash."""
    name = name.upper()
    for symbol in market.tape.symbols:
        if name in (symbol, symbol.replace("/", "")):
            return symbol
    asset = find_asset(name)
    return asset.symbol if asset else None
