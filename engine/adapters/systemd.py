"""Telling systemd how the engine is: `sd_notify` in its own words, silent where there is no systemd."""

from __future__ import annotations

import os
import socket
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def notify(*words: str) -> bool:
    """Send words such as READY=1 or STATUS=...; False when nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(words).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            return False  # a service manager that went away is no reason to stop trading
    return True


def watchdog_s() -> float | None:
    """Return within how many seconds systemd wants a sign of life; None when it wants none from us."""
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    return int(limit_us) / 1e6 if for_us and limit_us.isdigit() and int(limit_us) > 0 else None
