"""The authority without the web in between: a database connection that `db.commands` can drive.

One call is one transaction with the caller's role and claims, just as PostgREST makes it, at a fraction of
the cost; so thousands of steps and dozens of truly parallel callers fit into a test.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import psycopg
from postgrest.exceptions import APIError
from psycopg.types.json import Jsonb, set_json_loads

ROWS = {"claim_orders"}  # functions that answer rows instead of one document


class DirectClient:
    """One caller's connection: a signed-in user, or the engine when `user_id` is None."""

    def __init__(self, url: str, user_id: UUID | None = None) -> None:
        role = "authenticated" if user_id else "service_role"
        claims = {"role": role, "aud": "authenticated", "exp": 4_102_444_800}
        claims |= {"sub": str(user_id)} if user_id else {}
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=2)
        set_json_loads(lambda text: json.loads(text, parse_float=Decimal), self.connection)
        self.connection.execute("set synchronous_commit = off")  # nothing here outlives the server
        self.connection.execute(f"set role {role}")
        self.connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))

    def rpc(self, function: str, arguments: Mapping[str, Any]) -> "_Call":
        return _Call(self.connection, function, arguments)

    def close(self) -> None:
        self.connection.close()


class _Call:
    """A call that is made by `execute`, and then holds its answer in `data`."""

    data: Any

    def __init__(self, connection: psycopg.Connection, function: str, arguments: Mapping[str, Any]) -> None:
        self._connection = connection
        self._function = function
        self._arguments = {name: _wire(value) for name, value in arguments.items()}

    @property
    def request(self) -> "_Call":
        return self

    def send(self, _headers: httpx.Headers) -> httpx.Response:
        """Answer as text, as it comes over the web."""
        try:
            return httpx.Response(200, content=json.dumps(self.execute().data, default=str))
        except APIError as error:
            return httpx.Response(400, content=json.dumps(error.json()))

    def execute(self) -> "_Call":
        try:
            rows = self._connection.execute(_text(self._function, self._arguments), self._arguments).fetchall()
        except psycopg.Error as e:
            raise APIError(_error_of(e)) from e
        self.data = [row[0] for row in rows] if self._function in ROWS else rows[0][0]
        if isinstance(self.data, dict) and "code" in self.data and "success" not in self.data:
            raise APIError(self.data)  # refused and recorded: over the web this comes with status 4xx
        return self


def _text(function: str, arguments: Mapping[str, Any]) -> str:
    call = f"public.{function}({', '.join(f'{name} => %({name})s' for name in arguments)})"
    return f"select to_jsonb(r) from {call} r" if function in ROWS else f"select {call}"


def _wire(value: Any) -> Any:
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        is_array = bool(value) and not isinstance(value[0], dict)
        return "{" + ",".join(map(str, value)) + "}" if is_array else Jsonb(value)
    return value


def _error_of(e: psycopg.Error) -> dict[str, Any]:
    message = e.diag.message_primary or str(e)
    if e.sqlstate == "PGRST":
        return json.loads(message)
    return {"code": e.sqlstate, "message": message, "hint": e.diag.message_hint, "details": e.diag.message_detail}
