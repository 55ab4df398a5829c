"""Plant deliberate bugs, one at a time, and see whether a test notices: `make mutants`.

The bugs lie in `scripts/mutants/*.toml`. Each is planted in a copy of this checkout: in the migrations,
from which the tests' stack builds its database, or in a file that is named. Nothing here is touched. A bug
that no test notices is a hole in the tests, and the exit code says so.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUGS = Path(__file__).parent / "mutants"
MIGRATIONS = Path("db/supabase/migrations")
TIMEOUT_S = 300
TESTS_FAILED = 1  # pytest's exit code when tests ran and some failed


class Unusable(Exception):
    """The list of bugs, or the checkout, is not in a state in which a verdict would mean anything."""


@dataclass(frozen=True)
class Change:
    """One exact replacement within one statement of the migrations, or within a file."""

    old: str
    new: str
    at: str = ""
    file: str = ""


@dataclass(frozen=True)
class Bug:
    """A bug to plant, and the tests that should notice it."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]

    @classmethod
    def read(cls, entry: dict[str, Any]) -> "Bug":
        """Read one entry of the list."""
        return cls(entry["name"], tuple(Change(**c) for c in entry["change"]), tuple(entry["tests"]))


@dataclass(frozen=True)
class Verdict:
    """What the tests made of a bug: `killer` is the test that failed, None when none did."""

    bug: Bug
    killer: str | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant the bugs and report; 0: each was noticed, 1: some survived, 2: no verdict is possible."""
    parser = argparse.ArgumentParser(prog="python -m scripts.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="plant only bugs whose name contains one of these")
    wanted = parser.parse_args(arguments).words
    try:
        bugs = [b for b in read_bugs() if not wanted or any(word in b.name for word in wanted)]
        with tempfile.TemporaryDirectory(prefix="interlock-mutants-") as folder:
            verdicts = _judge(bugs, Path(folder))
    except Unusable as e:
        print(f"mutants: {e}", file=sys.stderr)
        return 2
    survivors = [v.bug.name for v in verdicts if v.killer is None]
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} bugs were noticed.")
    for name in survivors:
        print(f"  survived: {name}")
    return 1 if survivors else 0


def read_bugs(folder: Path = BUGS) -> list[Bug]:
    """Read the lists of bugs."""
    return [
        Bug.read(entry) for file in sorted(folder.glob("*.toml")) for entry in tomllib.loads(file.read_text())["bug"]
    ]


def sources(root: Path, bugs: Sequence[Bug]) -> dict[str, str]:
    """Return the texts that the bugs change, by path: the migrations, and the files that are named."""
    named = {change.file for bug in bugs for change in bug.changes if change.file}
    migrations = {str(MIGRATIONS / file.name) for file in (root / MIGRATIONS).glob("*.sql")}
    return {name: (root / name).read_text() for name in sorted(named | migrations)}


def planted(texts: dict[str, str], bug: Bug) -> dict[str, str]:
    """Return the texts, by path, with one bug in them.

    Raises
    ------
    Unusable when a text to replace is not found exactly once in its file, or in the newest form of its statement
    """
    for change in bug.changes:
        name, start, end = _place(texts, change)
        text = texts[name]
        statement = text[start:end]
        if statement.count(change.old) != 1:
            raise Unusable(
                f"{bug.name!r}: found {statement.count(change.old)} times, instead of once, "
                f"in {change.at!r} of {name}:\n{change.old}"
            )
        texts = texts | {name: text[:start] + statement.replace(change.old, change.new) + text[end:]}
    return texts


def _place(texts: dict[str, str], change: Change) -> tuple[str, int, int]:
    if change.file:
        return change.file, 0, len(texts[change.file])
    return _newest({name: text for name, text in texts.items() if name.endswith(".sql")}, change.at)


def _newest(migrations: dict[str, str], at: str) -> tuple[str, int, int]:
    """Return file, start and end of the last statement that starts like this, replacements included."""
    start_of = re.compile(re.escape(at).replace(r"create\ function", r"create\ (?:or\ replace\ )?function"))
    for name in sorted(migrations, reverse=True):
        found = [m.start() for m in start_of.finditer(migrations[name])]
        if found:
            end_mark = "\n$$;" if " function " in at else ";"
            return name, found[-1], migrations[name].index(end_mark, found[-1]) + len(end_mark)
    raise Unusable(f"No migration holds a statement that starts with {at!r}.")


def _judge(bugs: list[Bug], folder: Path) -> list[Verdict]:
    copy = _copy_checkout(folder)
    sound = sources(copy, bugs)
    mutants = [(bug, planted(sound, bug)) for bug in bugs]  # all texts are found before the first test runs
    _require_sound(copy, sorted({test for bug in bugs for test in bug.tests}))
    verdicts = []
    for n, (bug, texts) in enumerate(mutants, 1):
        _write(copy, texts)
        verdicts.append(_verdict(copy, bug))
        _write(copy, sound)
        _tell(n, len(mutants), verdicts[-1])
    return verdicts


def _copy_checkout(folder: Path) -> Path:
    """Copy what git knows or would take, as it lies here; programs that were installed are shared."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    copy = folder / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # not one that was removed, but not from the index
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    tools = ROOT / ".local" / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (copy / ".local").mkdir()
    (copy / ".local" / "tools").symlink_to(tools)
    return copy


def _write(copy: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (copy / name).write_text(text)


def _require_sound(copy: Path, tests: list[str]) -> None:
    """A test that fails anyway notices nothing: all have to pass while no bug is planted."""
    print(f"Without a bug: {' '.join(tests)}", flush=True)
    done = _pytest(copy, tests)
    if done.returncode:
        raise Unusable(f"The tests do not pass without a bug.\n{done.stdout[-4000:]}{done.stderr[-2000:]}")


def _verdict(copy: Path, bug: Bug) -> Verdict:
    began = time.monotonic()
    done = _pytest(copy, bug.tests)
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, TESTS_FAILED) or (done.returncode and not failed):
        # Such as SQL that cannot be installed: that proves nothing about the tests.
        raise Unusable(f"{bug.name!r} broke more than it should.\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return Verdict(bug, failed.group(1) if failed else None, time.monotonic() - began)


def _pytest(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "--tb=short", "-p", "no:cacheprovider", *tests]
    try:
        return subprocess.run(
            command,
            cwd=copy,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise Unusable(f"The tests {' '.join(tests)} did not end within {TIMEOUT_S} s.") from e


def _tell(n: int, total: int, verdict: Verdict) -> None:
    word = "killed  " if verdict.killer else "SURVIVED"
    print(f"{n:2}/{total} {word} {verdict.seconds:5.1f} s  {verdict.bug.name}", flush=True)
    if verdict.killer:
        print(f"                       by {verdict.killer}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
