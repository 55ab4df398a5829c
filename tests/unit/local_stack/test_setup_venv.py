"""The first step of `make run`, on a checkout of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.migrations import ROOT
from tests.support.exchange import free_port


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the set-up script and a requirement that nobody has."""
    (tmp_path / "local").mkdir()
    shutil.copy(ROOT / "local" / "setup_venv.py", tmp_path / "local")
    for name in ("requirements.txt", "requirements-dev.txt", "requirements.lock"):
        (tmp_path / name).write_text("a-package-that-nobody-has==1.0\n" if name == "requirements.txt" else "")
    return tmp_path


def set_up(checkout: Path, wanted: str, **settings: str) -> subprocess.CompletedProcess[str]:
    # No uv and no index settings of this machine: the plain way, with what the test sets.
    plain = {"PATH": "/usr/bin:/bin", "HOME": str(checkout), "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, str(checkout / "local" / "setup_venv.py"), wanted]
    return subprocess.run(command, env=plain | settings, capture_output=True, text=True, check=False)


def test_nothing_is_done_when_everything_is_as_pinned(checkout: Path) -> None:
    first = set_up(checkout, "requirements-dev.txt")

    second = set_up(checkout, "requirements-dev.txt")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "Installing" in first.stdout
    assert second.stdout == ""


def test_the_network_and_the_log_are_named_when_packages_are_out_of_reach(checkout: Path) -> None:
    done = set_up(checkout, "requirements.txt", PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple")

    assert done.returncode == 1
    assert "the package index cannot be reached" in done.stderr
    assert ".venv-setup.log" in done.stderr
    assert "Traceback" not in done.stderr
