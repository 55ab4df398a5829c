"""The timeline draws each span in which something was stopped, and nothing else."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from pages.charts.timeline import stopped_spans, timeline_figure, timeline_in_words

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def history() -> pd.DataFrame:
    hours = [NOW - timedelta(hours=n) for n in (1, 2, 5)]
    return pd.DataFrame(
        {
            "scope": ["IBM", "all trading", "all trading"],
            "to_mode": ["HALTED", "RUNNING", "PAUSED"],
            "reason": ["<b>Loop</b>", "Over", "News"],
            "changed_at": pd.to_datetime(hours),
            "ended_at": pd.to_datetime([None, hours[0], hours[1]], utc=True),
        }
    )


def test_a_span_lasts_until_the_next_change_and_one_that_goes_on_until_now() -> None:
    spans = stopped_spans(history(), NOW)

    assert spans["scope"].tolist() == ["all trading", "IBM"]
    assert (spans["end"] - spans["start"]).tolist() == [timedelta(hours=3), timedelta(hours=1)]
    assert spans["goes_on"].tolist() == [False, True]


def test_each_mode_has_a_look_of_its_own_and_a_reason_stays_text() -> None:
    figure = timeline_figure(stopped_spans(history(), NOW), "America/New_York")

    assert [(bar.name, bar.marker.pattern.shape) for bar in figure.data] == [("Paused", ""), ("Halted", "/")]
    assert figure.data[1].customdata[0][0] == "&lt;b&gt;Loop&lt;/b&gt;"
    assert str(figure.data[1].base[0]).startswith("2026-11-20T09:00")


def test_it_is_told_in_words_what_is_stopped_now() -> None:
    assert timeline_in_words(stopped_spans(history(), NOW)) == (
        "Trading was stopped 2 times, in 2 scopes. Stopped now: IBM."
    )
