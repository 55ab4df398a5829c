"""A paper exchange of a test's own, in a process of its own."""

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.errors import PortInUse
from local.gateway import answers
from local.home import Keys
from local.migrations import ROOT
from local.ports import LOOPBACK, listener
from local.processes import Child


@dataclass
class RunningExchange:
    """A running exchange; `env` is what an engine needs to trade there."""

    child: Child
    url: str
    env: dict[str, str]

    @property
    def admin_headers(self) -> dict[str, str]:
        """The header that opens `/_sim`."""
        return {"X-Sim-Token": self.env["EXCHANGE_ADMIN_TOKEN"]}

    def sim(self, method: str, path: str, **body: Any) -> Any:
        """Call `/_sim/<path>` and return its JSON answer."""
        response = httpx.request(
            method,
            f"{self.url}/_sim/{path}",
            json=body or None,
            headers=self.admin_headers,
            timeout=30,
            trust_env=False,
        )
        response.raise_for_status()
        return response.json() if response.content else None


def start_exchange(home: Path, keys: Keys, **settings: str) -> RunningExchange:
    """Start an exchange on a free port; `settings` are more environment variables for it."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    env = {
        "ALPACA_BASE_URL": url,
        "ALPACA_DATA_URL": url,
        "ALPACA_API_KEY": keys.alpaca_api_key,
        "ALPACA_SECRET_KEY": keys.alpaca_secret_key,
        "EXCHANGE_ADMIN_TOKEN": keys.exchange_admin_token,
    }
    own = {"EXCHANGE_PORT": str(port), "LOCAL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    log = home / "exchange.log"
    child = Child(
        "The exchange", [sys.executable, "-m", "local.exchange"], log=log, environment=os.environ | env | own | settings
    )
    running = RunningExchange(child, url, env)
    try:
        child.wait_until(lambda: answers(f"{url}/_sim/clock", headers=running.admin_headers), timeout_s=30)
    except BaseException:
        child.stop()
        raise
    return running


def free_port() -> int:
    """Return a port that nobody listens on, and that the system hands to nobody before it is taken."""
    while True:
        port = 10_000 + secrets.randbelow(_handed_out_from() - 10_000)  # Hypothesis seeds what `random` gives
        with suppress(PortInUse), listener("FREE_PORT", port):
            return port


def _handed_out_from() -> int:
    """Return the lowest port that the system chooses by itself."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
