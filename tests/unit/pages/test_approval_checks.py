"""Checks of a waiting entry, then and now: what matters comes first, and like is compared with like."""

from typing import Any

from pages.components.approval_checks import compared


def check(name: str, observed: Any, limit: Any, *, passed: bool = True) -> dict[str, Any]:
    return {"name": name, "observed": observed, "limit": limit, "passed": passed}


def test_what_fails_now_comes_first_then_what_differs() -> None:
    asked = [check("TRADING_PAUSED", "RUNNING", "RUNNING"), check("ORDER_QTY_MAX", "10", "10,000"),
             check("DAILY_LOSS", "100", "1,000")]  # fmt: skip
    now = [check("TRADING_PAUSED", "PAUSED", "RUNNING", passed=False), check("ORDER_QTY_MAX", 10, 10000),
           check("DAILY_LOSS", 250.5, 1000)]  # fmt: skip

    found = compared(asked, now)

    assert found["code"].tolist() == ["TRADING_PAUSED", "DAILY_LOSS", "ORDER_QTY_MAX"]
    assert found["now"].tolist() == ["✗ FAILS", "✓ passes", "✓ passes"]
    assert found["observed_now"].tolist() == ["PAUSED", "250.5", "10"]
    assert found["observed_then"].tolist() == ["RUNNING", "100", "10"]


def test_what_is_not_known_is_the_same_nothing_at_both_times() -> None:
    (row,) = compared([check("SYMBOL_LOCKED", "not set", "not locked out")],
                      [check("SYMBOL_LOCKED", None, "not locked out")]).to_dict("records")  # fmt: skip

    assert row["observed_now"] == row["observed_then"] == "–"


def test_a_check_that_was_not_made_then_is_shown_as_such() -> None:
    (row,) = compared([], [check("WASH_TRADE", 0, 0)]).to_dict("records")

    assert (row["then"], row["observed_then"]) == ("–", "–")
