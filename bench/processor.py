"""Processor time of a process and all that it started: a busy machine says nothing about it."""

import os
from pathlib import Path

PARTS = {
    "bench.lifecycle": "engine",
    "local.exchange": "exchange",
    "local.auth": "gateway",
    "postgrest": "PostgREST",
    "postgres": "database",
}


def used_s(root: int) -> dict[str, float]:
    """Return the seconds that each part has used so far, among the processes under `root`."""
    found = {int(each.name): known for each in Path("/proc").glob("[0-9]*") if (known := _known(each)) is not None}
    used: dict[str, float] = {}
    for pid, (_, name, took_s) in found.items():
        if name is not None and _is_under(pid, root, found):
            used[name] = used.get(name, 0) + took_s
    return used


def _known(process: Path) -> tuple[int, str | None, float] | None:
    """Return a process's parent, its part and its time; None once it is gone."""
    try:
        told = (process / "stat").read_text().rpartition(")")[2].split()
        line = (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return None
    name = next((part for word, part in PARTS.items() if word in line), None)
    return int(told[1]), name, (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _is_under(pid: int, root: int, found: dict[int, tuple[int, str | None, float]]) -> bool:
    while pid in found and pid != root:
        pid = found[pid][0]
    return pid == root
