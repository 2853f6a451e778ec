"""Names in a worker's directories: open, make, link, rename, remove, list.

Each function checks what can be known beforehand itself, in a fixed order, so that the answer does not depend on which file
system the machine has (a rename over a full directory is ENOTEMPTY on ext4 and EEXIST on XFS, a directory has two links here
and one there). What remains for the kernel is the act.

A file without the owner's write permission is one that was laid into the directory as read-only: its content, name and times
cannot be changed. A guest cannot make one, for there are no permissions in WASI.
"""

from __future__ import annotations

import os
import stat

from golemp2p.runtime.host.filesystem_errors import Refused
from golemp2p.runtime.host.filesystem_tree import (
    DEPTH_MAX,
    Descriptor,
    FileTree,
    OpenFile,
    identity_of,
)
from golemp2p.runtime.host.filesystem_walk import (
    DIRECTORY_FLAGS,
    Place,
    depth_of,
    encode,
    find_entry,
    find_object,
    height_of,
)

LINK_BYTES_MAX = 1023
"""Of a link's target: the smallest maximum among the file systems of Linux (XFS)."""

MOVED_DIRECTORIES_MAX = 1_000
"""Looked into, at some 7 us each, to see whether a move makes them too deep; a move of more is refused as if it did."""

DESCRIPTOR_FLAGS = (
    "read", "write", "file-integrity-sync", "data-integrity-sync", "requested-write-sync", "mutate-directory",
)  # fmt: skip


def place_of(base: Descriptor, path: str, *, follow: bool) -> Place:
    """Where ``path`` leads from ``base``, for looking at or opening."""
    if not base.is_directory:
        raise Refused("not-directory")
    fd, owned = base.open_fd()
    return find_object(fd, path, follow=follow, owned=owned)


def entry_of(base: Descriptor, path: str) -> Place:
    """The entry ``path`` names from ``base``, for making, removing or renaming it."""
    base.check_mutable()
    fd, owned = base.open_fd()
    return find_entry(fd, path, owned=owned)


def check_unprotected(info: os.stat_result) -> None:
    if stat.S_ISREG(info.st_mode) and not info.st_mode & stat.S_IWUSR:
        raise Refused("not-permitted")


def type_of(mode: int) -> str:
    match stat.S_IFMT(mode):
        case stat.S_IFREG:
            return "regular-file"
        case stat.S_IFDIR:
            return "directory"
        case stat.S_IFLNK:
            return "symbolic-link"
        case _:
            return "unknown"


# --------------------------------------------------------------------------------------------------------------- opening


def open_at(base: Descriptor, path: str, *, follow: bool, how: tuple[str, ...], flags: tuple[str, ...]) -> Descriptor:
    """Open what ``path`` leads to, or make a file there. ``how`` are open-flags, ``flags`` descriptor-flags.

    A directory inherits ``mutate-directory`` from ``base`` whether asked for or not, as in wasmtime: guests built on the
    preview1 adapter never ask, and then remove files through it.
    """
    changes = "create" in how or "truncate" in how or "write" in flags or "mutate-directory" in flags
    if changes:
        base.check_mutable()
    if "directory" in how and ("create" in how or "exclusive" in how or "truncate" in how):
        raise Refused("invalid")
    exclusive = "create" in how and "exclusive" in how
    with place_of(base, path, follow=follow and not exclusive) as place:
        base.tree.check_open()
        if place.info is None:
            if "create" not in how:
                raise Refused("no-entry")
            return _create_file(base.tree, place, flags)
        if exclusive:
            raise Refused("exist")
        if place.is_link:
            raise Refused("loop")
        if place.is_directory:
            if "create" in how or "truncate" in how or "write" in flags:
                raise Refused("is-directory")
            return _open_directory(base, place, flags)
        if "directory" in how:
            raise Refused("not-directory")
        return _open_file(base.tree, place, how, flags)


