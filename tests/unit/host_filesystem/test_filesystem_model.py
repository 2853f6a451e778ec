"""Random programs against the real directory, the model in memory, and their own replay."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filesystem_fakes import Guest, Worker
from filesystem_model import Directory, File, Model, No, Node
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from golemp2p.runtime.host.filesystem_tree import FileTree

QUOTA_BYTES = 60

NAMES = st.sampled_from(["a", "b", "c", "ä", "l"])
PATHS = st.builds(
    lambda parts, slash: "/".join(parts) + slash,
    st.lists(NAMES | st.sampled_from(["a", "b", "l", "..", "."]), min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/"]),
)
HANDLES = st.integers(0, 7)
HOW = st.sampled_from(
    [(), ("create",), ("create", "exclusive"), ("create", "truncate"), ("truncate",), ("directory",), ("directory",)]
)
FOLLOW = st.booleans()


class Programs(RuleBasedStateMachine):
    """``handles`` are pairs of a guest's handle and the model's node; the first is the root and stays."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.worker = Worker(self.folder / "files", files_bytes_max=QUOTA_BYTES)
        self.guest = self.worker.start()
        self.model = Model(QUOTA_BYTES)
        self.handles: list[tuple[int, Node]] = [(self.guest.root, self.model.root)]
        self.program: list[tuple[str, tuple[Any, ...], Any]] = []

    def teardown(self) -> None:
        """The same program once more, replaying: the same answers, times included, and nothing journalled anew."""
        self.guest.context.resources.close()
        calls = len(self.worker.entries)
        again = self.worker.start()
        for method, args, answer in self.program:
            assert self.perform(again, method, args) == answer
        assert len(self.worker.entries) == calls
        again.context.resources.close()
        shutil.rmtree(self.folder)

    @staticmethod
    def perform(guest: Guest, method: str, args: tuple[Any, ...]) -> Any:
        if method == "drop":
            return guest.drop(*args)
        return guest.names(*args) if method == "names" else guest(method, *args)

    def call(self, method: str, *args: Any) -> Any:
        answer = self.perform(self.guest, method, args)
        self.program.append((method, args, answer))
        return answer

    def both(self, expected: Callable[[], Any], method: str, *args: Any) -> Any:
        """Call the guest's ``method`` and the model; compare; the guest's answer."""
        try:
            wanted = ("ok", expected())
        except No as no:
            wanted = ("err", no.args[0])
        answer = self.call(method, *args)
        assert answer == wanted, (method, args)
        return answer

    def directory(self, at: int) -> tuple[int, Directory]:
        directories = [(handle, node) for handle, node in self.handles if isinstance(node, Directory)]
        return directories[at % len(directories)]

    def file(self, at: int) -> tuple[int, File] | None:
        files = [(handle, node) for handle, node in self.handles if isinstance(node, File)]
        return files[at % len(files)] if files else None

    # ----------------------------------------------------------------------------------------------------------- names

    @rule(at=HANDLES, path=PATHS)
    def mkdir(self, at: int, path: str) -> None:
        handle, base = self.directory(at)
        self.both(lambda: self.model.mkdir(base, path), "create-directory-at", handle, path)

    @rule(at=HANDLES, points_to=PATHS, path=PATHS)
    def symlink(self, at: int, points_to: str, path: str) -> None:
        handle, base = self.directory(at)
        self.both(lambda: self.model.symlink(base, points_to, path), "symlink-at", handle, points_to, path)

    @rule(at=HANDLES, old=PATHS, to=HANDLES, new=PATHS, follow=FOLLOW)
    def link(self, at: int, old: str, to: int, new: str, follow: bool) -> None:
        (handle, base), (new_handle, new_base) = self.directory(at), self.directory(to)
        flags = ("symlink-follow",) if follow else ()
        self.both(lambda: self.model.link(base, old, new_base, new, follow), "link-at", handle, flags, old, new_handle, new)

    @rule(at=HANDLES, old=PATHS, to=HANDLES, new=PATHS)
    def rename(self, at: int, old: str, to: int, new: str) -> None:
        (handle, base), (new_handle, new_base) = self.directory(at), self.directory(to)
        self.both(lambda: self.model.rename(base, old, new_base, new), "rename-at", handle, old, new_handle, new)

    @rule(at=HANDLES, path=PATHS)
    def rmdir(self, at: int, path: str) -> None:
        handle, base = self.directory(at)
        self.both(lambda: self.model.rmdir(base, path), "remove-directory-at", handle, path)

    @rule(at=HANDLES, path=PATHS)
    def unlink(self, at: int, path: str) -> None:
        handle, base = self.directory(at)
        self.both(lambda: self.model.unlink(base, path), "unlink-file-at", handle, path)

    @rule(at=HANDLES, path=PATHS)
    def readlink(self, at: int, path: str) -> None:
        handle, base = self.directory(at)
        self.both(lambda: self.model.readlink(base, path), "readlink-at", handle, path)

    # --------------------------------------------------------------------------------------------------------- handles

    @rule(at=HANDLES, path=PATHS, follow=FOLLOW, how=HOW)
    def open(self, at: int, path: str, follow: bool, how: tuple[str, ...]) -> None:
        handle, base = self.directory(at)
        try:
            node: Node | None = self.model.open(base, path, follow, how)
        except No as no:
            node, code = None, no.args[0]
        flags = ("read",) if how == ("directory",) else ("read", "write")
        verdict, value = self.call("open-at", handle, ("symlink-follow",) if follow else (), path, how, flags)
        if node is None:
            assert (verdict, value) == ("err", code)
        else:
            assert verdict == "ok", (path, how, value)
            self.handles.append((value, node))

    @rule(at=HANDLES)
    def drop(self, at: int) -> None:
        if len(self.handles) > 1:
            handle, node = self.handles.pop(1 + at % (len(self.handles) - 1))
            self.model.held.remove(node)
            self.call("drop", handle)

    @rule(at=HANDLES, data=st.binary(max_size=20), offset=st.integers(0, 50))
    def write(self, at: int, data: bytes, offset: int) -> None:
        if (found := self.file(at)) is not None:
            handle, file = found
            self.both(lambda: self.model.write(file, data, offset), "write", handle, data, offset)

    @rule(at=HANDLES, size=st.integers(0, 70))
    def set_size(self, at: int, size: int) -> None:
        if (found := self.file(at)) is not None:
            handle, file = found
            self.both(lambda: self.model.set_size(file, size), "set-size", handle, size)

    @rule(at=HANDLES, length=st.integers(0, 80), offset=st.integers(0, 80))
    def read(self, at: int, length: int, offset: int) -> None:
        if (found := self.file(at)) is not None:
            handle, file = found
            data = file.data[offset : offset + length]
            self.both(lambda: (data, offset + len(data) >= len(file.data)), "read", handle, length, offset)

    # --------------------------------------------------------------------------------------------------------- looking

    @rule(at=HANDLES)
    def names(self, at: int) -> None:
        handle, directory = self.directory(at)
        assert self.call("names", handle) == self.model.names(directory)

    @rule(at=HANDLES, path=PATHS, follow=FOLLOW)
    def stat_at(self, at: int, path: str, follow: bool) -> None:
        handle, base = self.directory(at)
        try:
            wanted: tuple[str, Any] = ("ok", self.model.stat(self.model.spot(base, path, follow).there()))
        except No as no:
            wanted = ("err", no.args[0])
        verdict, value = self.call("stat-at", handle, ("symlink-follow",) if follow else (), path)
        assert (verdict, value[:3] if verdict == "ok" else value) == wanted

    @rule(at=HANDLES, seconds=st.integers(0, 1 << 31))
    def set_times(self, at: int, seconds: int) -> None:
        handle, _ = self.handles[at % len(self.handles)]
        when = ("timestamp", (seconds, 5))
        self.both(lambda: None, "set-times", handle, when, when)
        assert self.call("stat", handle)[1][4] == (seconds, 5)

    @rule(at=HANDLES, other=HANDLES)
    def hashes(self, at: int, other: int) -> None:
        (handle, node), (other_handle, other_node) = (self.handles[i % len(self.handles)] for i in (at, other))
        equal = self.call("metadata-hash", handle) == self.call("metadata-hash", other_handle)
        assert equal == (node is other_node)
        assert self.call("is-same-object", handle, other_handle) == (node is other_node)

    @invariant()
    def accounts_agree(self) -> None:
        tree = self.guest.context.state(FileTree)
        assert tree.bytes_used == self.model.used()
        assert tree.open_files == len(self.model.held)
        reachable = [node for node in self.model.everything() if isinstance(node, Directory)]
        assert tree.entries == sum(len(node.entries) for node in reachable)


Programs.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPrograms = Programs.TestCase
