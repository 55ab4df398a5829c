"""Fixtures for the whole suite: a real local Supabase, its accounts, and a real paper exchange."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
import structlog
from supabase import Client

from local import chromium
from local.home import Home
from local.migrations import ROOT
from local.ports import Ports
from local.stack import Stack, start_stack
from tests.support.clients import SignIn, plain_client
from tests.support.database import Baseline
from tests.support.exchange import RunningExchange, start_exchange

# A machine that is busy for a moment is no fault of an example's.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
TOOLS = ROOT / ".local" / "tools"


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command line that runs in a test sets up the log for its process, which is also that of the next test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A real Postgres, PostgREST and gateway: migrated, with demo accounts and the seed."""
    # Not pytest's own folder: its path would be too long for a socket, and closed to Postgres's user.
    folder = Path(tempfile.mkdtemp(prefix="interlock-test-"))
    running = start_stack(Home(folder / "home", tools=TOOLS), Ports.free().settled())
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def env(stack: Stack) -> dict[str, str]:
    """What LOCAL_HOME/env says about the stack."""
    return dict(stack.env)


@pytest.fixture(scope="session")
def sign_in(stack: Stack) -> SignIn:
    """Call with "admin", "operator", "alice" or "bob" for a signed-in Supabase client."""
    return SignIn(stack.env, {account.email: account.password for account in stack.accounts})


@pytest.fixture(scope="session")
def service_client(env: dict[str, str]) -> Client:
    """The engine's client: it holds the secret key."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"])


@pytest.fixture(scope="session")
def anon_client(env: dict[str, str]) -> Client:
    """A client that nobody has signed in to."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])


@pytest.fixture(scope="session")
def db(env: dict[str, str]) -> Iterator[psycopg.Connection]:
    """A connection as the schema's owner, past row-level security; each statement commits."""
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def _baseline(stack: Stack) -> Baseline:
    return Baseline(stack)


@pytest.fixture
def clean_db(_baseline: Baseline, db: psycopg.Connection) -> psycopg.Connection:
    """The owner's connection, with every table as it was after set-up."""
    _baseline.restore()
    return db


@pytest.fixture
def exchange(stack: Stack, tmp_path: Path) -> Iterator[RunningExchange]:
    """A fresh exchange, stepping, before its first session; its keys are those of `env`."""
    running = start_exchange(tmp_path, stack.keys)
    yield running
    running.child.stop()


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The browser for tests marked `browser`."""
    found = chromium.find()
    if found is None:
        pytest.fail(chromium.MISSING)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put browser tests last, and skip them by name where there is no browser; with CI=true they fail instead.

    Last, because Playwright's event loop runs in this thread from its first test on, and nothing else can start one.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if chromium.find() or os.environ.get("CI") == "true":
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"not run: {item.name}: {chromium.MISSING}"))
