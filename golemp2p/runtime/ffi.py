"""The few C functions of wasmtime that guests run on, typed for speed. Everything above this file speaks Python.

Pointers are plain integers. Two handles on the same shared library:

    CDLL    releases the interpreter lock: everything that runs guest code, compiles, or may take long
    PyDLL   keeps it: short helpers, where releasing and taking the lock again would cost more than the call itself.
            None of them may run guest code: the epoch ticker needs the lock to end a slice

Values cross the border as ``wasmtime_component_val_t``: 32 bytes, the kind in byte 0, the payload in bytes 8..32 (see
``converters``). Their images are packed into Python ``bytes``, and wasmtime is given the address of the buffer inside. That
CPython detail (a bytes object ends in its buffer and one NUL) is checked when this module is imported.
"""

from __future__ import annotations

import ctypes
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, NamedTuple

from wasmtime import _ffi as bindings

Address = int

_releasing = ctypes.CDLL(str(bindings.filename))
_keeping = ctypes.PyDLL(str(bindings.filename))


def _declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


# Guest code runs inside these.
future_poll = _declare(_releasing, "wasmtime_call_future_poll", c_bool, c_void_p)
future_delete = _declare(_releasing, "wasmtime_call_future_delete", None, c_void_p)
future_delete_finished = _declare(_keeping, "wasmtime_call_future_delete", None, c_void_p)  # of a call that is over: only frees
store_delete = _declare(_releasing, "wasmtime_store_delete", None, c_void_p)

# These only box a future; the guest runs at the first poll.
func_call_async = _declare(
    _keeping,
    "wasmtime_component_func_call_async",
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p,
)  # fmt: skip
instantiate_async = _declare(
    _keeping,
    "wasmtime_component_linker_instantiate_async",
    c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
)  # fmt: skip

# Stores.
store_new = _declare(_keeping, "wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context = _declare(_keeping, "wasmtime_store_context", c_void_p, c_void_p)
store_limiter = _declare(_keeping, "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)
set_epoch_deadline = _declare(_keeping, "wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
epoch_yield = _declare(_keeping, "wasmtime_context_epoch_deadline_async_yield_and_update", c_void_p, c_void_p, c_uint64)
increment_epoch = _declare(_keeping, "wasmtime_engine_increment_epoch", None, c_void_p)

# Components and instances.
export_index = _declare(_keeping, "wasmtime_component_get_export_index", c_void_p, c_void_p, c_void_p, c_char_p, c_size_t)
instance_get_func = _declare(_keeping, "wasmtime_component_instance_get_func", c_bool, c_void_p, c_void_p, c_void_p, c_void_p)
INSTANCE_BYTES = ctypes.sizeof(bindings.wasmtime_component_instance)
FUNC_BYTES = ctypes.sizeof(bindings.wasmtime_component_func)

# Linking.
linker_instance_add_func_async = _declare(
    _keeping,
    "wasmtime_component_linker_instance_add_func_async",
    c_void_p, c_void_p, c_char_p, c_size_t, c_void_p, c_void_p, c_void_p,
)  # fmt: skip
linker_instance_add_resource = _declare(
    _keeping,
    "wasmtime_component_linker_instance_add_resource",
    c_void_p, c_void_p, c_char_p, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p,
)  # fmt: skip

# Values and handles. ``any_delete``/``host_delete`` free the box, never the resource.
val_clone = _declare(_keeping, "wasmtime_component_val_clone", None, c_void_p, c_void_p)
val_delete = _declare(_keeping, "wasmtime_component_val_delete", None, c_void_p)
any_clone = _declare(_keeping, "wasmtime_component_resource_any_clone", c_void_p, c_void_p)
any_delete = _declare(_keeping, "wasmtime_component_resource_any_delete", None, c_void_p)
any_to_host = _declare(_keeping, "wasmtime_component_resource_any_to_host", c_void_p, c_void_p, c_void_p, c_void_p)
host_new = _declare(_keeping, "wasmtime_component_resource_host_new", c_void_p, c_bool, c_uint32, c_uint32)
host_rep = _declare(_keeping, "wasmtime_component_resource_host_rep", c_uint32, c_void_p)
host_delete = _declare(_keeping, "wasmtime_component_resource_host_delete", None, c_void_p)
host_to_any = _declare(_keeping, "wasmtime_component_resource_host_to_any", c_void_p, c_void_p, c_void_p, c_void_p)

# Errors.
error_new = _declare(_keeping, "wasmtime_error_new", c_void_p, c_char_p)
error_delete = _declare(_keeping, "wasmtime_error_delete", None, c_void_p)
_error_message = _declare(_keeping, "wasmtime_error_message", None, c_void_p, c_void_p)
_byte_vec_delete = _declare(_keeping, "wasm_byte_vec_delete", None, c_void_p)

# Callbacks. The asynchronous one answers through ``error`` and ``continuation``; the destructor returns an error or 0.
AsyncCallback = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p)
DropCallback = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_uint32)

# ctypes.memmove and memset let go of the lock for a few bytes: beside a busy thread that costs more than a whole invocation should.
memmove: Any = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_void_p, c_size_t)(ctypes._memmove_addr)  # type: ignore[attr-defined]
string_at: Any = ctypes._string_at  # type: ignore[attr-defined]  # the C function itself: ctypes.string_at wraps it in Python

_BUFFER_OFFSET = bytes.__basicsize__ - 1


def address_of(data: bytes) -> Address:
    """Where the bytes lie. Valid while ``data`` is referenced; nobody may write there."""
    return id(data) + _BUFFER_OFFSET


def pointer(managed: Any) -> Address:
    """The C pointer inside one of wasmtime-py's ``Managed`` objects. Valid while that object lives."""
    return ctypes.cast(managed.ptr(), c_void_p).value or 0


class ErrorText(NamedTuple):
    """``message``: the innermost cause, one line or more; ``backtrace``: wasm frames, outermost last, or ``""``."""

    message: str
    backtrace: str


_TRACE_TITLE = "error while executing at wasm backtrace:"


def take_error(error: Address) -> ErrorText:
    """The text of a ``wasmtime_error_t``, which is freed."""
    vector = (c_size_t * 2)()
    _error_message(error, vector)
    text = string_at(vector[1], vector[0]).decode("utf-8", "replace") if vector[0] else ""
    _byte_vec_delete(vector)
    error_delete(error)
    title, _, causes = text.partition("\n\nCaused by:\n")
    backtrace = ""
    if title.startswith(_TRACE_TITLE):
        backtrace = "\n".join(line.strip() for line in title.splitlines()[1:])
        title = ""
    causes = "; ".join(line.strip() for line in causes.splitlines() if line.strip())
    return ErrorText(": ".join(part for part in (title, causes) if part), backtrace)


def _self_test() -> None:
    """Fail at import, not in the middle of a guest, when this interpreter lays out bytes in another way."""
    probe = bytes(range(1, 40))
    if ctypes.string_at(address_of(probe), len(probe)) != probe:
        raise ImportError("golemp2p.runtime needs CPython's layout of bytes objects")
    if ctypes.sizeof(bindings.wasmtime_component_val) != 32:
        raise ImportError("golemp2p.runtime needs the value layout of wasmtime 50 (wasmtime_component_val_t of 32 bytes)")


_self_test()

# A parked guest is woken by its continuation: a C function of one pointer that answers true or false. libc's strlen over a
# two-byte buffer serves: "" is "not yet", "\1" is "ready". So waiting involves no Python callback at all.
_libc = ctypes.CDLL(None)
STRLEN: Address = ctypes.cast(_libc.strlen, c_void_p).value or 0
