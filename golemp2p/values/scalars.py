"""What makes a Python value a valid WIT scalar. One place, because a wrong one is dangerous beyond: in native code
integers wrap silently, a bool passes as an integer, and a lone surrogate given as a char aborts the whole process."""

from __future__ import annotations

import struct

INTEGER_RANGES: dict[str, tuple[int, int]] = {
    f"{sign}{bits}": (0, (1 << bits) - 1) if sign == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
    for sign in "us"
    for bits in (8, 16, 32, 64)
}
"""Name of an integer type -> (lowest, highest), both included."""

_F32 = struct.Struct("<f")


def is_scalar_text(text: str) -> bool:
    """True for text that has a UTF-8 form, i.e. no surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_code_point(number: int) -> bool:
    """True for Unicode scalar values: code points that are not surrogates."""
    return 0 <= number < 0xD800 or 0xE000 <= number <= 0x10FFFF


def is_char(text: str) -> bool:
    return len(text) == 1 and is_code_point(ord(text))


def rounded_to_f32(value: float) -> float | None:
    """The nearest 32-bit float; ``None`` when a finite value is too large for one. NaN and infinities stay."""
    try:
        return float(_F32.unpack(_F32.pack(value))[0])
    except OverflowError:
        return None
