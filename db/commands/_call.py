"""One call of a function of the authority, as JSON there and back."""

from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from httpx import Headers, Response
from postgrest.exceptions import APIError, APIErrorFromJSON, generate_default_error_message
from pydantic import ValidationError
from supabase import Client

from db.errors import translated

Payload = Sequence[Mapping[str, Any]]


def call(client: Client, function: str, **arguments: Any) -> Any:
    wire = {name: _wire(value) for name, value in arguments.items()}
    with translated():
        return client.rpc(function, wire).execute().data


def call_text(client: Client, function: str, **arguments: Any) -> bytes:
    """Call a function whose answer is long: it comes as the text of its JSON, to be read once."""
    wire = {name: _wire(value) for name, value in arguments.items()}
    with translated():
        answer = client.rpc(function, wire).request.send(Headers())
        if not answer.is_success:
            raise APIError(_problem(answer))
        return answer.content


def _problem(answer: Response) -> dict[str, Any]:
    try:
        return APIErrorFromJSON.model_validate_json(answer.content).model_dump()
    except ValidationError:
        return generate_default_error_message(answer)


def _wire(value: Any) -> Any:
    """Return `value` as JSON can carry it: uuids, amounts and times as text, the rest as it is."""
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_wire(item) for item in value]
    return value
