"""One shape for everything that is refused: code, message, hint, and what exactly fails where that is known."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
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


def add_error_handlers(api: FastAPI) -> None:
    """Answer the authority's refusals, bad bodies and unknown routes in the one shape."""

    @api.exception_handler(errors.AuthorityError)
    def refused(_: Request, error: errors.AuthorityError) -> JSONResponse:
        status = next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 500)
        return _error(status, error.code, error.message, error.hint, error.details)

    @api.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(part for part in first["loc"][1:] if isinstance(part, str)) or "body"
        return _error(422, "INVALID", f"{where}: {first['msg']}", "See /openapi.json.")

    @api.exception_handler(HTTPException)
    def unknown_route(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, HTTPStatus(error.status_code).name, str(error.detail), None)


def _error(
    status: int, code: str, message: str, hint: str | None, details: list[dict[str, Any]] | None = None
) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    error: dict[str, Any] = {"code": code, "message": message, "hint": hint}
    if details:
        error["details"] = details
    return JSONResponse({"success": False, "error": error}, status, headers=headers)
