"""From a directory along a path to a place, never leaving the directory.

    walk(base, "a/link/../f")        stack of open directories        base
                                     a                                base  a
                                     link -> "x/y": read, spliced in  base  a  x  y
                                     ..   : pop                       base  a  x
                                     f    : the last one, looked at   Place(parent = x, name = f, info = lstat)

Every directory on the way is opened by its own name relative to the one before, with O_NOFOLLOW: the kernel never resolves
more than one name, and never a link. Links are read and expanded here. ``..`` pops the stack, so it means the directory we
came through, cannot be fooled by directories that moved meanwhile, and at the base there is nothing to pop: not-permitted.
The base is the descriptor the guest named: each is a sandbox of its own (as in cap-std, and openat2's RESOLVE_BENEATH).

Absolute paths and links are not-permitted, as WASI asks. Differs from POSIX in that ``..`` from the base is an error even where
the result would lie inside the base again by another way.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from golemp2p.runtime.host.filesystem_errors import Refused

NAME_BYTES_MAX = 255
"""The limit of ext4, XFS, Btrfs and tmpfs. Checked here so that it is the same on all of them."""

PATH_BYTES_MAX = 4096
"""PATH_MAX of Linux, which guests' own libraries assume."""

LINKS_MAX = 40
"""As Linux: expansions on one walk, after which it is a loop."""

STEPS_MAX = 1024
"""Names followed on one walk, links expanded: 40 links of 1,023 bytes each could ask for 20,000, all on the event loop."""

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """Where a walk ended. A context manager: closes the directories opened on the way.

    ``name`` is the last name in the open directory ``parent``, and ``info`` its lstat, ``None`` when there is no such entry. A
    path that ends in ``.`` or ``..`` names no entry but a directory: then ``name`` is ``None`` and ``parent`` that directory.
    ``as_directory``: the path ended in a slash, so whatever is there, or will be, must be a directory.
    """

    __slots__ = ("_owned", "as_directory", "info", "name", "parent")

    def __init__(
        self, parent: int, name: bytes | None, info: os.stat_result | None, as_directory: bool, owned: list[int]
    ) -> None:
        self.parent, self.name, self.info, self.as_directory, self._owned = parent, name, info, as_directory, owned

    @property
    def is_directory(self) -> bool:
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        return self.info is not None and stat.S_ISLNK(self.info.st_mode)

    def existing(self) -> os.stat_result:
        """``info`` of what must be there, else no-entry."""
        if self.info is None:
            raise Refused("no-entry")
        return self.info

    def entry(self) -> bytes:
        """``name`` where an entry is to be made, removed or renamed. ``.`` and ``..`` are none: invalid."""
        if self.name is None:
            raise Refused("invalid")
        return self.name

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        close_all(self._owned)


def find_object(base: int, path: str, *, follow: bool, owned: bool = False) -> Place:
    """Where ``path`` leads from directory ``base``; ``follow`` a link at its end (a trailing slash always does).

    ``owned``: the place (or this function, when it raises) closes ``base``. Raises ``Refused``, ``OSError``.
    """
    return _Walk(base, owned).go(path, follow, follow_slash=True)


def find_entry(base: int, path: str, *, owned: bool = False) -> Place:
    """As ``find_object`` for the directory entry itself, to be made, removed or renamed: a link at the end is not followed."""
    return _Walk(base, owned).go(path, follow=False, follow_slash=False)


