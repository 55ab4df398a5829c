"""Headlines through the unmodified news client: synthetic ones, and a user's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alpaca.data.historical.news import NewsClient
from alpaca.data.requests import NewsRequest

from tests.integration.exchange.live import KEY_ID, SECRET_KEY, LiveExchange

DECEMBER = datetime(2006, 12, 1, tzinfo=UTC)
NAME = {"symbols": "AAPL"}


def headlines(live: LiveExchange, **options: Any) -> list[Any]:
    client = NewsClient(KEY_ID, SECRET_KEY, url_override=live.url)
    found: list[Any] = client.get_news(NewsRequest(**({"start": DECEMBER} | options))).data["news"]
    return found


def test_synthetic_headlines_are_labelled_as_such(live: LiveExchange) -> None:
    found = headlines(live, **NAME)

    assert len(found) > 40
    assert all(each.headline.startswith("[synthetic]") and each.source == "synthetic" for each in found)
    assert {symbol for each in found for symbol in each.symbols} == {"AAPL"}


def test_pages_hold_each_headline_once_and_the_newest_first(live: LiveExchange) -> None:
    found = headlines(live)

    assert len(found) == len({each.id for each in found}) > 200
    times = [each.created_at for each in found]
    assert times == sorted(times, reverse=True)
    assert [each.id for each in headlines(live, sort="asc")] == [each.id for each in found[::-1]]
    assert [each.id for each in headlines(live, limit=60)] == [each.id for each in found[:60]]


def test_a_closing_headline_says_what_the_bar_says_and_only_after_the_close(live: LiveExchange) -> None:
    opened = [each.headline for each in headlines(live, start=datetime(2007, 1, 3, tzinfo=UTC), **NAME)]
    live.step(to="close")
    live.step(to="open")

    closing = [
        each for each in headlines(live, start=datetime(2007, 1, 3, tzinfo=UTC), **NAME) if "ends" in each.headline
    ]

    assert not any("ends the day" in headline for headline in opened)
    (close,) = closing
    assert re.search(r"ends the day at \$83\.80, down 1\.23%", close.headline)
    assert close.created_at == datetime(2007, 1, 3, 21, 5, tzinfo=UTC)


def test_content_comes_when_asked_for(live: LiveExchange) -> None:
    assert {each.content for each in headlines(live, limit=5, **NAME)} == {""}
    assert all("nobody wrote it" in each.content for each in headlines(live, limit=5, include_content=True, **NAME))


def test_a_users_headline_is_found_among_the_others(live: LiveExchange) -> None:
    live.sim("POST", "news", headline="Apple shows a telephone", symbols=["AAPL"], content="It rings.")

    newest = headlines(live, include_content=True, **NAME)[0]

    assert (newest.headline, newest.content, newest.source) == ("Apple shows a telephone", "It rings.", "user")
    assert newest.created_at == live.trading.get_clock().timestamp
    assert "Apple shows a telephone" not in [each.headline for each in headlines(live, symbols="MSFT")]
    without_text = headlines(live, exclude_contentless=True, **NAME)
    assert newest.id in {each.id for each in without_text}


def test_a_users_headline_waits_for_its_time(live: LiveExchange) -> None:
    at = live.trading.get_clock().timestamp + timedelta(minutes=10)
    live.sim("POST", "news", headline="Later", symbols=["BTC/USD"], at=at.isoformat())
    before = headlines(live, symbols="BTCUSD", limit=1)

    live.step(ticks=2)

    assert "Later" not in [each.headline for each in before]
    assert headlines(live, symbols="BTCUSD", limit=1)[0].headline == "Later"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"headline": 5},
        {"headline": "x", "symbols": ["NOPE"]},
        {"headline": "x", "symbols": "AAPL"},
        {"headline": "x", "at": "soon"},
    ],
)
def test_a_users_headline_is_refused_when_it_makes_no_sense(live: LiveExchange, body: dict[str, object]) -> None:
    answer = live.send("POST", "/_sim/news", json=body, headers={"X-Sim-Token": "admin"})

    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_headlines_cannot_be_added_without_the_simulators_token(live: LiveExchange) -> None:
    assert live.send("POST", "/_sim/news", json={"headline": "x"}).status_code == 404


@pytest.mark.parametrize("token", ["zzz", "MTIz", "eHx5"])
def test_a_page_token_of_nobodys_making_is_refused(live: LiveExchange, token: str) -> None:
    assert live.send("GET", f"/v1beta1/news?page_token={token}").status_code == 400
