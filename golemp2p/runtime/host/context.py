"""What the bodies of host functions see: the worker, the resources of their instance, the journal.

One ``Context`` per instance. Nothing here may be touched from another thread than the event loop's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from golemp2p.errors import GuestTrapped, LimitExceeded
from golemp2p.ports import WorkerHost
from golemp2p.runtime.host.encoding import decode_response, encode_response, request_hash

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Resources:
    """Host resources of one instance. Numbers start at 1; the one freed last is given out first: the order of pushes and
    drops alone decides, so that a replay gives the same numbers."""

    __slots__ = ("_droppers", "_free", "_limit", "_objects")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._objects: dict[int, object] = {}
        self._free: list[int] = []
        self._droppers: dict[int, Callable[[Any], None]] = {}

    def push(self, resource: object) -> int:
        if len(self._objects) >= self._limit:
            raise LimitExceeded("resources_max", f"the worker holds {self._limit} host resources, which is the limit")
        rep = self._free.pop() if self._free else len(self._objects) + 1
        self._objects[rep] = resource
        return rep

    def get(self, rep: int, kind: type[T]) -> T:
        resource = self._objects.get(rep)
        if isinstance(resource, kind):
            return resource
        raise GuestTrapped(f"host resource {rep} is not a {kind.__name__}, but a {type(resource).__name__}")

    def take(self, rep: int, kind: type[T]) -> T:
        resource = self.get(rep, kind)
        self._forget(rep)
        return resource

    def holds(self, rep: object) -> bool:
        return rep in self._objects

    def handed_out(self, rep: int, dropped: Callable[[Any], None]) -> None:
        """The guest owns ``rep`` from now on; ``dropped`` is for when it, or the instance, is gone."""
        self._droppers[rep] = dropped

    def drop(self, rep: int) -> None:
        """The guest dropped its handle."""
        dropped = self._droppers.get(rep)
        resource = self._objects.get(rep)
        self._forget(rep)
        if dropped is not None:
            dropped(resource)

    def _forget(self, rep: int) -> None:
        if self._objects.pop(rep, None) is not None:
            self._free.append(rep)
        self._droppers.pop(rep, None)

    def close(self) -> None:
        """Drop all that is left, newest first. A resource that fails to close is logged; the others are closed all the same."""
        while self._objects:
            rep, resource = self._objects.popitem()
            dropped = self._droppers.pop(rep, None)
            if dropped is None:
                continue
            try:
                dropped(resource)
            except Exception:
                logger.exception("host-resource-not-closed", extra={"resource": type(resource).__name__})


class Context:
    """``HostContext`` of one instance."""

    __slots__ = ("_states", "host", "resources")

    def __init__(self, host: WorkerHost) -> None:
        self.host = host
        self.resources = Resources(host.limits.resources_max)
        self._states: dict[type, Any] = {}

    def journalled(self, function: str, function_type: str, request: tuple[Any, ...], live: Callable[[], T]) -> T:
        journal = self.host.journal
        asked = request_hash(request)
        if journal.replaying:
            replayed: T = decode_response(function, journal.take(function, asked))
            return replayed
        value = live()
        journal.record(function, function_type, asked, encode_response(value))
        return value

    def state(self, kind: type[T]) -> T:
        state = self._states.get(kind)
        if state is None:
            state = self._states[kind] = kind()
        found: T = state
        return found
