"""An installation that has traded is brought up to date without losing what it holds or what it has set."""

import json
from urllib.parse import urlsplit

import psycopg
import pytest

from local import postgres
from local.migrations import BOOTSTRAP, MIGRATIONS

FIRST, *LATER = sorted(MIGRATIONS.glob("*.sql"))


@pytest.fixture
def installed(stack, db):
    """A database at the first version, with a configuration, a decision and an order of its own."""
    db.execute("drop database if exists installed")
    db.execute("create database installed")
    superuser = urlsplit(postgres.url(stack.home, postgres.SUPERUSER))
    with psycopg.connect(superuser._replace(path="/installed").geturl(), autocommit=True) as connection:
        connection.execute(BOOTSTRAP.read_text())
        connection.execute(FIRST.read_text())
        connection.execute("set session_replication_role = replica")  # rows as they were, without their makers
        connection.execute("update risk_configs set config = %s", (json.dumps({
            "order_limits": {"qty_max": "77"}, "position_limits": {"positions_max": None}, "house_rule": [1, 2],
        }),))  # fmt: skip
        connection.execute("""
            insert into profiles (id, owner_id, name, strategy, symbols, capital_usd)
            values ('00000000-0000-0000-0000-00000000000a', gen_random_uuid(), 'Old', 'trend', '{aapl,BRK.B}', 1000);
            insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
                                state)
            values (gen_random_uuid(), gen_random_uuid(), '00000000-0000-0000-0000-00000000000a', 'main', 'AAPL', 'buy',
                    'long', 'entry', 1, 'limit', 'ready');
            insert into decision_log (order_id, owner_id, profile_id, symbol, side, outcome, checks, inputs,
                                      config_version)
            select id, owner_id, profile_id, symbol, side, 'ready', '[{"name": "ORDER_QTY_MAX", "passed": true}]',
                   '{"qty": 1}', 1
            from orders""")
        connection.execute("set session_replication_role = origin")
        yield connection
    db.execute("drop database installed")


def upgrade(connection) -> None:
    for migration in LATER:
        connection.execute(migration.read_text())


def test_what_was_recorded_is_still_there(installed):
    upgrade(installed)

    assert installed.execute("select state::text, ready_at from orders").fetchone() == ("ready", None)
    assert installed.execute("select checks, inputs from decision_log").fetchone() == (
        [{"name": "ORDER_QTY_MAX", "passed": True}],
        {"qty": 1},
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        installed.execute("update decision_log set code = 'x'")


def test_symbols_are_spelled_as_controls_and_lockouts_name_them(installed):
    upgrade(installed)

    assert installed.execute("select symbols from profiles").fetchone() == (["AAPL", "BRK.B"],)


def test_new_limits_take_their_defaults_and_what_was_set_stays(installed):
    upgrade(installed)

    config, version = installed.execute("select config, version from risk_configs where active").fetchone()
    assert version == 2
    assert config["order_limits"]["qty_max"] == "77"
    assert config["order_limits"]["quote_age_max_s"] == 300
    assert config["position_limits"]["positions_max"] is None  # taken away on purpose: it goes on blocking
    assert config["house_rule"] == [1, 2]
    assert config["loss_limits"]["loss_streak_max"] == 6
    assert installed.execute("select private.risk_config_error(config) from risk_configs where active").fetchone() == (
        None,
    )
