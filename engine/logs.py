"""Structured logs: one JSON object a line for a service, plain lines on a terminal; secrets never in either.

What is bound to the context, such as an order's or a request's id, is in every line that is written under it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
SECRET_MIN_CHARS: Final = 6  # what is shorter would black out ordinary words
_SECRET_KEY: Final = re.compile(
    r"authorization|password|passwd|secret|token$|api[-_]?key|apca-|cookie|credential|private[-_]?key|alert_urls", re.I
)
_SECRET_TEXT: Final = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"  # an Authorization header
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user and password in an address
)
_TOLD_BY: Final = ("bearer", "basic", "eyj", "://")  # in small letters, each of these texts has one of them
_JSON: Final = json.JSONEncoder(default=str)
_PLAIN: Final = (str, int, float)
# A lease's fencing token is a number that everybody may know.
_OPEN_KEYS: Final = frozenset({"token", "permit_token"})


class Redactor:
    """A processor that blacks out secrets wherever they are: values, keys, nested, and in exceptions' text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        self._known = re.compile("|".join(map(re.escape, self._spellings))) if spellings else None

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if self._is_clean(event):
            return event
        return self.redacted(event)

    def redacted(self, event: EventDict) -> EventDict:
        """Return an event without secrets, whatever is in it."""
        return {self.text(str(key)): self._redact(key, value) for key, value in event.items()}

    def text(self, text: str) -> str:
        """Return text without known secrets and without what looks like one."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return _SECRET_TEXT.sub(REDACTED, text)

    def _is_clean(self, event: EventDict) -> bool:
        """Look an ordinary event through at once: every line is, and hardly any holds a secret."""
        if not all(value is None or isinstance(value, _PLAIN) for value in event.values()):
            return False
        if any(map(_calls_it_secret, event)):
            return False
        values = [value if isinstance(value, str) else str(value) for value in event.values()]
        text = "\0".join([*event, *values])  # nothing that is looked for ends at a \0
        return not _looks_secret(text) and not any(map(text.__contains__, self._spellings))

    def _redact(self, key: object, value: Any) -> Any:
        if isinstance(key, str) and _calls_it_secret(key) and not (key in _OPEN_KEYS and isinstance(value, int)):
            return REDACTED
        if value is None or isinstance(value, (bool, int, float)):
            return self._number(value)
        if isinstance(value, Mapping):
            return {self.text(str(inner)): self._redact(inner, held) for inner, held in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._redact(None, held) for held in value]
        return self.text(value.decode(errors="replace") if isinstance(value, bytes) else str(value))

    def _number(self, value: Any) -> Any:
        return value if self.text(str(value)) == str(value) else REDACTED


@lru_cache(maxsize=1000)
def _calls_it_secret(key: str) -> bool:
    """Tell whether a key says that its value is a secret."""
    return _SECRET_KEY.search(key) is not None


def _looks_secret(text: str) -> bool:
    """Tell whether a text holds what looks like a secret; in most, its words are missed in a tenth of the time."""
    if text.isascii() and not any(map(text.lower().__contains__, _TOLD_BY)):
        return False
    return _SECRET_TEXT.search(text) is not None


def configure_logs(level: int = logging.INFO, secrets: Iterable[str] = ()) -> None:
    """Set up logging for the process: our own lines and those of libraries, of which warnings and worse are kept.

    Parameters
    ----------
    secrets : values that never appear, whatever the name under which they are logged
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        Redactor(secrets),
    ]
    structlog.configure(
        processors=[*shared, _renderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, _renderer()],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # A job that is still running when it is due again is normal here, not worth a line each time.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _renderer() -> Processor:
    if sys.stdout.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return _as_json


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _JSON.encode(event)


def _spellings(secret: str) -> set[str]:
    """Return a secret as it may turn up: as it is, in an address, in a repr, in JSON."""
    bare = secret.strip()
    if len(bare) < SECRET_MIN_CHARS:
        return set()
    spellings = {secret, bare, quote(bare), quote(bare, safe=""), repr(bare)[1:-1], json.dumps(bare)[1:-1]}
    return {spelling for spelling in spellings if len(spelling) >= SECRET_MIN_CHARS}
