"""Logs as JSON lines on standard error: only allow-listed keys, so that no secret can be a value.

A message is a constant text; what varies stands in the keys below.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")
KEYS: Final = (
    "error", "detail", "type", "sequence", "grpc_code", "manifest", "height", "cause", "signal",
    "version", "boot",
)  # fmt: skip
_MAX_VALUE: Final = 300


class JsonFormatter(logging.Formatter):
    """One line for each record: time, level, where, message, and the allow-listed keys."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is cut down to the exception's type and place."""
        line: dict[str, int | str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in KEYS:
            value = getattr(record, key, None)
            if value is not None:
                line[key] = value if isinstance(value, int) else str(value)[:_MAX_VALUE]
        if record.exc_info and record.exc_info[0] is not None:
            line["cause"] = f"{record.exc_info[0].__name__} at {_place(record)}"
        return json.dumps(line)


def _place(record: logging.LogRecord) -> str:
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"


def start_logging(level: str) -> None:
    """Send all logs to standard error in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
