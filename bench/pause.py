"""Pause while the gate is saturated: how long it takes to commit, and that nothing slips through."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from supabase import Client

from bench.harness import Bench, Row, durations_ms, percentile
from db import commands
from db.client import auth_client, sign_in_client

SENDERS = 6
PAUSES = int(os.environ.get("BENCH_PAUSES", "200"))


def under_load(bench: Bench) -> list[Row]:
    """Pause and resume while senders ask, claim and record as fast as they can."""
    bench.clear()
    admin = _admin(bench)
    stop = threading.Event()
    with ThreadPoolExecutor(SENDERS) as pool:
        share = len(bench.profiles) // SENDERS
        sending = [pool.submit(_send, bench, bench.profiles[n * share : (n + 1) * share], stop) for n in range(SENDERS)]
        taken = durations_ms(
            lambda: commands.pause_trading(admin, reason="Bench", request_id=uuid4()),
            PAUSES,
            before=lambda: _resume(admin),
        )
        stop.set()
        sent = sum(future.result() for future in sending)
    _resume(admin)
    late = _late_permits(bench)
    p99 = percentile(taken, 0.99)
    return [
        Row(
            "pause committed while the gate is saturated: p99",
            f"{p99:.0f} ms",
            "<= 100 ms",
            f"p50 {percentile(taken, 0.5):.0f} ms, {PAUSES:,} pauses, {sent:,} permits around them",
            p99 <= 100,
        ),
        Row("permits issued after a pause committed", f"{late}", "0", f"{PAUSES:,} pauses", late == 0),
    ]


def _resume(admin: Client) -> None:
    commands.resume_trading(admin, reason="Bench", request_id=uuid4(), override_reason="Bench")


def _send(bench: Bench, profiles: list[str], stop: threading.Event) -> int:
    client, sent = bench.new_client(), 0
    while not stop.is_set():
        requests = [bench.entry(p) for p in profiles]
        commands.request_entries(client, shard="bench", token=bench.token, requests=requests)
        claimed = commands.claim_orders(client, shard="bench", token=bench.token, limit=100)
        results = [{"id": str(o.id), "outcome": "not_sent"} for o in claimed]
        commands.record_submission(client, shard="bench", token=bench.token, results=results)
        sent += len(claimed)
    return sent


def _late_permits(bench: Bench) -> int:
    """Count the permits issued between a pause's commit and the resume after it."""
    row = bench.db.execute("""
        select count(*) from trading_control_events p
        join trading_control_events r on r.scope = 'global' and r.version = p.version + 1
        join orders o on o.submitted_at > p.changed_at and o.submitted_at < r.changed_at
        where p.scope = 'global' and p.to_mode = 'PAUSED' and o.purpose = 'entry'""").fetchone()
    assert row is not None
    return int(row[0])


def _admin(bench: Bench) -> Client:
    url, key = bench.env["SUPABASE_URL"], bench.env["SUPABASE_PUBLISHABLE_KEY"]
    email = "admin@interlock.local"
    session = (
        auth_client(url, key).auth.sign_in_with_password({"email": email, "password": bench.passwords[email]}).session
    )
    assert session is not None
    return sign_in_client(url, key, session.access_token)
