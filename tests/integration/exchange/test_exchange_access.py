"""What surrounds every request: keys, ids, limits, the simulator's token, and faults."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import CryptoHistoricalDataClient
from alpaca.data.requests import CryptoLatestQuoteRequest
from alpaca.trading.client import TradingClient

from tests.integration.exchange.live import LiveExchange

ORDER = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}


class TestKeys:
    @pytest.mark.parametrize("path", ["/v2/account", "/v2/stocks/bars?symbols=AAPL", "/v2/nothing"])
    def test_answers_401_when_no_keys_are_sent(self, live: LiveExchange, path: str) -> None:
        answer = requests.get(live.url + path, timeout=5)

        assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized."})

    @pytest.mark.parametrize("keys", [("PKTEST", "wrong"), ("wrong", "secret")])
    def test_answers_403_when_the_keys_are_wrong(self, live: LiveExchange, keys: tuple[str, str]) -> None:
        client = TradingClient(*keys, url_override=live.url)

        with pytest.raises(APIError) as refused:
            client.get_account()

        assert refused.value.status_code == 403
        assert str(refused.value) == '{"message":"forbidden."}'

    def test_are_not_needed_for_crypto_data(self, live: LiveExchange) -> None:
        client = CryptoHistoricalDataClient(url_override=live.url)

        quotes = client.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols="BTC/USD"))

        assert quotes["BTC/USD"].ask_price > 0

    def test_must_be_right_for_crypto_data_where_there_are_some(self, live: LiveExchange) -> None:
        headers = {"APCA-API-SECRET-KEY": "wrong"}

        answer = live.send("GET", "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD", headers=headers)

        assert (answer.status_code, answer.json()) == (403, {"message": "forbidden."})

    def test_of_nobody_have_a_rate_limit_of_their_own(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(rate_limit=1)
        _wait_for_a_fresh_minute()
        path = "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD"

        nobody = [requests.get(live.url + path, timeout=5).status_code for _ in range(2)]

        assert nobody == [200, 429]
        assert live.send("GET", path).status_code == 200


class TestEveryAnswer:
    def test_carries_its_own_request_id_and_the_rate_limit_when_all_is_well(self, live: LiveExchange) -> None:
        answers = [live.send("GET", "/v2/clock") for _ in range(2)]

        assert len({answer.headers["X-Request-ID"] for answer in answers}) == 2
        for name in ("Limit", "Remaining", "Reset"):
            assert int(answers[0].headers[f"X-RateLimit-{name}"]) > 0

    def test_carries_a_request_id_when_it_is_a_refusal(self, live: LiveExchange) -> None:
        assert live.order(qty="0").headers["X-Request-ID"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/v2/options/contracts"), ("PUT", "/v2/orders"), ("GET", "/v1beta1/screener/stocks/movers")],
    )
    def test_is_501_when_the_endpoint_is_not_simulated(self, live: LiveExchange, method: str, path: str) -> None:
        answer = live.send(method, path)

        assert answer.status_code == 501
        assert answer.json() == {"message": f"not simulated by the paper exchange: {method} {path}"}

    def test_is_429_when_the_minute_is_used_up(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(rate_limit=3)
        _wait_for_a_fresh_minute()

        answers = [live.send("GET", "/v2/clock") for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].json() == {"code": 42910000, "message": "rate limit exceeded"}
        assert answers[3].headers["X-RateLimit-Remaining"] == "0"


class TestSimulatorControls:
    @pytest.mark.parametrize("token", [None, "wrong", ""])
    def test_do_not_exist_when_the_token_is_not_right(self, live: LiveExchange, token: str | None) -> None:
        headers = {} if token is None else {"X-Sim-Token": token}

        answer = requests.get(f"{live.url}/_sim/clock", headers=headers, timeout=5)

        assert answer.status_code == 404

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("step", {"minutes": 0}),
            ("step", {"minutes": "soon"}),
            ("step", {"ticks": 1.5}),
            ("step", {"to": "moon"}),
            ("step", {}),
            ("clock", {"mode": "flying"}),
            ("clock", {"seconds_per_session": -1}),
            ("price", {"symbol": "NOPE", "pct": 0.1}),
            ("price", {"symbol": "AAPL", "pct": -1}),
            ("faults", {"route": "POST /v2/orders", "kind": "earthquake"}),
            ("faults", {"route": "orders", "kind": "hang"}),
        ],
    )
    def test_refuse_and_change_nothing_when_the_request_makes_no_sense(
        self, live: LiveExchange, path: str, body: Any
    ) -> None:
        before = live.sim("GET", "clock")
        url, headers = f"{live.url}/_sim/{path}", {"X-Sim-Token": "admin"}

        answer = requests.post(url, json=body, headers=headers, timeout=5)

        assert answer.status_code == 422
        assert live.sim("GET", "clock") == before


class TestFaults:
    def _arm(self, live: LiveExchange, kind: str, **options: int) -> None:
        live.sim("POST", "faults", route="POST /v2/orders", kind=kind, **options)

    def test_order_exists_when_the_gateway_timed_out_after_accepting_it(self, live: LiveExchange) -> None:
        self._arm(live, "504_after_accept")

        answers = [live.order(client_order_id="one").status_code for _ in range(2)]

        assert answers == [504, 422]
        assert live.sim("GET", "ledger")["order_count"] == 1

    def test_order_exists_when_the_connection_was_reset_after_accepting_it(self, live: LiveExchange) -> None:
        self._arm(live, "reset_after_accept")

        with pytest.raises(requests.ConnectionError):
            live.order(client_order_id="one")

        assert live.trading.get_order_by_client_id("one").client_order_id == "one"

    def test_no_order_exists_when_the_error_came_before(self, live: LiveExchange) -> None:
        self._arm(live, "500_before", count=2)

        answers = [live.order().status_code for _ in range(3)]

        assert answers == [500, 500, 200]

    @pytest.mark.parametrize(("kind", "orders"), [("hang", 0), ("hang_after_accept", 1)])
    def test_request_hangs_until_the_client_gives_up(self, live: LiveExchange, kind: str, orders: int) -> None:
        self._arm(live, kind)

        with pytest.raises(requests.ReadTimeout):
            live.send("POST", "/v2/orders", json=ORDER, timeout=0.2)

        assert live.sim("GET", "ledger")["order_count"] == orders

    def test_answer_is_late_when_delayed(self, live: LiveExchange) -> None:
        self._arm(live, "delay", delay_ms=150)
        started = time.monotonic()

        assert live.order().status_code == 200

        assert time.monotonic() - started >= 0.15

    def test_everything_works_when_faults_are_cleared(self, live: LiveExchange) -> None:
        self._arm(live, "500_before", count=5)
        live.sim("DELETE", "faults")

        assert live.order().status_code == 200


def _wait_for_a_fresh_minute() -> None:
    """Keep the four requests of one test from falling into two windows."""
    if time.time() % 60 > 58:
        time.sleep(2.1)
