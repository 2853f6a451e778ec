"""How a host function is declared: its interface, its name, its durability class, and its live body. Nothing else.

    clock = HostInterface("wasi:clocks/wall-clock")

    @clock.function("now", READ_LOCAL)
    def now(ctx: HostContext) -> tuple[int, int]:
        ...

The name carries no version: one declaration serves every 0.2.x (or 1.1.x) a guest imports. The guest's own import types decide
how values are converted, so a body sees values as described in ``golemp2p.model.wit``.

Durability classes say what is journalled (ARCHITECTURE 7):

    PURE          re-executed on replay; nothing journalled (also: everything that only touches the instance's own resources)
    WRITE_LOCAL   re-executed on replay against the worker's own file system; nothing journalled
    READ_LOCAL    the result is journalled; on replay the body does not run
    READ_REMOTE   as READ_LOCAL
    WRITE_REMOTE  before the body: everything journalled so far is committed (S6); after it: the result is journalled and committed

A body is ``def`` (answers at once, never blocks; by far the cheaper) or ``async def`` (may wait; the guest parks on its fiber).
Results of journalled classes must be plain data: no resource handles. A function that returns a handle is PURE and reads what it
must remember through ``ctx.journalled(...)``.

To refuse: raise ``GuestTrapped`` (or kin) to trap the guest, return ``("err", ...)`` for errors the interface declares, raise
``Suspended`` to have the worker unloaded. Any other exception is a bug of ours and stops the worker loudly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from golemp2p.ports import WorkerHost

PURE = "pure"
READ_LOCAL = "read-local"
WRITE_LOCAL = "write-local"
READ_REMOTE = "read-remote"
WRITE_REMOTE = "write-remote"

T = TypeVar("T")


class ResourceTable(Protocol):
    """Host resources held by one instance. Numbers (reps) are given deterministically, so that replay gives the same ones."""

    def push(self, resource: object) -> int:
        """Keep ``resource``; the number to return to the guest as an owned handle. ``LimitExceeded`` beyond the limit."""
        ...

    def get(self, rep: int, kind: type[T]) -> T:
        """The resource behind a handle the guest passed; traps when it is of another kind."""
        ...

    def take(self, rep: int, kind: type[T]) -> T:
        """As ``get``, for owned handles given away to the host: the number is free afterwards."""
        ...


class HostContext(Protocol):
    """What a body sees: the worker, the resources of this instance, and the journal."""

    host: WorkerHost
    resources: ResourceTable

    def journalled(self, function: str, function_type: str, request: tuple[Any, ...], live: Callable[[], T]) -> T:
        """The value of ``live()``, journalled under ``function``; on replay the recorded value, ``live`` not called."""
        ...

    def state(self, kind: type[T]) -> T:
        """This instance's own ``kind()`` object: made on first use, shared by all host functions, dropped with the instance."""
        ...


Body = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class HostFunction:
    """``name`` is the component-model name: ``now``, ``[method]input-stream.read``, ``[static]...``, ``[constructor]...``."""

    interface: str
    name: str
    durability: str
    body: Body


class HostInterface:
    """One WIT interface as the host provides it. ``resources`` maps resource names to what to do with a dropped one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.functions: dict[str, HostFunction] = {}
        self.resources: dict[str, Callable[[Any], None]] = {}

    def function(self, name: str, durability: str = PURE) -> Callable[[Body], Body]:
        def declare(body: Body) -> Body:
            assert name not in self.functions, f"{self.name}.{name} is declared twice"
            self.functions[name] = HostFunction(self.name, name, durability, body)
            return body

        return declare

    def resource(self, name: str, dropped: Callable[[Any], None] = lambda resource: None) -> None:
        """Declare a resource type of this interface. ``dropped`` receives the Python object when the guest drops its handle."""
        self.resources[name] = dropped
