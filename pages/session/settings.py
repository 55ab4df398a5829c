"""Where the pages find the authority. Only the keys named here are read: no secret ever enters this process."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ_KEYS = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "ENGINE_API_URL", "PAGES_HOME")


class SettingsMissing(RuntimeError):
    """The pages cannot start; the message says which setting is missing and what to do."""


@dataclass(frozen=True)
class Settings:
    """What the pages need to know. `home` is the folder for what they keep: the session file."""

    supabase_url: str
    publishable_key: str
    engine_api_url: str | None
    home: Path


@cache
def settings() -> Settings:
    """Return the settings of this process: environment first, then `.env`, then `LOCAL_HOME/env`.

    Raises
    ------
    SettingsMissing
    """
    local_home = Path(os.environ.get("LOCAL_HOME") or ROOT / ".local")
    found = _read(local_home / "env") | _read(ROOT / ".env") | _from_environment()
    missing = [key for key in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY") if not found.get(key)]
    if missing:
        raise SettingsMissing(
            f"{' and '.join(missing)} not set. Start everything with `make run`, "
            f"or put them into the environment or `.env` (see `.env.example`)."
        )
    return Settings(
        supabase_url=found["SUPABASE_URL"].rstrip("/"),
        publishable_key=found["SUPABASE_PUBLISHABLE_KEY"],
        engine_api_url=found.get("ENGINE_API_URL") or None,
        home=Path(found.get("PAGES_HOME") or local_home / "pages"),
    )


def _from_environment() -> dict[str, str]:
    return {key: os.environ[key] for key in READ_KEYS if os.environ.get(key)}


def _read(path: Path) -> dict[str, str]:
    """Return the allowed keys of a KEY=VALUE file; an absent file holds none."""
    if not path.is_file():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    values = {key.strip(): value.strip().strip("\"'") for key, value in pairs}
    return {key: values[key] for key in READ_KEYS if values.get(key)}
