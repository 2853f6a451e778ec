"""A way to run the destructors of guest resources on a fiber: one extra export per resource.

wasmtime's C API drops a resource only synchronously, which a store with fibers refuses. But the canonical ABI lets any
component drop a handle it was given. So before compiling, four sections are appended to a component that exports resources:

    (component $dropper                                    the same few bytes for everybody, with its own index spaces
      (import "r" (type $r (sub resource)))
      (core func $d (canon resource.drop $r))
      (func $f (param "x" (own $r)) (canon lift (core func $d)))
      (export "drop" (func $f)))
    (alias export $instance "thing" (type $t))             only for resources exported inside an interface
    (instance $i (instantiate $dropper (with "r" (type $t))))
    (export "golemp2p:runtime/drop-resource0" (instance $i))

and ``GuestInstance.drop_resource`` calls ``drop`` like any export. Nothing before the appended bytes changes: code offsets in
backtraces stay true. To name ``$t`` and ``$instance`` we count the index spaces of the component (component-model
``Binary.md``: types, instances, components), for which imports, aliases and exports must be read, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from golemp2p.errors import InvalidComponent
from golemp2p.runtime.wasm import COMPONENT_PREAMBLE, Reader, leb128, sections

DROPPER_PREFIX = "golemp2p:runtime/drop-resource"
DROPPER_FUNCTION = "drop"

_DROPPER = bytes.fromhex(
    "0061736d0d000100"  # component
    "0a06010001720301"  # import "r" (type (sub resource))
    "0803010300"  # core func: canon resource.drop 0
    "070a0269004001017801" "0100"  # types: own 0; func (param "x" 1)
    "0806010000000002"  # func: canon lift (core func 0), type 2
    "0b0a01000464726f70010000"  # export "drop" (func 0), no ascribed type
)  # fmt: skip

_TYPE, _INSTANCE, _COMPONENT = 3, 5, 4  # sorts
_SECTION_COMPONENT, _SECTION_INSTANCE, _SECTION_ALIAS, _SECTION_TYPE = 4, 5, 6, 7
_SECTION_IMPORT, _SECTION_EXPORT = 10, 11


@dataclass(slots=True)
class _Indexes:
    """How many entries each index space has so far, and under which index exports can be named."""

    counts: dict[int, int] = field(default_factory=lambda: {_TYPE: 0, _INSTANCE: 0, _COMPONENT: 0})
    exported: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # name -> (sort, index of the export)

    def add(self, sort: int) -> int:
        index = self.counts.get(sort, 0)
        self.counts[sort] = index + 1
        return index


def add_droppers(data: bytes, resources: list[tuple[str, str]]) -> bytes:
    """``data`` with one dropper per exported resource ``(interface or "", name)``, numbered in the order of the list."""
    if not resources:
        return data
    indexes = _count(data)
    out = [data, _section(_SECTION_COMPONENT, _DROPPER)]
    dropper = indexes.add(_COMPONENT)
    for number, (interface, name) in enumerate(resources):
        out.append(_one_dropper(indexes, dropper, number, interface.encode(), name.encode()))
    return b"".join(out)


def _one_dropper(indexes: _Indexes, dropper: int, number: int, interface: bytes, name: bytes) -> bytes:
    alias = b""
    if interface:
        _, instance = indexes.exported[interface]
        resource = indexes.add(_TYPE)
        alias = _section(_SECTION_ALIAS, b"\x01\x03\x00" + leb128(instance) + leb128(len(name)) + name)
    else:
        _, resource = indexes.exported[name]
    instantiate = b"\x01\x00" + leb128(dropper) + b"\x01\x01r\x03" + leb128(resource)
    made = indexes.add(_INSTANCE)
    label = f"{DROPPER_PREFIX}{number}".encode()
    export = b"\x01\x00" + leb128(len(label)) + label + b"\x05" + leb128(made) + b"\x00"
    indexes.add(_INSTANCE)
    return alias + _section(_SECTION_INSTANCE, instantiate) + _section(_SECTION_EXPORT, export)


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb128(len(content)) + content


def _count(data: bytes) -> _Indexes:
    indexes = _Indexes()
    for section in sections(data, len(COMPONENT_PREAMBLE), len(data)):
        reader = Reader(data, section.start, section.end)
        if section.id == _SECTION_COMPONENT:
            indexes.add(_COMPONENT)
        elif section.id in (_SECTION_INSTANCE, _SECTION_TYPE):
            sort = _INSTANCE if section.id == _SECTION_INSTANCE else _TYPE
            indexes.counts[sort] += reader.u64()
        elif section.id in (_SECTION_ALIAS, _SECTION_IMPORT, _SECTION_EXPORT):
            read = {_SECTION_ALIAS: _read_alias, _SECTION_IMPORT: _read_import, _SECTION_EXPORT: _read_export}[section.id]
            for _ in range(reader.u64()):
                read(reader, indexes)
    return indexes


def _read_sort(reader: Reader) -> int:
    sort = reader.byte()
    if sort == 0:
        reader.byte()  # which core sort; core index spaces are of no interest here
    return sort


def _read_extern_name(reader: Reader) -> bytes:
    kind = reader.byte()
    if kind > 1:
        raise InvalidComponent(f"a name in the component is written in form {kind}, which is not known here")
    return reader.name()


def _read_extern_description(reader: Reader) -> int:
    """Its sort. Component-model ``Binary.md``, ``externdesc``."""
    sort = reader.byte()
    if sort == 0:
        reader.byte()
        reader.u64()
    elif sort == _TYPE:
        if reader.byte() == 0:
            reader.u64()
    else:
        reader.u64()
    return sort


def _read_import(reader: Reader, indexes: _Indexes) -> None:
    _read_extern_name(reader)
    indexes.add(_read_extern_description(reader))


def _read_alias(reader: Reader, indexes: _Indexes) -> None:
    sort = _read_sort(reader)
    target = reader.byte()
    reader.u64()
    if target == 2:
        reader.u64()
    else:
        reader.name()
    if sort:
        indexes.add(sort)


def _read_export(reader: Reader, indexes: _Indexes) -> None:
    name = _read_extern_name(reader)
    sort = _read_sort(reader)
    reader.u64()
    if reader.byte():
        _read_extern_description(reader)
    if sort:
        indexes.exported[name] = (sort, indexes.add(sort))
