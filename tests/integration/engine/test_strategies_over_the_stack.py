"""Strategies, layers and short positions over the real database and the real exchange."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from supabase import Client

from db import commands
from db.errors import Invalid
from tests.db.conftest import Engine
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_ENTER, EAGER_TO_LEAVE, SteppedEngine, only_profile, stepped_engine
from tests.support.exchange import RunningExchange

PROFILE = "Alice dips hourly"
SHORT = EAGER_TO_LEAVE | {"allow_short": True}  # what makes it leave a long position makes it open a short one
OWN = """
import numpy as np
from engine.domain.strategies import Move, Params, Strategy, Verdicts


def judge(bars, params):
    always = np.ones_like(bars.close)
    return Verdicts(long=always, short=-always, strength=always)


ALWAYS = Strategy(name="always", about="Enters on every bar.", params=Params, judge=judge, bars_needed=lambda _: 1,
                  reasons={Move.ENTER_LONG: "it always does"})
"""


def rows(db: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()  # type: ignore[arg-type]  # fixed text of the tests


def switch(sign_in: SignIn, **layers: Any) -> None:
    """Change the layers as an admin does."""
    admin = sign_in("admin")
    active = commands.risk_config(admin)
    config = active.config | {"signal_layers": active.config["signal_layers"] | layers}
    commands.update_risk_config(admin, config=config, expected_version=active.version, reason="Test")


def test_what_a_layer_blocks_is_a_signal_with_its_words_until_the_layer_is_switched_off(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    switch(sign_in, macro=True, macro_index="SPY")  # the exchange has no such share: the regime is not known
    stepped.act()
    stepped.act()

    assert rows(clean_db, "select id from orders") == []
    (signal,) = rows(clean_db, "select * from signals")
    assert (signal["symbol"], signal["side"], signal["blocked_by"]) == ("AAPL", "buy", "macro")
    assert signal["detail"]["reason"].endswith("is below 98")
    assert signal["detail"]["layers"][0]["reason"].startswith("Only 0 of 200 daily bars of SPY are known")

    switch(sign_in, macro=False)
    stepped.step(60)

    (order,) = rows(
        clean_db, "select o.state::text, s.blocked_by, s.detail from orders o join signals s on s.id = o.signal_id"
    )
    assert (order["state"], order["blocked_by"], order["detail"]["layers"]) == ("working", None, [])


def test_a_signal_that_passes_holds_what_the_layers_said(
    stepped: SteppedEngine, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    switch(sign_in, macro=True, macro_window_bars=3, competitive=True, competitive_window_bars=5)
    stepped.act()

    (signal,) = rows(clean_db, "select * from signals")
    said = signal["detail"]["layers"]
    assert [one["layer"] for one in said] == ["macro", "competitive"]
    assert (signal["blocked_by"] is None) == all(one["passed"] for one in said)
    assert said[1]["facts"]["peers"] == ["IBM", "MSFT"]  # by sector, fetched though no profile trades them


def test_a_short_position_is_opened_protected_and_bought_back(
    profile_id: str, clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    only_profile(clean_db, PROFILE, params=SHORT)
    stepped = stepped_engine(env, exchange, tmp_path)
    stepped.sim.step_minutes(120)
    stepped.start()

    stepped.act()
    stepped.step(10)

    (position,) = rows(clean_db, "select * from positions")
    assert position["side"] == "short"
    assert position["protected_qty"] == position["qty"] == -int(exchange.sim("GET", "ledger")["positions"]["AAPL"])
    legs = rows(
        clean_db, "select purpose::text, side::text, state::text from orders where parent_id is not null order by 1"
    )
    assert [(leg["purpose"], leg["side"], leg["state"]) for leg in legs] == [
        ("stop_loss", "buy", "working"),
        ("take_profit", "buy", "working"),
    ]
    assert position["take_profit_price"] < position["avg_entry_price"] < position["stop_price"]

    only_profile(clean_db, PROFILE, params=EAGER_TO_ENTER)
    stepped.step(60)
    stepped.step(10)

    (trade,) = rows(clean_db, "select * from trade_history")
    assert (trade["position_side"], trade["exit_reason"]) == ("short", "signal")
    assert trade["realized_pnl_usd"] == trade["entry_notional_usd"] - trade["exit_notional_usd"]
    (capital,) = rows(clean_db, f"select * from profile_capital where profile_id = '{profile_id}'")
    assert (capital["reserved_usd"], capital["used_usd"]) == (0, 0)
    stepped.engine.lease.release()


def test_a_short_position_is_closed_by_its_stop_when_the_price_rises(
    profile_id: str, clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    only_profile(clean_db, PROFILE, params=SHORT)
    stepped = stepped_engine(env, exchange, tmp_path)
    stepped.sim.step_minutes(120)
    stepped.start()
    stepped.act()
    stepped.step(10)
    clean_db.execute("update profiles set active = false")

    exchange.sim("POST", "price", symbol="AAPL", pct="0.2")
    stepped.step(10)

    (trade,) = rows(clean_db, "select * from trade_history")
    assert (trade["position_side"], trade["exit_reason"]) == ("short", "stop_loss")
    assert trade["realized_pnl_usd"] < 0
    stepped.engine.lease.release()


@pytest.fixture
def own_engine(
    profile_id: str, clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> Iterator[SteppedEngine]:
    """An engine with a strategy from a file of the user's own."""
    file = tmp_path / "always.py"
    file.write_text(OWN)
    clean_db.execute("update profiles set strategy = 'always' where id = %s", [profile_id])
    stepped = stepped_engine(env, exchange, tmp_path / "home", engine_strategies=str(file))
    stepped.sim.step_minutes(120)
    stepped.start()
    yield stepped
    stepped.engine.lease.release()


def test_a_strategy_from_a_file_of_the_users_own_trades(
    own_engine: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    own_engine.act()

    (signal,) = rows(clean_db, "select * from signals")
    assert (signal["strategy"], signal["detail"]["reason"]) == ("always", "it always does")
    assert rows(clean_db, "select state::text from orders where purpose = 'entry'") == [{"state": "working"}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "one"}, "id must be a uuid"),
        ({"symbol": "TSLA"}, "one of its symbols"),
        ({"side": "up"}, "side must be buy or sell"),
        ({"blocked_by": None}, "the name of a layer"),
        ({"detail": "because"}, "detail must be an object"),
        ({"bar_at": "yesterday"}, "must be times"),
        ({"bar_at": "2026-02-31T00:00:00Z"}, "cannot be read"),
        ({"strength": "strong"}, "strength must be a number"),
    ],
)
def test_a_malformed_signal_is_refused_and_nothing_is_kept(
    healthy_engine: Engine, service_client: Client, clean_db: psycopg.Connection, change: dict[str, Any], says: str
) -> None:
    lease = {"shard": healthy_engine.shard, "token": healthy_engine.token}
    good = {
        "id": "00000000-0000-4000-8000-000000000001", "profile_id": str(healthy_engine.profiles[PROFILE]),
        "symbol": "AAPL", "side": "buy", "strategy": "rsi_reversion", "strength": "0.5",
        "bar_at": "2026-01-05T15:00:00Z", "market_at": "2026-01-05T16:00:00Z", "detail": {}, "blocked_by": "macro",
    }  # fmt: skip

    with pytest.raises(Invalid, match=says):
        commands.record_signals(service_client, **lease, signals=[good, good | change])

    assert rows(clean_db, "select id from signals") == []
    assert commands.record_signals(service_client, **lease, signals=[good, good]) == 1
    assert commands.record_signals(service_client, **lease, signals=[good]) == 0
