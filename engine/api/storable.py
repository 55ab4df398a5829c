"""What the database can hold: text without NUL characters and without halves of surrogate pairs.

Asked once, at the door, for whatever a caller sends: path, query and body.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from db.errors import Invalid

DEPTH_MAX: Final = 32
Whole = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Switch = Annotated[bool, Field(strict=True)]
# The authority judges these, and records who tried: what stands here only tells the document's readers.
Reason = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": 500, "pattern": r"\S"})]


class Body(BaseModel):
    """A body with known fields; one sent twice with the same `request_id` acts once."""

    model_config = ConfigDict(extra="forbid")

    request_id: UUID | None = None

    @model_validator(mode="before")
    @classmethod
    def _must_be_storable(cls, value: Any) -> Any:
        return storable(value)


def require_storable_address(request: Request) -> None:
    """Refuse a path or query with text that the database cannot hold.

    Raises
    ------
    Invalid
    """
    values = [*map(str, request.path_params.values()), *request.query_params.keys(), *request.query_params.values()]
    if not all(map(is_storable_text, values)):
        raise Invalid(
            "The address holds a character that cannot be stored.",
            code="INVALID",
            hint="Leave out NUL characters and write the rest in UTF-8.",
        )


def storable(value: Any) -> Any:
    """Return a JSON value as it is.

    Raises
    ------
    ValueError when it holds text or a number that cannot be stored, or is nested too deeply
    """
    level: Iterable[Any] = [value]
    for _ in range(DEPTH_MAX):
        level = list(_inner(level))
        if not level:
            return value
    raise ValueError(f"nested more than {DEPTH_MAX} levels deep")


def is_storable_text(text: str) -> bool:
    """Tell whether the database can hold a text."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _inner(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, str) and not is_storable_text(value):
            raise ValueError("text with a NUL character or half a surrogate pair cannot be stored")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number that is not finite cannot be stored")
        if isinstance(value, dict):
            yield from value.keys()
            yield from value.values()
        elif isinstance(value, list):
            yield from value
