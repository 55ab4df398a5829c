"""Whoever runs a command signs in as a person: the command line has no rights of its own, and needs no secret key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.auth import sign_in
from db.client import auth_client, sign_in_client
from engine.cli.output import asked
from engine.config import local_home
from engine.domain.errors import ConfigError

Email = Annotated[str | None, typer.Option(envvar="INTERLOCK_EMAIL", help="Whom to act as; asked for if left out.")]
Password = Annotated[
    str | None, typer.Option(envvar="INTERLOCK_PASSWORD", help="Better set in the environment, or typed when asked.")
]


class Authority(BaseSettings):
    """Where the authority is; all that a person's commands need to be told."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    supabase_url: str
    supabase_publishable_key: str


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in person and the client that acts as them. `signed_in_until`: epoch seconds."""

    email: str
    client: Any
    signed_in_until: int


def signed_in(email: str | None, password: str | None) -> Person:
    """Sign in as a person.

    Raises
    ------
    ConfigError, WrongCredentials, Unreachable
    """
    where = _authority()
    email, password = asked(email, "--email"), asked(password, "--password", hidden=True)
    door = auth_client(where.supabase_url, where.supabase_publishable_key)
    login = sign_in(door, email=email, password=password)
    client = sign_in_client(where.supabase_url, where.supabase_publishable_key, login.access_token)
    return Person(login.email, client, login.expires_at)


def _authority() -> Authority:
    home = local_home()
    try:
        return Authority(_env_file=(home / "env", ".env"))  # type: ignore[call-arg]  # needs the plugin
    except ValidationError as error:
        missing = ", ".join(str(e["loc"][0]).upper() for e in error.errors())
        raise ConfigError(f"{missing}: not set. Set it in .env, or start the stack, which writes {home}/env.") from None
