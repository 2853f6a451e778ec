"""A worker that has nothing but files and a journal of calls, over the real context and dispatcher.

``Worker`` survives a restart; ``Worker.start()`` empties its directory, as the driver does, and gives a guest that replays the
journal first. Infidelities: nothing but host calls is ever in the journal, handles are never checked for ownership.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from golemp2p.errors import Divergence
from golemp2p.ports import GuestLimits
from golemp2p.runtime.host import filesystem, io
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.host.dispatch import Waiting, dispatcher

INTERFACES = (*filesystem.INTERFACES, *io.INTERFACES)
DISPATCHERS = {f"{face.name}.{name}": dispatcher(function) for face in INTERFACES for name, function in face.functions.items()}
DROPPED = {name: dropped for interface in INTERFACES for name, dropped in interface.resources.items()}


class Journal:
    def __init__(self, entries: list[tuple[str, bytes, bytes]]) -> None:
        self.entries, self.cursor, self.end = entries, 0, len(entries)

    @property
    def replaying(self) -> bool:
        return self.cursor < self.end

    def take(self, function: str, request_hash: bytes) -> bytes:
        name, asked, response = self.entries[self.cursor]
        self.cursor += 1
        if (name, asked) != (function, request_hash):
            raise Divergence(self.cursor, name, function)
        return response

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        assert not self.replaying
        self.entries.append((function, request_hash, response))
        return len(self.entries)

    def flush_nowait(self) -> None:
        raise AssertionError("nothing a file does makes a guest wait")


class Worker:
    def __init__(self, root: Path, **limits: int) -> None:
        self.root = root
        self.limits = GuestLimits(**limits)
        self.entries: list[tuple[str, bytes, bytes]] = []

    def start(self) -> Guest:
        shutil.rmtree(self.root, ignore_errors=True)
        return Guest(self)


class Guest:
    """One instance. ``guest("open-at", ...)`` calls a method of descriptor; ``root`` is a handle of the preopened ``/``."""

    def __init__(self, worker: Worker) -> None:
        self.host: Any = SimpleNamespace(files_root=worker.root, limits=worker.limits, journal=Journal(worker.entries))
        self.context = Context(self.host)
        self.root = self.any("wasi:filesystem/preopens.get-directories")[0][0]

    def any(self, name: str, *args: Any) -> Any:
        value = DISPATCHERS[name](self.context, args)
        assert not isinstance(value, Waiting), "nothing a file does makes a guest wait"
        return value

    def __call__(self, method: str, *args: Any) -> Any:
        return self.any(f"wasi:filesystem/types.[method]descriptor.{method}", *args)

    def stream(self, name: str, *args: Any) -> Any:
        return self.any(f"wasi:io/streams.[method]{name}", *args)

    def drop(self, rep: int, resource: str = "descriptor") -> None:
        DROPPED[resource](self.context.resources.take(rep, object))

    # ---------------------------------------------------------------- what tests do often; all assert success

    def open(self, path: str, how: str = "", flags: str = "read", *, base: int | None = None, follow: bool = True) -> int:
        verdict, handle = self.try_open(path, how, flags, base=base, follow=follow)
        assert verdict == "ok", (path, handle)
        return int(handle)

    def try_open(
        self, path: str, how: str = "", flags: str = "read", *, base: int | None = None, follow: bool = True
    ) -> tuple[str, Any]:
        path_flags = ("symlink-follow",) if follow else ()
        where = self.root if base is None else base
        answer: tuple[str, Any] = self("open-at", where, path_flags, path, tuple(how.split()), tuple(flags.split()))
        return answer

    def put(self, path: str, data: bytes = b"") -> None:
        handle = self.open(path, "create", "read write")
        assert self("write", handle, data, 0) == ("ok", len(data))
        self.drop(handle)

    def get(self, path: str) -> bytes:
        handle = self.open(path)
        verdict, value = self("read", handle, 1 << 20, 0)
        assert verdict == "ok", (path, value)
        self.drop(handle)
        return bytes(value[0])

    def mkdir(self, path: str) -> None:
        assert self("create-directory-at", self.root, path) == ("ok", None)

    def link(self, target: str, path: str) -> None:
        assert self("symlink-at", self.root, target, path) == ("ok", None)

    def names(self, directory: int | None = None) -> list[tuple[str, str]]:
        verdict, listing = self("read-directory", self.root if directory is None else directory)
        assert verdict == "ok"
        found = []
        while (
            entry := self.any("wasi:filesystem/types.[method]directory-entry-stream.read-directory-entry", listing)[1]
        ) is not None:
            found.append(entry)
        self.drop(listing, "directory-entry-stream")
        return found
