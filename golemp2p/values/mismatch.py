"""How a codec says "this value does not fit": cheap on the way in, precise on the way out.

Codecs do not carry a path while they walk. The place that finds the misfit raises ``Mismatch``; every level it passes
through adds its own step (``.price``, ``[2]``), and the entry point turns it into the public ``ValueMismatch``.
"""

from __future__ import annotations

import json
from typing import Any

from golemp2p.errors import ValueMismatch
from golemp2p.model.wit import Type
from golemp2p.values.type_text import definition

TEXT_CHARS_MAX = 160
"""Length of the texts in an error: they travel in HTTP answers and logs, and the value is the caller's."""

_SHOWN_CHARS = 60


class Mismatch(Exception):
    """``expected``: the type, or a text when the type alone does not say it. ``got``: a text, or the value is shown."""

    def __init__(self, expected: Type | str, value: Any = None, *, got: str | None = None) -> None:
        super().__init__()
        self.expected, self.value, self.got = expected, value, got
        self.steps: list[str] = []  # innermost first

    def at(self, step: str) -> Mismatch:
        self.steps.append(step)
        return self

    def public(self, path: str) -> ValueMismatch:
        expected = self.expected if isinstance(self.expected, str) else definition(self.expected)
        got = show(self.value) if self.got is None else self.got
        return ValueMismatch(path + "".join(reversed(self.steps)), _shortened(expected), _shortened(got))


def show(value: Any) -> str:
    """A short text for any value, however large, deep or strange: scalars as JSON, containers by kind and size."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() <= 256 else f"an integer of {value.bit_length()} bits"
        case float():
            return repr(value)
        case str():
            return _show_text(value)
        case bytes() | bytearray():
            return f"{len(value)} bytes"
        case list():
            return f"an array of {len(value)}"
        case tuple():
            return f"a tuple of {len(value)}"
        case dict():
            return _show_object(value)
    return f"a {type(value).__name__}"


def _show_text(text: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
    return json.dumps(shown, ensure_ascii=any("\ud800" <= c <= "\udfff" for c in shown))


def _show_object(value: dict[Any, Any]) -> str:
    if not value:
        return "an empty object"
    names = [show(name) for name, _ in zip(value, range(4), strict=False)]
    return f"an object with {', '.join(names)}{', …' if len(value) > len(names) else ''}"


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
