"""The demo accounts: one admin, one operator, and two analysts who own different profiles."""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import psycopg

from local.errors import SetupError
from local.home import Home, Keys, read_json, write_private

PEOPLE = {
    "admin@interlock.local": ("admin", "Ada Admin"),
    "operator@interlock.local": ("operator", "Oskar Operator"),
    "alice@interlock.local": ("analyst", "Alice"),
    "bob@interlock.local": ("analyst", "Bob"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who can sign in."""

    email: str
    password: str
    role: str


def ensure(home: Home, keys: Keys, *, gateway_url: str, owner_url: str) -> list[Account]:
    """Create what is missing of the demo accounts and memberships, and return the accounts.

    The file with the passwords is written first, so that an interrupted first start is simply
    finished by the next one.
    """
    new = not home.accounts_file.exists()
    if new:
        _write(home, [Account(email, secrets.token_urlsafe(15), role) for email, (role, _) in PEOPLE.items()])
    accounts = _read(home)
    with httpx.Client(
        base_url=f"{gateway_url}/auth/v1/admin", headers={"apikey": keys.secret_key}, timeout=20, trust_env=False
    ) as admin:
        existing = {user["email"]: user["id"] for user in _checked(admin.get("/users?per_page=1000"))["users"]}
        for account in accounts:
            credentials = {"email": account.email, "password": account.password, "email_confirm": True}
            if account.email not in existing:
                existing[account.email] = _checked(admin.post("/users", json=credentials))["id"]
            elif new:  # the file was lost: its passwords are new
                _checked(admin.put(f"/users/{existing[account.email]}", json={"password": account.password}))
    _enrol(owner_url, accounts, existing)
    return accounts


def _enrol(owner_url: str, accounts: list[Account], ids: dict[str, str]) -> None:
    """Make each account a member. Whoever was changed since by an admin stays as changed."""
    with psycopg.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into public.members (user_id, email, display_name, role) values (%s, %s, %s, %s) "
            "on conflict do nothing",
            [(ids[a.email], a.email, PEOPLE.get(a.email, ("", a.email))[1], a.role) for a in accounts],
        )


def _write(home: Home, accounts: list[Account]) -> None:
    write_private(home.accounts_file, json.dumps([asdict(account) for account in accounts], indent=2) + "\n")


def _read(home: Home) -> list[Account]:
    try:
        return [Account(**entry) for entry in read_json(home.accounts_file)]
    except TypeError as e:
        raise SetupError(f"{home.accounts_file} is damaged. Delete it to get new passwords.") from e


def _checked(response: httpx.Response) -> Any:
    if response.is_error:
        raise SetupError(f"The gateway refused a demo account: {response.text[:200]}")
    return response.json()