def _create_file(tree: FileTree, place: Place, flags: tuple[str, ...]) -> Descriptor:
    if place.as_directory:
        raise Refused("is-directory")
    tree.check_entry()
    fd = os.open(place.entry(), _mode(flags) | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=place.parent)
    file = OpenFile(tree, fd)
    tree.entry_made()
    return Descriptor(tree, file, _flags(flags, mutable=False), is_directory=False)


def _open_file(tree: FileTree, place: Place, how: tuple[str, ...], flags: tuple[str, ...]) -> Descriptor:
    info = place.existing()
    if not stat.S_ISREG(info.st_mode):
        raise Refused("unsupported")
    if "write" in flags or "truncate" in how:
        check_unprotected(info)
    mode = _mode(flags)
    if "truncate" in how:
        mode |= os.O_TRUNC
        tree.shrink(info.st_size)
    file = OpenFile(tree, os.open(place.entry(), mode, dir_fd=place.parent))
    return Descriptor(tree, file, _flags(flags, mutable=False), is_directory=False)


def _open_directory(base: Descriptor, place: Place, flags: tuple[str, ...]) -> Descriptor:
    name = b"." if place.name is None else place.name
    file = OpenFile(base.tree, os.open(name, DIRECTORY_FLAGS, dir_fd=place.parent))
    return Descriptor(base.tree, file, _flags(flags, mutable="mutate-directory" in base.flags), is_directory=True)


def _mode(flags: tuple[str, ...]) -> int:
    """For the kernel. Without read and write: opened for reading, and every read refused by the descriptor's flags."""
    access = (os.O_RDWR if "read" in flags else os.O_WRONLY) if "write" in flags else os.O_RDONLY
    return access | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def _flags(asked: tuple[str, ...], *, mutable: bool) -> tuple[str, ...]:
    granted = {*asked} - {"mutate-directory"} | ({"mutate-directory"} if mutable else set())
    return tuple(flag for flag in DESCRIPTOR_FLAGS if flag in granted)


# ---------------------------------------------------------------------------------------------------------------- making


def create_directory(base: Descriptor, path: str) -> None:
    with entry_of(base, path) as place:
        if place.info is not None:
            raise Refused("exist")
        base.tree.check_entry()
        depth = depth_of(place.parent, base.tree.root_identity, DEPTH_MAX) + 1
        if depth > DEPTH_MAX:
            raise Refused("name-too-long")
        os.mkdir(place.entry(), 0o700, dir_fd=place.parent)
        base.tree.entry_made()
        base.tree.deepest = max(base.tree.deepest, depth)


def symlink(base: Descriptor, target: str, path: str) -> None:
    """``target`` is kept as it is, and only judged when somebody follows it; but absolute ones are not even kept."""
    encoded = encode(target)
    if encoded.startswith(b"/"):
        raise Refused("not-permitted")
    if len(encoded) > LINK_BYTES_MAX:
        raise Refused("name-too-long")
    with entry_of(base, path) as place:
        _check_free(place)
        base.tree.check_entry()
        os.symlink(encoded, place.entry(), dir_fd=place.parent)
        base.tree.entry_made()


def hard_link(old_base: Descriptor, old_path: str, new_base: Descriptor, new_path: str, *, follow: bool) -> None:
    old_base.check_mutable()
    with place_of(old_base, old_path, follow=follow) as old, entry_of(new_base, new_path) as new:
        info = old.existing()
        if old.is_directory:
            raise Refused("not-permitted")
        check_unprotected(info)
        _check_free(new)
        new_base.tree.check_entry()
        os.link(old.entry(), new.entry(), src_dir_fd=old.parent, dst_dir_fd=new.parent, follow_symlinks=False)
        new_base.tree.entry_made()


def _check_free(place: Place) -> None:
    """Whether an entry that is no directory can be made here."""
    if place.info is not None:
        raise Refused("exist")
    if place.as_directory:
        raise Refused("no-entry")


# -------------------------------------------------------------------------------------------------- renaming and removing


