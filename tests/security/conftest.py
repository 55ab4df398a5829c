"""The ground of the matrices: eight callers, and a database in which both tenants have rows everywhere."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from supabase import Client

from local import postgres
from local.stack import Stack
from tests.db.conftest import Engine
from tests.security import catalogue, seed
from tests.security.actors import Actor, actor
from tests.security.examples import examples
from tests.security.expectations import ADMIN, ALICE, ANONYMOUS, BOB, DEMOTED, ENGINE, OPERATOR, OUTSIDER
from tests.security.inputs import least
from tests.support.clients import SignIn, plain_client
from tests.support.database import Baseline


@dataclass
class Account:
    """An account of these tests alone."""

    id: str
    email: str
    password: str


class Accounts:
    """Make accounts, and remove them in the end."""

    def __init__(self, env: dict[str, str], service: Client) -> None:
        self._env = env
        self._service = service
        self._made: list[str] = []

    def make(self, name: str) -> Account:
        email, password = f"{name}-{secrets.token_hex(4)}@example.org", secrets.token_urlsafe(15)
        attributes = {"email": email, "password": password, "email_confirm": True}
        made = self._service.auth.admin.create_user(attributes).user
        self._made.append(made.id)
        return Account(made.id, email, password)

    def sign_in(self, account: Account) -> Client:
        client = plain_client(self._env["SUPABASE_URL"], self._env["SUPABASE_PUBLISHABLE_KEY"])
        client.auth.sign_in_with_password({"email": account.email, "password": account.password})
        return client

    def remove_all(self) -> None:
        for id in self._made:
            self._service.auth.admin.delete_user(id)


@pytest.fixture(scope="session")
def accounts(env: dict[str, str], service_client: Client) -> Iterator[Accounts]:
    """Accounts beyond the four of the demo."""
    made = Accounts(env, service_client)
    yield made
    made.remove_all()


@pytest.fixture(scope="session")
def callers(env: dict[str, str], sign_in: SignIn, accounts: Accounts) -> Iterator[dict[str, Actor]]:
    """All eight, by name. Membership and rows come with `seeded`."""
    url, publishable = env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"]
    clients = {name: sign_in(name) for name in (ALICE, BOB, OPERATOR, ADMIN)}
    clients |= {name: accounts.sign_in(accounts.make(name)) for name in (OUTSIDER, DEMOTED)}
    found = {
        ANONYMOUS: actor(ANONYMOUS, url=url, key=publishable),
        ENGINE: actor(ENGINE, url=url, key=env["SUPABASE_SECRET_KEY"]),
    }
    for name, client in clients.items():
        session = client.auth.get_session()
        assert session is not None
        found[name] = actor(name, url=url, key=publishable, token=session.access_token, user_id=session.user.id)
    yield found
    for one in found.values():
        one.http.close()


@pytest.fixture(scope="module")
def superuser(stack: Stack) -> Iterator[psycopg.Connection]:
    """A connection that no policy, trigger or foreign key holds back."""
    with psycopg.connect(postgres.url(stack.home, postgres.SUPERUSER), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        yield connection


@pytest.fixture(scope="module")
def seeded(
    _baseline: Baseline,
    db: psycopg.Connection,
    superuser: psycopg.Connection,
    service_client: Client,
    callers: dict[str, Actor],
) -> Iterator[Engine]:
    """A database in use: the engine that traded in it, rows of both tenants in every table."""
    _baseline.restore()
    profiles = {name: id for id, name in db.execute("select id, name from profiles").fetchall()}
    engine = Engine(service_client, profiles)
    seed.trade_a_little(engine)
    _demote(db, callers)
    seed.fill_gaps(superuser, [str(callers[name].user_id) for name in (ALICE, BOB)])
    yield engine
    _baseline.restore()


@pytest.fixture(scope="module")
def checksum(seeded: Engine, db: psycopg.Connection) -> catalogue.Checksum:
    """Call it for a checksum of every table."""
    return catalogue.Checksum(db)


@pytest.fixture(scope="module")
def functions(seeded: Engine, db: psycopg.Connection) -> dict[str, catalogue.Function]:
    """Every function of the API, by name."""
    return catalogue.functions(db)


@pytest.fixture(scope="module")
def calls(
    seeded: Engine, callers: dict[str, Actor], functions: dict[str, catalogue.Function], db: psycopg.Connection
) -> dict[str, dict[str, Any]]:
    """For every function the arguments of a call that is answered."""
    return {name: least(function) for name, function in functions.items()} | examples(seeded, callers, db)


def _demote(db: psycopg.Connection, callers: dict[str, Actor]) -> None:
    """Let someone act as an admin, then take the role away; the token stays as it is."""
    gone = callers[DEMOTED]
    db.execute(
        "insert into members (user_id, email, role) values (%s, 'demoted@example.org', 'admin')", (gone.user_id,)
    )
    assert gone.call("trading_status", {}).json()["role"] == "admin"
    asked = {"p_user_id": gone.user_id, "p_role": "analyst", "p_reason": "No longer on duty"}
    assert callers[ADMIN].call("set_member_role", asked).json()["success"]
