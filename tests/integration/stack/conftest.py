"""Accounts and gateways of a test's own, so that no test can end another one's sign-in or calls."""

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from supabase import Client

from local import gateway, postgres
from local.auth.settings import Settings
from local.migrations import ROOT
from local.ports import listener, variable
from local.processes import Child
from local.stack import Stack
from tests.support.clients import plain_client
from tests.support.rest_stand_in import Caller, RestStandIn, ok


@dataclass
class Person:
    """An account that exists for one test."""

    id: str
    email: str
    password: str


@pytest.fixture
def admin_api(env: dict[str, str]) -> Client:
    """A client with the secret key."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"])


@pytest.fixture
def client(env: dict[str, str]) -> Client:
    """A client that nobody has signed in to yet."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])


@pytest.fixture
def person(admin_api: Client) -> Iterator[Person]:
    """A fresh account."""
    email, password = f"{secrets.token_hex(6)}@example.org", secrets.token_urlsafe(15)
    made = admin_api.auth.admin.create_user({"email": email, "password": password, "email_confirm": True})
    yield Person(made.user.id, email, password)
    admin_api.auth.admin.delete_user(made.user.id)


@dataclass
class Http:
    """Plain requests at the gateway."""

    url: str
    key: str

    def __call__(self, method: str, path: str, *, key: str | bytes | None = None, **more: Any) -> httpx.Response:
        """Send a request with the publishable key, or with another one; an empty one is left out."""
        headers = {"apikey": self.key if key is None else key} | more.pop("headers", {})
        sent = {name: value for name, value in headers.items() if value}
        return httpx.request(method, f"{self.url}{path}", headers=sent, timeout=10, trust_env=False, **more)


@pytest.fixture
def http(env: dict[str, str]) -> Http:
    """Send plain requests to the gateway."""
    return Http(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])


@dataclass
class Front:
    """A gateway of its own, with a stand-in for PostgREST behind it."""

    process: Child
    port: int
    rest: RestStandIn
    key: str

    def caller(self) -> Caller:
        return Caller(self.port, self.key)


@pytest.fixture(scope="module")
def start(stack: Stack) -> Iterator[Callable[[], Front]]:
    """Start a gateway."""
    started: list[Front] = []

    def begin() -> Front:
        path = Path(tempfile.mkdtemp(prefix="interlock-test-")) / "rest.sock"
        with listener(variable("gateway"), 0) as listening:
            url = gateway.address(listening)
            settings = Settings(
                listen_fd=listening.fileno(),
                url=url,
                rest_socket=path,
                database_url=postgres.url(stack.home, "supabase_auth_admin"),
                publishable_key=stack.keys.publishable_key,
                secret_key=stack.keys.secret_key,
                jwt_secret=stack.keys.jwt_secret,
                refresh_secret=stack.keys.refresh_secret,
            )
            process = Child(
                "The gateway",
                [sys.executable, "-m", "local.auth"],
                log=path.parent / "gateway.log",
                environment=os.environ | settings.environment() | {"PYTHONPATH": str(ROOT)},
                pass_fds=[listening.fileno()],
            )
            port = listening.getsockname()[1]
        process.wait_until(lambda: gateway.answers(f"{url}/auth/v1/health"), timeout_s=20)
        started.append(Front(process, port, RestStandIn(path), stack.keys.secret_key))
        return started[-1]

    yield begin
    for front in started:
        front.process.stop()


@pytest.fixture(scope="module")
def shared(start: Callable[[], Front]) -> Front:
    return start()


@pytest.fixture
def front(shared: Front) -> Iterator[Front]:
    """A gateway; whatever it said about errors fails the test."""
    shared.rest.answer = lambda connection, _call: connection.say(ok())
    shared.rest.heard.clear()
    shared.rest.reads_all = True
    yield shared
    assert shared.process.exit_code is None
    assert shared.process.log is not None
    assert shared.process.log.read_text() == ""


@pytest.fixture
def rest(front: Front) -> RestStandIn:
    return front.rest


@pytest.fixture
def caller(front: Front) -> Iterator[Caller]:
    with front.caller() as caller:
        yield caller
