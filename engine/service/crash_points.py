"""Named places where a test may stop the process, to prove that nothing is lost or doubled there.

Inert unless ENGINE_CRASH_AT names the place: `after_submit` kills the process there, so that no cleanup of
ours can help; `after_submit:freeze` stops it until it is continued; `after_submit:raise` raises. It acts once;
`after_submit:kill:2` at the second time.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

AFTER_CLAIM: Final = "after_claim"  # permits were taken up, nothing was sent
BEFORE_SEND: Final = "before_send"  # every check was passed, the order is on its way to the socket
AFTER_SUBMIT: Final = "after_submit"  # the broker has answered, nothing was recorded
MID_TICK: Final = "mid_tick"  # the gate has answered, its permits were not taken up
OFFLINE_INTENDED: Final = "offline_intended"  # an exit is in the journal, nothing was sent
OFFLINE_SENT: Final = "offline_sent"  # the broker has answered, the journal has the intent alone
REPLAY_TOLD: Final = "replay_told"  # the authority knows the journal, the journal does not know that


class CrashPointReached(Exception):
    """Raised by a test's wish; nothing handles it."""


def crash_point(name: str) -> None:
    """Stop this process here and now if the environment asks for it."""
    where, how, turn = [*os.environ.get("ENGINE_CRASH_AT", "").split(":"), "", ""][:3]
    if where != name:
        return
    if int(turn or 1) > 1:
        os.environ["ENGINE_CRASH_AT"] = f"{name}:{how}:{int(turn) - 1}"
        return
    os.environ["ENGINE_CRASH_AT"] = ""
    match how or "kill":
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            # To this thread: sent to the process, another one may have to wake up first, while this one goes on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "raise":
            raise CrashPointReached(name)
