"""Alpaca's market data, and its clock, behind the MarketData port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.data.historical.news import NewsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from engine.adapters.alpaca_http import decimal, moment, read_errors, tame
from engine.adapters.alpaca_rate import AlpacaRateLimit
from engine.domain.broker_types import Bar, MarketTime, Quote
from engine.domain.errors import BrokerRefused, BrokerUnavailable
from engine.domain.news import Headline

PAGES_MAX: Final = 200  # a server that never ends its pages must not hold us for ever
NEWS_PAGE: Final = 50
NEWS_SYMBOLS_MAX: Final = 50  # of one request
SYMBOLS_MAX: Final = 400  # of one request: its address has to stay short enough for every server on the way
PAIR: Final = "/"  # in the name of a crypto pair; asked for one, the stock data refuse the whole request


class AlpacaMarketData:
    """`feed` as in Alpaca's documentation (iex is free); None leaves it to the server."""

    def __init__(
        self,
        *,
        base_url: str,
        data_url: str,
        api_key: str,
        secret_key: str,
        feed: str | None = None,
        rate: AlpacaRateLimit | None = None,
    ) -> None:
        self._trading = TradingClient(api_key, secret_key, raw_data=True, url_override=base_url.rstrip("/"))
        self._data = StockHistoricalDataClient(api_key, secret_key, raw_data=True, url_override=data_url.rstrip("/"))
        tame(self._trading, base_url, rate)  # the data has a limit of its own
        self._news = NewsClient(api_key, secret_key, raw_data=True, url_override=data_url.rstrip("/"))
        tame(self._data, data_url)
        tame(self._news, data_url)
        self._feed = {"feed": feed} if feed else {}

    def clock(self) -> MarketTime:
        """Return the market's time and whether it is open."""
        with read_errors():
            body: Any = self._trading.get("/clock")
            return MarketTime(
                moment(body["timestamp"]).astimezone(UTC),
                bool(body["is_open"]),
                moment(body["next_close"]).astimezone(UTC),
            )

    def bars(self, symbols: Iterable[str], timeframe: str, start: datetime) -> list[Bar]:
        """Return the bars that begin at or after `start`, oldest first per symbol."""
        query = {
            "timeframe": timeframe,
            "start": start.isoformat(),
            "limit": 10_000,
            "adjustment": "split",
            **self._feed,
        }
        return [
            bar
            for some in _lists(_stocks(symbols), SYMBOLS_MAX)
            for page in self._pages(self._data, "/stocks/bars", {"symbols": some, **query})
            for bar in _bars(page["bars"], timeframe)
        ]

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        """Return the latest quotes; symbols without one are missing."""
        queries = ({"symbols": some, **self._feed} for some in _lists(_stocks(symbols), SYMBOLS_MAX))
        pages = [self._get(self._data, "/stocks/quotes/latest", query) for query in queries]
        with read_errors():
            quotes = [_quote(symbol, row) for page in pages for symbol, row in page["quotes"].items()]
        # One side missing is reported as 0: that is no price to trade at.
        return {quote.symbol: quote for quote in quotes if quote.bid > 0 and quote.ask > 0}

    def headlines(self, symbols: Iterable[str], start: datetime) -> list[Headline]:
        """Return the articles about any of the symbols since `start`, each once, oldest first."""
        found: dict[str, Headline] = {}
        for some in _lists(sorted(symbols), NEWS_SYMBOLS_MAX):
            query = {"symbols": some, "start": start.isoformat(), "sort": "asc", "limit": NEWS_PAGE}
            for page in self._pages(self._news, "/news", query):
                found |= {headline.id: headline for headline in _headlines(page)}
        return sorted(found.values(), key=lambda headline: (headline.at, headline.id))

    def _pages(self, client: RESTClient, path: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        page = self._get(client, path, query)
        yield page
        for _ in range(PAGES_MAX):
            if not page.get("next_page_token"):
                return
            page = self._get(client, path, {**query, "page_token": page["next_page_token"]})
            yield page

    def _get(self, client: RESTClient, path: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            with read_errors():
                body: Any = client.get(path, dict(query))
                page: Mapping[str, Any] = body
                return page
        except BrokerRefused as error:
            raise BrokerRefused(
                f"Alpaca refuses {path}: check the keys, and whether the account may read what ALPACA_FEED names"
                " (iex is the free feed)."
            ) from error
        except APIError as error:
            raise BrokerUnavailable(f"Alpaca does not know {path}") from error


def _stocks(symbols: Iterable[str]) -> list[str]:
    """Return the symbols that are no crypto pairs, which are not traded here: one of them must not hide the others."""
    return sorted(symbol for symbol in symbols if PAIR not in symbol)


def _lists(symbols: Sequence[str], length: int) -> list[str]:
    """Return the symbols separated by commas, in lists of at most this many."""
    return [",".join(symbols[first : first + length]) for first in range(0, len(symbols), length)]


def _bars(rows_by_symbol: Mapping[str, Any], timeframe: str) -> list[Bar]:
    with read_errors():
        return [
            Bar(
                symbol,
                timeframe,
                moment(row["t"]).astimezone(UTC),
                decimal(row["o"]),
                decimal(row["h"]),
                decimal(row["l"]),
                decimal(row["c"]),
                decimal(row["v"]),
            )
            for symbol, rows in rows_by_symbol.items()
            for row in rows
        ]


def _quote(symbol: str, row: Mapping[str, Any]) -> Quote:
    return Quote(symbol, decimal(row["bp"]), decimal(row["ap"]), moment(row["t"]).astimezone(UTC))


def _headlines(page: Mapping[str, Any]) -> list[Headline]:
    with read_errors():
        return [
            Headline(
                id=str(row["id"]),
                at=moment(row["created_at"]).astimezone(UTC),
                text=_one_line(row["headline"]),
                symbols=tuple(map(str, row["symbols"])),
                summary=_one_line(row.get("summary") or ""),
                source=_one_line(row.get("source") or ""),
                url=row.get("url"),
            )
            for row in page["news"]
        ]


def _one_line(text: Any) -> str:
    """Return a text of others without line breaks and control characters."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())
