"""What the system locks out by itself, over the real database and the real exchange."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from db import commands
from engine.jobs import job_table
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_LEAVE, SteppedEngine, only_profile

PROFILE = "Alice dips hourly"
QUIET = {"moves": False, "headlines": False}


def lockouts(db: psycopg.Connection) -> list[dict[str, object]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select *, lockout_type::text as kind from symbol_lockouts order by starts_at").fetchall()


def configure(db: psycopg.Connection, **sections: dict[str, object]) -> None:
    for section, content in sections.items():
        db.execute(
            "update risk_configs set config = jsonb_set(config, array[%s], coalesce(config -> %s, '{}') || %s) "
            "where active",
            [section, section, Jsonb(content)],
        )


def job(stepped: SteppedEngine, name: str) -> Any:
    """Run one job as the engine's table has it."""
    stepped.engine.market.outdate()
    (found,) = (job for job in job_table(stepped.engine) if job.name == name)
    return found.run()


def protect(stepped: SteppedEngine) -> Any:
    return job(stepped, "protections")


def last_entry(db: psycopg.Connection) -> tuple[str, str | None]:
    query = "select state::text, code from orders where purpose = 'entry' order by created_at desc, id limit 1"
    return db.execute(query).fetchone()  # type: ignore[return-value]


@pytest.fixture
def holding(stepped: SteppedEngine) -> SteppedEngine:
    """An engine that holds AAPL."""
    stepped.act()
    stepped.step(10)
    return stepped


def test_a_stop_loss_cools_its_symbol_down_and_counts_towards_the_streak(
    holding: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    configure(
        clean_db,
        cooldown_lockout={"enabled": True},
        stoploss_lockout={"stops_max": 1, "per_symbol": False},
        news_lockout=QUIET,
    )
    assert holding.engine.protections.heed_exits(holding.now()) == 0

    holding.exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")
    holding.sim.step_minutes(10)
    holding.engine.sync.run(holding.now())
    assert holding.engine.protections.heed_exits(holding.now()) == 2

    found = {row["kind"]: row for row in lockouts(clean_db)}
    assert found.keys() == {"cooldown", "stoploss_guard"}
    (trade,) = clean_db.execute("select id::text, exit_reason from trades").fetchall()
    assert trade[1] == "stop_loss"
    assert found["cooldown"]["detail"]["trade_id"] == trade[0]  # type: ignore[index]
    assert [found[kind]["ticker"] for kind in ("cooldown", "stoploss_guard")] == ["AAPL", "*"]
    assert {str(row["created_by_email"]) for row in found.values()} == {"engine"}
    assert protect(holding) == 0

    holding.step(60)
    assert last_entry(clean_db) == ("denied", "SYMBOL_LOCKED")


def test_an_alarming_headline_keeps_entries_out_and_lets_exits_pass(
    holding: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    said = {"headline": "AAPL indicted for fraud", "source": "wire", "url": "https://news.example/1"}
    added = holding.exchange.sim("POST", "news", symbols=["AAPL"], **said)

    protect(holding)
    only_profile(clean_db, PROFILE, params=EAGER_TO_LEAVE)
    holding.step(60)
    holding.step(10)

    (lockout,) = lockouts(clean_db)
    assert (lockout["kind"], lockout["ticker"], lockout["profile_id"]) == ("news_shock", "AAPL", None)
    detail = lockout["detail"]
    assert isinstance(detail, dict)
    assert (detail["headline_id"], detail["url"], detail["source"]) == (str(added["id"]), said["url"], "wire")
    assert detail["words"] == ["fraud*", "indict*"]
    (trade,) = clean_db.execute("select exit_reason from trade_history").fetchall()
    assert trade == ("signal",)

    only_profile(clean_db, PROFILE, params={"period": 14, "low": 98, "high": 99})
    holding.step(60)
    assert last_entry(clean_db) == ("denied", "SYMBOL_LOCKED")

    # What a person lifts stays lifted, for this and for the next engine.
    commands.remove_lockout(sign_in("operator"), lockout_id=lockout["id"], reason="A hoax")  # type: ignore[arg-type]
    holding.engine.protections._told.clear()
    protect(holding)
    assert len(lockouts(clean_db)) == 1
    holding.step(60)
    assert last_entry(clean_db)[1] is None


def test_headlines_are_read_to_the_last_page_each_once(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    for number in range(60):
        stepped.exchange.sim("POST", "news", symbols=["AAPL", "IBM"], headline=f"Fraud number {number}")

    found = stepped.engine.protections._market_data.headlines({"AAPL", "IBM"}, stepped.now().now - timedelta(hours=1))

    ours = [headline for headline in found if headline.text.startswith("Fraud")]
    assert [headline.text for headline in ours] == [f"Fraud number {number}" for number in range(60)]
    assert {headline.symbols for headline in ours} == {("AAPL", "IBM")}


def test_an_abnormal_move_keeps_entries_out(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    protect(stepped)
    assert lockouts(clean_db) == []

    stepped.exchange.sim("POST", "price", symbol="AAPL", pct="-0.3")
    stepped.sim.step_minutes(10)
    protect(stepped)

    (lockout,) = lockouts(clean_db)
    assert (lockout["kind"], lockout["ticker"]) == ("news_shock", "AAPL")
    assert "sigma of the last" in str(lockout["reason"]) and "moved -" in str(lockout["reason"])


def test_the_jobs_end_approvals_and_prune_history(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    clean_db.execute(
        "update risk_configs set config = config || "
        '\'{"operator_approval": {"auto_approve_paper": false}, "retention": {"order_events_days": 30}}\' where active'
    )
    stepped.act()
    assert last_entry(clean_db)[0] == "awaiting_approval"
    clean_db.execute(
        "update operator_approvals set requested_at = requested_at - interval '1 h', "
        "expires_at = expires_at - interval '1 h'"
    )
    clean_db.execute("alter table order_events disable trigger user")
    clean_db.execute("update order_events set at = at - interval '40 days'")
    clean_db.execute("alter table order_events enable trigger user")

    assert job(stepped, "approvals_expiry") == 1
    assert job(stepped, "retention") == 1

    assert last_entry(clean_db)[0] == "approval_expired"
