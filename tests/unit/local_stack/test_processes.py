"""Child processes: none outlives its starter, and a failure says where to read more."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.errors import ChildFailed
from local.processes import Child

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def child(tmp_path: Path, code: str) -> Child:
    return Child("The part", [sys.executable, "-c", code], log=tmp_path / "part.log")


def test_the_last_line_and_the_log_are_named_when_a_child_ends_early(tmp_path: Path) -> None:
    started = child(tmp_path, "print('noise'); raise SystemExit('no such table')")

    with pytest.raises(ChildFailed, match=r"exit code 1: no such table\nThe whole log: .*part\.log"):
        started.wait_until(lambda: False, timeout_s=10)


def test_the_wait_ends_when_a_child_never_gets_ready(tmp_path: Path) -> None:
    started = child(tmp_path, "import time; time.sleep(60)")

    with pytest.raises(ChildFailed, match="was not ready after 0 s"):
        started.wait_until(lambda: False, timeout_s=0.1)
    started.stop()


def test_a_child_is_killed_when_it_ignores_the_request_to_stop(tmp_path: Path) -> None:
    stubborn = child(tmp_path, STUBBORN)
    stubborn.wait_until(lambda: "up" in (tmp_path / "part.log").read_text(), timeout_s=10)

    stubborn.stop(grace_s=0.2)

    assert stubborn.exit_code == -signal.SIGKILL


def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    started = child(tmp_path, "import time; time.sleep(60)")

    started.stop()
    started.stop()

    assert started.exit_code == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_child_ends_when_its_starter_is_killed() -> None:
    code = (
        "import sys, time; from local.processes import Child;"
        "print(Child('x', [sys.executable, '-c', 'import time; time.sleep(60)'], log=None).pid, flush=True);"
        "time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    grandchild = psutil.Process(int(starter.stdout.readline()))

    starter.kill()
    starter.communicate()

    deadline = time.monotonic() + 30
    while _lives(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(grandchild)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False