def rename(old_base: Descriptor, old_path: str, new_base: Descriptor, new_path: str) -> None:
    """As POSIX: replaces a file by a file, an empty directory by a directory; two names of one file stay as they are."""
    tree = old_base.tree
    with entry_of(old_base, old_path) as old, entry_of(new_base, new_path) as new:
        source, target = old.existing(), new.info
        old_name, new_name = old.entry(), new.entry()
        check_unprotected(source)
        if target is not None:
            if identity_of(source) == identity_of(target):
                return
            check_unprotected(target)
            if new.is_directory and not old.is_directory:
                raise Refused("is-directory")
        if old.is_directory:
            if target is not None and not new.is_directory:
                raise Refused("not-directory")
            _check_depth(tree, old, new)
        elif new.as_directory:
            raise Refused("not-directory")
        try:
            os.rename(old_name, new_name, src_dir_fd=old.parent, dst_dir_fd=new.parent)
        except FileExistsError:
            raise Refused("not-empty") from None
        if target is not None:
            tree.entry_removed(target)


def _check_depth(tree: FileTree, old: Place, new: Place) -> None:
    """A directory that moves down takes all below it along. What moves up, or sideways, is not deeper than it was.

    What lies below is looked into only if the deepest directory there ever was would become too deep by this move.
    """
    depth_old = depth_of(old.parent, tree.root_identity, DEPTH_MAX) + 1
    depth_new = depth_of(new.parent, tree.root_identity, DEPTH_MAX) + 1
    if depth_new <= depth_old:
        return
    deepest = depth_new + tree.deepest - depth_old
    if deepest > DEPTH_MAX:
        height = height_of(old.parent, old.entry(), MOVED_DIRECTORIES_MAX)
        if height is None or depth_new + height > DEPTH_MAX:
            raise Refused("name-too-long")
        deepest = depth_new + height
    tree.deepest = max(tree.deepest, deepest)


def remove_directory(base: Descriptor, path: str) -> None:
    with entry_of(base, path) as place:
        info = place.existing()
        name = place.entry()
        if not place.is_directory:
            raise Refused("not-directory")
        try:
            os.rmdir(name, dir_fd=place.parent)
        except FileExistsError:
            raise Refused("not-empty") from None
        base.tree.entry_removed(info)


def unlink_file(base: Descriptor, path: str) -> None:
    with entry_of(base, path) as place:
        info = place.existing()
        if place.is_directory:
            raise Refused("is-directory")
        check_unprotected(info)
        os.unlink(place.entry(), dir_fd=place.parent)
        base.tree.entry_removed(info)


# --------------------------------------------------------------------------------------------------------------- looking


def readlink(base: Descriptor, path: str) -> str:
    with place_of(base, path, follow=False) as place:
        place.existing()
        if not place.is_link:
            raise Refused("invalid")
        target = os.readlink(place.entry(), dir_fd=place.parent)
    if target.startswith(b"/"):
        raise Refused("not-permitted")
    try:
        return target.decode()
    except UnicodeDecodeError:
        raise Refused("illegal-byte-sequence") from None


class Listing:
    """The resource directory-entry-stream: the entries at the time of the call, sorted by name, so the same on every replay.

    ``.`` and ``..`` are left out, as WASI asks. Sorted by code points, which is the order of the UTF-8 bytes too.
    """

    def __init__(self, directory: Descriptor) -> None:
        if not directory.is_directory:
            raise Refused("not-directory")
        self.tree = directory.tree
        with directory.fd() as fd, os.scandir(fd) as entries:
            found = [(os.fsencode(entry.name), _entry_type(entry)) for entry in entries]
        self.tree.list_entries(len(found))
        self.counted = len(found)
        self._found = sorted(found)
        self._next = 0

    def next(self) -> tuple[str, str] | None:
        """(type, name) of the next entry, ``None`` after the last."""
        if self._next == len(self._found):
            return None
        name, kind = self._found[self._next]
        self._next += 1
        try:
            return (kind, name.decode())
        except UnicodeDecodeError:
            raise Refused("illegal-byte-sequence") from None

    def release(self) -> None:
        self.tree.list_entries(-self.counted)


def _entry_type(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):
        return "regular-file"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "symbolic-link" if entry.is_symlink() else "unknown"
