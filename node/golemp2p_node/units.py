"""Texts into typed settings, and back: bytes with units, seconds, switches, addresses, paths.

The kind of a setting follows from its name and its default, so flags, environment and file are read by the same rules.
A TOML file may also give numbers and booleans as such.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from golemp2p_node.settings import Address, Secret

UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
SIZE = re.compile(r"(\d{1,18})\s*([a-z]{0,3})", re.ASCII | re.IGNORECASE)
SHARE = re.compile(r"(\d{1,2}|100)\s*%", re.ASCII)

SECRET_BYTES_MAX = 64 << 10  # an invite has some hundred

Parser = Callable[[Any], Any]


def parser(key: str, example: Any) -> Parser:
    """How texts for setting ``key`` are read; ``example`` is any valid value of it. Parsers raise ``ValueError``."""
    if key == "memory_budget_bytes":
        return budget
    if key == "mesh":
        return address_or_off
    match example:
        case bool():
            return switch
        case int():
            return size if "_bytes" in key else whole
        case float():
            return number
        case Address():
            return address
        case Path():
            return path
        case Secret():
            return secret
        case tuple():
            return words
    return word


def size(value: Any) -> int:
    """Bytes: ``1048576``, ``"1 MiB"``, ``"1MB"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2].lower() not in UNITS:
        raise ValueError(f"expected a number of bytes such as 1048576 or 64MiB, got {value!r}")
    return int(found[1]) * UNITS[found[2].lower()]


def budget(value: Any) -> int:
    """A size, or a share of the machine's memory: ``"50%"``."""
    share = SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    return machine_memory_bytes() * int(share[1]) // 100 if share else size(value)


def whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d[\d_]{0,17}\s*", value, re.ASCII):
        return int(value)
    raise ValueError(f"expected a whole number, got {value!r}")


def number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, got {value!r}") from None


def switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    found = known.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"expected true or false, got {value!r}")
    return found


def address(value: Any) -> Address:
    return Address.parse(word(value))


def address_or_off(value: Any) -> Address | None:
    """``off``, or nothing, for no address."""
    text = word(value)
    return None if text.lower() in ("", "off", "none") else Address.parse(text)


def secret(value: Any) -> Secret:
    """The text itself, or that of a file: ``@FILE``."""
    text = word(value)
    if not text.startswith("@"):
        return Secret(text)
    file = path(text[1:])
    try:
        with file.open("rb") as stream:
            data = stream.read(SECRET_BYTES_MAX + 1)
        found = data.decode().strip()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} does not hold text") from None
    if len(data) > SECRET_BYTES_MAX:
        raise ValueError(f"{file} has more than {SECRET_BYTES_MAX} bytes: it holds something else")
    if not found:
        raise ValueError(f"{file} is empty")
    return Secret(found)


def path(value: Any) -> Path:
    text = word(value)
    if not text:
        raise ValueError("expected a directory, got nothing")
    return Path(os.path.abspath(os.path.expanduser(text)))


def word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")  # noqa: TRY004 - one error for all bad values
    return value.strip()


def words(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with commas."""
    found = [word(item) for item in (value if isinstance(value, list | tuple) else word(value).split(","))]
    return tuple(item for item in found if item)


def machine_memory_bytes() -> int:
    """Memory this process may use: the machine's, or its control group's when that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total  # no control groups here
    return min(total, int(limit)) if limit.isdigit() else total


def shown(key: str, value: Any) -> str:
    """The value as people write it: ``256 MiB``, ``10 s``, ``true``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if "_bytes" in key and isinstance(value, int):
        for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value >= factor:
                return f"{value / factor:.4g} {unit}"
        return f"{value} B"
    if key.endswith("_s"):
        return f"{value:g} s"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
