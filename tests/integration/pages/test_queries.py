"""The read side over the real database: everything that belongs to the caller, once, and nothing else."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest
from supabase import Client

from db.commands import acquire_lease, pause_trading, record_bars, resume_trading
from db.errors import NotSignedIn, Unreachable
from db.queries.bars import price_bars
from db.queries.controls import latest_pauses
from db.queries.equity import equity_by_profile, equity_curve, in_market_time, profit_by_profile
from db.queries.orders import OrderFilters, decision, latest_denials, order_events, orders_for_export, orders_page
from db.queries.positions import open_positions
from db.queries.profiles import profiles
from db.queries.trades import TradeFilters, closed_trades, planned_exits, trade_fills
from tests.support.clients import SignIn, plain_client
from tests.support.story import Story


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


def test_curve_is_the_sum_of_the_profiles_in_every_session(story: Story, admin: Client) -> None:
    curve, by_profile = equity_curve(admin), equity_by_profile(admin)

    assert len(curve) == 30
    assert curve["session_date"].is_monotonic_increasing
    summed = by_profile.groupby("session_date")["equity_usd"].sum()
    assert curve.set_index("session_date")["equity_usd"].round(4).equals(summed.round(4))


def test_profit_by_profile_is_what_the_whole_table_says_of_those_sessions(story: Story, sign_in: SignIn) -> None:
    alice = sign_in("alice")
    whole = equity_by_profile(alice)
    sessions = [at.date() for at in whole["session_date"].unique()[[0, 7, 29]]]
    known = profiles(alice)

    found = profit_by_profile(alice, sessions, dict(zip(known["id"], known["name"], strict=True)))

    expected = whole[whole["session_date"].dt.date.isin(sessions)]
    assert len(found) == 2 * len(sessions)
    pd.testing.assert_frame_equal(found, expected[list(found.columns)].reset_index(drop=True))


def test_analyst_sees_own_rows_only_in_every_query(story: Story, sign_in: SignIn) -> None:
    alice = sign_in("alice")

    for found in (open_positions(alice), orders_page(alice, OrderFilters()).found,
                  closed_trades(alice, TradeFilters()), equity_by_profile(alice)):  # fmt: skip
        assert len(found)
        assert found["profile_name"].str.startswith("Alice").all()
    assert set(profiles(alice)["name"]) == {"Alice trend daily", "Alice dips hourly"}


def test_pages_of_orders_hold_every_order_once_and_in_order(
    story: Story, admin: Client, db: psycopg.Connection
) -> None:
    seen, cursor = [], None
    while True:
        page = orders_page(admin, OrderFilters(), after=cursor, size=7)
        seen.append(page.found)
        cursor = page.next
        if cursor is None:
            break

    orders = pd.concat(seen)
    (total,) = db.execute("select count(*) from orders").fetchone() or (0,)
    assert len(orders) == orders["id"].nunique() == total
    assert orders["created_at"].is_monotonic_decreasing


def test_filters_of_orders_narrow_together(story: Story, admin: Client) -> None:
    alice = tuple(profiles(admin).query("name == 'Alice trend daily'")["id"])

    found = orders_for_export(admin, OrderFilters(("filled",), alice, ("AAPL", "IBM"), ("entry",)))

    assert len(found)
    assert set(found["state"]) == {"filled"}
    assert set(found["profile_name"]) == {"Alice trend daily"}
    assert set(found["symbol"]) <= {"AAPL", "IBM"}
    assert set(found["purpose"]) == {"entry"}


def test_denied_order_tells_its_reason_its_events_and_its_checks(story: Story, admin: Client) -> None:
    denied = latest_denials(admin, limit=1).iloc[0]

    judged = decision(admin, denied["id"])
    events = order_events(admin, denied["id"])

    assert judged is not None
    failed = judged.checks.loc[~judged.checks["passed"], "name"]
    assert failed.iloc[0] == denied["code"] == "ORDER_QTY_MAX"
    assert judged.checks.set_index("name").loc["ORDER_QTY_MAX", ["limit", "observed"]].tolist() == ["10,000", "20,000"]
    assert events["to_state"].tolist() == ["denied"]


def test_leg_made_by_the_broker_has_no_decision(story: Story, admin: Client) -> None:
    leg = orders_page(admin, OrderFilters(purposes=("stop_loss",))).found.iloc[0]

    assert decision(admin, leg["id"]) is None


def test_closed_trades_add_up_from_their_fills(story: Story, admin: Client) -> None:
    for trade in closed_trades(admin, TradeFilters()).head(5).itertuples():
        fills = trade_fills(admin, trade.id)
        signed = fills["side"].map({"sell": 1.0, "buy": -1.0}) * fills["qty"] * fills["price"]

        assert trade.realized_pnl_usd == pytest.approx(signed.sum(), abs=0.01)
        stop, target = planned_exits(admin, trade.id)
        assert stop is not None and target is not None
        assert stop < trade.entry_price < target


def test_open_positions_are_protected_as_the_engine_said(story: Story, admin: Client) -> None:
    held = open_positions(admin)

    assert len(held)
    assert held["is_protected"].all()
    assert (held["risk_usd"] > 0).all()


def test_bars_are_all_there_when_they_are_more_than_one_answer_holds(
    clean_db: psycopg.Connection, admin: Client, service_client: Client
) -> None:
    start = datetime(2007, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in range(2345)]
    prices = dict.fromkeys(("open", "high", "low", "close"), "10.5") | {"volume": "1"}
    lease = acquire_lease(service_client, shard="main", holder="test", ttl_s=60)
    record_bars(service_client, shard="main", token=lease.token, bars=[
        {"symbol": "IBM", "timeframe": "1Hour", "bar_at": at.isoformat(), **prices} for at in times
    ])  # fmt: skip

    bars = price_bars(admin, "IBM", "1Hour", start, times[-2])

    assert bars["bar_at"].tolist() == [pd.Timestamp(at) for at in times[:-1]]
    assert bars["close"].eq(10.5).all()


def test_pause_is_placed_on_the_axis_of_market_time(story: Story, admin: Client) -> None:
    pause_trading(admin, reason="News")
    story.tell(sessions=2)
    resume_trading(admin, reason="Over")
    story.tell(sessions=1)

    spans, none = in_market_time(admin, [latest_pauses(admin), latest_pauses(admin).head(0)])

    curve = equity_curve(admin)
    assert none.empty
    assert spans["reason"].tolist() == ["News"]
    assert (spans["start"].iloc[0], spans["end"].iloc[0]) == (curve["market_at"].iloc[-3], curve["market_at"].iloc[-2])


def test_error_says_sign_in_again_when_the_token_is_forged(env: dict[str, str]) -> None:
    stranger = plain_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])
    stranger.postgrest.auth("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYXV0aGVudGljYXRlZCJ9.AAAA")

    with pytest.raises(NotSignedIn):
        open_positions(stranger)


def test_failure_is_not_mistaken_for_emptiness_when_nothing_answers() -> None:
    nowhere = plain_client("http://127.0.0.1:9", "sb_publishable_x")

    with pytest.raises(Unreachable):
        open_positions(nowhere)
