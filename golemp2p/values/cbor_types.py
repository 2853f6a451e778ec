"""The type of a component as CBOR, as component entries hold it. Lossless, names included.

    [FORMAT, rows, imports, exports]
    row        [KIND, ...]: parts are numbers of earlier rows, an absent part is null
    interface  [name, [[function name, [[param, row], ...], result row or null], ...], [[type name, row or null], ...]]

Rows refer only to earlier rows, so reading needs no recursion and cannot loop. A part used twice is one row and, read back,
one object: what would unfold to an enormous tree is found by counting, before anything walks it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from golemp2p.errors import DataDamaged, InvalidComponent
from golemp2p.model.wit import (
    ComponentType,
    Enum,
    Flags,
    Function,
    Handle,
    Interface,
    ListOf,
    OptionOf,
    Primitive,
    Record,
    ResultOf,
    TupleOf,
    Type,
    Unsupported,
    Variant,
)
from golemp2p.values.cbor import dumps, loads
from golemp2p.values.compiled import TYPE_DEPTH_MAX
from golemp2p.values.scalars import INTEGER_RANGES

FORMAT = 1

TYPE_SIZE_MAX = 100_000
"""Nodes of one type when all sharing is unfolded. The largest real interfaces have some thousands."""

ENCODED_BYTES_MAX = 16 << 20

_PRIMITIVES = frozenset({"bool", "f32", "f64", "char", "string", *INTEGER_RANGES})
T = TypeVar("T")


def dump_type(component: ComponentType) -> bytes:
    """CBOR of a component's type. Raises ``InvalidComponent`` for types too deep or too large to be handled."""
    rows = _RowWriter()
    imports = [_interface_row(interface, rows) for interface in component.imports]
    exports = [_interface_row(interface, rows) for interface in component.exports]
    return dumps([FORMAT, rows.rows, imports, exports])


def load_type(data: bytes) -> ComponentType:
    """The inverse of ``dump_type``. Raises ``DataDamaged`` for anything it does not make."""
    document = loads(data, what="component type", bytes_max=ENCODED_BYTES_MAX)
    try:
        version, rows, imports, exports = _a_list(document, 4)
        if version != FORMAT:
            raise _Malformed(f"format {version!r}")
        types = _RowReader(rows).types
        return ComponentType(
            tuple(_read_interface(row, types) for row in _a_list(imports)),
            tuple(_read_interface(row, types) for row in _a_list(exports)),
        )
    except _Malformed as error:
        raise DataDamaged("component type", str(error)) from None


class _Malformed(Exception):
    pass


