"""Start the paper exchange: `python -m local.exchange`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop
from dotenv import dotenv_values

from local.exchange.http.keys import Access
from local.exchange.server import serve
from local.exchange.settings import START_DEFAULT, Setup, SetupProblem, account_keys
from local.exchange.trading.matching import FillProfile

app = typer.Typer(add_completion=False, rich_markup_mode=None)


BarsFile = Annotated[
    Path | None,
    typer.Option(
        envvar="EXCHANGE_BARS",
        metavar="FILE",
        help="Your own daily bars, .csv or .parquet, in place of the built-in ones (AAPL, FB, GOOG, IBM and MSFT,"
        " 2000 to 2013). Columns: symbol,date,open,high,low,close,volume and, if you have them, split,dividend.",
    ),
]
FirstSession = Annotated[
    datetime | None,
    typer.Option(
        envvar="EXCHANGE_START",
        metavar="DATE",
        formats=["%Y-%m-%d"],
        help=f"First session of a new ledger. Without it {START_DEFAULT}, or the second day of your own bars.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        envvar="EXCHANGE_SEED", help="Seed of a new ledger's synthetic prices: the same seed, the same market."
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        envvar="SECONDS_PER_SESSION",
        min=0.1,
        help="Wall time that a trading day takes while the clock runs (new ledger; later over /_sim/clock).",
    ),
]
Run = Annotated[
    bool,
    typer.Option(
        "--run", help="Let the clock run at once. Otherwise it is as it was, and stands still in a new ledger."
    ),
]
Fills = Annotated[
    FillProfile, typer.Option(help="How orders fill: as at Alpaca's paper trading, worse than that, or ideally.")
]
HomeFolder = Annotated[
    Path,
    typer.Option(
        envvar="LOCAL_HOME", help="The ledger is kept in HOME/exchange and goes on from there at the next start."
    ),
]
ApiKey = Annotated[str | None, typer.Option(envvar="ALPACA_API_KEY", help="Made, printed and kept when absent.")]
SecretKey = Annotated[str | None, typer.Option(envvar="ALPACA_SECRET_KEY", help="The key's other half.")]
Port = Annotated[int, typer.Option(envvar="EXCHANGE_PORT", help="0: any free port.")]
RateLimit = Annotated[int, typer.Option(min=0, help="Requests a minute, as at Alpaca (200); 0: no limit.")]
AdminToken = Annotated[
    str | None,
    typer.Option(
        envvar="EXCHANGE_ADMIN_TOKEN",
        help="Opens /_sim (clock, prices, halts, faults, news) to who sends it as X-Sim-Token; without it none of"
        " it answers.",
    ),
]


@app.command()
def main(
    bars: BarsFile = None,
    start: FirstSession = None,
    seed: Seed = 7,
    seconds_per_session: Speed = 60.0,
    run: Run = False,
    fills: Fills = FillProfile.ALPACA_PAPER,
    home: HomeFolder = Path(".local"),
    api_key: ApiKey = None,
    secret_key: SecretKey = None,
    port: Port = 0,
    rate_limit: RateLimit = 0,
    admin_token: AdminToken = None,
) -> None:
    """Simulate Alpaca on this machine: its trading and data API over a replayed market, on 127.0.0.1.

    Unmodified alpaca-py trades against it: pass the address that is printed as url_override. Its
    clock is simulated: --run lets it run, and over /_sim (with --admin-token) it can be paused,
    stepped and sent ahead. docs/paper-exchange.md has the whole of it, examples/paper_exchange.py
    a bot to start from.
    """
    try:
        key_id, secret = account_keys(home, api_key or None, secret_key or None)
        if not api_key:
            print(f"ALPACA_API_KEY={key_id}\nALPACA_SECRET_KEY={secret}")
        setup = Setup(
            home=home,
            port=port,
            first_day=start.date() if start else None,
            seed=seed,
            seconds_per_session=seconds_per_session,
            profile=fills,
            access=Access(key_id, secret, admin_token or None, rate_limit),
            bars=bars,
            runs=run,
        )
        uvloop.run(serve(setup))
    except SetupProblem as problem:
        typer.echo(f"exchange: {problem}", err=True)
        raise typer.Exit(1) from problem


def _take_over_from_home() -> None:
    """Take the keys and the port that `python -m local` wrote down, unless the environment has its own."""
    file = Path(os.environ.get("LOCAL_HOME") or ".local") / "env"
    if not file.exists() or "ALPACA_API_KEY" in os.environ or "ALPACA_SECRET_KEY" in os.environ:
        return
    written = dotenv_values(file)
    port = urlsplit(written.get("ALPACA_BASE_URL") or "").port
    offered = {name: written.get(name) for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "EXCHANGE_ADMIN_TOKEN")}
    for name, value in (offered | {"EXCHANGE_PORT": str(port or "")}).items():
        if value:
            os.environ.setdefault(name, value)


if __name__ == "__main__":
    _take_over_from_home()
    app(prog_name="python -m local.exchange")
