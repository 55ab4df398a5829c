"""The settings of the risk configuration as fields of a form: bounds, what is shown, and what was meant."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from re import fullmatch
from typing import Any, Literal

from engine.domain.risk_config import PortfolioRiskConfig
from pages.components.risk_form_labels import LABELS, PERCENTAGES, TABS, UNSET, UNSET_BLOCKS

Kind = Literal["number", "count", "flag", "symbol", "map"]
Typed = Mapping[str, Any]
YES, NO, NOT_SET = "On", "Off", UNSET_BLOCKS
ABSENT = object()  # a key that is not in the document: the shipped value holds
_HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Field:
    """One setting. Bounds are those of the stored value: 0.05 for 5 %."""

    path: str
    kind: Kind
    nullable: bool
    above: Decimal | None  # the value is greater than this, or
    minimum: Decimal | None  # at least this
    maximum: Decimal | None
    shipped: Any

    @property
    def label(self) -> str:
        """Return the name with its unit: Loss of a day (%)."""
        name, unit, _ = LABELS.get(self.path, (self.path, "", ""))
        return f"{name} ({unit})" if unit else name

    @property
    def name(self) -> str:
        """Return the name where its section is not seen: Limits on losses, loss of a day."""
        name = LABELS.get(self.path, (self.path, "", ""))[0]
        title = next((tab[section] for tab in TABS.values() if (section := self.path.split(".")[0]) in tab), "")
        return f"{title}, {name[0].lower()}{name[1:]}"

    @property
    def help(self) -> str:
        """Return what the setting does and within which bounds."""
        what = LABELS.get(self.path, ("", "", ""))[2]
        return f"{what} {self.bounds_words()}".strip()

    @property
    def placeholder(self) -> str:
        """Return what an empty field means."""
        return UNSET.get(self.path, UNSET_BLOCKS) if self.nullable else f"Shipped: {shown(self, self.shipped)}"

    def bounds_words(self) -> str:
        """Return the bounds in words."""
        if self.kind not in ("number", "count") or self.maximum is None:
            return ""
        low = f"Above {self._scaled(self.above):,f}" if self.above is not None else f"{self.minimum or 0:,}"
        whole = ", a whole number" if self.kind == "count" else ""
        return f"{low} to {self._scaled(self.maximum):,f}{whole}."

    def unit_words(self, value: Any) -> str:
        """Return a stored value as people say it, with its unit: 5 %, $25,000, not set."""
        if value is ABSENT:
            return f"shipped value, {self.unit_words(self.shipped)}" if not self.nullable else self.unit_words(None)
        if value is None:
            return UNSET.get(self.path, UNSET_BLOCKS).lower()
        text, unit = shown(self, value), LABELS.get(self.path, ("", "", ""))[1]
        if self.kind == "flag":
            return text.lower()
        if self.kind == "map":
            return text.replace("\n", ", ") or "none"
        if fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            text = f"{Decimal(text):,f}"
        if unit == "USD":
            return f"${text}"
        return f"{text} {unit}".strip()

    def _scaled(self, value: Decimal) -> Decimal:
        return value * _HUNDRED if self.path in PERCENTAGES else value


@dataclass(frozen=True)
class Change:
    """One setting that is meant to hold another value."""

    field: Field
    old: Any
    new: Any

    def words(self) -> str:
        """Return the change as a line: Loss of a day: 5 % → 4 %."""
        return f"{self.field.name}: {self.field.unit_words(self.old)} → {self.field.unit_words(self.new)}"


@dataclass(frozen=True)
class Problem:
    """Something typed that cannot be taken, and what would be."""

    field: Field
    message: str


@cache
def fields() -> dict[str, Field]:
    """Return every setting by its path, in the order of the sections."""
    schema = PortfolioRiskConfig.model_json_schema()
    shipped = PortfolioRiskConfig().to_db_json()
    found = {}
    for section, reference in schema["properties"].items():
        properties = schema["$defs"][reference["$ref"].rsplit("/", 1)[1]]["properties"]
        for name, described in properties.items():
            field = _field(f"{section}.{name}", described, shipped[section].get(name))
            found[field.path] = field
    return found


def stored(config: Mapping[str, Any], path: str) -> Any:
    """Return the value of a path in a document; ABSENT where it has none."""
    section, name = path.split(".")
    return config.get(section, {}).get(name, ABSENT)


def shown(field: Field, value: Any) -> str:
    """Return a stored value as the form shows it; an empty text for one that is not set."""
    if value is ABSENT and field.kind == "flag":
        value = field.shipped
    if value is ABSENT or value is None:
        return NOT_SET if field.kind == "flag" else ""
    if field.kind == "flag":
        return YES if value else NO
    if field.kind == "map":
        return "\n".join(f"{symbol} = {name}" for symbol, name in sorted(value.items()))
    if field.kind == "symbol":
        return str(value)
    return _plain(Decimal(str(value)) * (_HUNDRED if field.path in PERCENTAGES else 1))


def changes(config: Mapping[str, Any], typed: Typed) -> tuple[list[Change], list[Problem]]:
    """Return what the typed texts change in a document, and what cannot be taken.

    Parameters
    ----------
    config : the document as it is stored
    typed : text by path; what is shown unchanged changes nothing, however it is stored
    """
    changed, problems = [], []
    for path, text in typed.items():
        field, old = fields()[path], stored(config, path)
        if str(text).strip() == shown(field, old).strip():
            continue
        try:
            new = _meant(field, str(text).strip())
        except ValueError as e:
            problems.append(Problem(field, str(e)))
            continue
        if not _same(field, old, new):
            changed.append(Change(field, old, new))
    return changed, problems


def applied(config: Mapping[str, Any], changed: list[Change]) -> dict[str, Any]:
    """Return a document with the changes; every other key, known or not, is as it was."""
    document = deepcopy(dict(config))
    for change in changed:
        section, name = change.field.path.split(".")
        held = document.setdefault(section, {})
        if change.new is ABSENT:
            held.pop(name, None)
        else:
            held[name] = change.new
    return document


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return which settings hold another value in one document than in another."""
    pairs = ((field, stored(old, path), stored(new, path)) for path, field in fields().items())
    return [Change(field, before, after) for field, before, after in pairs if not _same(field, before, after)]


