"""The exchange in a process of its own, as `python -m local.exchange` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

TOKEN = {"X-Sim-Token": "admin"}
KEYS = {"APCA-API-KEY-ID": "PKTEST", "APCA-API-SECRET-KEY": "secret"}


class Process:
    """`python -m local.exchange` with its own home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        settings = {"LOCAL_HOME": str(home), "EXCHANGE_PORT": "0", "EXCHANGE_ADMIN_TOKEN": "admin"}
        keys = {"ALPACA_API_KEY": "PKTEST", "ALPACA_SECRET_KEY": "secret"}
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "local.exchange"],
            env={**os.environ, **settings, **keys, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_listening(self) -> Process:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                return self
        raise AssertionError(f"it did not start: {self.ended()[1]}")

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was said on stderr."""
        _, said = self.popen.communicate(timeout=20)
        return self.popen.returncode, said

    def sim(self, path: str, **body: object) -> Any:
        url = f"{self.url}/_sim/{path}"
        answer = requests.request("POST" if body else "GET", url, headers=TOKEN, json=body or None, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def end(self) -> None:
        """Kill the process if it still runs, and close its pipes."""
        if self.popen.poll() is None:
            self.kill()
        for pipe in (self.popen.stdout, self.popen.stderr):
            if pipe is not None:
                pipe.close()
