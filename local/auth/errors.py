"""What the auth endpoints refuse, in GoTrue's shape, which supabase-py turns into its own errors."""

from collections.abc import Mapping


class AuthError(Exception):
    """An answer that is not a success.

    Parameters
    ----------
    status : HTTP status
    code : GoTrue's error code, for programs
    message : for people
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """Return the JSON body."""
        return {"code": self.status, "error_code": self.code, "msg": self.message}


def invalid_credentials() -> AuthError:
    """Return the one answer to a wrong password, an unknown address and a missing account."""
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def banned() -> AuthError:
    """Return the answer to a suspended account that proved who it is."""
    return AuthError(400, "user_banned", "User is banned")


def invalid(message: str) -> AuthError:
    """Return the answer to a request that cannot be understood."""
    return AuthError(422, "validation_failed", message)
