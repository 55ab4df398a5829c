"""What an engine reads of its shard: each protective order once, and found by its trade wherever it was made."""

import json

import pytest
from pydantic import ValidationError

from db import commands
from db.commands._call import call
from db.errors import LeaseLost
from db.models import EngineSnapshot
from engine.adapters.rows import to_snapshot
from tests.db.conftest import Engine


@pytest.fixture
def kept(engine):
    """Ten shares, their bracket at the broker."""
    return engine.held()


def legs_of(client, shard, token):
    """Return broker ids of the legs of the only trade, as an engine of today has them."""
    snapshot = to_snapshot(commands.engine_snapshot(client, shard=shard, token=token))
    (trade,) = snapshot.trades
    return {leg.broker_order_id for leg in trade.legs}


def told_nested(client, shard, token):
    """Return the same as an engine of an earlier version is told it."""
    (trade,) = client.rpc("engine_snapshot", {"p_shard": shard, "p_token": token}).execute().data["trades"]
    return {leg["broker_order_id"] for leg in trade["legs"]}


def test_a_trade_has_its_legs_whichever_way_they_are_told(engine, kept):
    legs = legs_of(engine.client, "main", engine.token)

    assert len(legs) == 2
    assert legs == told_nested(engine.client, "main", engine.token)


def test_a_leg_that_ended_protects_nothing(engine, kept):
    engine.update(kept.leg("stop", "canceled"))

    legs = legs_of(engine.client, "main", engine.token)

    assert len(legs) == 1
    assert legs == told_nested(engine.client, "main", engine.token)


def test_a_trade_that_moved_to_another_shard_keeps_its_legs(engine, kept, db, service_client):
    before = legs_of(engine.client, "main", engine.token)
    db.execute("update profiles set shard = 'west' where id = (select profile_id from orders where id = %s)", [kept.id])
    west = Engine(service_client, {}, shard="west")

    try:
        assert legs_of(service_client, "west", west.token) == before
        assert told_nested(service_client, "west", west.token) == before
    finally:
        commands.release_lease(service_client, shard="west", token=west.token)


def test_what_is_told_in_brief_is_what_the_whole_rows_say(engine, kept):
    lease = {"p_shard": "main", "p_token": engine.token, "p_legs": False}
    whole, brief = (
        engine.client.rpc("engine_snapshot", lease | {"p_brief": is_brief}).execute().data for is_brief in (False, True)
    )

    assert brief.keys() == whole.keys() - {"controls"}
    for kind in ("profiles", "trades", "orders", "legs"):
        assert [row.items() <= known.items() for row, known in zip(brief[kind], whole[kind], strict=True)].count(0) == 0
    assert brief["orders"] and brief["risk_config"] == whole["risk_config"]


@pytest.mark.parametrize(
    ("kind", "column"), [("orders", "stop_price"), ("profiles", "params"), ("trades", "marked_at")]
)
def test_a_row_that_lacks_a_column_is_refused(engine, kept, kind, column):
    told = call(engine.client, "engine_snapshot", p_shard="main", p_token=engine.token, p_brief=True)
    del told[kind][0][column]

    with pytest.raises(ValidationError, match=column):
        EngineSnapshot.model_validate_json(json.dumps(told))


def test_a_snapshot_that_is_refused_says_why(engine):
    with pytest.raises(LeaseLost, match="lease"):
        commands.engine_snapshot(engine.client, shard="main", token=engine.token + 1)
