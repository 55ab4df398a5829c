"""The pages as a process of their own, started the way users start them."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from local import services
from local.home import Home
from local.ports import LOOPBACK, Ports

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60


class PagesProcess:
    """The page server of `make run`, by itself. `env` holds every key of the installation, as it does there."""

    def __init__(self, env: Mapping[str, str], home: Path, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self._home = home
        self._service = services.pages(Home(home), replace(Ports.free(), app=port), {**env, "APP_URL": self.url})
        self.start()

    def start(self) -> None:
        """Start, and wait until pages are served."""
        self._home.mkdir(parents=True, exist_ok=True)
        self.log = self._home / "pages.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._service.command, cwd=ROOT, env=dict(self._service.environment), stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()

    def environment(self) -> dict[str, str]:
        """Return the environment that the running process has, as the system knows it."""
        pairs = Path(f"/proc/{self._process.pid}/environ").read_text().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if pair)

    def restart(self) -> None:
        """Stop, and start a process that has served nobody yet."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the pages did not start: {self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/_stcore/health", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise TimeoutError("the pages did not answer in time")