class _RowWriter:
    """Types to rows. Equal rows are one, so that a type is stored once however often it is mentioned."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._known: dict[int, int] = {}  # id of a type that lives as long as the component
        self._measures = _Measures()

    def number(self, type: Type | None, depth: int = 0) -> int | None:
        if type is None:
            return None
        known = self._known.get(id(type))
        if known is None:
            if depth > TYPE_DEPTH_MAX:
                raise InvalidComponent(f"a type is nested deeper than {TYPE_DEPTH_MAX} levels")
            known = self._known[id(type)] = self._add(self._row(type, depth + 1))
        return known

    def _add(self, row: tuple[Any, ...]) -> int:
        number = self._numbers.get(row)
        if number is None:
            number = self._numbers[row] = len(self.rows)
            self.rows.append(row)
            try:
                self._measures.add(_parts_of(row))
            except _Malformed as error:
                raise InvalidComponent(str(error)) from None
        return number

    def _row(self, type: Type, depth: int) -> tuple[Any, ...]:
        match type:
            case Primitive(name):
                return ("primitive", name)
            case ListOf(part):
                return ("list", self.number(part, depth))
            case OptionOf(part):
                return ("option", self.number(part, depth))
            case ResultOf(ok, err):
                return ("result", self.number(ok, depth), self.number(err, depth))
            case TupleOf(parts):
                return ("tuple", tuple(self.number(part, depth) for part in parts))
            case Record(named):
                return ("record", type.name, tuple((name, self.number(part, depth)) for name, part in named))
            case Variant(cases):
                return ("variant", type.name, tuple((name, self.number(part, depth)) for name, part in cases))
            case Enum(names):
                return ("enum", type.name, names)
            case Flags(names):
                return ("flags", type.name, names)
            case Handle(resource, owned):
                return ("handle", resource, owned)
            case Unsupported(text):
                return ("unsupported", text)


class _Measures:
    """Depth and unfolded size of every row so far; raises ``_Malformed`` when one passes the limits."""

    def __init__(self) -> None:
        self._depths: list[int] = []
        self._sizes: list[int] = []

    def add(self, parts: list[int]) -> None:
        depth = 1 + max((self._depths[part] for part in parts), default=0)
        size = 1 + sum(self._sizes[part] for part in parts)
        if depth > TYPE_DEPTH_MAX + 1:
            raise _Malformed(f"a type is nested deeper than {TYPE_DEPTH_MAX} levels")
        if size > TYPE_SIZE_MAX:
            raise _Malformed(f"a type has more than {TYPE_SIZE_MAX} parts")
        self._depths.append(depth)
        self._sizes.append(size)


def _parts_of(row: tuple[Any, ...]) -> list[int]:
    match row[0]:
        case "list" | "option" | "result":
            return [part for part in row[1:] if part is not None]
        case "tuple":
            return list(row[1])
        case "record" | "variant":
            return [part for _, part in row[2] if part is not None]
    return []


class _RowReader:
    """Rows to types. Every field is checked: rows may come from a peer."""

    def __init__(self, rows: Any) -> None:
        self.types: list[Type] = []
        self._parts: list[int] = []
        measures = _Measures()
        for row in _a_list(rows):
            self._parts = []
            built = self._type(_a_list(row))
            measures.add(self._parts)
            self.types.append(built)

    def _type(self, row: list[Any]) -> Type:
        match row:
            case ["primitive", str(name)] if name in _PRIMITIVES:
                return Primitive(name)  # type: ignore[arg-type]
            case ["list", part]:
                return ListOf(self._part(part))
            case ["option", part]:
                return OptionOf(self._part(part))
            case ["result", ok, err]:
                return ResultOf(self._maybe(ok), self._maybe(err))
            case ["tuple", list(parts)]:
                return TupleOf(tuple(self._part(part) for part in parts))
            case ["record", name, list(fields)]:
                pairs = [_a_list(field, 2) for field in fields]
                return Record(tuple((_text(key), self._part(part)) for key, part in pairs), _name(name))
            case ["variant", name, list(cases)]:
                pairs = [_a_list(case, 2) for case in cases]
                return Variant(tuple((_text(key), self._maybe(part)) for key, part in pairs), _name(name))
            case ["enum", name, list(names)]:
                return Enum(tuple(_text(case) for case in names), _name(name))
            case ["flags", name, list(names)]:
                return Flags(tuple(_text(flag) for flag in names), _name(name))
            case ["handle", str(resource), bool(owned)]:
                return Handle(resource, owned)
            case ["unsupported", str(text)]:
                return Unsupported(text)
        raise _Malformed(f"row {len(self.types)} is no type")

    def _part(self, number: Any) -> Type:
        part = _lookup(number, self.types)
        self._parts.append(number)
        return part

    def _maybe(self, number: Any) -> Type | None:
        return None if number is None else self._part(number)


def _interface_row(interface: Interface, rows: _RowWriter) -> list[Any]:
    functions = [
        [function.name, [[name, rows.number(type)] for name, type in function.params], rows.number(function.result)]
        for function in interface.functions
    ]
    return [interface.name, functions, [[name, rows.number(type)] for name, type in interface.types]]


def _read_interface(row: Any, types: list[Type]) -> Interface:
    name, functions, named = _a_list(row, 3)
    pairs = [_a_list(pair, 2) for pair in _a_list(named)]
    return Interface(
        _text(name),
        tuple(_read_function(function, types) for function in _a_list(functions)),
        tuple((_text(key), None if number is None else _lookup(number, types)) for key, number in pairs),
    )


def _read_function(row: Any, types: list[Type]) -> Function:
    name, params, result = _a_list(row, 3)
    pairs = [_a_list(pair, 2) for pair in _a_list(params)]
    return Function(
        _text(name),
        tuple((_text(key), _lookup(number, types)) for key, number in pairs),
        None if result is None else _lookup(result, types),
    )


def _lookup(number: Any, types: list[Type]) -> Type:
    if number.__class__ is not int or not 0 <= number < len(types):
        raise _Malformed("a reference to no earlier row")
    return types[number]


def _a_list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise _Malformed("an array is missing or has the wrong length")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Malformed("a name is not text")
    return value


def _name(value: Any) -> str | None:
    return None if value is None else _text(value)
