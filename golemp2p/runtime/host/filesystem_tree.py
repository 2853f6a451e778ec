"""The files of one worker: its directory, what it may use of it, and who is who in it.

    files_root/                      the worker's own directory, made on first need; the guest's only world
    ├── bytes used  <= bytes_max     sum of the sizes of its files, each inode once, unlinked but open ones too
    ├── entries     <= ENTRIES_MAX   names in all its directories
    ├── open files  <= OPEN_MAX      descriptors of the operating system held for the guest
    └── depth       <= DEPTH_MAX

Everything here is computed from calls that replay executes again, so a limit is met again at the same call. What the machine
gives is not: inode numbers differ and are reused. Hence ``number``, which counts files in the order in which the guest asked
for them, and forgets a file when its last name and its last descriptor are gone.

The preopened root costs no descriptor of the operating system: it is opened for each call and closed after it, since ten
thousand parked workers would otherwise hold ten thousand. The tree belongs to one instance and dies with it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from golemp2p.runtime.host.declare import HostContext
from golemp2p.runtime.host.filesystem_errors import Refused, world_error
from golemp2p.runtime.host.filesystem_walk import DIRECTORY_FLAGS

ENTRIES_MAX = 20_000
"""Listing all of them happens inside one host call on the event loop: some 20 ms, if they lie in one directory."""

OPEN_MAX = 256
"""Of the 1,024 descriptors a process has by default, shared by all workers of a node."""

LISTED_MAX = 5 * ENTRIES_MAX
"""Entries in all directory listings a guest holds at once: each is a snapshot in the host's memory."""

DEPTH_MAX = 128
"""Directories below the root. Bounds what a walk holds open, and the recursion of whoever deletes or copies the tree."""

Identity = tuple[int, int]
"""(st_dev, st_ino): which file it is, on this machine, as long as it exists. Never shown to the guest."""


def identity_of(info: os.stat_result) -> Identity:
    return (info.st_dev, info.st_ino)


class FileTree:
    """Made by ``tree_of``. Sizes in bytes."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.root_identity: Identity = (0, 0)
        self.bytes_used = self.bytes_max = 0
        self.entries = self.listed = self.open_files = 0
        self.deepest = 0  # >= the depth of every directory
        self._open: dict[Identity, int] = {}  # inode -> open files on it
        self._nameless: set[Identity] = set()  # inodes in _open whose last name is gone
        self._numbers: dict[Identity, int] = {}
        self._numbered = 0

    def begin(self, root: Path, bytes_max: int) -> None:
        """Make the directory, or count what was laid into it before the guest started. Raises ``WorldError``."""
        try:
            self._count(root, bytes_max)
        except OSError as error:
            raise world_error(error) from error
        self.root = root

    def _count(self, root: Path, bytes_max: int) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.bytes_max = bytes_max
        self.root_identity = identity_of(os.stat(root, follow_symlinks=False))
        seen: set[Identity] = set()
        unread = [(root, 0)]
        while unread:
            directory, depth = unread.pop()
            self.deepest = max(self.deepest, depth)
            with os.scandir(directory) as entries:
                for entry in entries:
                    self.entries += 1
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(info.st_mode):
                        unread.append((Path(entry.path), depth + 1))
                    elif stat.S_ISREG(info.st_mode) and identity_of(info) not in seen:
                        seen.add(identity_of(info))
                        self.bytes_used += info.st_size

    def open_root(self) -> int:
        """Raises ``WorldError``: that the root is there is not the guest's business."""
        assert self.root is not None
        try:
            return os.open(self.root, DIRECTORY_FLAGS)
        except OSError as error:
            raise world_error(error) from error

    # ------------------------------------------------------------------------------------------------------------ quotas

    def grow(self, count: int) -> None:
        """``count`` more bytes in some file, or ``Refused("quota")``: then nothing has changed."""
        if count > self.bytes_max - self.bytes_used and count > 0:
            raise Refused("quota")
        self.bytes_used += count

    def shrink(self, count: int) -> None:
        self.bytes_used -= count

    def check_entry(self) -> None:
        """Whether one more name may be made; counted by ``entry_made``."""
        if self.entries >= ENTRIES_MAX:
            raise Refused("quota")

    def check_open(self) -> None:
        """Whether one more file may be opened; counted by ``opened``."""
        if self.open_files >= OPEN_MAX:
            raise Refused("quota")

    def list_entries(self, count: int) -> None:
        if self.listed + count > LISTED_MAX:
            raise Refused("quota")
        self.listed += count

    # ------------------------------------------------------------------------------------------------------- who is who

    def entry_made(self) -> None:
        self.entries += 1

    def entry_removed(self, info: os.stat_result) -> None:
        """A name is gone; ``info`` is its lstat from just before."""
        self.entries -= 1
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            return
        identity = identity_of(info)
        if identity in self._open:
            self._nameless.add(identity)
        else:
            self._forget(identity, info)

    def opened(self, identity: Identity) -> None:
        self.open_files += 1
        self._open[identity] = self._open.get(identity, 0) + 1

    def closing(self, identity: Identity, fd: int) -> None:
        """An open file is about to be closed."""
        self.open_files -= 1
        self._open[identity] -= 1
        if self._open[identity]:
            return
        del self._open[identity]
        if identity in self._nameless:
            self._nameless.remove(identity)
            self._forget(identity, os.fstat(fd))

    def _forget(self, identity: Identity, info: os.stat_result) -> None:
        if stat.S_ISREG(info.st_mode):
            self.bytes_used -= info.st_size
        self._numbers.pop(identity, None)

    def number(self, identity: Identity) -> int:
        """The same for the same file as long as it exists, another for every other file, and the same on every replay."""
        known = self._numbers.get(identity)
        if known is None:
            self._numbered += 1
            known = self._numbers[identity] = self._numbered
        return known


