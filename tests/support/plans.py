"""How Postgres answers: plans, what they touch, and what is wrong with them."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import psycopg

Json = dict[str, Any]
ROWS_MAX = 10_000  # a table with more is never read from end to end
BUFFERS_MAX = 2_000
BUFFERS_A_ROW = 5  # that is written: its place, its indexes, what its constraints look up
PAGES_MAX = 3  # of one question that asks page by page


class Enough(Exception):
    """A question has been followed for as many pages as the tests look at."""


class Explained(httpx.BaseTransport):
    """Pass requests on to PostgREST, and keep what it says about how it answers each of them."""

    def __init__(self, socket: str) -> None:
        self._inner = httpx.HTTPTransport(uds=socket)
        self.plans: list[tuple[str, Json]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if len(self.plans) == PAGES_MAX:
            raise Enough
        request.url = request.url.copy_with(raw_path=request.url.raw_path.removeprefix(b"/rest/v1"))
        answer = self._inner.handle_request(self._asking_for_the_plan(request))
        assert answer.status_code == 200, answer.read()
        self.plans.append((str(request.url), json.loads(answer.read())[0]["Plan"]))
        return self._inner.handle_request(request)

    @staticmethod
    def _asking_for_the_plan(request: httpx.Request) -> httpx.Request:
        accept = 'application/vnd.pgrst.plan+json; for="application/json"; options=analyze|buffers'
        return httpx.Request("GET", request.url, headers={**request.headers, "accept": accept})


def nodes(plan: Json) -> Iterator[Json]:
    """Yield a plan's nodes, from the root down."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def buffers(plan: Json) -> int:
    """Return how many buffers the whole of a plan touched; the root counts those below it."""
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + plan["Temp Read Blocks"]


def complaints(plan: Json, big_tables: set[str]) -> list[str]:
    """Return what is wrong with a plan: big tables read from end to end, too many buffers."""
    scanned = {n["Relation Name"] for n in nodes(plan) if n["Node Type"] == "Seq Scan"}
    found = [f"reads all of {name}" for name in sorted(scanned & big_tables)]
    if buffers(plan) > BUFFERS_MAX:
        found.append(f"touches {buffers(plan)} buffers")
    return found


def explained(connection: psycopg.Connection, statement: str, arguments: Sequence[Any] = ()) -> Json:
    """Return the plan of a statement after it was carried out, with what it touched."""
    options = "explain (analyze, buffers, format json) "
    return connection.execute(options + statement, arguments).fetchone()[0][0]["Plan"]


@contextlib.contextmanager
def acting_as(connection: psycopg.Connection, user: UUID | None) -> Iterator[None]:
    """Act as a signed-in person, or as the engine; what was done is rolled back."""
    signed_in = {"sub": str(user), "role": "authenticated", "aud": "authenticated", "exp": 4_102_444_800}
    claims = json.dumps(signed_in if user else {"role": "service_role"})
    with connection.transaction(force_rollback=True):
        connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        connection.execute(f"set local role {'authenticated' if user else 'service_role'}")
        yield
