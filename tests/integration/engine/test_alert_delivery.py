"""Alerts arrive: from a condition in the database, through the outbox and Apprise, at a real HTTP receiver."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from db import commands
from db.client import engine_client
from engine.adapters.apprise_notifier import AppriseNotifier
from engine.adapters.supabase_alerts import SupabaseAlertDesk, SupabaseTelemetry
from engine.adapters.supabase_authority import ShardSession
from engine.adapters.system_clock import SystemClock
from engine.config import Settings
from engine.domain.errors import ConfigError
from engine.service.alerting import Alerting
from engine.watch import look, watching
from tests.db.conftest import Engine
from tests.support.clients import SignIn

CLOCK = SystemClock()


class Receiver:
    """An HTTP server that keeps what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.answer = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(json.loads(body))
                self.send_response(receiver.answer)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/alerts"

    @property
    def ids(self) -> list[str]:
        return [message["message"].split()[-1] for message in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    held = Receiver()
    yield held
    held.server.shutdown()
    held.server.server_close()


@pytest.fixture
def other_receiver() -> Iterator[Receiver]:
    held = Receiver()
    yield held
    held.server.shutdown()
    held.server.server_close()


def alerting(env: dict[str, str], *addresses: str, holder: str = "one") -> Alerting:
    session = ShardSession(engine_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"]), "main", CLOCK)
    return Alerting(SupabaseAlertDesk(session), AppriseNotifier(addresses, "key"), CLOCK, holder=holder)


def statuses(db: psycopg.Connection) -> list[str]:
    return [row[0] for row in db.execute("select status from notifications order by created_at, id").fetchall()]


def look_again(db: psycopg.Connection) -> None:
    """Let the next look be taken at once, and what waits for another try be due."""
    db.execute("update private.alert_watch set evaluated_at = '-infinity'")
    db.execute("update notifications set due_at = clock_timestamp() where status = 'queued'")


def test_an_alert_and_its_end_arrive(healthy_engine: Engine, env, receiver: Receiver, clean_db) -> None:
    one = alerting(env, receiver.address)
    for findings in ([{"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL", "severity": "critical"}], []):
        healthy_engine.reconcile(*findings)
        look_again(clean_db)
        one.evaluate()
        assert one.deliver() == 1

    opened, resolved = receiver.received
    assert opened["title"] == "Interlock: Critical: reconciliation break in AAPL"
    assert "Our books and the broker's differ in AAPL: POSITION_MISMATCH." in opened["message"]
    assert (opened["type"], resolved["type"]) == ("failure", "success")
    assert resolved["title"].startswith("Interlock: Resolved:")
    assert statuses(clean_db) == ["sent", "sent"]
    ids = {str(row[0]) for row in clean_db.execute("select id from notifications").fetchall()}
    assert set(receiver.ids) == ids


def test_a_refused_notice_is_tried_again_and_arrives_under_the_same_id(
    sign_in: SignIn, env, receiver: Receiver, clean_db
) -> None:
    commands.test_alert(sign_in("admin"))
    one = alerting(env, receiver.address)
    receiver.answer = 500
    assert one.deliver() == 0
    assert one.deliver() == 0  # it waits
    assert "error=500" in clean_db.execute("select last_error from notifications").fetchone()[0]

    receiver.answer = 200
    look_again(clean_db)
    assert one.deliver() == 1

    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def test_a_target_that_took_it_is_left_alone_while_the_other_is_tried_again(
    sign_in: SignIn, env, receiver: Receiver, other_receiver: Receiver, clean_db
) -> None:
    commands.test_alert(sign_in("admin"))
    one = alerting(env, receiver.address, other_receiver.address)
    other_receiver.answer = 503
    one.deliver()

    other_receiver.answer = 200
    look_again(clean_db)
    one.deliver()

    assert (len(receiver.received), len(other_receiver.received)) == (1, 2)
    assert statuses(clean_db) == ["sent"]


def test_a_target_that_nobody_listens_on_is_given_up_and_that_is_an_alert(
    sign_in: SignIn, env, healthy_engine: Engine, receiver: Receiver, clean_db
) -> None:
    commands.test_alert(sign_in("admin"))
    deaf = alerting(env, "json://127.0.0.1:1/")
    for _ in range(8):
        assert deaf.deliver() == 0
        look_again(clean_db)
    assert statuses(clean_db) == ["failed"]

    hearing = alerting(env, receiver.address)
    hearing.evaluate()
    hearing.deliver()

    assert "notice undelivered" in receiver.received[0]["title"]


def test_engines_that_deliver_at_once_send_each_notice_once(sign_in: SignIn, env, receiver: Receiver, clean_db) -> None:
    for _ in range(9):
        commands.test_alert(sign_in("admin"))
    engines = [alerting(env, receiver.address, holder=f"engine {n}") for n in range(3)]

    threads = [threading.Thread(target=engine.deliver) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while any(engine.deliver() for engine in engines):
        pass

    told = [
        word.strip(",") for message in receiver.received for word in message["message"].split("Notice ")[-1].split()
    ]
    assert len(told) == len(set(told)) == 9
    assert statuses(clean_db) == ["sent"] * 9


def test_an_engine_that_died_while_sending_is_followed_by_one_that_sends_the_same_id(
    sign_in: SignIn, env, receiver: Receiver, clean_db, service_client
) -> None:
    commands.test_alert(sign_in("admin"))
    commands.claim_notifications(service_client, holder="dead", limit=5, ttl_s=60)
    one = alerting(env, receiver.address)
    assert one.deliver() == 0

    clean_db.execute("update notifications set claimed_until = clock_timestamp()")

    assert one.deliver() == 1
    assert receiver.ids == [str(clean_db.execute("select id from notifications").fetchone()[0])]


def test_addresses_never_reach_the_database(sign_in: SignIn, env, receiver: Receiver, clean_db) -> None:
    receiver.answer = 500
    commands.test_alert(sign_in("admin"))
    address = receiver.address.replace("://", "://robot:hunter22@")

    alerting(env, address).deliver()
    alerting(env, address.replace("robot", "other")).deliver()

    kept = clean_db.execute("select notifications::text from notifications").fetchone()[0]
    assert not any(part in kept for part in ("hunter22", "robot", "127.0.0.1", str(receiver.server.server_port)))


@pytest.mark.parametrize("address", ["nonsense", "smoke://signals", "json://"])
def test_an_address_that_makes_no_sense_is_refused_at_the_start_with_which_one(address: str) -> None:
    with pytest.raises(ConfigError, match="ALERT_URLS: address 2"):
        AppriseNotifier(["json://localhost/", address], "key")


def test_telemetry_counts_what_happened_since_the_last_time(
    sign_in: SignIn, env, healthy_engine: Engine, clean_db
) -> None:
    session = ShardSession(engine_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"]), "main", CLOCK)
    source = SupabaseTelemetry(session)
    start = source.read(None).cursors
    admin = sign_in("admin")
    healthy_engine.held()
    commands.pause_trading(admin, reason="Lunch")
    assert healthy_engine.ask_one(symbol="IBM").code == "TRADING_PAUSED"
    commands.resume_trading(admin, reason="Back", override_reason="A test")

    _move_the_record(clean_db, by="1 hour")
    assert source.read(start).changes == ()  # what is younger than two seconds is left for the next call
    _move_the_record(clean_db, by="-3603 seconds")
    found = source.read(start)

    assert [(change.to_mode, change.by) for change in found.changes] == [("PAUSED", "person"), ("RUNNING", "person")]
    assert found.changes[0].stopped_s is None
    assert found.changes[1].stopped_s is not None and found.changes[1].stopped_s > 0
    assert found.denied == {"TRADING_PAUSED": 1}
    stages = sorted(stage.stage for stage in found.stages if stage.purpose == "entry")
    assert stages == ["accepted_to_filled", "gate_to_submit", "submit_to_accepted"]
    assert source.read(found.cursors).changes == ()

    clean_db.execute("update engine_heartbeats set started_at = now() - interval '1 hour'")
    assert source.read(None).changes == found.changes  # an engine counts from the taking of its lease on
    clean_db.execute("update engine_heartbeats set started_at = now()")
    assert source.read(None).cursors == found.cursors


def _move_the_record(db, by: str) -> None:
    for table, column in (("trading_control_events", "changed_at"), ("order_events", "at")):
        db.execute(f"alter table {table} disable trigger user")
        db.execute(f"update {table} set {column} = {column} + interval '{by}'")
        db.execute(f"alter table {table} enable trigger user")


def test_the_watcher_tells_that_the_only_engine_is_dead(
    healthy_engine: Engine, env, receiver: Receiver, clean_db
) -> None:
    clean_db.execute("update engine_heartbeats set beat_at = now() - interval '16 seconds'")
    settings = Settings(
        supabase_url=env["SUPABASE_URL"],
        supabase_publishable_key=env["SUPABASE_PUBLISHABLE_KEY"],
        supabase_secret_key=env["SUPABASE_SECRET_KEY"],
        alpaca_api_key="none",
        alpaca_secret_key="none",
        alert_urls=f"  {receiver.address}\n",
    )

    look(watching(settings))

    assert [message["title"] for message in receiver.received] == ["Interlock: Critical: engine dead"]


def test_the_watcher_waits_for_an_authority_that_is_away(env, receiver: Receiver) -> None:
    look(alerting({**env, "SUPABASE_URL": "http://127.0.0.1:1"}, receiver.address))

    assert receiver.received == []
