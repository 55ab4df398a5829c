"""The launcher is one file, which the import rules' own tool does not read."""

import ast

from local.migrations import ROOT

FORBIDDEN = {"engine", "local", "alpaca", "supabase"}


def test_the_launcher_knows_neither_engine_nor_broker_nor_database_library() -> None:
    tree = ast.parse((ROOT / "app.py").read_text())

    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert not FORBIDDEN & {name.split(".")[0] for name in imported}
