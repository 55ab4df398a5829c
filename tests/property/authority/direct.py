"""The authority without the web in between: a database connection that `db.commands` can drive.

One call is one transaction with the caller's role and claims, just as PostgREST makes it, at a fraction of
the cost; so thousands of steps and dozens of truly parallel callers fit into a test.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb, set_json_loads

from db import posts
from db.wire import Answer

ROWS = {"claim_orders"}  # functions that answer rows instead of one document


class DirectClient:
    """One caller's connection: a signed-in user, or the engine when `user_id` is None."""

    def __init__(self, url: str, user_id: UUID | None = None) -> None:
        role = "authenticated" if user_id else "service_role"
        claims = {"role": role, "aud": "authenticated", "exp": 4_102_444_800}
        claims |= {"sub": str(user_id)} if user_id else {}
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=2)
        set_json_loads(bytes, self._connection)  # as text, just as PostgREST passes it on
        self._connection.execute("set synchronous_commit = off")  # nothing here outlives the server
        self._connection.execute(f"set role {role}")
        self._connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))
        posts.KNOWN[self] = _DirectPosts(self._connection)  # type: ignore[index, assignment]

    def close(self) -> None:
        self._connection.close()


class _DirectPosts:
    """Makes calls where they would be posted, and answers as they would be."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def send(self, _client: DirectClient, function: str, body: bytes) -> Answer:
        arguments = {name: _wire(value) for name, value in json.loads(body).items()}
        try:
            rows = self._connection.execute(_text(function, arguments), arguments).fetchall()
        except psycopg.Error as e:
            return _answer(400, json.dumps(_error_of(e)).encode())
        told = b"[%b]" % b",".join(row[0] for row in rows) if function in ROWS else rows[0][0]
        return _answer(400 if _is_refusal(told) else 200, told)


def _answer(status: int, told: Any) -> Answer:
    return Answer(status, b"", [], told if isinstance(told, bytes) else json.dumps(told, default=str).encode())


def _is_refusal(told: Any) -> bool:
    """Tell whether a call was refused and recorded: over the web such an answer comes with a status of its own."""
    if not isinstance(told, bytes) or b'"code"' not in told:
        return False
    answer = json.loads(told)
    return isinstance(answer, dict) and "code" in answer and "success" not in answer


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
