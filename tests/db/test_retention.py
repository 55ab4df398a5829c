"""Retention: what grows without end goes when the configuration says so, and nothing else ever does."""

import psycopg
import pytest

from db import commands


@pytest.fixture
def old(engine, db):
    """A decision, its order's events, an intraday bar and alerts that are over, all forty days old."""
    engine.ask_one()
    for table, column in (("decisions", "created_at"), ("order_events", "at")):
        db.execute(f"alter table {table} disable trigger user")
        db.execute(f"update {table} set {column} = {column} - interval '40 days'")
        db.execute(f"alter table {table} enable trigger user")
    db.execute("insert into price_bars values ('AAPL', '5Min', now() - interval '40 days', 1, 1, 1, 1, 1)")
    db.execute("insert into price_bars values ('AAPL', '1Day', now() - interval '40 days', 1, 1, 1, 1, 1)")
    db.execute(
        "with a as (insert into alerts (rule, subject, severity, message, opened_at, resolved_at) select 'JOB_LATE', n,"
        " 'critical', 'm', now() - interval '40 days', case n when 'open' then null else now() - interval '39 days' end"
        " from unnest(array['open', 'over']) n returning id)"
        " insert into notifications (alert_id, event, severity, title, body, created_at, due_at)"
        " select id, 'opened', 'critical', 't', 'b', now() - interval '40 days', now() from a"
    )
    return engine


def keep(sign_in, days: int | None) -> None:
    admin = sign_in("admin")
    active = commands.risk_config(admin)
    retention = {"decisions_days": days, "order_events_days": days, "bars_days": days, "alerts_days": days}
    commands.update_risk_config(
        admin, config=active.config | {"retention": retention}, expected_version=active.version, reason="Test"
    )


def prune(engine) -> dict[str, int]:
    return commands.prune_history(engine.client, shard="main", token=engine.token)


def test_everything_is_kept_unless_the_configuration_says_otherwise(old):
    assert prune(old) == {"decisions": 0, "order_events": 0, "bars": 0, "alerts": 0}


def test_what_is_older_goes_and_daily_bars_orders_and_the_log_stay(old, sign_in, db):
    keep(sign_in, 30)

    assert prune(old) == {"decisions": 1, "order_events": 1, "bars": 1, "alerts": 1}

    assert db.execute("select count(*) from orders").fetchone() == (1,)
    assert db.execute("select subject from alerts").fetchall() == [("open",)]
    assert db.execute("select count(*) from notifications").fetchone() == (1,)
    assert db.execute("select timeframe from price_bars").fetchall() == [("1Day",)]
    assert commands.verify_audit_chain(sign_in("admin")).ok


def test_what_is_younger_stays(old, sign_in):
    keep(sign_in, 41)

    assert prune(old) == {"decisions": 0, "order_events": 0, "bars": 0, "alerts": 0}


def test_pruning_opens_no_door_for_other_deletes(old, sign_in, db):
    keep(sign_in, 30)
    prune(old)

    for table in ("decision_log", "order_events", "audit_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            db.execute(f"delete from {table}")
