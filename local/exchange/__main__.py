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
from local.exchange.settings import Setup, SetupProblem, account_keys
from local.exchange.trading.matching import FillProfile

START_DEFAULT = "2007-01-03"


def main(
    port: Annotated[int, typer.Option(envvar="EXCHANGE_PORT", help="0: any free port.")] = 0,
    home: Annotated[Path, typer.Option(envvar="LOCAL_HOME", help="The ledger is kept in HOME/exchange.")] = Path(
        ".local"
    ),
    start: Annotated[
        datetime,
        typer.Option(envvar="EXCHANGE_START", formats=["%Y-%m-%d"], help="First session of a new ledger."),
    ] = START_DEFAULT,  # type: ignore[assignment]  # typer parses a text default
    seed: Annotated[int, typer.Option(envvar="EXCHANGE_SEED", help="Seed of a new ledger's synthetic prices.")] = 7,
    seconds_per_session: Annotated[
        float,
        typer.Option(envvar="SECONDS_PER_SESSION", min=0.1, help="Wall time of a session (new ledger)."),
    ] = 60.0,
    fills: Annotated[
        FillProfile, typer.Option(help="How orders fill: with partial fills, or ideally.")
    ] = FillProfile.ALPACA_PAPER,
    rate_limit: Annotated[int, typer.Option(min=0, help="Requests a minute, as at Alpaca (200); 0: no limit.")] = 0,
    api_key: Annotated[str | None, typer.Option(envvar="ALPACA_API_KEY", help="Made and kept when absent.")] = None,
    secret_key: Annotated[str | None, typer.Option(envvar="ALPACA_SECRET_KEY")] = None,
    admin_token: Annotated[
        str | None,
        typer.Option(envvar="EXCHANGE_ADMIN_TOKEN", help="Opens /_sim; without it none answers."),
    ] = None,
) -> None:
    """Serve Alpaca's trading and data API over a simulated market on 127.0.0.1."""
    try:
        key_id, secret = account_keys(home, api_key or None, secret_key or None)
        if not api_key:
            print(f"ALPACA_API_KEY={key_id}\nALPACA_SECRET_KEY={secret}")
        setup = Setup(
            home=home,
            port=port,
            start=start.date(),
            seed=seed,
            seconds_per_session=seconds_per_session,
            profile=fills,
            access=Access(key_id, secret, admin_token or None, rate_limit),
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
    typer.run(main)
