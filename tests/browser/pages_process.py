"""The pages as a process of their own, started the way users start them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from local.ports import LOOPBACK

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60


class PagesProcess:
    """A running `streamlit run app.py`. It is given the publishable key and no other."""

    def __init__(self, env: Mapping[str, str], home: Path, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self._home = home
        self._port = port
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE", "ALPACA"))},
            "SUPABASE_URL": env["SUPABASE_URL"],
            "SUPABASE_PUBLISHABLE_KEY": env["SUPABASE_PUBLISHABLE_KEY"],
            "PAGES_HOME": str(home / "pages"),
            "LOCAL_HOME": str(home),
        }
        self.start()

    def start(self) -> None:
        """Start, and wait until pages are served."""
        self._home.mkdir(parents=True, exist_ok=True)
        self.log = self._home / "pages.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self._port)],
                cwd=ROOT, env=self._env, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()

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
