"""The gate: one entry against a no-op on the same path, and batches against bare commits."""

import re
import statistics
import subprocess
import tempfile
from functools import partial

from bench.harness import Bench, Row, durations_ms
from local.postgres import programs_folder

BATCH = 100
# PostgREST takes its connections in turn, and each has to learn the gate's plans before it counts.
WARM_UP = 40
ROUNDS = 4  # of an entry for every profile; the first one is to warm up


def one_entry(bench: Bench) -> list[Row]:
    """Time one entry through PostgREST against a function that is asked and answers the same and does nothing."""
    bench.make_noop()
    bench.settle()
    noops: list[float] = []
    gates: list[float] = []
    for _ in range(ROUNDS):
        # Each in an unbroken row: by turns, the one that follows the other's work would take longer.
        asked = [[entry] for entry in bench.entries(bench.profiles)]
        for requests in asked:
            noops += durations_ms(partial(bench.do_nothing, bench.client, requests), 1)
        for requests in asked:
            gates += durations_ms(partial(bench.ask_plainly, bench.client, requests), 1)
    noop_ms, gate_ms = (statistics.median(taken[len(bench.profiles) :]) for taken in (noops, gates))
    return [
        Row(
            "gate, one entry, through PostgREST: p50 / no-op RPC",
            f"{gate_ms / noop_ms:.2f} x",
            "<= 2 x",
            f"{gate_ms:.2f} ms / {noop_ms:.2f} ms",
            gate_ms <= 2 * noop_ms,
        )
    ]


def batches(bench: Bench) -> list[Row]:
    """Compare decisions a second in batches of 100 with single-row commits of 8 pgbench clients."""
    for _ in range(WARM_UP):
        _batch_ms(bench)
    rates, commits = [], []
    for _ in range(3):
        commits.append(_commits_per_s(bench))
        rates.append(BATCH * 1000 / statistics.median(_batch_ms(bench) for _ in range(15)))
    rate, commit = sorted(rates)[1], sorted(commits)[1]
    return [
        Row(
            "gate, batches of 100, one caller: decisions a second / commits a second",
            f"{rate / commit:.0%}",
            ">= 30 %",
            f"{rate:,.0f} /s against {commit:,.0f} /s (pgbench, 8 clients)",
            rate >= 0.3 * commit,
        )
    ]


def _batch_ms(bench: Bench) -> float:
    """Return what a batch takes; making it is not counted."""
    return durations_ms(partial(bench.ask, bench.client, bench.entries(bench.profiles[:BATCH])), 1)[0]


def _commits_per_s(bench: Bench, seconds: int = 3) -> float:
    bench.db.execute("create table if not exists private.bench_row (id bigint generated always as identity, v text)")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("insert into private.bench_row (v) values ('x');\n")
        script.flush()
        pgbench = [programs_folder() / "pgbench", "-n", "-M", "prepared", "-c", "8", "-j", "2"]
        out = subprocess.run(
            [*pgbench, "-T", str(seconds), "-f", script.name, bench.env["DATABASE_URL"]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"tps = ([0-9.]+)", out)
    assert found, out
    return float(found.group(1))
