"""JSON logs of allow-listed keys: what is not named here is not written.

So a secret that somebody passes by mistake under a new key stays out; values are cut to a length.
Exceptions leave their type and place, never their text: texts of libraries quote what they got.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog

ALLOWED: Final = frozenset(
    {
        "event", "level", "timestamp", "logger", "method", "code", "caller", "fault", "place",
        "stage", "batch_id", "external_id", "vault", "node", "height", "block", "txid", "state",
        "count", "error", "address", "version", "incarnation", "sequence", "seconds", "round",
        "digest", "signal", "port", "transition",
    }
)  # fmt: skip
MAX_VALUE: Final = 512


def configure_logs(stream: TextIO | None = None, level: str = "info") -> None:
    """Write structlog and the standard library's warnings as JSON lines."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            place_of_exception,
            keep_allowed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


class _JsonLine(logging.Formatter):
    """A record of the standard library in the same form, by the same rules."""

    def format(self, record: logging.LogRecord) -> str:
        entry: MutableMapping[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "exc_info": record.exc_info[1] if record.exc_info else None,
        }
        kept = keep_allowed(None, "", place_of_exception(None, "", entry))
        return json.dumps(kept, sort_keys=True)


def place_of_exception(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace an exception by its type and the line that raised it."""
    bad = entry.pop("exc_info", None)
    if isinstance(bad, BaseException):
        entry["fault"] = type(bad).__name__
        frames = traceback.extract_tb(bad.__traceback__)
        if frames:
            entry["place"] = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}"
    return entry


def keep_allowed(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop keys that are not allowed; cut what is too long."""
    kept: MutableMapping[str, Any] = {}
    for key, value in entry.items():
        if key in ALLOWED:
            kept[key] = value if isinstance(value, int | float) else str(value)[:MAX_VALUE]
    return kept
