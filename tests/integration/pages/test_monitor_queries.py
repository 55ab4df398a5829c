"""What the monitor pages ask, held against the database's own sums."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import psycopg
import pytest
from supabase import Client

from db import commands
from db.queries.bars import daily_closes
from db.queries.equity import equity_by_profile, equity_of_profiles, in_market_time
from db.queries.orders import OrderFilters, order_by_id, order_moments, orders_of_trade, orders_page
from db.queries.performance import StatisticsFilters, trade_statistics
from db.queries.positions import PositionFilters, exits_under_way, open_positions, owner_emails, sector_exposure
from db.queries.trades import TradeFilters, closed_trades, trades_page
from tests.support.clients import SignIn
from tests.support.story import Story


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


def test_exposure_by_sector_is_what_the_gate_counts(story: Story, sign_in: SignIn) -> None:
    story.ask("Alice trend daily", "AAPL")  # ready, not sent: it counts as being entered
    alice = sign_in("alice")

    found = sector_exposure(alice).set_index("sector")

    assert found["entering_usd"].sum() > 0
    for symbol, sector in (("IBM", "technology"), ("GOOG", "communication")):
        asked = commands.why(alice, symbol=symbol, qty=Decimal(1), price=Decimal(100))[0]
        (check,) = (check for check in asked.checks if check["name"] == "SECTOR_EXPOSURE")
        mine = found.loc[sector, "held_usd"] + found.loc[sector, "entering_usd"] if sector in found.index else 0
        assert float(check["observed"]) - 100 == pytest.approx(mine), sector
        assert float(check["limit"]) == 40_000  # 0.8 of the capital of her two profiles
    assert set(found["limit_usd"]) == {40_000.0}


def test_equity_of_some_profiles_is_their_sum(story: Story, admin: Client) -> None:
    by_profile = equity_by_profile(admin)
    chosen = sorted(set(by_profile["profile_id"]))[:2]

    found = equity_of_profiles(admin, chosen)

    expected = by_profile[by_profile["profile_id"].isin(chosen)].groupby("session_date")["equity_usd"].sum()
    assert found.set_index("session_date")["equity_usd"].round(4).equals(expected.round(4))


def test_statistics_agree_with_the_trades_that_match(story: Story, admin: Client) -> None:
    trades = closed_trades(admin, TradeFilters(symbols=("IBM",), exit_reasons=("take_profit", "stop_loss")))

    found = trade_statistics(admin, StatisticsFilters(symbols=("IBM",), exit_reasons=("take_profit", "stop_loss")))

    (total,) = found.total.itertuples()
    assert total.trades == len(trades) > 0
    assert total.gains_usd - total.losses_usd == pytest.approx(trades["realized_pnl_usd"].sum())
    assert sum(found.bins) == len(trades)
    assert found.by["symbol"]["key"].tolist() == ["IBM"]


def test_statistics_of_nothing_are_empty_and_not_a_failure(story: Story, admin: Client) -> None:
    found = trade_statistics(admin, StatisticsFilters(symbols=("TSLA",)))

    assert found.total.empty
    assert sum(found.bins) == 0


def test_trades_of_a_side_or_a_day_narrow_together(story: Story, admin: Client) -> None:
    last = trades_page(admin, TradeFilters()).found.iloc[0]
    day = last["closed_at"].tz_convert("America/New_York").date()

    found = trades_page(admin, TradeFilters(closed_on=day, sides=("long",))).found

    assert last["id"] in set(found["id"])
    assert trades_page(admin, TradeFilters(closed_on=day, sides=("short",))).found.empty
    assert trades_page(admin, TradeFilters(closed_on=day + timedelta(days=300))).found.empty


def test_orders_of_a_day_are_those_recorded_on_it_in_the_readers_zone(
    story: Story, admin: Client, db: psycopg.Connection
) -> None:
    of_a_day = "select count(*), (created_at at time zone 'Asia/Tokyo')::date from orders group by 2 order by 2 desc"
    (total, today) = db.execute(of_a_day).fetchone() or ()

    here = orders_page(admin, OrderFilters(recorded_on=today, zone="Asia/Tokyo"), size=500).found
    tomorrow = orders_page(admin, OrderFilters(recorded_on=today + timedelta(days=1), zone="Asia/Tokyo")).found

    assert len(here) == total
    assert tomorrow.empty


def test_an_orders_moments_lie_in_the_order_in_which_things_happen(story: Story, admin: Client) -> None:
    order = orders_page(admin, OrderFilters(states=("filled",), purposes=("entry",))).found.iloc[0]

    moments = order_moments(admin, order)

    assert moments["signal_at"] <= order["created_at"] <= order["submitted_at"] <= moments["first_fill_at"]
    assert pd.isna(moments["asked_at"])


def test_a_decision_names_who_made_it(story: Story, admin: Client, sign_in: SignIn, db: psycopg.Connection) -> None:
    commands.update_approval_config(admin, patch={"auto_approve_paper": False})
    answer = story.ask("Alice trend daily", "AAPL")
    (approval,) = db.execute("select id from operator_approvals where order_id = %s", (answer.id,)).fetchone() or ()
    commands.decide_approval(sign_in("operator"), approval_id=approval, decision="reject", reason="No")

    moments = order_moments(admin, order_by_id(admin, str(answer.id)).iloc[0])

    assert moments["decided_by_email"] == "operator@interlock.local"
    assert moments["asked_at"] <= moments["decided_at"]


def test_orders_of_a_trade_are_its_entry_and_its_legs(story: Story, admin: Client) -> None:
    trade = trades_page(admin, TradeFilters()).found.iloc[0]

    found = orders_of_trade(admin, trade["id"])

    assert found["purpose"].tolist()[0] == "entry"
    assert set(found["purpose"]) == {"entry", "stop_loss", "take_profit"}


def test_closes_are_one_column_per_symbol_and_a_symbol_without_bars_is_left_out(story: Story, admin: Client) -> None:
    start = datetime(2007, 1, 1, tzinfo=UTC)

    closes = daily_closes(admin, ["IBM", "AAPL", "TSLA"], start, start + timedelta(days=90))

    assert list(closes.columns) == ["AAPL", "IBM"]
    assert closes.index[0] == pd.Timestamp("2007-01-03")
    assert len(closes) == 30


def test_a_span_without_a_snapshot_has_no_place_on_the_axis(story: Story, admin: Client) -> None:
    now = pd.Timestamp.now("UTC")
    spans = pd.DataFrame(
        {"started_at": [now + pd.Timedelta(days=1)], "ended_at": [now + pd.Timedelta(days=2)], "reason": ["Later"]}
    )

    (found,) = in_market_time(admin, [spans])
    assert found.empty


def test_positions_are_narrowed_and_an_exit_that_was_asked_for_is_known(story: Story, admin: Client) -> None:
    held = open_positions(admin)
    position = held.iloc[0]

    answer = commands.close_position(admin, trade_id=position["trade_id"], reason="Earnings")

    exits = exits_under_way(admin)
    assert exits[["trade_id", "order_id", "state"]].to_numpy().tolist() == [
        [position["trade_id"], str(answer.order_id), "ready"]
    ]
    own = open_positions(admin, PositionFilters(symbols=(position["symbol"],)))
    assert set(own["symbol"]) == {position["symbol"]} and len(own) < len(held)


def test_addresses_are_known_to_admins_and_to_oneself_alone(story: Story, sign_in: SignIn) -> None:
    assert len(owner_emails(sign_in("admin"))) == 4
    assert set(owner_emails(sign_in("alice")).values()) == {"alice@interlock.local"}
