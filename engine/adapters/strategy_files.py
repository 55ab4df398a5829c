"""A user's own strategies, from the files or modules that ENGINE_STRATEGIES names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.domain.errors import ConfigError
from engine.domain.strategies import FAULTS, Strategy


def load_strategies(names: str) -> list[Strategy[Any]]:
    """Import own strategies: every `Strategy` that a file or module holds under a public name.

    Parameters
    ----------
    names : paths that end in .py, or names of importable modules, separated by commas

    Raises
    ------
    ConfigError when one cannot be imported or holds no strategy
    """
    return [strategy for name in names.split(",") if name.strip() for strategy in _strategies_in(name.strip())]


def _strategies_in(name: str) -> list[Strategy[Any]]:
    try:
        module = _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except (ImportError, OSError, SyntaxError, *FAULTS) as error:
        raise ConfigError(f"ENGINE_STRATEGIES: {name} cannot be imported: {error!r}") from error
    held: Iterable[object] = (value for key, value in vars(module).items() if not key.startswith("_"))
    found = {strategy.name: strategy for strategy in held if isinstance(strategy, Strategy)}
    if not found:
        raise ConfigError(f"ENGINE_STRATEGIES: {name} holds no Strategy; docs/strategies.md shows how to make one")
    return list(found.values())


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"own_strategy_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for the types of its fields
    spec.loader.exec_module(module)
    return module
