"""The form of the risk configuration says what is stored, means what is typed, and keeps all the rest."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.risk_config import PortfolioRiskConfig
from pages.components.risk_form import conflict_table
from pages.components.risk_form_fields import (
    applied,
    changes,
    diff_lines,
    differences,
    fields,
    shown,
    stored,
    unknown_keys,
)
from pages.components.risk_form_labels import LABELS, TABS

CONFIG: dict[str, Any] = {
    "order_limits": {"qty_max": "10000", "price_collar_pct": "0.05", "signal_bars_max": 4, "note": "ours"},
    "loss_limits": {"daily_loss_max_pct": 0.05, "loss_streak_max": None},
    "sector_exposure": {"max_pct": "0.80", "sectors": {"IBM": "technology"}},
    "desk": {"phone": "42"},
}


def typed_as_shown(config: dict[str, Any]) -> dict[str, str]:
    return {path: shown(field, stored(config, path)) for path, field in fields().items()}


def test_every_setting_has_a_name_and_every_section_a_place() -> None:
    assert set(LABELS) == set(fields())
    assert {section for tab in TABS.values() for section in tab} == {path.split(".")[0] for path in fields()}


@pytest.mark.parametrize("config", [CONFIG, {}, PortfolioRiskConfig().to_db_json()])
def test_what_is_shown_and_left_alone_changes_nothing(config: dict[str, Any]) -> None:
    assert changes(config, typed_as_shown(config)) == ([], [])


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("loss_limits.daily_loss_max_pct", "4", "Limits on losses, loss of a day: 5 % → 4 %"),
        ("loss_limits.daily_loss_max_pct", "", "Limits on losses, loss of a day: 5 % → not set: blocks entries"),
        ("order_limits.qty_max", "12,000", "One order, quantity, at most: 10,000 shares → 12,000 shares"),
        ("order_limits.notional_max_usd", "$25,000", "One order, value, at most: not set: blocks entries → $25,000"),
        ("order_limits.entry_ttl_s", "90", "One order, entry waits to be sent: shipped value, 60 s → 90 s"),
        ("market_hours.entries_when_closed", "On", "Market hours, entries while closed: not set: blocks entries → on"),
        ("retention.bars_days", "90", "How long history is kept, bars: kept for good → 90 days"),
        ("stoploss_lockout.enabled", "Off", "After stop-losses, on: shipped value, on → off"),
        ("signal_layers.macro_index", "spy", "Filters of signals, index: shipped value, * → SPY"),
        (
            "sector_exposure.sectors",
            "ibm = hardware",
            "Sectors, sector of each symbol: IBM = technology → IBM = hardware",
        ),
    ],
)
def test_a_change_is_told_in_words_with_its_unit(path: str, text: str, says: str) -> None:
    changed, problems = changes(CONFIG, {path: text})

    assert problems == []
    assert [change.words() for change in changed] == [says]


@pytest.mark.parametrize("text", ["5.0", "5", " 5 ", "5 %"])
def test_the_same_value_written_otherwise_is_no_change(text: str) -> None:
    assert changes(CONFIG, {"loss_limits.daily_loss_max_pct": text}) == ([], [])


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("loss_limits.daily_loss_max_pct", "101", "101 is out of bounds. Above 0 to 100."),
        ("loss_limits.daily_loss_max_pct", "0", "0 is out of bounds. Above 0 to 100."),
        ("order_rate.repeats_max", "0", "0 is out of bounds. 1 to 100,000, a whole number."),
        ("order_rate.repeats_max", "1.5", "1.5 is not a whole number. 1 to 100,000, a whole number."),
        ("order_limits.qty_max", "many", "'many' is not a number in plain digits. Above 0 to 1,000,000,000."),
        # A comma may be meant as a point: it is taken between thousands alone.
        ("loss_limits.daily_loss_max_pct", "1,5", "'1,5' is not a number in plain digits."),
        ("signal_layers.macro_index", "S P Y", "no symbol"),
        ("sector_exposure.sectors", "AAPL technology", 'Write one "AAPL = technology" a line.'),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_bounds(path: str, text: str, says: str) -> None:
    changed, problems = changes(CONFIG, {path: text})

    assert changed == []
    assert says in problems[0].message


def test_other_keys_are_kept_and_named() -> None:
    before = deepcopy(CONFIG)
    changed, _ = changes(CONFIG, {"order_limits.qty_max": "5", "alerts.paused_s": "60"})

    after = applied(CONFIG, changed)

    assert before == CONFIG
    assert after["order_limits"] == before["order_limits"] | {"qty_max": "5"}
    assert after["alerts"] == {"paused_s": "60"}
    assert after["desk"] == {"phone": "42"}
    assert unknown_keys(CONFIG) == ["desk", "order_limits.note"]


NUMBERS = [path for path, field in fields().items() if field.kind in ("number", "count")]


@given(path=st.sampled_from(NUMBERS), value=st.decimals("0.01", "1000000", places=2, allow_nan=False))
def test_what_the_form_takes_the_configuration_takes_and_shows_again(path: str, value: Decimal) -> None:
    changed, problems = changes({}, {path: str(value)})

    assert len(changed) + len(problems) == 1
    if changed:
        document = applied({}, changed)
        section, name = path.split(".")
        assert getattr(getattr(PortfolioRiskConfig.from_db_json(document), section), name) is not None
        assert Decimal(shown(fields()[path], stored(document, path))) == value


def test_conflict_shows_both_sides_and_marks_what_both_have_changed() -> None:
    now = deepcopy(CONFIG)
    now["loss_limits"]["daily_loss_max_pct"] = "0.03"
    now["order_limits"]["signal_bars_max"] = 2
    mine, _ = changes(CONFIG, {"loss_limits.daily_loss_max_pct": "4", "order_limits.qty_max": "5"})

    rows = conflict_table(CONFIG, now, mine).set_index("Setting")

    assert rows.loc["Limits on losses, loss of a day"].tolist() == ["both", "5 %", "3 %", "4 %"]
    assert rows.loc["One order, age of the signal"].tolist() == ["", "4 bars", "2 bars", "not changed"]
    assert rows.loc["One order, quantity, at most"].tolist() == ["", "10,000 shares", "10,000 shares", "5 shares"]


def test_kept_differences_are_told_in_words() -> None:
    diff = [
        {"path": "loss_limits.daily_loss_max_pct", "from": "0.05", "to": None},
        {"path": "alerts", "from": None, "to": {"paused_s": 60}},
        {"path": "sector_exposure.sectors.IBM", "from": "technology", "to": "hardware"},
        {"path": "desk.phone", "from": "42", "to": "43"},
    ]

    assert diff_lines(diff) == [
        "Limits on losses, loss of a day: 5 % → not set: blocks entries",
        "When somebody is told, a pause lasts longer than: shipped value, 3,600 s → 60 s",
        'sector_exposure.sectors.IBM: "technology" → "hardware"',
        'desk.phone: "42" → "43"',
    ]


def test_documents_that_mean_the_same_do_not_differ() -> None:
    other = deepcopy(CONFIG)
    other["loss_limits"] = {"daily_loss_max_pct": "0.050"}

    assert differences(CONFIG, other) == []
