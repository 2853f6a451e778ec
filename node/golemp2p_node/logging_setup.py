"""How a node's log looks: one line per event, its name and its fields, as text or as JSON, on standard error.

Modules log events by name with fields in ``extra``: ``logger.info("worker_resumed", extra={"worker": "...", "took_s": 0.2})``.

    2026-11-22T10:00:00.123Z info    golemp2p.drivers.worker worker_resumed worker=… took_s=0.2
    {"time": "2026-11-22T10:00:00.123Z", "level": "info", "logger": "…", "event": "worker_resumed", "worker": "…"}

Field values may come from guests and callers, so nothing in them can break the line: text is quoted and escaped as JSON is.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from golemp2p_node.settings import LogSettings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
PLAIN = re.compile(r"[\w./:@+{}\[\],%*#-]+", re.ASCII)
VALUE_LENGTH_MAX = 8192  # one event must not fill the disk


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send every logger's events to ``stream`` (standard error). May be called again; the last call counts."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[settings.level])
    for chatty in ("httpx", "httpcore", "hypercorn.access"):
        logging.getLogger(chatty).setLevel(max(LEVELS[settings.level], logging.WARNING))


class TextLines(logging.Formatter):
    """For people: aligned heads, fields as ``name=value``; a traceback follows on lines of its own, indented."""

    def format(self, record: logging.LogRecord) -> str:
        pairs = "".join(f" {name}={_text(value)}" for name, value in fields(record).items())
        event = _text(record.getMessage()) if "\n" in record.getMessage() else record.getMessage()
        line = f"{_time(record)} {_level(record):<7} {record.name} {event}{pairs}"
        trace = _traceback(record)
        return line + "".join(f"\n    {part}" for part in trace.splitlines())


class JsonLines(logging.Formatter):
    """For programs: one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": _time(record),
            "level": _level(record),
            "logger": record.name,
            "event": record.getMessage(),
        }
        body.update((name, _plain(value)) for name, value in fields(record).items() if name not in body)
        if trace := _traceback(record):
            body["exception"] = trace
        return json.dumps(body)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the event's ``extra`` said, in its order."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(record: logging.LogRecord) -> str:
    return "error" if record.levelno > logging.ERROR else record.levelname.lower()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= VALUE_LENGTH_MAX else text[:VALUE_LENGTH_MAX] + "…"


def _text(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, float):
        return f"{plain:.6g}"
    return plain if isinstance(plain, str) and PLAIN.fullmatch(plain) else json.dumps(plain)


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1]))
