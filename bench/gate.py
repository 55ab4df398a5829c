"""The gate: one entry against a no-op on the same path, and batches against bare commits."""

import re
import statistics
import subprocess
import tempfile
from functools import partial

from bench.harness import Bench, Row, durations_ms, median_ms
from local.postgres import programs_folder

BATCH = 100
# PostgREST takes its connections in turn, and each has to learn the gate's plans before it counts.
WARM_UP = 40


def one_entry(bench: Bench) -> list[Row]:
    """Time one entry through PostgREST against a function that does nothing."""
    bench.db.execute("create or replace function public.bench_noop() returns int language sql as 'select 1'")
    bench.db.execute("grant execute on function public.bench_noop() to service_role")
    bench.db.execute("notify pgrst, 'reload schema'")
    noop = bench.client.rpc("bench_noop", {})
    _until_known(noop)
    bench.settle()
    for _ in range(WARM_UP):
        noop.execute()
        bench.ask(bench.client, bench.entries(bench.profiles[:1]))
    # Alternating, so that whatever else the machine does hits both alike.
    noops, gates = [], []
    for _ in range(15):
        noops.append(median_ms(noop.execute, 20))
        gates.append(_asking_ms(bench, 1, times=20))
    noop_ms, gate_ms = sorted(noops)[7], sorted(gates)[7]
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
        bench.ask(bench.client, bench.entries(bench.profiles[:BATCH]))
    rates, commits = [], []
    for _ in range(3):
        commits.append(_commits_per_s(bench))
        rates.append(BATCH * 1000 / _asking_ms(bench, BATCH, times=15))
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


def _asking_ms(bench: Bench, entries: int, *, times: int) -> float:
    """Return the median of what a call with so many entries takes; making them is not counted."""
    taken = []
    for _ in range(times):
        requests = bench.entries(bench.profiles[:entries])
        taken += durations_ms(partial(bench.ask, bench.client, requests), 1)
    return statistics.median(taken)


def _until_known(noop: object) -> None:
    """Wait until PostgREST has seen the new function."""
    from time import sleep

    from postgrest.exceptions import APIError

    for _ in range(50):
        try:
            noop.execute()  # type: ignore[attr-defined]
            return
        except APIError:
            sleep(0.1)
    raise RuntimeError("PostgREST did not pick up the no-op function")


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
