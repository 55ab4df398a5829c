"""Find Chromium for the browser tests, or install it: from the distribution, else through Playwright."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "there is no Chromium here; `make test` installs it where it can"


def find() -> Path | None:
    """Return a Chromium: from the PATH, or Playwright's own."""
    for name in NAMES:
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    downloads = sorted(_downloads().glob("chromium-*/chrome-*/*"), reverse=True)
    return next((p for p in downloads if p.name in {"chrome", "Chromium.app"}), None)


def main() -> int:
    """Make sure that there is a Chromium, and say so when there is none."""
    if find() or _from_distribution() or _from_playwright():
        return 0
    print(f"interlock: {MISSING}. The browser tests will be listed as not run.", file=sys.stderr)
    return 0


def _from_distribution() -> bool:
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    print("Installing Chromium from the distribution (once)", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(install, env=environment, check=False, **quiet).returncode:  # type: ignore[call-overload]
        subprocess.run(["apt-get", "update"], env=environment, check=False, **quiet)  # type: ignore[call-overload]
        subprocess.run(install, env=environment, check=False, **quiet)  # type: ignore[call-overload]
    return find() is not None


def _from_playwright() -> bool:
    print("Installing Chromium through Playwright (once)", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(command, check=False).returncode == 0 and find() is not None


def _downloads() -> Path:
    chosen = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if chosen and chosen != "0":
        return Path(chosen)
    base = Path("Library/Caches") if sys.platform == "darwin" else Path(".cache")
    return Path.home() / base / "ms-playwright"


if __name__ == "__main__":
    sys.exit(main())
