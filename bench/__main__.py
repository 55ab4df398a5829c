"""Print the figures: `python -m bench` (or `make bench`). Each row is a ratio or a bound, measured now."""

import sys

from rich.console import Console
from rich.table import Table

from bench import exchange, gate, gateway, lifecycle, pages, pause, reconcile, trade_tick
from bench.harness import Row, authority


def main() -> int:
    console = Console()
    rows: list[Row] = []
    with authority() as bench:
        for title, measure in (
            ("gateway", gateway.added),
            ("gate, one entry", gate.one_entry),
            ("gate, batches of 100", gate.batches),
            ("pause under load", pause.under_load),
            ("paper exchange", exchange.measured),
            ("orders from signal to fill", lifecycle.measured),
            ("trade tick", trade_tick.measured),
            ("reconciliation", reconcile.measured),
            ("pages before a million orders", pages.measured),
        ):
            with console.status(f"measuring: {title}"):
                rows.extend(measure(bench))
    console.print(_table(rows))
    return 0 if all(row.reached for row in rows) else 1


def _table(rows: list[Row]) -> Table:
    table = Table("what", "measured", "must reach", "detail", "")
    for row in rows:
        table.add_row(row.what, row.measured, row.target, row.detail, "reached" if row.reached else "MISSED")
    return table


if __name__ == "__main__":
    sys.exit(main())
