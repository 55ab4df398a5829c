"""What the monitor pages say and draw follows from the frames alone."""

from datetime import UTC, date, datetime, timedelta
from math import nan
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from db.queries.performance import BIN_STEP, BINS, BINS_FROM, DIMENSIONS, STATISTICS_COLUMNS, Statistics
from pages.charts.equity import equity_figure
from pages.charts.performance import growth_figure, parts_figure, spread_figure, spread_in_words
from pages.components.breakdown import parts_of
from pages.components.calendar import calendar_html, months_html
from pages.components.formats import latency, ratio, short_money
from pages.components.lifecycle import lifecycle_html, stages
from pages.components.meters import Meter, _item
from pages.components.overview import risk_meters, sector_meters
from pages.components.performance import stats_of
from pages.components.periods import Period, period_before, period_of
from pages.components.trades import one_trades_figures

UTC_ZONE = ZoneInfo("UTC")


class TestFormats:
    @pytest.mark.parametrize(
        ("amount", "text"),
        [
            (120.4, "+$120"),
            (-1234, "-$1.2k"),
            (0, "$0"),
            (-0.2, "$0"),
            (999.7, "+$1.0k"),
            (3.4e6, "+$3.4M"),
            (nan, "–"),
        ],
    )
    def test_short_money_keeps_the_sign_and_the_size(self, amount: float, text: str) -> None:
        assert short_money(amount) == text

    def test_a_ratio_is_endless_unknown_or_a_number(self) -> None:
        assert (ratio(1.954), ratio(float("inf")), ratio(nan), ratio(None)) == ("1.95", "∞", "–", "–")

    def test_a_latency_is_as_fine_as_it_is_short(self) -> None:
        spans = (timedelta(microseconds=3210), timedelta(seconds=1.254), timedelta(minutes=5))

        assert [latency(span) for span in spans] == ["3.2 ms", "1.25 s", "5 min"]


class TestPeriods:
    def test_months_end_with_that_of_the_last_session(self) -> None:
        period = period_of("3 months", date(2007, 1, 3), date(2008, 1, 15))

        assert period == Period(date(2007, 11, 1), date(2008, 2, 1))
        assert period.words() == "Nov 2007 to Jan 2008"

    def test_all_begins_with_the_first_session_and_has_nothing_before(self) -> None:
        period = period_of("All", date(2007, 1, 3), date(2008, 1, 15))

        assert period == Period(date(2007, 1, 1), date(2008, 2, 1))
        assert period_before("All", period, date(2007, 1, 3)) is None

    def test_a_period_is_compared_only_with_one_that_was_recorded_whole(self) -> None:
        period = Period(date(2007, 7, 1), date(2007, 10, 1))

        assert period_before("3 months", period, date(2007, 4, 2)) == Period(date(2007, 4, 1), date(2007, 7, 1))
        assert period_before("3 months", period, date(2007, 5, 1)) is None


class TestCalendar:
    RESULTS = pd.Series([120.5, -1500.0, 0.0], index=pd.to_datetime(["2007-12-03", "2007-12-04", "2007-11-30"]))

    def test_each_session_leads_to_its_trades_and_says_its_result(self) -> None:
        html = calendar_html(self.RESULTS, date(2007, 12, 1))

        assert 'href="/trades?trades_day=2007-12-03"' in html
        assert "+$120" in html and "-$1.5k" in html
        assert "04 December 2007: -$1,500.00. Show the trades of that day." in html
        assert "trades_day=2007-11-30" not in html

    def test_a_day_without_a_session_leads_nowhere(self) -> None:
        assert "trades_day=2007-12-05" not in calendar_html(self.RESULTS, date(2007, 12, 1))

    def test_weekends_are_shown_only_where_something_was_traded_on_one(self) -> None:
        saturday = pd.Series([5.0], index=pd.to_datetime(["2007-12-08"]))

        assert "Sat" not in calendar_html(self.RESULTS, date(2007, 12, 1))
        assert "Sat" in calendar_html(saturday, date(2007, 12, 1))

    def test_the_week_sums_its_sessions(self) -> None:
        assert "<b>-$1.4k</b>" in calendar_html(self.RESULTS, date(2007, 12, 1))

    def test_months_of_a_year_are_put_together_by_compounding(self) -> None:
        table = pd.DataFrame({month: [nan] for month in range(1, 13)}, index=[2007])
        table.loc[2007, [1, 2]] = [0.10, -0.10]

        html = months_html(table)

        assert "+10.0 %" in html and "-10.0 %" in html
        assert "-1.00 %" in html


