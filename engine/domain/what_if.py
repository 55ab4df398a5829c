"""What if: recorded decisions under other limits and controls, and what the difference would have brought. Pure.

A counterfactual, not a forecast: see `replay` for what feeds back into later decisions and what does not, and
`price_path` for how an entry that was never made is followed over the bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from engine.domain.price_path import Path
from engine.domain.replay import Change, Judged, RecordedEntry, replay


@dataclass(frozen=True, slots=True)
class Verdict:
    """One entry in the replay with what follows from it.

    `effect_usd`: what the replay gains over the record by this entry, in US dollars (negative: loses); 0 where both
    agree; None where it cannot be known.
    """

    judged: Judged
    path: Path | None
    effect_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The whole of a replay, in the order in which the entries were asked."""

    verdicts: tuple[Verdict, ...]

    @property
    def added(self) -> list[Verdict]:
        """What would have gone to the broker, and did not."""
        return [verdict for verdict in self.verdicts if verdict.judged.is_added]

    @property
    def removed(self) -> list[Verdict]:
        """What went to the broker, and would not have."""
        return [verdict for verdict in self.verdicts if verdict.judged.is_removed]

    @property
    def changed(self) -> list[Verdict]:
        """Whatever was answered otherwise, with or without an effect."""
        return [verdict for verdict in self.verdicts if verdict.judged.is_changed]

    @property
    def unknown(self) -> int:
        """How many of those that were added or removed have an effect that cannot be known."""
        return sum(verdict.effect_usd is None for verdict in [*self.added, *self.removed])

    @property
    def difference_usd(self) -> Decimal:
        """What the replay would have brought over the record, as far as it can be known."""
        return effect_of(self.verdicts)


def what_if(entries: Iterable[RecordedEntry], change: Change, paths: Mapping[str, Path]) -> WhatIf:
    """Judge recorded entries again under a change.

    Parameters
    ----------
    entries : those of a period; each with at least one decision
    paths : by entry id, what would become of those that did not go to the broker
    """
    return WhatIf(tuple(_verdict(judged, paths) for judged in replay(entries, change, paths)))


def effect_of(verdicts: Iterable[Verdict]) -> Decimal:
    """Return the sum of the effects that are known, in US dollars."""
    return sum((verdict.effect_usd for verdict in verdicts if verdict.effect_usd is not None), Decimal(0))


def _verdict(judged: Judged, paths: Mapping[str, Path]) -> Verdict:
    if judged.is_added:
        path = paths.get(judged.entry.id)
        return Verdict(judged, path, path.result_usd if path else None)
    if judged.is_removed:
        result = judged.entry.result_usd
        return Verdict(judged, None, None if result is None else -result)
    return Verdict(judged, None, Decimal(0))
