"""What the gateway adds to a call: the same request through it and straight at PostgREST, in turns."""

import asyncio
import json
import statistics
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp

from bench.harness import Bench, Row
from local.auth.tokens import AccessTokens

CALLS = 500
ADDED_MS_MAX = 1.0
PATH = "/profiles?select=id&limit=1"


def added(bench: Bench) -> list[Row]:
    """Measure the median that the gateway adds to a small read."""
    through, straight = asyncio.run(_measured(bench.env))
    more = through - straight
    return [
        Row(
            what="gateway, added to a call at the median",
            measured=f"{more:.2f} ms",
            target=f"<= {ADDED_MS_MAX:.0f} ms",
            detail=f"{through:.2f} ms through it, {straight:.2f} ms without; {CALLS} calls each",
            reached=more <= ADDED_MS_MAX,
        )
    ]


async def _measured(env: dict[str, str]) -> tuple[float, float]:
    url, rest_socket, token = _ways(env)
    straight = aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(rest_socket)), headers={"Authorization": f"Bearer {token}"}
    )
    async with aiohttp.ClientSession(headers={"apikey": env["SUPABASE_SECRET_KEY"]}) as through, straight:
        # In turns, so that whatever else the machine does weighs on both alike.
        pairs = [
            (await _ms(through, f"{url}/rest/v1{PATH}"), await _ms(straight, f"http://rest{PATH}"))
            for _ in range(CALLS)
        ]
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def _ways(env: dict[str, str]) -> tuple[str, Path, str]:
    """Return the gateway's address, PostgREST's socket, and a token that PostgREST takes for the engine's."""
    sockets = Path(parse_qs(urlsplit(env["DATABASE_URL"]).query)["host"][0])
    keys = json.loads((sockets.parent / "keys.json").read_text())
    return (
        env["SUPABASE_URL"],
        sockets / "rest.sock",
        AccessTokens(keys["jwt_secret"], issuer="").for_role("service_role"),
    )


async def _ms(session: aiohttp.ClientSession, url: str) -> float:
    start = time.perf_counter()
    async with session.get(url) as answer:
        await answer.read()
        answer.raise_for_status()
    return (time.perf_counter() - start) * 1000
