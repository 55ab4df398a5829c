"""What a drill found: findings in plain words, as Markdown for people and as values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Proof(StrEnum):
    """What is known about one promise after a drill."""

    HELD = "held"
    BROKEN = "broken"
    NOT_PROVEN = "not proven"


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise: what was seen of it, and the figures. Times in seconds."""

    promise: str
    proof: Proof
    said: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole drill. Times are this machine's, but for those of the figures that say otherwise."""

    drill_id: str
    kind: str
    who: str
    began_at: datetime
    ended_at: datetime
    before: str
    after: str
    interrupted: bool
    versions: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Tell whether every promise was seen to hold."""
        return not self.interrupted and all(finding.proof is Proof.HELD for finding in self.findings)

    @property
    def verdict(self) -> str:
        """Say in one sentence how it went."""
        wrong = [f for f in self.findings if f.proof is Proof.BROKEN] or [
            f for f in self.findings if f.proof is Proof.NOT_PROVEN
        ]
        if wrong:
            return f"The drill failed: {wrong[0].said}"
        return "The drill was interrupted." if self.interrupted else "The drill passed: everything held."

    def as_values(self) -> dict[str, Any]:
        """Return the report as JSON can carry it."""
        values: dict[str, Any] = _plain(asdict(self))
        return {"passed": self.passed, "verdict": self.verdict} | values

    def as_markdown(self) -> str:
        """Return the report as a page."""
        return "\n".join([*_head(self), "", *_table(self.findings), "", *_figures(self.findings)]) + "\n"


def _head(report: Report) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [
        f"# Fire drill: {report.kind}",
        "",
        f"**{report.verdict}**",
        "",
        f"- Run by {report.who}, {report.began_at:%Y-%m-%d %H:%M:%S} to {report.ended_at:%H:%M:%S} UTC",
        f"- Before: {report.before}. After: {report.after}.",
        f"- Versions: {versions}",
        f"- Id {report.drill_id}; the audit log has every change of the mode under it.",
    ]


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = [f"| {f.promise} | {f.proof} | {f.said.replace('|', '/')} |" for f in findings]
    return ["| promise | proof | what was seen |", "|---|---|---|", *rows]


def _figures(findings: Sequence[Finding]) -> list[str]:
    lines = [f"| {f.promise} | {name} | {value} |" for f in findings for name, value in f.figures.items()]
    return ["| promise | figure | value |", "|---|---|---|", *lines] if lines else []


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