class TestMeters:
    def test_a_limit_that_is_near_or_passed_is_said_in_words(self) -> None:
        near, over, unknown = (_item(Meter("Energy", "$9", used)) for used in (0.85, 1.2, None))

        assert "near the limit, 85 % used" in near
        assert "OVER THE LIMIT, 120 % used" in over and "width:100.0%" in over
        assert "– of its limit" in unknown

    def test_names_stay_text(self) -> None:
        assert "<b>" not in _item(Meter("<b>x</b>", "<i>", 0.1))

    def test_the_owner_nearest_to_the_limit_counts(self) -> None:
        exposure = pd.DataFrame(
            {
                "owner_id": ["a", "b", "a"], "sector": ["technology", "technology", "other"],
                "held_usd": [100.0, 300.0, 50.0], "entering_usd": [100.0, 0.0, 0.0], "limit_usd": [1000.0, 400.0, nan],
            }
        )  # fmt: skip

        technology, other = sector_meters(exposure)

        assert (technology.name, technology.used) == ("Technology", 0.75)
        assert technology.words == "$400.00 held, $100.00 being entered"
        assert other.used is None

    def test_a_position_without_a_stop_comes_first(self) -> None:
        positions = pd.DataFrame(
            {
                "symbol": ["IBM", "FB"], "side": "long", "profile_name": "P", "risk_usd": [50.0, nan],
                "stop_distance": [0.05, nan],
            }
        )  # fmt: skip

        first, second = risk_meters(positions)

        assert first.words == "NO STOP: all of it"
        assert (second.words, second.used) == ("$50.00, 5.0 % to the stop", 1.0)


def order(**changes: object) -> pd.Series:
    at = pd.Timestamp("2026-11-20T15:00:00Z")
    values: dict[str, object] = {
        "purpose": "entry", "state": "filled", "code": None, "created_at": at, "ready_at": at + pd.Timedelta(minutes=2),
        "submitted_at": at + pd.Timedelta(seconds=121), "accepted_at": at + pd.Timedelta(seconds=121.25),
        "cancel_requested_at": pd.NaT, "ended_at": at + pd.Timedelta(seconds=130),
    }  # fmt: skip
    return pd.Series(values | changes)


def moments(**changes: object) -> pd.Series:
    at = pd.Timestamp("2026-11-20T15:00:00Z")
    values: dict[str, object] = {
        "signal_at": at - pd.Timedelta(milliseconds=5), "asked_at": at, "decided_at": at + pd.Timedelta(minutes=2),
        "decided_by_email": "operator@interlock.local", "first_fill_at": at + pd.Timedelta(seconds=125),
        "last_fill_at": at + pd.Timedelta(seconds=130),
    }  # fmt: skip
    return pd.Series(values | changes)


class TestLifecycle:
    def test_stages_come_in_order_with_what_each_took(self) -> None:
        found = stages(order(), moments())

        assert [stage.name for stage in found] == [
            "Signal", "Gate", "Approval asked", "Approval decided", "Ready to send", "Sent", "Accepted", "First fill",
            "Last fill", "Ended",
        ]  # fmt: skip
        took = {stage.name: stage.took for stage in found}
        assert took["Signal"] is None
        assert (took["Gate"], took["Sent"], took["Accepted"]) == (
            timedelta(milliseconds=5), timedelta(seconds=1), timedelta(seconds=0.25),
        )  # fmt: skip
        assert found[3].note == "By operator@interlock.local"

    def test_a_stage_that_did_not_happen_is_left_out(self) -> None:
        nothing = dict.fromkeys(("asked_at", "decided_at", "first_fill_at", "last_fill_at"), pd.NaT)
        unsent = dict.fromkeys(("ready_at", "submitted_at", "accepted_at"), pd.NaT)

        found = stages(order(state="denied", code="DAILY_LOSS", **unsent), moments(**nothing))

        assert [stage.name for stage in found] == ["Signal", "Gate", "Ended"]
        assert found[1].note == "Refused: DAILY_LOSS"

    def test_one_fill_is_told_once(self) -> None:
        only = pd.Timestamp("2026-11-20T15:02:05Z")

        names = [stage.name for stage in stages(order(), moments(first_fill_at=only, last_fill_at=only))]

        assert "First fill" in names and "Last fill" not in names

    def test_the_whole_time_stands_at_the_end_and_notes_stay_text(self) -> None:
        html = lifecycle_html(stages(order(), moments(decided_by_email="<img>")), UTC_ZONE)

        assert "2 min" in html.split("In all")[1]
        assert "<img>" not in html


