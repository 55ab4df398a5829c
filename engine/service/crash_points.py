"""Named places where a test may kill the process, to prove that nothing is lost or doubled there.

Inert unless ENGINE_CRASH_AT names the place; SIGKILL then, so that no cleanup of ours can help.
"""

from __future__ import annotations

import os
import signal
from typing import Final

AFTER_CLAIM: Final = "after_claim"  # permits are out, nothing was sent
AFTER_SUBMIT: Final = "after_submit"  # the broker has answered, nothing was recorded
MID_TICK: Final = "mid_tick"  # the gate has answered, nothing was claimed


def crash_point(name: str) -> None:
    """Kill this process here and now if the environment asks for it."""
    if os.environ.get("ENGINE_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
