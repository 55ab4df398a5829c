"""Whatever is thrown at a running engine's API, it answers as its OpenAPI document says, without a fault of its own.

Each role's token is tried on every operation with the document's edge cases, valid and not, and with generated
ones: a few in every run, as many as API_EXAMPLES says otherwise.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn
from tests.support.engine import start_engine_process
from tests.support.exchange import RunningExchange, free_port

EXAMPLES = int(os.environ.get("API_EXAMPLES", "3"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
)
# An engine that is not ready says so with 503: that is no fault.
SETTINGS = """
[[operations]]
include-path = "/internal/ready"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"""
READY_WITHIN_S = 60


@pytest.fixture
def engine_url(
    env: dict[str, str], clean_db: psycopg.Connection, exchange: RunningExchange, sign_in: SignIn, tmp_path: Path
) -> Iterator[str]:
    """The address of a running engine that is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    engine = start_engine_process(env, exchange, tmp_path / "home", ENGINE_API_PORT=str(port))
    try:
        _wait_until_ready(url, bearer(sign_in("admin")))
        yield url
    finally:
        engine.stop()


@pytest.mark.timeout(120 + 60 * EXAMPLES)
def test_every_answer_is_as_documented_whatever_each_role_asks(
    engine_url: str, sign_in: SignIn, tmp_path: Path
) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)

    phases = {"admin": "coverage,fuzzing", "operator": "fuzzing", "alice": "fuzzing"}

    reports = {role: _tried(engine_url, bearer(sign_in(role)), phases[role], tmp_path) for role in phases}

    for role, done in reports.items():
        assert done.returncode == 0, f"as {role}:\n{done.stdout[-8000:]}{done.stderr[-2000:]}"
        assert re.search(r"Operations: +(\d+) selected / \1 total", done.stdout), "an operation was left out"


def _tried(url: str, headers: dict[str, str], phases: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    arguments = [
        "run", f"{url}/openapi.json", "--header", f"Authorization: {headers['Authorization']}",
        "--phases", phases, "--max-examples", str(EXAMPLES), "--checks", ",".join(CHECKS),
        "--seed", "1", "--no-color", "--request-timeout", "20", "--generation-database", "none",
    ]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def _wait_until_ready(url: str, headers: dict[str, str]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    with httpx.Client(base_url=url, headers=headers, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as api:
        while (answer := _ready(api)) != 200:
            assert time.monotonic() < deadline, f"the engine is not ready: {answer}"
            time.sleep(0.2)


def _ready(api: httpx.Client) -> int | str:
    try:
        return api.get("/internal/ready").status_code
    except httpx.TransportError as error:
        return str(error)
