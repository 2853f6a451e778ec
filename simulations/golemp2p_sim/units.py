"""Durations as people write them: ``60s``, ``200ms``, ``1.5m``, ``5us``; inside they are whole nanoseconds."""

from __future__ import annotations

import re
from typing import Final

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000

_UNITS = {"ns": 1, "us": US, "ms": MS, "s": S, "m": 60 * S, "h": 3600 * S}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h)")


def duration_ns(text: str) -> int:
    """Nanoseconds of ``text``; ``ValueError`` says what was expected."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a duration such as 60s, 200ms or 1.5m, got {text!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def duration_text(ns: int) -> str:
    """The shortest of the forms that ``duration_ns`` reads: ``200ms``."""
    for unit in ("m", "s", "ms", "us"):
        if ns and ns % _UNITS[unit] == 0:
            return f"{ns // _UNITS[unit]}{unit}"
    return f"{ns / S:g}s" if ns >= S else f"{ns}ns"
