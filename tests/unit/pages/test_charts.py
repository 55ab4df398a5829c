"""Figures: what is drawn follows from the frame alone."""

import pandas as pd
import plotly.graph_objects as go
import pytest

from pages.charts.candles import TICKS_MAX, TradeMarks, candles_figure
from pages.charts.equity import LINES_MAX, drawdown, equity_figure, equity_in_words, profiles_figure
from pages.charts.style import plain_layout, whole_figure

NO_PAUSES = pd.DataFrame({"start": [], "end": [], "reason": []})


def curve(*equity: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"session_date": pd.date_range("2007-01-03", periods=len(equity)), "equity_usd": [float(e) for e in equity]}
    )


def test_drawdown_is_the_fraction_below_the_highest_so_far() -> None:
    assert drawdown(pd.Series([100.0, 110.0, 99.0, 121.0])).tolist() == pytest.approx([0.0, 0.0, -0.1, 0.0])


def test_equity_figure_draws_every_session_and_its_drawdown() -> None:
    figure = equity_figure(curve(100, 110, 99), NO_PAUSES)

    equity, below = figure.data
    assert list(equity.y) == [100.0, 110.0, 99.0]
    assert list(below.y) == pytest.approx([0.0, 0.0, -10.0])


def test_equity_figure_shades_each_pause() -> None:
    pauses = pd.DataFrame(
        {"start": [pd.Timestamp("2007-01-04")], "end": [pd.Timestamp("2007-01-05")], "reason": ["News"]}
    )

    figure = equity_figure(curve(100, 110, 99), pauses)

    spans = {(pd.Timestamp(shape.x0), pd.Timestamp(shape.x1)) for shape in figure.layout.shapes}
    assert spans == {(pd.Timestamp("2007-01-04"), pd.Timestamp("2007-01-05"))}


def test_equity_figure_stands_when_there_is_a_single_session() -> None:
    assert len(equity_figure(curve(100), NO_PAUSES).data[0].x) == 1


def test_words_for_the_figure_hold_its_ends_and_its_lowest_point() -> None:
    text = equity_in_words(curve(100, 110, 99))

    assert "3 sessions" in text
    assert "from $100 to $99" in text
    assert "-10.0 percent" in text


def test_a_figure_made_in_one_go_looks_like_one_that_has_grown() -> None:
    line = {"type": "bar", "x": [1, 2], "y": [3, 4]}
    layout = {"yaxis": {"title": {"text": "USD"}}, "yaxis2": {"nticks": 4}, "xaxis": {"zeroline": True}}

    grown = plain_layout(go.Figure(data=[line], layout=layout), height=300)

    assert whole_figure([line], layout, height=300).to_dict() == grown.to_dict()


def test_a_figure_with_a_property_that_plotly_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        whole_figure([{"type": "bar", "colour": "red"}], {}, height=300)


def profile(name: str, capital: float, *profits: float) -> pd.DataFrame:
    own = curve(*(capital + profit for profit in profits))
    return own.assign(profile_name=name, realized_usd=0.0, unrealized_usd=list(profits))


def test_profiles_are_compared_by_profit_over_what_they_started_with() -> None:
    frame = pd.concat([profile("Alice trend", 100, 0, 10), profile("Bob dips", 50, 0, -5)])

    lines = {line.name: list(line.y) for line in profiles_figure(frame).data}

    assert lines == {"Alice trend": pytest.approx([0.0, 10.0]), "Bob dips": pytest.approx([0.0, -10.0])}


def test_of_many_profiles_those_that_moved_most_are_drawn() -> None:
    frame = pd.concat([profile(f"Profile {n}", 100, 0, n if n % 2 else -n) for n in range(20)])

    drawn = {line.name for line in profiles_figure(frame).data}

    assert drawn == {f"Profile {n}" for n in range(20 - LINES_MAX, 20)}


def bars(times: list[str]) -> pd.DataFrame:
    at = pd.to_datetime(times, utc=True)
    return pd.DataFrame({"bar_at": at, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1.0})


def marks(**changes: object) -> TradeMarks:
    values = {
        "side": "long", "opened_at": pd.Timestamp("2007-01-03T20:00Z"), "entry_price": 10.0,
        "closed_at": pd.Timestamp("2007-01-04T20:00Z"), "exit_price": 12.0, "stop_price": 9.5, "target_price": 12.0,
    }  # fmt: skip
    return TradeMarks(**{**values, **changes})  # type: ignore[arg-type]


def drawn(figure: go.Figure, mode: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if isinstance(trace, go.Scatter) and trace.mode == mode]


def test_entry_and_exit_lie_on_the_bars_within_which_they_happened() -> None:
    figure = candles_figure(bars(["2007-01-03T05:00Z", "2007-01-04T05:00Z", "2007-01-05T05:00Z"]), marks())

    at = {trace.name.split()[0]: trace.x[0] for trace in drawn(figure, "markers")}
    assert at == {"Entry": 0, "Exit": 1}


def test_lines_for_stop_and_target_are_left_out_when_there_are_none() -> None:
    figure = candles_figure(bars(["2007-01-03T05:00Z"]), marks(stop_price=None, target_price=None))

    assert not drawn(figure, "lines")


def test_open_trade_has_no_exit_mark() -> None:
    figure = candles_figure(bars(["2007-01-03T05:00Z"]), marks(closed_at=None, exit_price=None))

    assert [trace.name.split()[0] for trace in drawn(figure, "markers")] == ["Entry"]


def test_every_bar_has_a_place_of_its_own_whatever_nights_and_holidays_lie_between() -> None:
    days = ["2007-01-11", "2007-01-12", "2007-01-16"]  # the 15th was a holiday
    hourly = bars([f"{day}T{hour:02}:00Z" for day in days for hour in range(14, 21)])

    figure = candles_figure(hourly, marks())

    assert list(figure.data[0].x) == list(range(21))
    assert figure.data[0].hovertext[14].startswith("16 Jan 2007, 09:00<br>open $10.00")
    assert list(figure.layout.xaxis.tickvals) == [0, 7, 14]
    assert list(figure.layout.xaxis.ticktext) == ["11 Jan<br>2007", "12 Jan", "16 Jan"]


def test_no_more_days_are_named_than_there_is_room_for() -> None:
    figure = candles_figure(
        bars([f"{day:%Y-%m-%d}T05:00Z" for day in pd.bdate_range("2007-01-02", periods=60)]), marks()
    )

    assert len(figure.layout.xaxis.tickvals) <= TICKS_MAX
