"""The paper exchange's own controls: stepping simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from engine.domain.broker_types import MarketTime
from engine.domain.errors import BrokerRefused, BrokerUnavailable

TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class SimTime:
    """Simulated time; `is_stepping` until somebody lets the market run."""

    market: MarketTime
    is_stepping: bool
    sessions_elapsed: int
    sessions_left: int


class SimClock:
    """Only the paper exchange answers here, and only to its admin token."""

    def __init__(self, *, base_url: str, admin_token: str) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"X-Sim-Token": admin_token}, timeout=TIMEOUT_S, trust_env=False
        )

    def read(self) -> SimTime:
        return self._ask("GET", "/_sim/clock")

    def step_minutes(self, minutes: int) -> SimTime:
        """Let market minutes pass; past a close they go on at the next open."""
        return self._ask("POST", "/_sim/step", {"minutes": minutes})

    def step_to_close(self) -> SimTime:
        return self._ask("POST", "/_sim/step", {"to": "close"})

    def let_run(self) -> SimTime:
        """Hand simulated time over to the wall clock."""
        return self._ask("POST", "/_sim/clock", {"mode": "running"})

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> SimTime:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise BrokerUnavailable(f"the paper exchange does not answer ({type(error).__name__})") from error
        if response.status_code == 404:
            raise BrokerRefused("The paper exchange refuses to be stepped: check EXCHANGE_ADMIN_TOKEN.")
        if response.is_error:
            raise BrokerUnavailable(f"the paper exchange answered {response.status_code}: {response.text[:200]}")
        return _sim_time(response.json())


def _sim_time(body: Mapping[str, Any]) -> SimTime:
    return SimTime(
        market=MarketTime(datetime.fromisoformat(body["now"]), bool(body["is_open"])),
        is_stepping=body["mode"] == "stepping",
        sessions_elapsed=int(body["sessions_elapsed"]),
        sessions_left=int(body["sessions_left"]),
    )
