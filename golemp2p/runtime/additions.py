"""What we append to a component before compiling it: exports that do for us what wasmtime's C API cannot.

**Dropping guest resources.** The C API drops a resource only synchronously, which a store with fibers refuses. But the
canonical ABI lets any component drop a handle it was given. So, per exported resource:

    (component $dropper                                    once: a few bytes, the same for everybody
      (import "r" (type $r (sub resource)))
      (core func $d (canon resource.drop $r))
      (func $f (param "x" (own $r)) (canon lift (core func $d)))
      (export "drop" (func $f)))
    (alias export $instance "thing" (type $t))             only for resources exported inside an interface
    (instance $i (instantiate $dropper (with "r" (type $t))))
    (export "golemp2p:runtime/drop-resource0" (instance $i))

**Measuring memory.** The C API has no way to the memories inside a component. So, per memory that its top level names:

    (core module $sizer (import "" "m" (memory 0)) (func (export "s") (result i32) memory.size))
    (core instance $given (export "m" (memory $memory)))
    (core instance $made (instantiate $sizer (with "" (instance $given))))
    (alias core export $made "s" (core func $s))
    (func $f (result u32) (canon lift (core func $s)))
    (export "golemp2p-memory-pages0" (func $f))

Nothing before the appended bytes changes: code offsets in backtraces stay true.
"""

from __future__ import annotations

from golemp2p.runtime.indexes import Indexes, SectionId, Sort, count
from golemp2p.runtime.wasm import leb128

DROPPER_PREFIX = "golemp2p:runtime/drop-resource"
DROPPER_FUNCTION = "drop"
PAGES_PREFIX = "golemp2p-memory-pages"
MEMORIES_MAX = 8  # measured; components with more are rare, and each costs a call per invocation

_DROPPER = bytes.fromhex(
    "0061736d0d000100"  # component
    "0a06010001720301"  # import "r" (type (sub resource))
    "0803010300"  # core func: canon resource.drop 0
    "070a02690040010178010100"  # types: own 0; func (param "x" 1)
    "0806010000000002"  # func: canon lift (core func 0), type 2
    "0b0a01000464726f70010000"  # export "drop" (func 0), no ascribed type
)
_SIZER = bytes.fromhex(
    "0061736d01000000"  # module
    "0105016000017f"  # type: func (result i32)
    "020701" + "00016d020000"  # import "" "m" (memory 0)
    "03020100"  # one function of type 0
    "0705010173" + "0000"  # export "s" (func 0)
    "0a060104003f000b"  # memory.size
)


def is_addition(name: str) -> bool:
    return name.startswith((DROPPER_PREFIX, PAGES_PREFIX))


def append(data: bytes, resources: list[tuple[str, str]], *, sizers: bool = True) -> bytes:
    """``data`` with sizers if wanted, and droppers for exported resources ``(interface or "", name)``, numbered in that order.

    Raises ``InvalidComponent`` when the component is written in a form that is not known here."""
    indexes = count(data)
    out = [data]
    memories = indexes.memories[:MEMORIES_MAX] if sizers else []
    if memories:
        out.append(_section(SectionId.CORE_MODULE, _SIZER, counted=False))
        sizer = indexes.add(Sort.CORE_MODULE)
        out += [_one_sizer(indexes, sizer, number, memory) for number, memory in enumerate(memories)]
    if resources:
        out.append(_section(SectionId.COMPONENT, _DROPPER, counted=False))
        dropper = indexes.add(Sort.COMPONENT)
        for number, (interface, name) in enumerate(resources):
            out.append(_one_dropper(indexes, dropper, number, interface.encode(), name.encode()))
    return b"".join(out)


def _one_sizer(indexes: Indexes, sizer: int, number: int, memory: int) -> bytes:
    given = indexes.add(Sort.CORE_INSTANCE, 2)
    made = given + 1
    function = indexes.add(Sort.CORE_FUNC)
    type_ = indexes.add(Sort.TYPE)
    lifted = indexes.add(Sort.FUNC, 2)  # the lifted function, and its export
    exports = b"\x01\x01\x01m\x02" + leb128(memory)
    instantiate = b"\x00" + leb128(sizer) + b"\x01\x00\x12" + leb128(given)
    return (
        _section(SectionId.CORE_INSTANCE, exports)
        + _section(SectionId.CORE_INSTANCE, instantiate)
        + _section(SectionId.ALIAS, b"\x00\x00\x01" + leb128(made) + b"\x01s")
        + _section(SectionId.TYPE, b"\x40\x00\x00\x79")  # func (result u32)
        + _section(SectionId.CANON, b"\x00\x00" + leb128(function) + b"\x00" + leb128(type_))
        + _section(SectionId.EXPORT, b"\x00" + _text(f"{PAGES_PREFIX}{number}".encode()) + b"\x01" + leb128(lifted) + b"\x00")
    )


def _one_dropper(indexes: Indexes, dropper: int, number: int, interface: bytes, name: bytes) -> bytes:
    alias = b""
    if interface:
        resource = indexes.add(Sort.TYPE)
        alias = _section(SectionId.ALIAS, b"\x03\x00" + leb128(indexes.exported[interface]) + _text(name))
    else:
        resource = indexes.exported[name]
    made = indexes.add(Sort.INSTANCE, 2)  # the instance, and its export
    instantiate = b"\x00" + leb128(dropper) + b"\x01\x01r\x03" + leb128(resource)
    export = b"\x00" + _text(f"{DROPPER_PREFIX}{number}".encode()) + b"\x05" + leb128(made) + b"\x00"
    return alias + _section(SectionId.INSTANCE, instantiate) + _section(SectionId.EXPORT, export)


def _text(name: bytes) -> bytes:
    return leb128(len(name)) + name


def _section(number: SectionId, content: bytes, *, counted: bool = True) -> bytes:
    """A section of one entry; ``counted=False`` for those that are their entry."""
    body = b"\x01" + content if counted else content
    return bytes([number]) + leb128(len(body)) + body
