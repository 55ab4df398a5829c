"""`make chaos`: the whole, in slices side by side, since most of it is waiting.

SLICES=4 makes more of them, SLICE=2/4 runs one alone. With arguments it is pytest with these.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from local.migrations import ROOT

LOGS = ROOT / ".local" / "chaos"
PYTEST = [sys.executable, "-m", "pytest"]
SLICES = int(os.environ.get("SLICES", "3"))


def main() -> int:
    """Run what is asked for; return 0 when all of it passed."""
    if len(sys.argv) > 1 or "SLICE" in os.environ:
        return subprocess.call([*PYTEST, *(sys.argv[1:] or ["tests/chaos"])])
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{SLICES} slices run side by side; each writes to {LOGS}/slice-<n>.log")
    began = time.monotonic()
    running = [_start(number) for number in range(1, SLICES + 1)]
    codes = [process.wait() for process in running]
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")
    return _tell([_report(number) for number in range(1, SLICES + 1)]) or max(codes)


def _start(number: int) -> subprocess.Popen[bytes]:
    _report(number).unlink(missing_ok=True)
    with (LOGS / f"slice-{number}.log").open("wb") as log:
        return subprocess.Popen(
            [*PYTEST, "tests/chaos", "-rP", f"--junitxml={_report(number)}", "-p", "no:cacheprovider"],
            cwd=ROOT,
            env=os.environ | {"SLICE": f"{number}/{SLICES}"},
            stdout=log,
            stderr=log,
        )


def _report(number: int) -> Path:
    return LOGS / f"slice-{number}.xml"


def _tell(reports: list[Path]) -> int:
    """Print how many cases of each file ran, and how to repeat those that failed; return how many failed."""
    ran, failed = Counter[str](), list[str]()
    for case in (case for report in reports if report.exists() for case in ElementTree.parse(report).iter("testcase")):
        file = f"{case.get('classname', '').replace('.', '/')}.py"
        ran[file] += 1
        if case.find("failure") is not None or case.find("error") is not None:
            name = (case.get("name") or "").partition("[")[2].rstrip("]") or case.get("name")
            failed.append(f"make chaos ARGS='{file} -k {name}'")
    for file, count in sorted(ran.items()):
        print(f"{count:6} {file}")
    print(f"{sum(ran.values())} cases, {len(failed)} failed", *failed, sep="\n  ")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
