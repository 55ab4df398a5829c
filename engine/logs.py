"""Structured logs: one JSON object a line, times in UTC, secrets never in them."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(level: int = logging.INFO) -> None:
    """Set up structlog for the process; libraries report warnings and worse."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    # A job that is still running when it is due again is normal here, not worth a line each time.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
