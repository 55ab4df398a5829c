"""What the documentation says of roles, pages and links is the case."""

import re
from pathlib import Path

import pytest

from tests.security.expectations import ADMIN, ALICE, ENGINE, FUNCTIONS, OPERATOR, TABLES

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
ROLES = (ROOT / "docs" / "roles.md").read_text()
PEOPLE = {"admin": ADMIN, "operator": OPERATOR, "analyst": ALICE, "engine": ENGINE}


def section(title: str) -> str:
    return ROLES.split(f"## {title}\n")[1].split("\n## ")[0]


def table(title: str) -> dict[str, list[str]]:
    """Return a section's table: its first column without marks, and the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section(title).splitlines()
            if line.startswith("|")]  # fmt: skip
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def test_every_function_is_told_with_the_roles_that_it_answers() -> None:
    told = {name: dict(zip(PEOPLE, cells, strict=False)) for name, cells in table("Functions").items()}
    engines = set(re.findall(r"`(\w+)`", section("Functions").split("The engine alone calls:")[1]))
    expected = {name: {role: "yes" if who in allowed else "–" for role, who in PEOPLE.items()}
                for name, allowed in FUNCTIONS.items() if allowed != {ENGINE}}  # fmt: skip

    assert told == expected, "bring docs/roles.md up to date"
    assert engines == {name for name, allowed in FUNCTIONS.items() if allowed == {ENGINE}}


def test_every_table_is_told_with_who_reads_all_of_it_or_the_own_rows() -> None:
    told = {name: dict(zip(PEOPLE, cells, strict=True)) for name, cells in table("Tables").items()}

    assert set(told) == set(TABLES), "bring docs/roles.md up to date"
    for name, reading in TABLES.items():
        for_all = reading.shared or getattr(reading, "scoped", False)
        own = "own, and those for all" if for_all else "own" if reading.own else "–"
        assert told[name] == {role: "all" if who in reading.everything else "–" if who == ENGINE else own
                              for role, who in PEOPLE.items()}, name  # fmt: skip


def test_every_page_is_told_with_the_roles_that_its_guard_lets_in() -> None:
    told = table("Pages")
    pages = [path for folder in ("monitor", "operate", "analyse", "admin")
             for path in (ROOT / "pages" / folder).glob("[!_]*.py")]  # fmt: skip

    assert set(told) == {f"{path.parent.name}/{path.stem}" for path in pages}, "bring docs/roles.md up to date"
    for path in pages:
        guard = re.search(r"require_session\((.*?)\)", path.read_text())
        assert guard
        allowed = re.findall(r'"(\w+)"', guard[1]) or ["admin", "operator", "analyst"]
        cells = told[f"{path.parent.name}/{path.stem}"][:3]
        assert cells == ["yes" if role in allowed else "–" for role in ("admin", "operator", "analyst")], path


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCS], ids=lambda path: path.name)
def test_every_link_within_the_documentation_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_page_of_the_documentation_is_found_from_its_index(path: Path) -> None:
    index = (ROOT / "docs" / "README.md").read_text()

    assert path.name == "README.md" or f"]({path.name})" in index