def tree_of(ctx: HostContext) -> FileTree:
    """The tree of this instance; its directory is made (or counted) when it is first needed."""
    tree = ctx.state(FileTree)
    if tree.root is None:
        tree.begin(ctx.host.files_root, ctx.host.limits.files_bytes_max)
    return tree


class OpenFile:
    """A descriptor of the operating system, held by the guest's descriptor and by streams made from it.

    Closed when the last of them releases it; the file of an instance that died without dropping anything is closed by
    ``__del__``, without accounts, since those died with the instance.
    """

    __slots__ = ("fd", "holders", "identity", "tree")

    def __init__(self, tree: FileTree, fd: int) -> None:
        self.fd = fd  # first: from here on it is closed by __del__, whatever fails
        self.tree, self.holders = tree, 1
        self.identity = identity_of(os.fstat(fd))
        tree.opened(self.identity)

    def hold(self) -> OpenFile:
        self.holders += 1
        return self

    def release(self) -> None:
        self.holders -= 1
        if self.holders == 0:
            self.tree.closing(self.identity, self.fd)
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Descriptor:
    """The resource wasi:filesystem/types.descriptor. ``file`` is ``None`` for the preopened root.

    ``flags`` are descriptor-flags in declaration order. A directory's ``mutate-directory`` decides what may be changed through
    it; a file's ``read`` and ``write`` what may be done with its content.
    """

    __slots__ = ("file", "flags", "is_directory", "tree")

    def __init__(self, tree: FileTree, file: OpenFile | None, flags: tuple[str, ...], *, is_directory: bool) -> None:
        self.tree, self.file, self.flags, self.is_directory = tree, file, flags, is_directory

    @contextmanager
    def fd(self) -> Iterator[int]:
        """An open descriptor of the operating system, for the length of one call."""
        fd, owned = self.open_fd()
        try:
            yield fd
        finally:
            if owned:
                os.close(fd)

    def open_fd(self) -> tuple[int, bool]:
        """The descriptor, and whether the caller must close it."""
        if self.file is None:
            return self.tree.open_root(), True
        return self.file.fd, False

    def identity(self) -> Identity:
        return self.tree.root_identity if self.file is None else self.file.identity

    def content(self, flag: str) -> OpenFile:
        """The open file, if its content may be used as ``flag`` (read, write) says."""
        if self.file is None or self.is_directory:
            raise Refused("is-directory")
        if flag not in self.flags:
            raise Refused("bad-descriptor")
        return self.file

    def check_mutable(self) -> None:
        """Whether the tree may be changed through this directory."""
        if not self.is_directory:
            raise Refused("not-directory")
        if "mutate-directory" not in self.flags:
            raise Refused("read-only")

    def release(self) -> None:
        if self.file is not None:
            self.file.release()
