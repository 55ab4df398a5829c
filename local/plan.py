"""What is to be started, from what is set: the user's own Supabase and Alpaca, or the local ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from dotenv import dotenv_values

from local.errors import SetupError

SUPABASE = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY")
ALPACA = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY")
ALPACA_ADDRESSES = ("ALPACA_BASE_URL", "ALPACA_DATA_URL")


@dataclass(frozen=True, slots=True)
class Plan:
    """The user's own services; an empty mapping means that the local one is started instead."""

    supabase: dict[str, str]
    alpaca: dict[str, str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Plan":
        """Read which services the user has.

        Raises
        ------
        SetupError when one of them is only half set
        """
        supabase = _all_or_none(environment, SUPABASE, "Supabase project")
        alpaca = _all_or_none(environment, ALPACA, "Alpaca account")
        if alpaca:
            alpaca |= {name: environment[name] for name in ALPACA_ADDRESSES if environment.get(name)}
        return cls(supabase, alpaca)

    def require_reachable(self) -> None:
        """Ask the user's Supabase whether it is there and takes the keys.

        Raises
        ------
        SetupError naming the setting that is wrong
        """
        if not self.supabase:
            return
        url = self.supabase["SUPABASE_URL"].rstrip("/")
        for name in SUPABASE[1:]:
            try:
                answer = httpx.get(f"{url}/auth/v1/settings", headers={"apikey": self.supabase[name]}, timeout=10)
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                raise SetupError(f"SUPABASE_URL {url} cannot be reached ({e}). Check it in .env.") from e
            if answer.status_code in {401, 403}:
                raise SetupError(f"{url} refuses {name}. Copy it again from the project's API settings into .env.")


def read_environment(process: Mapping[str, str]) -> dict[str, str]:
    """Return `.env` with the process's own environment over it."""
    return {name: value for name, value in dotenv_values(".env").items() if value} | dict(process)


def _all_or_none(environment: Mapping[str, str], names: tuple[str, ...], what: str) -> dict[str, str]:
    found = {name: environment[name].strip() for name in names if environment.get(name, "").strip()}
    missing = [name for name in names if name not in found]
    if found and missing:
        raise SetupError(
            f"Your own {what} is only half set: {', '.join(found)} without {', '.join(missing)}. "
            f"Set all of them in .env, or none to use the local one."
        )
    return found
