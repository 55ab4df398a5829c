"""One shape for everything that is refused: code, message, hint, and what exactly fails where that is known."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from db import errors

_STATUS_OF: Final[dict[type[errors.AuthorityError], int]] = {
    errors.NotSignedIn: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LeaseLost: 409,
    errors.Invalid: 422,
    errors.Unreachable: 503,
}
_MEANING: Final = {
    401: "No token, or one that is forged or has expired.",
    403: "Not allowed for this role; an attempt to change something was recorded.",
    404: "What was named is not there, or is not the caller's to see.",
    409: "Somebody was faster, or the state does not allow it.",
    413: "The body is larger than a megabyte.",
    422: "The input cannot be accepted; nothing was changed.",
    500: "A fault of the engine; its log says which.",
    503: "The database cannot be reached: nothing is known about the outcome.",
}
_NOT_SERVED: Final = {404: "Nothing is served at this path.", 405: "This path is not called with this method."}
_READING: Final = (401, 403, 422, 500, 503)
_NAMED: Final = (*_READING, 404)
_CHANGING: Final = (*_NAMED, 409, 413)


class Problem(BaseModel):
    """Why a call was refused, and what to do about it."""

    code: str
    message: str
    hint: str | None
    details: list[dict[str, Any]] | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    success: bool = False
    error: Problem


Responses = dict[int | str, dict[str, Any]]


def refusals(*statuses: int) -> Responses:
    """Return what the OpenAPI document says about these statuses."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in sorted(statuses)}


READING: Final[Responses] = refusals(*_READING)
NAMED: Final[Responses] = refusals(*_NAMED)
CHANGING: Final[Responses] = refusals(*_CHANGING)


def add_error_handlers(api: FastAPI) -> None:
    """Answer the authority's refusals, bad bodies, unknown routes and faults in the one shape."""

    @api.exception_handler(errors.AuthorityError)
    def refused(_: Request, error: errors.AuthorityError) -> JSONResponse:
        return error_response(error)

    @api.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(part for part in first["loc"][1:] if isinstance(part, str)) or "body"
        return problem(422, "INVALID", f"{where}: {first['msg']}", "See /openapi.json.")

    @api.exception_handler(HTTPException)
    def not_served(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # a body that cannot be read
            return problem(422, "INVALID", "The body cannot be read.", "Send JSON in UTF-8, as /openapi.json says.")
        code, hint = HTTPStatus(error.status_code).name, "The paths and their methods are listed in /openapi.json."
        message = _NOT_SERVED.get(error.status_code, str(error.detail))
        return problem(error.status_code, code, message, hint, headers=error.headers)

    @api.exception_handler(Exception)
    def fault(_: Request, __: Exception) -> JSONResponse:
        hint = "Nothing is known about the outcome. Look at the current state, then at the engine's log."
        return problem(500, "INTERNAL", "The engine failed to answer.", hint)


def error_response(error: errors.AuthorityError) -> JSONResponse:
    """Return the authority's refusal as an answer."""
    status = next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 500)
    return problem(status, error.code, error.message, error.hint, error.details)


def problem(
    status: int,
    code: str,
    message: str,
    hint: str | None,
    details: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an answer in the one shape; whatever the caller sent, it can be encoded."""
    error: dict[str, Any] = {"code": code, "message": _encodable(message), "hint": hint}
    if details:
        error["details"] = details
    sent = dict(headers or {}) | ({"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {})
    return JSONResponse({"success": False, "error": error}, status, headers=sent)


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
