"""Settings: the environment first, then `.env`, then what the local stack wrote to LOCAL_HOME/env."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.domain.errors import ConfigError

LOCAL_HOME_DEFAULT: Final = ".local"
# A shard's name is a folder's name too.
SHARD_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$"
_HINT: Final = "Set it in .env, or start the local stack, which writes {home}/env."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often jobs run, in seconds of wall time."""

    trade_tick_s: float
    submit_s: float
    sync_s: float
    monitor_s: float
    settle_s: float
    heartbeat_s: float
    equity_s: float
    reconcile_s: float
    full_reconcile_s: float
    quiet_s: float


# The simulated market runs a session a minute. Real Alpaca allows 200 requests a minute.
CADENCES: Final = {
    "local": Cadence(
        trade_tick_s=1,
        submit_s=0.3,
        sync_s=0.5,
        monitor_s=1,
        settle_s=1,
        heartbeat_s=2,
        equity_s=10,
        reconcile_s=60,
        full_reconcile_s=3600,
        quiet_s=3,
    ),
    "alpaca": Cadence(
        trade_tick_s=15,
        submit_s=0.5,
        sync_s=2,
        monitor_s=2,
        settle_s=10,
        heartbeat_s=2,
        equity_s=60,
        reconcile_s=60,
        full_reconcile_s=3600,
        quiet_s=60,
    ),
}


class Settings(BaseSettings):
    """Everything that is set from outside. Secrets never appear in logs or messages."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    supabase_url: str
    supabase_publishable_key: str
    supabase_secret_key: SecretStr
    alpaca_base_url: str = "https://paper-api.alpaca.markets"
    alpaca_data_url: str = "https://data.alpaca.markets"
    alpaca_api_key: SecretStr
    alpaca_secret_key: SecretStr
    alpaca_feed: str | None = None
    exchange_admin_token: SecretStr | None = None
    local_home: Path = Path(LOCAL_HOME_DEFAULT)
    engine_shard: str = Field("main", pattern=SHARD_PATTERN)
    engine_cadence: Literal["local", "alpaca"] | None = None
    engine_senders: int = Field(4, ge=1, le=16)
    engine_strategies: str = ""
    engine_upgrade_db: bool = False
    database_url: SecretStr | None = None
    engine_api_port: int = Field(8710, ge=0, le=65535)
    metrics_port: int = Field(8711, ge=0, le=65535)
    alert_urls: SecretStr = SecretStr("")

    @property
    def broker_is_local(self) -> bool:
        return urlsplit(self.alpaca_base_url).hostname in ("127.0.0.1", "localhost")

    @property
    def cadence(self) -> Cadence:
        return CADENCES[self.engine_cadence or ("local" if self.broker_is_local else "alpaca")]

    @property
    def feed(self) -> str | None:
        """The data feed: the free one at Alpaca unless set, none at the paper exchange."""
        return self.alpaca_feed or (None if self.broker_is_local else "iex")

    @property
    def alert_addresses(self) -> list[str]:
        """Where alerts are sent to: addresses as Apprise writes them, with spaces between them."""
        return self.alert_urls.get_secret_value().split()

    @property
    def secret_values(self) -> list[str]:
        """Everything that must never appear in a log."""
        held = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        return [secret for secret in [*held, *self.alert_addresses] if secret]

    @property
    def brake_path(self) -> Path:
        return self.local_home / "BRAKE"

    @property
    def state_path(self) -> Path:
        return self.local_home / "engine" / self.engine_shard / "bot_state.json"

    @property
    def journal_path(self) -> Path:
        return self.state_path.with_name("journal.log")


def load_settings() -> Settings:
    """Read the settings.

    Raises
    ------
    ConfigError with one message that names every missing or wrong variable
    """
    home = local_home()
    try:
        return Settings(_env_file=(home / "env", ".env"), local_home=home)  # type: ignore[call-arg]  # needs the plugin
    except ValidationError as error:
        problems = [f"{str(e['loc'][0]).upper()}: {_in_words(e['msg'])}" for e in error.errors()]
        raise ConfigError("; ".join(problems) + ". " + _HINT.format(home=home)) from None


def local_home() -> Path:
    """Return the folder that holds everything a local installation keeps."""
    return Path(os.environ.get("LOCAL_HOME") or dotenv_values(".env").get("LOCAL_HOME") or LOCAL_HOME_DEFAULT)


def _in_words(message: str) -> str:
    if message.startswith("String should match pattern"):
        return "takes letters, digits, dot, dash and underscore, up to 60, and begins with a letter or digit"
    return "is not set" if message == "Field required" else message.lower()