def sums(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Return sums of trades from keys with gains and losses; one trade for each that is not 0."""
    frame = pd.DataFrame(
        [
            {"key": key, "trades": (gain > 0) + (loss > 0), "wins": gain > 0, "losses": loss > 0, "gains_usd": gain,
             "losses_usd": loss, "pnl_squared": gain**2 + loss**2, "volume_usd": 100.0, "holding_s": 60.0}
            for key, gain, loss in rows
        ],
        columns=list(STATISTICS_COLUMNS),
    )  # fmt: skip
    return frame.astype(dict.fromkeys(list(STATISTICS_COLUMNS)[1:], "float64"))


class TestParts:
    def statistics(self, dimension: str, rows: pd.DataFrame) -> Statistics:
        return Statistics(rows, dict.fromkeys(DIMENSIONS, sums()) | {dimension: rows}, [0] * BINS)

    def test_parts_are_named_as_people_call_them_and_the_best_comes_first(self) -> None:
        parts = parts_of(self.statistics("profile", sums(("1", 10, 30), ("2", 50, 0))), "profile", {"1": "A", "2": "B"})

        assert parts["name"].tolist() == ["B", "A"]
        assert parts["result_usd"].tolist() == [50, -20]

    def test_months_stay_in_order(self) -> None:
        parts = parts_of(self.statistics("month", sums(("2007-01-01", 1, 0), ("2007-02-01", 9, 0))), "month", {})

        assert parts["name"].tolist() == ["2007-01", "2007-02"]

    def test_nothing_closed_gives_no_parts(self) -> None:
        assert parts_of(self.statistics("symbol", sums()), "symbol", {}).empty

    def test_rows_taken_together_are_what_their_sum_is(self) -> None:
        together = stats_of(sums(("a", 30, 10), ("b", 20, 0)))

        assert (together.trades, together.result_usd, together.win_rate) == (3, 40, pytest.approx(2 / 3))

    def test_no_rows_are_no_trades(self) -> None:
        assert stats_of(sums()).trades == 0


class TestFigures:
    def test_growth_is_drawn_from_nothing_beside_the_benchmark(self) -> None:
        returns = pd.Series([0.10, -0.05], index=pd.bdate_range("2007-01-03", periods=2))

        own, other, below = growth_figure(returns, returns.clip(upper=0), returns / 2, "IBM").data

        assert list(own.y) == pytest.approx([10.0, 4.5])
        assert (other.name, below.name) == ("IBM", "Drawdown")

    def test_no_benchmark_is_no_line(self) -> None:
        returns = pd.Series([0.10], index=pd.bdate_range("2007-01-03", periods=1))

        figure = growth_figure(returns, returns * 0, pd.Series(dtype="float64"), "None")

        assert [line.name for line in figure.data] == ["These profiles", "Drawdown"]

    def test_every_trade_lies_in_a_bar_and_bars_say_their_bounds(self) -> None:
        bins = [0] * BINS
        bins[0], bins[20], bins[41] = 2, 5, 1

        (bars,) = spread_figure(bins, BINS_FROM, BIN_STEP).data

        assert sum(bars.y) == 8
        assert bars.customdata[0] == "below -10.0 %"
        assert bars.customdata[20] == "-0.5 to +0.0 %"
        assert bars.customdata[-1] == "+10.0 % and more"
        assert "8 trades by return; most, 5, returned -0.5 to +0.0 %." in spread_in_words(bins, BINS_FROM, BIN_STEP)

    def test_parts_carry_their_sign_in_figures(self) -> None:
        (bars,) = parts_figure(pd.DataFrame({"name": ["A", "B"], "result_usd": [1200.0, -30.0]})).data

        assert dict(zip(bars.y, bars.text, strict=True)) == {"A": "+$1,200", "B": "-$30"}

    def test_lockouts_that_overlap_lie_in_lanes_of_their_own(self) -> None:
        days = pd.to_datetime(["2007-01-03", "2007-01-04", "2007-01-05", "2007-01-08"])
        curve = pd.DataFrame({"session_date": days, "equity_usd": [1.0, 2.0, 3.0, 4.0]})
        lockouts = pd.DataFrame({"start": days[:3], "end": days[[2, 1, 3]], "reason": ["a", "b", "c"]})
        nothing = pd.DataFrame({"start": [], "end": [], "reason": []})

        (drawn,) = [line for line in equity_figure(curve, nothing, lockouts).data if line.name == "Locked out"]

        gap = None
        assert list(drawn.y) == [0, 0, gap, 1, 1, gap, 1, 1, gap]
        assert list(drawn.customdata) == ["a", "a", gap, "b", "b", gap, "c", "c", gap]


class TestOneTrade:
    def test_figures_use_the_bars_within_which_it_was_open_alone(self) -> None:
        bars = pd.DataFrame(
            {
                "bar_at": pd.to_datetime(["2007-01-03T13:00Z", "2007-01-03T14:00Z", "2007-01-03T15:00Z",
                                          "2007-01-03T16:00Z"]),
                "high": [500.0, 105.0, 103.0, 900.0], "low": [1.0, 99.0, 98.0, 1.0],
            }
        )  # fmt: skip
        trade = pd.Series(
            {
                "position_side": "long", "entry_price": 100.0, "exit_price": 102.0, "qty_entered": 10.0,
                "realized_pnl_usd": 20.0, "return_pct": 0.02, "opened_at": datetime(2007, 1, 3, 14, 30, tzinfo=UTC),
                "closed_at": datetime(2007, 1, 3, 15, 30, tzinfo=UTC),
            }
        )  # fmt: skip

        found = {figure.label: figure.value for figure in one_trades_figures(trade, bars, stop=96.0)}

        assert found == {
            "Held": "1 h 0 min",
            "In risks": "+0.50 R", "Went for it": "+5.00 %", "Went against it": "-2.00 %", "Kept": "40 %",
        }  # fmt: skip
