"""Make `.venv` with the pinned packages. Runs on the machine's own Python, before anything is installed.

    python3 local/setup_venv.py requirements.txt

Does nothing when the environment is already as the requirement files say. Kept readable for older
Pythons, so that they can say what is missing.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / ".venv-setup.log"
OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
FILES = ("requirements.txt", "requirements-dev.txt", "requirements.lock")


def main() -> int:
    """Bring the environment up to date and return the exit code."""
    wanted = sys.argv[1]
    if sys.version_info < OLDEST:
        return _hand_over()
    if _is_current(wanted):
        return 0
    try:
        _make_environment()
        _install(wanted)
    except SetupFailed as e:
        print(f"interlock: {e}", file=sys.stderr)
        return 1
    _stamp(wanted).write_text(_fingerprint())
    return 0


class SetupFailed(Exception):
    """The message says what to do."""


def _hand_over() -> int:
    """Go on with a newer Python from the PATH, if there is one."""
    newer = next((path for path in map(shutil.which, NEWER) if path), None)
    if newer:
        os.execv(newer, [newer, *sys.argv])
    found = "{}.{}".format(*sys.version_info[:2])
    print(f"interlock: Python 3.11 or newer is needed, and this is {found}. Install it.", file=sys.stderr)
    return 1


def _is_current(wanted: str) -> bool:
    """Return whether these packages, or these and the development ones, are installed as pinned."""
    stamps = {_stamp(wanted), _stamp("requirements-dev.txt")}
    return PYTHON.exists() and any(s.exists() and s.read_text() == _fingerprint() for s in stamps)


def _stamp(wanted: str) -> Path:
    return VENV / f".installed-{Path(wanted).stem}"


def _fingerprint() -> str:
    content = b"".join((ROOT / name).read_bytes() for name in FILES)
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def _make_environment() -> None:
    if _works(PYTHON):
        return
    uv = shutil.which("uv")
    make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv", "--clear"]
    done = subprocess.run([*make, str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
        raise SetupFailed(
            f"A virtual environment cannot be made: {lines[0]}. On Debian and Ubuntu: apt install python3-venv"
        )


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0


def _install(wanted: str) -> None:
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", "install", "--python", str(PYTHON)]
    else:
        command = [str(PYTHON), "-m", "pip", "install", "--retries", "2", "--disable-pip-version-check"]
    command += ["-r", str(ROOT / wanted), "-c", str(ROOT / "requirements.lock")]
    print("Installing Python packages (once, about a minute)", flush=True)
    with LOG.open("w") as log:
        code = _run_counting(command, log)
    if code:
        raise SetupFailed(
            f"Python packages cannot be installed: {_what_went_wrong(code)}.\n"
            "Check the network and pip's index settings, then run the same command again. "
            f"The whole log: {LOG}"
        )
    LOG.unlink()


def _what_went_wrong(code: int) -> str:
    lines = LOG.read_text().splitlines()
    # What pip concludes from a lost connection is misleading, so that is looked for first.
    if any("connection broken" in line or "error sending request" in line for line in lines):
        return "the package index cannot be reached"
    return next((line.strip().rstrip(".") for line in lines if "error" in line.lower()), f"exit code {code}")


def _run_counting(command: "list[str]", log: TextIO) -> int:
    """Run an installer, keep its output, and show on a terminal how far it is."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    count = 0
    for line in process.stdout or ():
        log.write(line)
        if line.startswith(("Collecting", "Requirement already", " + ")):
            count += 1
            if sys.stdout.isatty():
                print(f"\r  {count} packages", end="", flush=True)
    if sys.stdout.isatty() and count:
        print()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
