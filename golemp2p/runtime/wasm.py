"""Reading just enough of the WebAssembly binary format: preamble, sections, LEB128, names. Hostile bytes welcome.

Core Specification 5.5 (modules), component-model ``Binary.md`` (components). Section numbers differ between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from golemp2p.errors import InvalidComponent

MAGIC = b"\0asm"
MODULE_PREAMBLE = MAGIC + b"\x01\0\0\0"
COMPONENT_PREAMBLE = MAGIC + b"\x0d\0\x01\0"
NESTING_MAX = 16

_CORE_MODULE, _COMPONENT = 1, 4  # sections of a component
_CORE_IMPORT, _CORE_MEMORY = 2, 5  # sections of a module
PAGE_BYTES = 65536


class Section(NamedTuple):
    """``start``..``end``: where the content lies in ``data``."""

    id: int
    start: int
    end: int


class Reader:
    """A cursor over ``data[position:end]``. Reading past the end raises ``InvalidComponent``."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data, self.position, self.end = data, position, len(data) if end is None else end

    def byte(self) -> int:
        if self.position >= self.end:
            raise InvalidComponent("the component ends in the middle of a section")
        value = self.data[self.position]
        self.position += 1
        return value

    def u64(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7
            if shift > 63:
                raise InvalidComponent("a number in the component is longer than 64 bits")

    def skip(self, count: int) -> None:
        if count > self.end - self.position:
            raise InvalidComponent("the component ends in the middle of a section")
        self.position += count

    def name(self) -> bytes:
        size = self.u64()
        start = self.position
        self.skip(size)
        return self.data[start : self.position]


def leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def check_preamble(data: bytes) -> None:
    """Raise ``InvalidComponent``, saying what to do, unless ``data`` begins like a component."""
    if data[:8] == COMPONENT_PREAMBLE:
        return
    if data[:8] == MODULE_PREAMBLE:
        raise InvalidComponent(
            "this is a core WebAssembly module, not a component: make one with `wasm-tools component new` "
            "(after `wasm-tools component embed` with its WIT)"
        )
    if data[:4] == MAGIC:
        raise InvalidComponent(f"WebAssembly of an unknown kind or version (bytes 4..8 are {data[4:8].hex()})")
    raise InvalidComponent("not WebAssembly: a component begins with the bytes 00 61 73 6d")


def sections(data: bytes, start: int, end: int) -> Iterator[Section]:
    """The sections after a preamble. ``start`` is behind the preamble."""
    reader = Reader(data, start, end)
    while reader.position < end:
        section = reader.byte()
        size = reader.u64()
        begin = reader.position
        reader.skip(size)
        yield Section(section, begin, reader.position)


def initial_memory_bytes(data: bytes) -> int:
    """Sum of the initial sizes of all linear memories that the modules of a component define."""
    return _component_memory(data, 0, len(data), NESTING_MAX)


def _component_memory(data: bytes, start: int, end: int, depth: int) -> int:
    if not depth:
        return 0
    total = 0
    for section in sections(data, start + 8, end):
        if section.id == _CORE_MODULE:
            total += _module_memory(data, section.start, section.end)
        elif section.id == _COMPONENT:
            total += _component_memory(data, section.start, section.end, depth - 1)
    return total


def _module_memory(data: bytes, start: int, end: int) -> int:
    total = 0
    for section in sections(data, start + 8, end):
        if section.id != _CORE_MEMORY:
            continue
        reader = Reader(data, section.start, section.end)
        for _ in range(reader.u64()):
            flags = reader.byte()
            total += reader.u64() * (PAGE_BYTES if not flags & 8 else 1)
            if flags & 1:
                reader.u64()
            if flags & 8:  # custom page size: its exponent follows
                reader.u64()
    return total
