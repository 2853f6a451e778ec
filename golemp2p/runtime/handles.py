"""Resource handles of one instance: numbers for us, boxes (``wasmtime_component_resource_any_t``) for wasmtime.

    host resource    imported by the guest; its number (rep) is ours, from ``Context.resources``
    guest resource   exported by the guest; we hold a box per resource, numbered from 0 and never again

Who owns what: a box is a few bytes that refer to an entry in the store. Lifting reads a box that wasmtime frees. Boxes we make
for lowering live until ``release``. The entry of an owned handle moves with the call that carries it; the entry of a borrowed
one is given back in ``lift_handle`` at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from golemp2p.model import wit
from golemp2p.ports import WorkerHost
from golemp2p.runtime import ffi
from golemp2p.runtime.host.context import Resources


class InstanceHandles:
    __slots__ = (
        "_boxes",
        "_context",
        "_droppers",
        "_giving",
        "_guest",
        "_host",
        "_imported",
        "_lent",
        "_next",
        "_out",
        "_out_address",
        "_resources",
        "_returning",
    )

    def __init__(
        self,
        context: ffi.Address,
        resources: Resources,
        host: WorkerHost,
        imported: Mapping[str, int],
        droppers: Mapping[str, Callable[[Any], None]],
    ) -> None:
        """``imported``: identity of a host resource -> number of its type; ``droppers``: what to do with dropped ones."""
        self._context, self._resources, self._host = context, resources, host
        self._imported, self._droppers = imported, droppers
        self._guest: dict[int, tuple[str, ffi.Address]] = {}  # number -> identity, box
        self._next = 0
        self._boxes: list[ffi.Address] = []  # made for lowering, to be freed
        self._returning: list[ffi.Address] = []  # of them, own entries made only to be borrowed
        self._giving: set[int] = set()  # guest resources given away by the call being made
        self._lent: set[int] = set()
        self._out = ctypes.c_void_p()
        self._out_address = ctypes.addressof(self._out)

    # ------------------------------------------------------------------------------------------- golemp2p.runtime.converters

    def lift_handle(self, box: int, handle: wit.Handle) -> int:
        if handle.resource in self._imported:
            return self._to_rep(box)
        number = self._next
        self._next += 1
        self._guest[number] = (handle.resource, ffi.any_clone(box))
        self._host.resource_created(number, handle.resource)
        return number

    def lower_handle(self, number: Any, handle: wit.Handle) -> int:
        if type(number) is not int:
            raise TypeError(f"expected the number of a resource, got {number!r:.60}")
        imported = self._imported.get(handle.resource)
        return self._lower_guest(number, handle) if imported is None else self._lower_host(number, handle, imported)

    def _to_rep(self, box: int) -> int:
        error = ffi.any_to_host(self._context, box, self._out_address)
        if error:
            raise RuntimeError(f"a handle passed by the guest is not ours: {ffi.take_error(error).message}")
        host = self._out.value
        rep: int = ffi.host_rep(host)
        ffi.host_delete(host)
        return rep

    def _lower_host(self, rep: int, handle: wit.Handle, type_number: int) -> int:
        if not self._resources.holds(rep):
            raise ValueError(f"there is no host resource {rep}")
        # A borrow is lowered from an own entry of ours, which is taken back in ``release``.
        host = ffi.host_new(True, rep, type_number)
        error = ffi.host_to_any(self._context, host, self._out_address)
        ffi.host_delete(host)
        if error:
            raise RuntimeError(f"a resource cannot be handed to the guest: {ffi.take_error(error).message}")
        box = self._out.value or 0
        self._boxes.append(box)
        if handle.owned:
            self._resources.handed_out(rep, self._droppers[handle.resource])
        else:
            self._returning.append(box)
        return box

    def _lower_guest(self, number: int, handle: wit.Handle) -> int:
        entry = self._guest.get(number)
        if entry is None:
            raise ValueError(f"there is no resource {number}")
        identity, box = entry
        if identity != handle.resource:
            raise ValueError(f"resource {number} is a {identity}, not a {handle.resource}")
        if number in self._giving or (handle.owned and number in self._lent):
            raise ValueError(f"resource {number} is given away in the same call")
        (self._giving if handle.owned else self._lent).add(number)
        return box

    # ----------------------------------------------------------------------------------------------------- around a call

    def forget_lowered(self) -> None:
        """The call will not be made after all: lowering its arguments failed."""
        self._giving.clear()
        self._lent.clear()
        self.release()

    def given_away(self) -> None:
        """The call was made: owned resources among its arguments are the guest's again. Their boxes are freed later, by
        ``release``: the call may still read them."""
        for number in sorted(self._giving):
            _, box = self._guest.pop(number)
            self._boxes.append(box)
            self._host.resource_dropped(number)
        self._giving.clear()
        self._lent.clear()

    def release(self) -> None:
        """Free the boxes made for lowering; nobody reads them any more."""
        for box in self._returning:
            self._to_rep(box)
        self._returning.clear()
        for box in self._boxes:
            ffi.any_delete(box)
        self._boxes.clear()

    def resource(self, number: int) -> str | None:
        """Identity of guest resource ``number``, ``None`` when there is none."""
        entry = self._guest.get(number)
        return None if entry is None else entry[0]

    def forget(self, number: int) -> None:
        """Let go of guest resource ``number`` without its destructor."""
        _, box = self._guest.pop(number)
        ffi.any_delete(box)
        self._host.resource_dropped(number)

    def close(self) -> None:
        """Free all boxes. The entries go with the store."""
        for _, box in self._guest.values():
            ffi.any_delete(box)
        self._guest.clear()
        for box in self._boxes:
            ffi.any_delete(box)
        self._boxes.clear()
        self._returning.clear()
