"""What a lockout goes back to is told from its detail, whatever it lacks, and only real addresses are linked."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.components.lockout_source import source_link, source_words

ZONE = ZoneInfo("UTC")
HEADLINE = {"headline": "Fraud at ACME", "source": "benzinga", "published_at": "2007-02-01T15:04:00+00:00", "score": 5,
            "words": ["fraud*", "probe"], "scorer": "words-1", "url": "https://example.org/1"}  # fmt: skip


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (HEADLINE, "Headline from benzinga, 01 Feb 2007, 15:04:00 UTC: 5 points for fraud*, probe (scorer words-1)."),
        ({"kind": "move", "move_pct": "-0.081", "sigmas": "4.20", "market_at": "2007-02-01T15:04:00+00:00"},
         "Move of -8.10 %, 4.20 times its usual day, at 01 Feb 2007, 15:04:00 UTC market time."),
        ({"lost_usd": "1200", "capital_usd": "25000", "limit": "0.04"},
         "Lost $1,200.00 of $25,000.00; the limit is 4 %."),
        ({"trades": ["a", "b"], "limit": 2}, "2 trades stopped out; the limit is 2."),
        ({"trade_id": "a", "pnl_usd": "-20.5"}, "After a trade that brought -$20.50."),
        ({"finding_id": 7, "kind": "POSITION_MISMATCH"}, "Difference Position mismatch, number 7 on Engine."),
        ({}, ""),
    ],
)  # fmt: skip
def test_it_is_told_what_was_seen(detail: dict[str, Any], words: str) -> None:
    assert source_words(detail, ZONE) == words


@pytest.mark.parametrize(
    ("detail", "link"),
    [
        (HEADLINE, "https://example.org/1"),
        (HEADLINE | {"url": "javascript:alert(1)"}, None),
        (HEADLINE | {"url": None}, None),
        ({"trades": ["a", "b"]}, "/trades?trade=b"),
        ({"trade_id": "a"}, "/trades?trade=a"),
        ({}, None),
    ],
)
def test_only_articles_and_trades_are_linked(detail: dict[str, Any], link: str | None) -> None:
    assert source_link(detail) == link


_anything = st.none() | st.text(max_size=8) | st.integers(0, 9)


@given(st.fixed_dictionaries({}, optional={
    "headline": _anything, "move_pct": _anything, "lost_usd": _anything, "trade_id": _anything, "url": _anything,
    "published_at": _anything, "market_at": _anything, "pnl_usd": _anything, "source": _anything, "kind": _anything,
}))  # fmt: skip
def test_a_detail_that_holds_other_things_breaks_no_page(detail: dict[str, Any]) -> None:
    assert isinstance(source_words(detail, ZONE), str)
    link = source_link(detail)
    assert link is None or link.startswith(("http://", "https://", "/trades?trade="))
