"""Rules that every page keeps, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(path for folder in ("monitor", "operate", "analyse", "admin")
               for path in (ROOT / "pages" / folder).glob("[!_]*.py"))  # fmt: skip
ALL = sorted((ROOT / "pages").rglob("*.py"))
LAYERS_WITH_STATE = {"components", "session"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_pages_to_check() -> None:
    assert len(PAGES) >= 7


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_first_statement_of_a_page_is_the_guard(path: Path) -> None:
    body = [node for node in tree(path).body if not isinstance(node, ast.Import | ast.ImportFrom)]

    docstring, first = body[0], body[1]

    assert isinstance(docstring, ast.Expr)
    assert isinstance(first, ast.Assign | ast.Expr)
    assert isinstance(first.value, ast.Call)
    assert ast.unparse(first.value.func) == "require_session"


@pytest.mark.parametrize(
    ("page", "guard"),
    [
        ("operate/control", '"admin"'), ("operate/approvals", '"operator", "admin"'), ("admin/risk", '"admin"'),
        ("admin/members", '"admin"'), ("admin/audit", '"admin"'), ("admin/engine", '"operator", "admin"'),
        ("admin/alerts", '"operator", "admin"'), ("admin/profiles", '"operator", "admin"'),
    ],
)  # fmt: skip
def test_page_asks_for_the_roles_that_may_act_there(page: str, guard: str) -> None:
    source = (ROOT / "pages" / f"{page}.py").read_text()

    assert f"require_session({guard})" in source


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_is_a_table_of_contents(path: Path) -> None:
    lines = path.read_text().splitlines()
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]

    assert len(lines) <= 60
    assert all(node.end_lineno - node.lineno <= 10 for node in functions if node.end_lineno)


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_queries_stay_in_db(path: Path) -> None:
    calls = {node.func.attr for node in ast.walk(tree(path))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}  # fmt: skip

    assert not calls & {"rpc", "table", "from_"}


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_clients_of_the_outside_are_not_imported(path: Path) -> None:
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert not {name.split(".")[0] for name in imported} & {
        "supabase",
        "postgrest",
        "httpx",
        "alpaca",
        "psycopg",
        "local",
    }


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_session_state_belongs_to_components(path: Path) -> None:
    if path.relative_to(ROOT / "pages").parts[0] not in LAYERS_WITH_STATE:
        assert "session_state" not in path.read_text()


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_streamlits_caches_are_not_used(path: Path) -> None:
    """They are shared by all sessions of the process: one person's rows would reach another."""
    assert "cache_data" not in path.read_text()
    assert "cache_resource" not in path.read_text()


def test_only_the_page_boundary_catches_everything() -> None:
    broad = [name_of(path) for path in [*ALL, ROOT / "app.py"]
             for node in ast.walk(tree(path))
             if isinstance(node, ast.ExceptHandler)
             and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))]  # fmt: skip

    assert broad == ["pages/components/messages.py"]


def test_nothing_but_the_frame_lies_where_streamlit_could_serve_it_alone() -> None:
    assert {path.name for path in (ROOT / "pages").glob("*.py")} == {"__init__.py", "frame.py"}
