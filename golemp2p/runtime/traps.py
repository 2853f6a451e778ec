"""wasmtime's errors -> ours. The C API gives traps of components as text only, so they are told apart by their words."""

from __future__ import annotations

import re

from golemp2p.errors import GuestTrapped, LimitExceeded, OutOfMemory, StackOverflowed
from golemp2p.runtime.ffi import ErrorText

_LIMITS = (
    # resource_limiter of wasmtime, when an instance is made
    (re.compile(r"memory minimum size|exceeds memory limits|memory count too high"), "memory_bytes_max"),
    (re.compile(r"table minimum size|exceeds table limits|table count too high"), "table_elements_max"),
    (re.compile(r"instance count too high"), "instances_max"),
)
_STACK = "call stack exhausted"
_OUT_OF_MEMORY = re.compile(r"allocation size too large|out of memory|cannot allocate memory", re.IGNORECASE)
_ALLOCATION_FRAME = re.compile(
    # where the runtimes of guest languages give up when memory.grow was refused
    r"handle_alloc_error|rust_oom|__rdl_oom|alloc_error_handler|out_of_memory|OutOfMemory|runtime\.throw.*memory|"
    r"cabi_realloc.*abort|PyErr_NoMemory.*fatal",
    re.DOTALL,
)
_WASM_TRAP = "wasm trap: "


def guest_error(text: ErrorText) -> GuestTrapped:
    """The typed error for a failed call or instantiation."""
    message = text.message.replace(_WASM_TRAP, "")
    for pattern, limit in _LIMITS:
        if pattern.search(message):
            return LimitExceeded(limit, message)
    if _STACK in message:
        return StackOverflowed(message, text.backtrace)
    if _OUT_OF_MEMORY.search(message) or _ALLOCATION_FRAME.search(text.backtrace):
        return OutOfMemory(message, text.backtrace)
    return GuestTrapped(message or "the guest trapped", text.backtrace)
