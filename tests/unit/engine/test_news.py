from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.news import SCORER, Headline, MoveLimits, Shock, headline_shocks, judge_move, score_headline
from tests.unit.engine.builders import NOON

LIMITS = MoveLimits(sigmas_min=Decimal(5), move_pct_min=Decimal("0.05"), gap_pct_min=Decimal("0.08"))
CALM = [Decimal(100) + Decimal(n % 2) / 2 for n in range(21)]  # half a percent up and down


def headline(text: str, *symbols: str, **more: str) -> Headline:
    return Headline(id="7", at=NOON, text=text, symbols=symbols or ("AAPL",), **more)


class TestScore:
    @pytest.mark.parametrize(
        ("text", "points", "words"),
        [
            ("Apple to be delisted after fraud charges", 7, ("delist*", "fraud*")),
            ("APPLE FILES FOR CHAPTER 11!", 4, ("chapter 11",)),
            ("Apple faces probe, CEO resigns", 4, ("probe", "resigns")),
            ("Analysts meet in Cupertino", 0, ()),
            ("Apple denies fraud", 0, ()),  # a denial shortly before the word
            ("Apple cleared of all fraud", 0, ()),
            ("No comment. Fraud at Apple", 3, ("fraud*",)),  # of another sentence
            ("Denies everything at length in court: fraud", 3, ("fraud*",)),  # too far away to count
            ("Fraudulent fraud frauds", 3, ("fraud*",)),  # each word once
            ("Strikeout king retires", 0, ()),  # no part of another word unless it is listed so
        ],
    )
    def test_words_add_up_to_a_score(self, text: str, points: int, words: tuple[str, ...]) -> None:
        score = score_headline(headline(text))

        assert (score.points, score.words) == (points, words)

    def test_the_summary_counts_as_well_and_no_denial_reaches_into_it(self) -> None:
        found = headline("Apple denies", summary="Fraud was found in its books.")

        assert score_headline(found).words == ("fraud*",)

    @pytest.mark.parametrize(
        "text",
        [
            "[synthetic] AAPL opens down 9.30%",
            "[synthetic] An imaginary analyst worries about AAPL",
            "[synthetic] Rumours about AAPL circulate; none is confirmed",
            "[synthetic] AAPL splits 2 for 1 today",
            "[synthetic] A made-up fund trims its holding of AAPL",
        ],
    )
    def test_the_paper_exchanges_own_headlines_alarm_nobody(self, text: str) -> None:
        assert score_headline(headline(text)).points == 0


class TestShocks:
    def test_a_shock_says_where_it_comes_from(self) -> None:
        found = headline("Apple indicted for fraud", source="wire", url="https://news.example/7")

        (shock,) = headline_shocks(found, frozenset({"AAPL"}), score_min=3)

        assert (shock.symbol, shock.cause) == ("AAPL", "headline:7")
        assert "Apple indicted for fraud" in shock.reason and "6 points" in shock.reason
        assert shock.detail == {
            "headline_id": "7", "headline": "Apple indicted for fraud", "url": "https://news.example/7",
            "source": "wire", "published_at": NOON.isoformat(), "words": ["fraud*", "indict*"], "score": 6,
            "scorer": SCORER,
        }  # fmt: skip

    def test_only_our_symbols_are_concerned(self) -> None:
        found = headline("Merger of fraudsters", "AAPL", "XYZ")

        assert [shock.symbol for shock in headline_shocks(found, frozenset({"AAPL", "IBM"}), score_min=3)] == ["AAPL"]

    def test_what_scores_too_low_is_no_shock(self) -> None:
        assert headline_shocks(headline("Apple sues"), frozenset({"AAPL"}), score_min=3) == []

    def test_a_round_up_of_many_symbols_is_none(self) -> None:
        found = headline("Fraud, fraud everywhere", "AAPL", "A", "B", "C", "D", "E")

        assert headline_shocks(found, frozenset({"AAPL"}), score_min=3) == []


def judged(price: str, opened: str | None = None, closes: list[Decimal] = CALM) -> Shock | None:
    first = None if opened is None else Decimal(opened)
    return judge_move("AAPL", closes=closes, opened=first, price=Decimal(price), at=NOON, limits=LIMITS)


class TestMoves:
    @pytest.mark.parametrize(
        ("price", "opened", "cause"),
        [
            ("101", None, None),
            ("95.5", "100", None),  # nine sigma, but less than five per cent
            ("94", "100", "move:AAPL:2007-01-03:down"),
            ("107", "100", "move:AAPL:2007-01-03:up"),
            ("100", "91", "gap:AAPL:2007-01-03:down"),  # back at its last close, but it has gapped
            ("100", "109", "gap:AAPL:2007-01-03:up"),
        ],
    )
    def test_a_move_is_judged_by_what_was_usual(self, price: str, opened: str | None, cause: str | None) -> None:
        shock = judged(price, opened)

        assert (shock.cause if shock else None) == cause

    def test_it_says_by_how_much(self) -> None:
        shock = judged("94")

        assert shock is not None
        assert "moved -6.0% from its last close 100" in shock.reason and "sigma of the last 20 days" in shock.reason

    def test_the_same_move_is_usual_for_a_wild_symbol(self) -> None:
        wild = [Decimal(100) + 6 * (-1) ** n for n in range(21)]

        assert judged("99", closes=wild) is None

    @pytest.mark.parametrize("closes", [CALM[:9], [Decimal(0), *CALM]])
    def test_too_little_history_judges_nothing(self, closes: list[Decimal]) -> None:
        assert judged("50", closes=closes) is None

    def test_a_flat_history_has_no_sigma(self) -> None:
        assert judged("94", closes=[Decimal(100)] * 21) is None

    def test_the_cause_changes_with_the_day(self) -> None:
        later = judge_move(
            "AAPL", closes=CALM, opened=None, price=Decimal(94), at=NOON + timedelta(days=1), limits=LIMITS
        )

        assert later is not None and later.cause == "move:AAPL:2007-01-04:down"
