"""What the engine counts, for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

GATE_ANSWERS: Final = Counter("interlock_gate_answers_total", "Entries put to the gate, by answer.", ["answer"])
LAYER_BLOCKS: Final = Counter("interlock_layer_blocks_total", "Entries that a signal layer blocked.", ["layer"])
SUBMISSIONS: Final = Counter("interlock_submissions_total", "Orders sent, by outcome.", ["purpose", "outcome"])
JOB_RUNS: Final = Counter("interlock_job_runs_total", "Runs of jobs, by result.", ["job", "result"])
FINDINGS: Final = Gauge("interlock_reconciliation_findings", "Differences the last reconciliation left.")
OPEN_TRADES: Final = Gauge("interlock_open_trades", "Trades that are open.")
ENTRIES_PAUSED: Final = Gauge("interlock_entries_paused", "1 while no entry may be sent, for whatever reason.")
