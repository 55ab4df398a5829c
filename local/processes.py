"""Child processes that never outlive us: each in its own session, with a log, stopped in order."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.errors import ChildFailed

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A running part.

    It has a session of its own, so that Ctrl-C in the terminal reaches us alone and we stop the
    parts in order. On Linux the kernel ends it when we are killed. That holds for the thread that
    started it, so children are started from the main thread only.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path | None,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        output = log.open("ab") if log else None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=environment,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_die_with_parent(stop_signal),
            )
        finally:
            if output:
                output.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        return self._process.wait(timeout_s)

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `ready` says so.

        Raises
        ------
        ChildFailed when it ends before that, or is not ready in time
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise self.failure(f"stopped with exit code {self.exit_code}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_s:.0f} s")
            time.sleep(0.02)

    def failure(self, what: str) -> ChildFailed:
        """Return the error that says what happened and where to read more."""
        if self.log is None:
            return ChildFailed(f"{self.name} {what}.")
        last = _last_line(self.log)
        return ChildFailed(f"{self.name} {what}{f': {last}' if last else '.'}\nThe whole log: {self.log}")

    def stop(self, grace_s: float = 3.0) -> None:
        """Ask it to stop; kill what is left of its session after the grace."""
        self.signal(self._stop_signal)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._kill_session()
            self._process.wait()

    def _kill_session(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it ended in between


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # we died before the request was in place
            os._exit(1)

    return ask_the_kernel


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
