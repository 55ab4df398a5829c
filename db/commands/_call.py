"""One call of a function of the authority, as JSON there and back."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
from postgrest.exceptions import APIError, APIErrorFromJSON, generate_default_error_message
from pydantic import ValidationError
from supabase import Client

from db.errors import translated
from db.posts import posts_of
from db.wire import Answer

Payload = Sequence[Mapping[str, Any]]


def call(client: Client, function: str, **arguments: Any) -> Any:
    with translated():
        answer = _answer(client, function, arguments)
        try:
            return json.loads(answer.content())
        except json.JSONDecodeError:
            return answer.response().text or []  # so does postgrest-py


def call_text(client: Client, function: str, **arguments: Any) -> bytes:
    """Call a function whose answer is long: it comes as the text of its JSON, to be read once."""
    with translated():
        return _answer(client, function, arguments).content()


def _answer(client: Client, function: str, arguments: Mapping[str, Any]) -> Answer:
    wire = json.dumps(arguments, default=_wire, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    answer = posts_of(client).send(client, function, wire.encode())
    if not answer.is_success:
        raise APIError(_problem(answer.response()))
    return answer


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        return APIErrorFromJSON.model_validate_json(answer.content).model_dump()
    except ValidationError:
        return generate_default_error_message(answer)


def _wire(value: Any) -> Any:
    """Return what JSON cannot carry as something that it can: uuids, amounts and times as text."""
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"JSON has no form for a {type(value).__name__}")
