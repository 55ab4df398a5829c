import json
from datetime import timedelta

import pytest

from engine.domain.bot_state import AGE_MAX, BotState, StateRefused, decode_state, encode_state
from engine.domain.journal import checksum
from tests.unit.engine.builders import NOON, a_profile, a_trade, an_order, protected_trade

STATE = BotState(
    shard="main", token=7, saved_at=NOON, market_at=NOON,
    trades=(protected_trade(), a_trade(trade_id="naked", stop_price=None)), orders=(an_order(),),
    profiles=(a_profile(),), risk_config={"order_limits": {"quote_age_max_s": 20}},
    halted=frozenset({("global", "*"), ("symbol", "AAPL")}),
)  # fmt: skip
TEXT = encode_state(STATE)


def test_what_was_saved_is_loaded():
    assert decode_state(TEXT, shard="main", now=NOON + AGE_MAX) == STATE


def test_a_file_from_before_halts_were_kept_has_none():
    old = {key: value for key, value in json.loads(TEXT)["state"].items() if key != "halted"}
    packed = json.dumps(old, separators=(",", ":"))

    text = json.dumps({"format": 2, "checksum": checksum(packed.encode()), "state": old})

    assert decode_state(text, shard="main", now=NOON).halted == frozenset()


def test_nothing_is_cut_off_when_a_thousand_trades_are_open():
    trades = tuple(a_trade(trade_id=f"trade-{n}") for n in range(1000))
    many = encode_state(BotState(shard="main", token=1, saved_at=NOON, market_at=NOON, trades=trades, orders=()))

    assert len(decode_state(many, shard="main", now=NOON).snapshot.trades) == 1000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ("null", "damaged"),
        (TEXT[: len(TEXT) // 2], "damaged"),
        (TEXT.replace('"token":7', '"token":8'), "checksum"),
        ('{"format":2}', "checksum"),
        (TEXT.replace('"format":2', '"format":1', 1), "an older engine"),
        (TEXT.replace('"format":2', '"format":3', 1), "a newer engine"),
    ],
)
def test_a_file_is_refused_with_the_reason(text, why):
    with pytest.raises(StateRefused, match=why):
        decode_state(text, shard="main", now=NOON)


def test_another_shards_file_is_refused():
    with pytest.raises(StateRefused, match="of shard main, and this engine runs west"):
        decode_state(TEXT, shard="west", now=NOON)


def test_a_file_is_refused_when_it_is_older_than_a_week():
    with pytest.raises(StateRefused, match="older than 7 days"):
        decode_state(TEXT, shard="main", now=NOON + AGE_MAX + timedelta(seconds=1))
