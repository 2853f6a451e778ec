"""The index spaces of a component: how many entries each has, and what can be named by index from appended sections.

Component-model ``Binary.md``. Only the top level is read, and of it only what adds to an index space. ``count`` never guesses:
a form it does not know raises ``InvalidComponent``, and the caller does without what it wanted to append.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from golemp2p.errors import InvalidComponent
from golemp2p.runtime.wasm import COMPONENT_PREAMBLE, Reader, sections


class Sort(IntEnum):
    """Component sorts as they are encoded; core sorts with 0x100 added."""

    FUNC = 1
    VALUE = 2
    TYPE = 3
    COMPONENT = 4
    INSTANCE = 5
    CORE_FUNC = 0x100
    CORE_TABLE = 0x101
    CORE_MEMORY = 0x102
    CORE_GLOBAL = 0x103
    CORE_TAG = 0x104
    CORE_TYPE = 0x110
    CORE_MODULE = 0x111
    CORE_INSTANCE = 0x112


class SectionId(IntEnum):
    CORE_MODULE = 1
    CORE_INSTANCE = 2
    COMPONENT = 4
    INSTANCE = 5
    ALIAS = 6
    TYPE = 7
    CANON = 8
    IMPORT = 10
    EXPORT = 11


@dataclass(slots=True)
class Indexes:
    """``exported``: name -> index the export has been given. ``memories``: distinct core memories, as indexes of aliases."""

    counts: dict[Sort, int] = field(default_factory=dict)
    exported: dict[bytes, int] = field(default_factory=dict)
    memories: list[int] = field(default_factory=list)
    _memory_names: set[tuple[int, bytes]] = field(default_factory=set)

    def add(self, sort: Sort, count: int = 1) -> int:
        """Count new entries; the index of the first."""
        index = self.counts.get(sort, 0)
        self.counts[sort] = index + count
        return index

    def add_alias(self, sort: Sort, instance: int, name: bytes) -> None:
        index = self.add(sort)
        if sort is Sort.CORE_MEMORY and (instance, name) not in self._memory_names:
            self._memory_names.add((instance, name))
            self.memories.append(index)


def count(data: bytes) -> Indexes:
    indexes = Indexes()
    for section in sections(data, len(COMPONENT_PREAMBLE), len(data)):
        one = _ONE_EACH.get(section.id)
        if one is not None:
            indexes.add(one)
            continue
        reader = Reader(data, section.start, section.end)
        many = _COUNTED.get(section.id)
        if many is not None:
            indexes.add(many, reader.u64())
            continue
        read = _READ.get(section.id)
        if read is not None:
            for _ in range(reader.u64()):
                read(reader, indexes)
    return indexes


def _read_sort(reader: Reader) -> Sort:
    code = reader.byte()
    if code == 0:
        code = 0x100 + reader.byte()
    try:
        return Sort(code)
    except ValueError:
        raise InvalidComponent(f"sort {code:#x} is not known here") from None


def _read_name(reader: Reader) -> bytes:
    form = reader.byte()
    if form > 1:
        raise InvalidComponent(f"a name is written in form {form}, which is not known here")
    return reader.name()


def _read_description(reader: Reader) -> Sort:
    """``externdesc``: its sort."""
    sort = _read_sort(reader)
    if sort is not Sort.TYPE or reader.byte() == 0:
        reader.u64()
    return sort


def _read_import(reader: Reader, indexes: Indexes) -> None:
    _read_name(reader)
    indexes.add(_read_description(reader))


def _read_alias(reader: Reader, indexes: Indexes) -> None:
    sort, target, instance = _read_sort(reader), reader.byte(), reader.u64()
    if target == 2:  # of an enclosing component; there is none around the top level
        reader.u64()
        indexes.add(sort)
    else:
        indexes.add_alias(sort, instance, reader.name())


def _read_export(reader: Reader, indexes: Indexes) -> None:
    name, sort = _read_name(reader), _read_sort(reader)
    reader.u64()
    if reader.byte():
        _read_description(reader)
    indexes.exported[name] = indexes.add(sort)


def _read_canon(reader: Reader, indexes: Indexes) -> None:
    code = reader.byte()
    operands = _CANON.get(code)
    if operands is None:
        raise InvalidComponent(f"canonical built-in {code:#x} is not known here")
    for operand in operands:
        _OPERANDS[operand](reader)
    indexes.add(Sort.FUNC if code == _CANON_LIFT else Sort.CORE_FUNC)


def _read_options(reader: Reader) -> None:
    for _ in range(reader.u64()):
        option = reader.byte()
        if option in (3, 4, 5, 7, 8):  # memory, realloc, post-return, callback, core type: an index follows
            reader.u64()
        elif option not in (0, 1, 2, 6):
            raise InvalidComponent(f"canonical option {option} is not known here")


_CANON_LIFT = 0x00
# Operands of canonical built-ins: b a byte, i an index or number, o a list of options.
_CANON = {
    0x00: "bioi", 0x01: "bio", 0x02: "i", 0x03: "i", 0x04: "i", 0x05: "", 0x06: "b", 0x07: "i", 0x08: "", 0x0A: "bi",
    0x0B: "bi", 0x0C: "b", 0x0D: "", 0x0E: "i", 0x0F: "io", 0x10: "io", 0x11: "ib", 0x12: "ib", 0x13: "i", 0x14: "i",
    0x15: "i", 0x16: "io", 0x17: "io", 0x18: "ib", 0x19: "ib", 0x1A: "i", 0x1B: "i", 0x1C: "o", 0x1D: "o", 0x1E: "",
    0x1F: "", 0x20: "bi", 0x21: "bi", 0x22: "", 0x23: "", 0x24: "", 0x25: "",
}  # fmt: skip
_OPERANDS: dict[str, Callable[[Reader], object]] = {"b": Reader.byte, "i": Reader.u64, "o": _read_options}

_ONE_EACH: dict[int, Sort] = {SectionId.CORE_MODULE: Sort.CORE_MODULE, SectionId.COMPONENT: Sort.COMPONENT}
_COUNTED: dict[int, Sort] = {
    SectionId.CORE_INSTANCE: Sort.CORE_INSTANCE, SectionId.INSTANCE: Sort.INSTANCE, SectionId.TYPE: Sort.TYPE,
}  # fmt: skip
_READ: dict[int, Callable[[Reader, Indexes], None]] = {
    SectionId.ALIAS: _read_alias, SectionId.IMPORT: _read_import, SectionId.EXPORT: _read_export, SectionId.CANON: _read_canon,
}  # fmt: skip
