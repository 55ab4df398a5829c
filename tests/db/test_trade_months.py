"""Trades added up by month are what the trades themselves add up to, whatever happened to them."""

from decimal import Decimal

import pytest

from tests.support.story import Story

LINES = """
    select profile_id, month, symbol, position_side::text, exit_reason, owner_id, trades, wins, losses, gains_usd,
           losses_usd, pnl_squared, volume_usd, holding_s, return_bins
    from trade_months where trades <> 0 order by 1, 2, 3, 4, 5
"""


def lines(db):
    return db.execute(LINES).fetchall()


def rebuilt(db):
    """Return the lines as they come out of the trades alone, and leave nothing changed."""
    with db.transaction(force_rollback=True):
        db.execute("select private.rebuild_trade_months()")
        return lines(db)


def statistics(client, **filters):
    rows = client.rpc("trade_statistics", filters).execute().data
    return {(row["dimension"], row["key"]): row for row in rows}


@pytest.fixture
def story(clean_db, service_client):
    told = Story(service_client, dict(clean_db.execute("select name, id from profiles").fetchall()))
    told.tell(sessions=40)
    return told


def test_the_months_agree_with_the_trades_after_a_history(story, db):
    kept = lines(db)

    assert (
        sum(line[6] for line in kept)
        == db.execute("select count(*) from trades where closed_at is not null").fetchone()[0]
    )
    assert len(kept) > 5
    assert kept == rebuilt(db)


def test_a_trade_counts_only_once_it_is_closed_and_no_more_when_it_opens_again(engine, db):
    order = engine.working(qty="10")
    engine.update(order.says("partially_filled", filled="4", price="100"))
    assert lines(db) == []
    engine.update(order.leg("stop", "filled", filled="4", price="95"))
    assert [(line[6], line[8], line[10]) for line in lines(db)] == [(1, 1, Decimal(20))]

    engine.update(order.says("filled", filled="10", price="100"))

    assert lines(db) == rebuilt(db) == []


def test_the_sums_over_each_dimension_are_the_same(story, sign_in, db):
    found = statistics(sign_in("admin"))

    total = found["all", ""]
    assert sum(total["bins"]) == total["trades"]
    for dimension in ("month", "profile", "strategy", "symbol", "side", "exit_reason"):
        parts = [row for (name, _), row in found.items() if name == dimension]
        assert sum(row["trades"] for row in parts) == total["trades"], dimension
        assert sum(Decimal(str(row["gains_usd"])) for row in parts) == Decimal(str(total["gains_usd"])), dimension


def test_filters_narrow_and_a_month_ends_before_the_next(story, sign_in, db):
    admin = sign_in("admin")
    (expected,) = db.execute(
        "select count(*) from trades where closed_at >= '2007-02-01 00:00 America/New_York'"
        " and closed_at < '2007-03-01 00:00 America/New_York' and symbol = 'IBM'"
    ).fetchone()

    found = statistics(admin, p_from="2007-02-01", p_until="2007-03-01", p_symbols=["IBM"])

    assert found["all", ""]["trades"] == expected > 0
    assert {key for dimension, key in found if dimension == "symbol"} == {"IBM"}
    assert statistics(admin, p_from="2001-01-01", p_until="2001-02-01") == {}


def test_an_analyst_adds_up_own_trades_only(story, sign_in, db):
    own = {str(id) for (id,) in db.execute("select id from profiles where name like 'Alice%%'").fetchall()}

    found = statistics(sign_in("alice"))

    assert {key for dimension, key in found if dimension == "profile"} <= own
    assert 0 < found["all", ""]["trades"] < statistics(sign_in("admin"))["all", ""]["trades"]