class _Walk:
    __slots__ = ("as_directory", "directories", "links", "owned", "remaining", "steps")

    def __init__(self, base: int, owned: bool) -> None:
        self.directories = [base]
        self.owned = [base] if owned else []
        self.remaining: list[bytes] = []  # names still to follow, the next one last
        self.as_directory = False
        self.links = self.steps = 0

    def go(self, path: str, follow: bool, follow_slash: bool) -> Place:
        try:
            self.prepend(encode(path))
            self.as_directory = path.endswith("/")
            return self.follow_names(follow, follow_slash)
        except BaseException:
            close_all(self.owned)
            raise

    def follow_names(self, follow: bool, follow_slash: bool) -> Place:
        while self.remaining:
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Refused("name-too-long")
            name = self.remaining.pop()
            if name == b".":
                continue
            if name == b"..":
                self.leave()
            elif self.remaining:
                self.enter(name)
            else:
                info = look(name, self.directories[-1])
                is_link = info is not None and stat.S_ISLNK(info.st_mode)
                if is_link and (follow or (follow_slash and self.as_directory)):
                    self.expand(name)
                    continue
                if self.as_directory and info is not None and not stat.S_ISDIR(info.st_mode):
                    raise Refused("not-directory")
                return Place(self.directories[-1], name, info, self.as_directory, self.owned)
        here = self.directories[-1]
        return Place(here, None, os.fstat(here), True, self.owned)

    def leave(self) -> None:
        if len(self.directories) == 1:
            raise Refused("not-permitted")
        self.directories.pop()
        os.close(self.owned.pop())  # the same, at once: "a/../a/../..." must not hold a thousand directories open

    def enter(self, name: bytes) -> None:
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=self.directories[-1])
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # what O_DIRECTORY and O_NOFOLLOW say of a link
                raise
            info = look(name, self.directories[-1])
            if info is None or not stat.S_ISLNK(info.st_mode):
                raise Refused("not-directory") from None
            self.expand(name)
            return
        self.owned.append(fd)
        self.directories.append(fd)

    def expand(self, name: bytes) -> None:
        self.links += 1
        if self.links > LINKS_MAX:
            raise Refused("loop")
        target = os.readlink(name, dir_fd=self.directories[-1])
        if not self.remaining and target.endswith(b"/"):
            self.as_directory = True
        self.prepend(target)

    def prepend(self, path: bytes) -> None:
        """Follow the names of ``path`` before those that remain. A ``.`` matters only as the very last."""
        if path.startswith(b"/"):
            raise Refused("not-permitted")
        names = path.rstrip(b"/").split(b"/")
        last = len(names) - 1
        self.remaining.extend(name for at, name in reversed(list(enumerate(names))) if name and (name != b"." or at == last))


def encode(path: str) -> bytes:
    """The bytes of a guest's path, checked: empty no-entry, NUL invalid, a name or the whole too long name-too-long."""
    if not path:
        raise Refused("no-entry")
    if len(path) >= PATH_BYTES_MAX:
        raise Refused("name-too-long")
    if "\0" in path:
        raise Refused("invalid")
    encoded = path.encode()
    if len(encoded) >= PATH_BYTES_MAX or any(len(name) > NAME_BYTES_MAX for name in encoded.split(b"/")):
        raise Refused("name-too-long")
    return encoded


def look(name: bytes, directory: int) -> os.stat_result | None:
    """lstat of an entry, ``None`` when there is none."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def depth_of(directory: int, root: tuple[int, int], depth_max: int) -> int:
    """How far the open ``directory`` lies below the directory with identity ``root`` (0: is it), at most ``depth_max`` + 1.

    The only use of the kernel's own ``..``, to count: a directory of the tree always has the root above it.
    """
    opened: list[int] = []
    here, depth = directory, 0
    try:
        while depth <= depth_max:
            info = os.fstat(here)
            if (info.st_dev, info.st_ino) == root:
                break
            here = os.open(b"..", DIRECTORY_FLAGS, dir_fd=here)
            opened.append(here)
            depth += 1
        return depth
    finally:
        close_all(opened)


def height_of(parent: int, name: bytes, count_max: int) -> int | None:
    """Levels of directories below directory ``name`` (0: it holds none), looking into ``count_max`` of them at most: ``None``
    when there are more. Recursion is bounded by the tree's depth limit."""
    return _height(parent, name, [count_max])


def _height(parent: int, name: bytes, left: list[int]) -> int | None:
    left[0] -= 1
    if left[0] < 0:
        return None
    fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    try:
        with os.scandir(fd) as entries:
            below = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        height = 0
        for child in below:
            under = _height(fd, child, left)
            if under is None:
                return None
            height = max(height, under + 1)
        return height
    finally:
        os.close(fd)
