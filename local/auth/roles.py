"""Under which role a call reaches PostgREST: the caller's own token decides, or else its API key."""

from local.auth.services import api_key_role, bearer_token
from local.auth.settings import Settings
from local.auth.tokens import AccessTokens


class Roles:
    """What a caller shows, exchanged for the token that PostgREST takes."""

    def __init__(self, settings: Settings, access: AccessTokens) -> None:
        self._settings = settings
        self._role_tokens = {role: access.for_role(role) for role in ("anon", "service_role")}

    def token(self, *, key: str | None, authorization: str) -> str | None:
        """Return the caller's own token, or the one that stands for its key; None for a wrong or missing key."""
        role = api_key_role(self._settings, key)
        if role is None:
            return None
        shown = bearer_token(authorization)
        if shown is None or api_key_role(self._settings, shown) is not None:
            return self._role_tokens[role]
        return shown
