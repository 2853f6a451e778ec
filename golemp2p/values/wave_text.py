"""Characters of WAVE: a cursor over text, labels, numbers, and the escapes of chars and strings."""

from __future__ import annotations

import re

from golemp2p.values.mismatch import Mismatch, show
from golemp2p.values.scalars import is_code_point

KEYWORDS = frozenset({"true", "false", "some", "none", "ok", "err", "inf", "nan"})
"""Labels that mean something by themselves; a name that is spelled so gets a leading ``%``."""

_SKIPPED = re.compile(r"(?:[ \t\r\n]+|//[^\n]*)*")
_LABEL = re.compile(r"%?[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9A-Za-z_.])", re.ASCII)
_ESCAPE = re.compile(r"""\\(?:([\\'"tnr])|u\{([0-9a-fA-F]{1,6})\})""", re.ASCII)
_SIMPLE_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "t": "\t", "n": "\n", "r": "\r"}
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class Cursor:
    """A place in a text. ``take_*`` skip blanks and comments first, and return ``None`` (or False) without moving when the
    text goes on differently."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def skip(self) -> None:
        match = _SKIPPED.match(self.text, self.place)
        assert match is not None, "the pattern matches the empty text"
        self.place = match.end()

    def at_end(self) -> bool:
        self.skip()
        return self.place == len(self.text)

    def rest(self) -> str:
        """What comes next, for error messages."""
        self.skip()
        return show(self.text[self.place :]) if self.place < len(self.text) else "the end"

    def peek(self) -> str:
        """The next character; ``""`` at the end."""
        self.skip()
        return self.text[self.place : self.place + 1]

    def take(self, symbol: str) -> bool:
        self.skip()
        if not self.text.startswith(symbol, self.place):
            return False
        self.place += len(symbol)
        return True

    def expect(self, symbol: str) -> None:
        if not self.take(symbol):
            raise Mismatch(f"'{symbol}'", got=self.rest())

    def take_label(self) -> str | None:
        """A name as written, i.e. with its ``%`` if it has one."""
        return self._take(_LABEL)

    def take_number(self) -> str | None:
        return self._take(_NUMBER)

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        self.skip()
        match = pattern.match(self.text, self.place)
        if match is None:
            return None
        self.place = match.end()
        return match.group()

    def take_quoted(self, quote: str) -> str | None:
        """The unescaped content of ``'...'`` or ``"..."``."""
        if not self.take(quote):
            return None
        parts: list[str] = []
        text = self.text
        while True:
            start = self.place
            while self.place < len(text) and text[self.place] not in (quote, "\\", "\n"):
                self.place += 1
            parts.append(text[start : self.place])
            if self.place == len(text) or text[self.place] == "\n":
                raise Mismatch(f"a closing {quote}", got="the end of the line")
            if text[self.place] == quote:
                self.place += 1
                return "".join(parts)
            parts.append(self._escape())

    def _escape(self) -> str:
        match = _ESCAPE.match(self.text, self.place)
        if match is None:
            raise Mismatch("an escape (\\\\ \\' \\\" \\t \\n \\r \\u{...})", got=self.rest())
        self.place = match.end()
        if match[1] is not None:
            return _SIMPLE_ESCAPES[match[1]]
        code = int(match[2], 16)
        if not is_code_point(code):
            raise Mismatch("a Unicode scalar value", got=f"\\u{{{match[2]}}}")
        return chr(code)


def quoted(text: str, quote: str) -> str:
    """``text`` between quotes, escaped so that it stays on one line and is readable."""
    return quote + "".join(_escaped(char, quote) for char in text) + quote


def _escaped(char: str, quote: str) -> str:
    if char == quote:
        return "\\" + char
    if char in _ESCAPED:
        return _ESCAPED[char]
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"


def label_text(name: str) -> str:
    return f"%{name}" if name in KEYWORDS else name
