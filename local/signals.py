"""Ctrl-C and SIGTERM as one exception in the main thread, so that `finally` and `with` do the stopping."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Someone asked us to stop. Not an error, so `except Exception` lets it pass."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise StopRequested on the first signal; let further ones pass, since stopping is under way."""

    def request(_number: int, _frame: FrameType | None) -> None:
        ignore()
        raise StopRequested

    def ignore() -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)

    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
