"""What is a shock to a price: a headline with alarming words, or a move beyond what is usual.

Both are plain arithmetic over what was read, so that a lockout can say exactly why it was set. The
scorer knows words, not meaning: it is tuned to stop entries early, and a person can lift a lockout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from statistics import stdev
from typing import Final

SCORER: Final = "words-1"  # changes with the lists below, so that each lockout tells which it was judged by
# A headline about many symbols is a round-up of the day, no news about any of them.
SYMBOLS_MAX: Final = 5
# A word does not count when one of these stands shortly before it.
DENIALS: Final = frozenset({"no", "not", "never", "without", "denies", "denied", "dismisses", "dismissed", "cleared"})
DENIAL_REACH_WORDS: Final = 3
CLOSES_MIN: Final = 10

# What weighs how much; a star stands for any ending. Good news moves prices as well as bad.
WEIGHTS: Final[Mapping[str, int]] = {
    "bankrupt*": 4, "chapter 11": 4, "insolven*": 4, "delist*": 4, "fraud*": 3, "indict*": 3, "going concern": 4,
    "restat*": 3, "accounting irregularit*": 4, "trading halt*": 4, "halts trading": 4, "trading suspended": 4,
    "sec charges": 4, "default on": 3, "defaults on": 3, "ponzi": 4, "embezzl*": 3, "raided": 3,
    "takeover": 3, "tender offer": 4, "to be acquired": 4, "to acquire": 3, "merger": 3, "buyout": 3,
    "go private": 3, "hostile bid": 4,
    "profit warning": 3, "cuts guidance": 3, "cuts forecast": 3, "cuts outlook": 3, "withdraws guidance": 4,
    "suspends dividend": 3, "plunge*": 3, "crash*": 3, "soar*": 3, "skyrocket*": 3, "halved": 3,
    "investigation": 2, "investigates": 2, "probe": 2, "subpoena*": 2, "recall*": 2, "lawsuit": 2, "sues": 2,
    "data breach": 2, "hacked": 2, "cyberattack": 2, "explosion": 2, "strike": 1, "layoffs": 1,
    "resigns": 2, "steps down": 2, "ousted": 2, "dies": 2, "downgrade*": 1, "upgrade*": 1,
    "misses estimates": 2, "beats estimates": 1, "surge*": 2, "tumble*": 2, "antitrust": 2, "fda reject*": 4,
    "fda approv*": 3, "sanction*": 2, "short seller": 2, "short report": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """An article as the news feed tells it; `at` is when it appeared, aware UTC."""

    id: str
    at: datetime
    text: str
    symbols: tuple[str, ...]
    summary: str = ""
    source: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """Why entries in a symbol should wait. `cause` is the same whenever the same thing is seen again."""

    symbol: str
    cause: str
    reason: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Score:
    """How alarming a text is, and the words that made it so, heaviest first."""

    points: int
    words: tuple[str, ...]


def score_headline(headline: Headline) -> Score:
    """Add up the weights of the words found in headline and summary, each once."""
    tokens = [*_tokens(headline.text), ".", *_tokens(headline.summary)]
    found = [(weight, phrase) for phrase, weight in WEIGHTS.items() if _stands_in(tokens, phrase.split())]
    found.sort(key=lambda each: (-each[0], each[1]))
    return Score(sum(weight for weight, _ in found), tuple(phrase for _, phrase in found))


def headline_shocks(headline: Headline, symbols: frozenset[str], *, score_min: int) -> list[Shock]:
    """Return a shock for each of our `symbols` that an alarming headline is about."""
    if len(headline.symbols) > SYMBOLS_MAX:
        return []
    score = score_headline(headline)
    if score.points < score_min:
        return []
    return [
        Shock(
            symbol=symbol,
            cause=f"headline:{headline.id}",
            reason=f"Headline: {headline.text[:240]} ({', '.join(score.words[:5])}; {score.points} points)",
            detail={
                "headline_id": headline.id,
                "headline": headline.text[:1000],
                "url": headline.url,
                "source": headline.source,
                "published_at": headline.at.isoformat(),
                "words": list(score.words),
                "score": score.points,
                "scorer": SCORER,
            },
        )
        for symbol in headline.symbols
        if symbol in symbols
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLimits:
    """What is no usual move; `_pct` are fractions of the last close, sigmas of its daily log returns."""

    sigmas_min: Decimal
    move_pct_min: Decimal
    gap_pct_min: Decimal


def judge_move(
    symbol: str,
    *,
    closes: Sequence[Decimal],
    opened: Decimal | None,
    price: Decimal,
    at: datetime,
    limits: MoveLimits,
) -> Shock | None:
    """Judge today's move against the last daily closes.

    Parameters
    ----------
    closes : completed daily closes, oldest first; too few of them judge nothing
    opened : the price of today's first trade; None while there is none
    price : what it costs now, the middle of the quote
    at : market time, which names the day

    Returns
    -------
    Shock for a gap at the opening, or for a move of more sigmas and of more per cent than the limits
    """
    if len(closes) < CLOSES_MIN or min(*closes, price) <= 0:
        return None
    last = closes[-1]
    gap = Decimal(0) if opened is None else opened / last - 1
    if abs(gap) >= limits.gap_pct_min:
        return _move(symbol, "gap", gap, at, f"opened {gap:+.1%} from its last close {last}", {"opened": str(opened)})
    move = price / last - 1
    returns = [(after / before).ln() for before, after in pairwise(closes)]
    sigma = stdev(returns)
    sigmas = abs((price / last).ln()) / sigma if sigma else Decimal(0)
    if abs(move) < limits.move_pct_min or sigmas < limits.sigmas_min:
        return None
    said = f"moved {move:+.1%} from its last close {last}: {sigmas:.1f} sigma of the last {len(returns)} days"
    return _move(symbol, "move", move, at, said, {"price": str(price), "sigmas": f"{sigmas:.2f}"})


def _move(symbol: str, kind: str, move: Decimal, at: datetime, said: str, more: Mapping[str, object]) -> Shock:
    direction = "up" if move > 0 else "down"
    return Shock(
        symbol=symbol,
        cause=f"{kind}:{symbol}:{at:%Y-%m-%d}:{direction}",
        reason=f"{symbol} {said}.",
        detail={"kind": kind, "move_pct": f"{move:.6f}", "market_at": at.isoformat(), **more},
    )


def _tokens(text: str) -> list[str]:
    """Return the words of a text in small letters; a sentence's end stands as a full stop."""
    return re.findall(r"[a-z0-9]+|[.]", text.lower().replace("!", ".").replace("?", ".").replace(";", "."))


def _stands_in(tokens: Sequence[str], phrase: Sequence[str]) -> bool:
    """Tell whether a phrase stands in a text somewhere without a denial shortly before it."""
    for start in range(len(tokens) - len(phrase) + 1):
        here = tokens[start : start + len(phrase)]
        before = tokens[max(0, start - DENIAL_REACH_WORDS) : start]
        if all(_fits(token, word) for token, word in zip(here, phrase, strict=True)) and not _is_denied(before):
            return True
    return False


def _is_denied(before: Sequence[str]) -> bool:
    """Tell whether a denial stands among the words before, in the same sentence."""
    return next((word in DENIALS for word in reversed(before) if word in DENIALS or word == "."), False)


def _fits(token: str, word: str) -> bool:
    return token.startswith(word[:-1]) if word.endswith("*") else token == word