def diff_lines(diff: list[dict[str, Any]]) -> list[str]:
    """Return the differences that a version was kept with, in words; a key that no field stands for as it is."""
    return [line for item in diff for line in _diff_line(item["path"], item["from"], item["to"])]


def unknown_keys(config: Mapping[str, Any]) -> list[str]:
    """Return the paths in a document that this form knows nothing of, sorted."""
    return sorted(_unknown(config))


def _diff_line(path: str, old: Any, new: Any) -> Iterator[str]:
    field = fields().get(path)
    if field:
        yield Change(field, _kept(field, old), _kept(field, new)).words()
    elif "." not in path and isinstance(old or new, dict):
        for name in {**(old or {}), **(new or {})}:
            yield from _diff_line(f"{path}.{name}", (old or {}).get(name), (new or {}).get(name))
    else:
        yield f"{path}: {json.dumps(old)} → {json.dumps(new)}"


def _kept(field: Field, value: Any) -> Any:
    """Return a value of a kept difference: there, null stands for a key that was not there."""
    return ABSENT if value is None and not field.nullable else value


def _unknown(config: Mapping[str, Any]) -> Iterator[str]:
    sections = {path.split(".")[0] for path in fields()}
    for section, held in config.items():
        if section not in sections or not isinstance(held, Mapping):
            yield section
        else:
            yield from (path for name in held if (path := f"{section}.{name}") not in fields())


def _field(path: str, described: Mapping[str, Any], shipped: Any) -> Field:
    parts = list(_parts(described))
    types = {part.get("type") for part in parts}
    bound = {name: part[name] for part in parts for name in ("gt", "ge", "le", "minimum", "maximum") if name in part}
    kind: Kind = (
        "flag" if "boolean" in types else "map" if "object" in types else "symbol" if any("pattern" in p for p in parts)
        else "count" if "integer" in types else "number"
    )  # fmt: skip
    above, low, high = bound.get("gt"), bound.get("ge", bound.get("minimum")), bound.get("le", bound.get("maximum"))
    return Field(path, kind, "null" in types, *(None if b is None else Decimal(str(b)) for b in (above, low, high)),
                 shipped)  # fmt: skip


def _parts(described: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield described
    for part in described.get("anyOf", []):
        yield from _parts(part)


def _meant(field: Field, text: str) -> Any:
    if field.kind == "flag":
        return {YES: True, NO: False, NOT_SET: None}[text]
    if field.kind == "map":
        return _sectors(text)
    if not text:
        return None if field.nullable else ABSENT
    if field.kind == "symbol":
        return _symbol(text)
    return _number(field, text)


def _number(field: Field, text: str) -> Any:
    digits = text.removesuffix("%").removeprefix("$").strip()
    if fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", digits):  # 12,000; but 1,5 could mean 1.5
        digits = digits.replace(",", "")
    if not fullmatch(r"[0-9]{1,15}(\.[0-9]{1,13})?", digits):
        raise ValueError(f"{text!r} is not a number in plain digits. {field.bounds_words()}")
    value = Decimal(digits) / (_HUNDRED if field.path in PERCENTAGES else 1)
    too_low = (field.above is not None and value <= field.above) or (
        field.minimum is not None and value < field.minimum
    )
    if too_low or (field.maximum is not None and value > field.maximum):
        raise ValueError(f"{text} is out of bounds. {field.bounds_words()}")
    if field.kind == "number":
        return _plain(value)
    if value != int(value):
        raise ValueError(f"{text} is not a whole number. {field.bounds_words()}")
    return int(value)


def _symbol(text: str) -> str:
    symbol = text.upper()
    if not fullmatch(r"\*|[A-Z][A-Z0-9./-]{0,14}", symbol):
        raise ValueError(f"{text!r} is no symbol. Type one such as SPY, or * for all that are traded.")
    return symbol


def _sectors(text: str) -> dict[str, str]:
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        symbol, _, name = (part.strip() for part in line.partition("="))
        if not fullmatch(r"[A-Z][A-Z0-9./-]{0,14}", symbol.upper()) or not 1 <= len(name) <= 40:
            raise ValueError(f'{line!r} is no sector. Write one "AAPL = technology" a line.')
        found[symbol.upper()] = name
    return found


def _same(field: Field, old: Any, new: Any) -> bool:
    if old is ABSENT or new is ABSENT or old is None or new is None:
        return (old in (None, ABSENT) and new in (None, ABSENT)) if field.nullable else old is new
    if field.kind in ("number", "count"):
        return Decimal(str(old)) == Decimal(str(new))
    return bool(old == new)


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
