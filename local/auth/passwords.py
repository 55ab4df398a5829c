"""Passwords: hashed with argon2id, off the event loop, two at a time."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from local.auth.errors import AuthError
from local.auth.settings import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN

CONCURRENT_HASHES = 2  # each takes 64 MiB, so that a flood of sign-ins cannot take the machine's memory


class Passwords:
    """Hash and verify."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = asyncio.Semaphore(CONCURRENT_HASHES)
        # Verified against when there is no account, so that the time taken does not tell.
        self._decoy = self._hasher.hash("there is no such account")

    async def hash(self, password: str) -> str:
        """Return the hash of a password that is long enough.

        Raises
        ------
        AuthError when it is too short or too long
        """
        if len(password) < PASSWORD_LENGTH_MIN:
            raise AuthError(422, "validation_failed", f"Password should be at least {PASSWORD_LENGTH_MIN} characters.")
        if len(password) > PASSWORD_LENGTH_MAX:
            raise AuthError(422, "validation_failed", f"Password should be at most {PASSWORD_LENGTH_MAX} characters.")
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Return whether the password is right; as slow without an account as with one."""
        async with self._turn:
            return await asyncio.to_thread(self._verify, password[:PASSWORD_LENGTH_MAX], hashed)

    def _verify(self, password: str, hashed: str | None) -> bool:
        try:
            return self._hasher.verify(hashed or self._decoy, password) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False
