"""A real engine process as its operators see it: alerts that arrive, metrics, readiness, and logs without a secret."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.types.json import Jsonb

from db import commands
from engine.bootstrap import bootstrap
from engine.jobs import job_table
from tests.integration.engine.conftest import bearer
from tests.integration.engine.test_alert_delivery import Receiver
from tests.support.clients import SignIn
from tests.support.engine import settings_for, start_engine_process
from tests.support.exchange import RunningExchange

PATIENCE_S = 60


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    held = Receiver()
    yield held
    held.server.shutdown()
    held.server.server_close()


@pytest.fixture
def log(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path, receiver: Receiver
) -> Iterator[Path]:
    """The log of an engine that trades and has somewhere to send alerts to."""
    home = tmp_path / "home"
    child = start_engine_process({**env, "ALERT_URLS": receiver.address}, exchange, home)
    yield home / "engine.log"
    child.stop()


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the log's lines; each has to be JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def eventually(look: Callable[[], Any]) -> Any:
    """Return what `look` finds, as soon as it finds something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    pytest.fail("it never came")


def ports(log: Path) -> dict[str, Any] | None:
    if not log.exists():
        return None
    return next((line for line in lines(log) if line["event"] == "listening"), None)


def test_an_engine_can_be_observed(
    log: Path, receiver: Receiver, sign_in: SignIn, clean_db, env, exchange: RunningExchange, tmp_path: Path
) -> None:
    listening = eventually(lambda: ports(log))
    admin = sign_in("admin")
    with httpx.Client(trust_env=False, timeout=10) as http:
        ready = f"http://127.0.0.1:{listening['api_port']}/internal/ready"
        eventually(lambda: http.get(ready, headers=bearer(admin)).status_code == 200)

        clean_db.execute("update risk_configs set config = config || %s", (Jsonb({"alerts": {"paused_s": 0.001}}),))
        commands.pause_trading(admin, reason="Lunch")
        eventually(lambda: any("paused long" in message["title"] for message in receiver.received))

        scraped = http.get(f"http://127.0.0.1:{listening['metrics_port']}/metrics").text

    families = {family.name: family for family in text_string_to_metric_families(scraped)}
    jobs = {sample.labels["job"] for sample in families["interlock_job_age_seconds"].samples}
    settings = settings_for(env, exchange, tmp_path / "other")
    assert jobs == {job.name for job in job_table(bootstrap(settings))}
    assert families["interlock_ready"].samples[0].value == 1
    assert families["interlock_broker_rate_limit_remaining"].samples[0].value > 0
    text = log.read_text()
    assert all(secret not in text for secret in settings.secret_values)
    assert any(line.get("job") == "alerts" for line in lines(log))
