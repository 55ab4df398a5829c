"""What the trading side asks of the market: the one place that knows how prices are had."""

from __future__ import annotations

from collections.abc import Iterable

from local.exchange.market.assets import find_among
from local.exchange.market.calendar import TICK
from local.exchange.market.crypto import LOTS
from local.exchange.market.market import Market, Tick
from local.exchange.trading.ledger import Ledger


def tick_of(market: Market, ledger: Ledger, symbol: str) -> Tick:
    """Return the last trade and quote of a symbol."""
    clock = ledger.clock
    return market.tick(symbol, clock.moment, clock.after)


def ticks_of(market: Market, ledger: Ledger) -> dict[str, Tick]:
    """Return the current tick of every symbol that is held or has an open order."""
    return ticks_for(market, ledger, {*ledger.account.positions, *ledger.book.symbols()})


def ticks_for(market: Market, ledger: Ledger, symbols: Iterable[str]) -> dict[str, Tick]:
    return {symbol: tick_of(market, ledger, symbol) for symbol in symbols}


def volume_before(market: Market, ledger: Ledger, symbol: str) -> int:
    """Return how many shares or coins traded in the last five minutes; outside of hours no shares do."""
    if symbol in market.crypto:
        at = ledger.clock.time(market.calendar)
        day = market.crypto_day(symbol, market.crypto[symbol].index_of(at))
        return day.path.volumes[max(0, (at - day.starts) // TICK - 1)] // LOTS
    moment = ledger.moment
    if moment.tick < 0 or ledger.clock.after:
        return 0
    return market.path(symbol, moment.session).volumes[max(0, moment.tick - 1)]


def find_symbol(market: Market, name: str) -> str | None:
    """Return the symbol of an asset that is named by symbol, id, or a pair without its slash."""
    asset = find_among(market.tape.assets, name)
    return asset.symbol if asset else None
