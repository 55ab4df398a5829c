"""The systemd units: they fit what the engine does, and systemd understands them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from engine.main import EXIT_TAKEN_OVER, STOP_WITHIN_S
from engine.service.progress import HANGS_AFTER_S
from local.migrations import ROOT

UNITS = sorted((ROOT / "deploy").glob("*.service"))


def settings(unit: Path) -> dict[str, str]:
    lines = (line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(lines)


def test_the_engine_has_time_to_stop_before_it_is_killed():
    engine = settings(ROOT / "deploy" / "interlock-engine@.service")

    assert int(engine["TimeoutStopSec"]) > STOP_WITHIN_S
    assert int(engine["WatchdogSec"]) <= HANGS_AFTER_S
    assert engine["Type"] == "notify" and engine["ExecStart"].endswith("python -m engine")
    assert engine["Restart"] == "always", f"exit code {EXIT_TAKEN_OVER} makes it a stand-by"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_no_unit_has_a_secret_or_more_rights_than_it_needs(unit: Path):
    known = settings(unit)

    assert (known["NoNewPrivileges"], known["CapabilityBoundingSet"], known["ProtectSystem"]) == ("true", "", "strict")
    assert known["User"] not in ("", "root")
    assert "SECRET" not in known["Environment"]
    assert known["EnvironmentFile"].lstrip("-").startswith("/etc/interlock/")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path):
    # Users, folders and the program are made by the installation: the rest is judged.
    here = unit.read_text().replace("/opt/interlock/.venv/bin/python", "/bin/sh")
    here = here.replace("WorkingDirectory=/opt/interlock", "WorkingDirectory=/").replace("file:/opt", "https://opt")
    copy = tmp_path / unit.name.replace("@", "@main")
    copy.write_text(here)

    checked = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)

    assert (checked.returncode, [line for line in checked.stderr.splitlines() if copy.name in line]) == (0, [])
