from collections.abc import Iterator

import pytest
from supabase import Client

from db.client import engine_client
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def client(server: ScriptedServer) -> Client:
    return engine_client(server.url, "sb_secret_test")
