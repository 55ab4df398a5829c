"""What can go wrong when talking to the authority, and who has to act.

AuthorityError
├── Unreachable        wait and retry: nothing is known about the call's outcome
├── NotSignedIn        the user signs in again
├── Forbidden          the user asks an admin
├── Invalid            the caller corrects its input; nothing was changed
├── NotFound           the caller looks again; the thing is not there (any more)
├── Conflict           the user looks at the current state and decides again
│   └── PreflightFailed    the admin settles what fails, or overrides it with a reason
└── LeaseLost          the engine stops writing and recovers
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from postgrest.exceptions import APIError


class AuthorityError(Exception):
    """An answer of the authority that is not a success."""

    def __init__(
        self, message: str, *, code: str = "ERROR", hint: str | None = None, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.details = details or []


class Unreachable(AuthorityError):
    """No answer, or none that can be understood; the call may or may not have taken effect."""


class NotSignedIn(AuthorityError):
    """The token is missing, expired or forged."""


class Forbidden(AuthorityError):
    """The caller's role does not allow this."""


class Invalid(AuthorityError):
    """The input cannot be accepted; nothing was changed."""


class NotFound(AuthorityError):
    """What was named does not exist or is not visible to the caller."""


class Conflict(AuthorityError):
    """Someone else changed it meanwhile, or the state does not allow it."""


class PreflightFailed(Conflict):
    """Trading may not resume yet; `details` lists the items that fail."""


class LeaseLost(AuthorityError):
    """The fencing token is stale: another engine may be writing."""


_BY_CODE: dict[str, type[AuthorityError]] = {
    "FORBIDDEN": Forbidden,
    "42501": Forbidden,
    "INVALID": Invalid,
    "NOT_FOUND": NotFound,
    "CONFLICT": Conflict,
    "DUPLICATE_ORDER": Conflict,
    "TRADING_HALTED": Conflict,
    "PREFLIGHT_FAILED": PreflightFailed,
    "APPROVAL_EXPIRED": Conflict,
    "FOUR_EYES": Forbidden,
    "PGRST102": Invalid,  # a body that is no JSON
    "ILLEGAL_TRANSITION": Conflict,
    "LEASE_LOST": LeaseLost,
    "PGRST301": NotSignedIn,
    "PGRST302": NotSignedIn,
    "PGRST303": NotSignedIn,
}


NO_CODE = "ERROR"  # PostgREST always gives one: something before it has answered instead
# PostgREST has no database; it is a standby that takes no writes; Postgres is full, restarting, or has ended the call:
# it took too long, or stood in another's way. 40 is also how a gateway's own 401 to 408 begin: it turns this
# installation away, by its key or its address, and not the person, who could not mend it by signing in again.
# A page of something on the way has its status for a code: that one has too much to do, or reaches nothing.
_AWAY = ("PGRST00", "25006", "08", "40", "53", "55P03", "57", "58")


def _by_class(code: str) -> type[AuthorityError]:
    if code in {NO_CODE, "429"} or code.startswith(_AWAY) or (len(code) == 3 and code.startswith("5")):
        return Unreachable
    return Invalid if len(code) == 5 and code.startswith("22") else AuthorityError  # 22: data that makes no sense


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client libraries' errors into the tree above, by code."""
    try:
        yield
    except APIError as e:
        code = str(e.code or NO_CODE)
        kind = _BY_CODE.get(code) or _by_class(code)
        message = e.message or "Something before the database has answered, and not the database."
        details = e.details if isinstance(e.details, list) else None
        raise kind(message, code=code, hint=e.hint, details=details) from e
    except httpx.HTTPError as e:
        raise Unreachable(
            f"The database cannot be reached ({type(e).__name__}).",
            code="UNREACHABLE",
            hint="Check that the gateway and PostgREST are running, then try again.",
        ) from e
