"""`make reset`: wipe what Interlock keeps on this machine, after asking."""

import os
import shutil
import sys
from pathlib import Path

from local.errors import SetupError
from local.home import Home
from local.plan import read_environment

KEPT = {"tools", "lock"}


def main() -> int:
    """Ask, wipe, and return the exit code."""
    environment = read_environment(os.environ)
    home = Home.from_environment(environment)
    # Only a folder that Interlock has used before: LOCAL_HOME may have been set to the wrong one.
    if not (home.path / "lock").exists():
        print(f"Nothing to wipe: {home.path} is not in use as LOCAL_HOME.")
        return 0
    try:
        home.acquire()
    except SetupError as e:
        print(f"interlock: {e}", file=sys.stderr)
        return 1
    try:
        return _wipe_after_asking(home, asks=environment.get("FORCE") != "1")
    finally:
        home.release()


def _wipe_after_asking(home: Home, *, asks: bool) -> int:
    doomed = sorted(path for path in home.path.iterdir() if path.name not in KEPT)
    print(f"This deletes from {home.path}: {', '.join(path.name for path in doomed)}")
    if asks and not _agreed():
        print("Nothing was deleted.")
        return 1
    for path in doomed:
        _delete(path)
    print("Wiped. The next `make run` makes a fresh installation.")
    return 0


def _agreed() -> bool:
    try:
        return input("All accounts, orders and history are lost. Go on? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
