"""Supabase clients as the project's own code makes them: no timers, nothing kept on disk."""

from collections.abc import Mapping

from supabase import Client, ClientOptions, create_client


def plain_client(url: str, key: str) -> Client:
    """Return a client that holds nothing but its key."""
    return create_client(url, key, ClientOptions(auto_refresh_token=False, persist_session=False))


class SignIn:
    """Sign in as one of the demo accounts: "admin", "operator", "alice" or "bob"."""

    def __init__(self, env: Mapping[str, str], passwords: Mapping[str, str]) -> None:
        self._env = env
        self._passwords = passwords
        self._clients: dict[str, Client] = {}

    def __call__(self, name: str, *, fresh: bool = False) -> Client:
        """Return the account's client, shared by all tests, or a fresh sign-in of its own."""
        if fresh:
            return self._signed_in(name)
        if name not in self._clients:
            self._clients[name] = self._signed_in(name)
        self._clients[name].auth.get_session()  # a token near its end is exchanged for a new one
        return self._clients[name]

    def password(self, name: str) -> str:
        """Return the account's password."""
        return self._passwords[self.email(name)]

    @staticmethod
    def email(name: str) -> str:
        """Return the account's address."""
        return f"{name}@interlock.local"

    def _signed_in(self, name: str) -> Client:
        client = plain_client(self._env["SUPABASE_URL"], self._env["SUPABASE_PUBLISHABLE_KEY"])
        client.auth.sign_in_with_password({"email": self.email(name), "password": self.password(name)})
        return client
