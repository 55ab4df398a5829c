"""A peer to compare with, in an environment of its own: nothing of it comes near the project's."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.migrations import ROOT

NAUTILUS = "nautilus_trader==1.221.0"
HOME = ROOT / ".local" / "peers"
ORDERS, RUNS = 5_000, 3


@dataclass(frozen=True)
class Peer:
    """What NautilusTrader's backtest reaches: orders a second, and milliseconds of the processor for each."""

    rate: float
    worked_ms: float


def nautilus() -> Peer | None:
    """Measure NautilusTrader, which is installed the first time; None unless PEERS is set."""
    if not os.environ.get("PEERS"):
        return None
    python = HOME / "bin" / "python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", str(HOME))
    _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NAUTILUS)
    runs = [_backtest(python) for _ in range(RUNS)]
    return Peer(
        rate=statistics.median(ORDERS / run["took_s"] for run in runs),
        worked_ms=statistics.median(run["worked_s"] * 1000 / ORDERS for run in runs),
    )


def _backtest(python: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_run(str(python), str(Path(__file__).with_name("nautilus.py")), str(ORDERS)))
    assert told["filled"] == ORDERS, told
    return told


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stderr[-1000:]}")
    return done.stdout
