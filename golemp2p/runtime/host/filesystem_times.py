"""What stands beside a file's content: type, links, size, times, identity.

    stat, live      times of the file ──► journal ──► guest
    stat, replay    times of the journal ──► guest, and set on the file again, which replay had made at another time

Type, links and size are facts of the tree, which replay makes again; they go into the request's hash, so a replay whose files
differ from those of the first run is found at once. Times are the only thing here that is journalled. Of a file that nobody
asked about, the times after a replay are those of the replay.

Normalised, since machines differ: a directory has one link and size 0 (Btrfs counts its links so, meaning "not counted").
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from golemp2p.runtime.host.declare import READ_LOCAL, HostContext
from golemp2p.runtime.host.encoding import journal_name
from golemp2p.runtime.host.filesystem_entries import check_unprotected, place_of, type_of
from golemp2p.runtime.host.filesystem_errors import Refused
from golemp2p.runtime.host.filesystem_tree import Descriptor, identity_of

SECOND_NS = 1_000_000_000

SECONDS_MAX = 1 << 63
"""The kernel's time has a sign; it clips what its file systems cannot hold by itself."""

Datetime = tuple[int, int]
Times = tuple[int, int]
"""Access and modification, nanoseconds since the Unix epoch."""

NewTimestamp = tuple[str, Any]
"""("no-change", None), ("now", None) or ("timestamp", datetime)."""

Stat = tuple[str, int, int, Datetime | None, Datetime | None, None]
"""Type, links, size, access, modification, status change (never told: it cannot be set, so not be made again either)."""

HASH_LABEL = b"golemp2p.filesystem"


class Target:
    """The object whose times are read or set: an entry of the open directory ``parent``, or, without ``name``, the open file
    or directory ``parent`` itself. A link is never followed."""

    __slots__ = ("name", "parent")

    def __init__(self, parent: int, name: bytes | None = None) -> None:
        self.parent, self.name = parent, name

    def info(self) -> os.stat_result:
        if self.name is None:
            return os.fstat(self.parent)
        return os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)

    def set(self, times: Times) -> None:
        if self.name is None:
            os.utime(self.parent, ns=times)
        else:
            os.utime(self.name, ns=times, dir_fd=self.parent, follow_symlinks=False)

    def touch(self) -> None:
        """Both times to the kernel's now."""
        if self.name is None:
            os.utime(self.parent)
        else:
            os.utime(self.name, dir_fd=self.parent, follow_symlinks=False)


# -------------------------------------------------------------------------------------------------------------------- stat


def stat_descriptor(ctx: HostContext, descriptor: Descriptor) -> Stat:
    with descriptor.fd() as fd:
        return _stat(ctx, "stat", (), os.fstat(fd), Target(fd))


def stat_path(ctx: HostContext, base: Descriptor, path: str, *, follow: bool) -> Stat:
    with place_of(base, path, follow=follow) as place:
        return _stat(ctx, "stat-at", (path, follow), place.existing(), Target(place.parent, place.name))


def _stat(ctx: HostContext, function: str, request: tuple[Any, ...], info: os.stat_result, target: Target) -> Stat:
    kind = type_of(info.st_mode)
    links, size = (1, 0) if kind == "directory" else (info.st_nlink, info.st_size)
    found = (info.st_atime_ns, info.st_mtime_ns)
    name = journal_name("wasi:filesystem/types", f"[method]descriptor.{function}")
    access_ns, modification_ns = ctx.journalled(name, READ_LOCAL, (*request, kind, links, size), lambda: found)
    if (access_ns, modification_ns) != found:
        target.set((access_ns, modification_ns))
    return (kind, links, size, divmod(access_ns, SECOND_NS), divmod(modification_ns, SECOND_NS), None)


# --------------------------------------------------------------------------------------------------------------- set-times


def set_times_descriptor(descriptor: Descriptor, access: NewTimestamp, modification: NewTimestamp) -> None:
    if descriptor.is_directory:
        descriptor.check_mutable()
    with descriptor.fd() as fd:
        _set_times(Target(fd), os.fstat(fd), access, modification)


def set_times_path(base: Descriptor, path: str, access: NewTimestamp, modification: NewTimestamp, *, follow: bool) -> None:
    base.check_mutable()
    with place_of(base, path, follow=follow) as place:
        _set_times(Target(place.parent, place.name), place.existing(), access, modification)


def _set_times(target: Target, info: os.stat_result, access: NewTimestamp, modification: NewTimestamp) -> None:
    """``now`` is the kernel's, like the times of every write: what the guest gets to see of it, ``stat`` journals."""
    check_unprotected(info)
    asked = (_nanoseconds(access), _nanoseconds(modification))
    now = info
    if "now" in asked:
        target.touch()
        now = target.info()
    if asked in ((None, None), ("now", "now")):
        return
    target.set(
        (
            _choose(asked[0], info.st_atime_ns, now.st_atime_ns),
            _choose(asked[1], info.st_mtime_ns, now.st_mtime_ns),
        )
    )


def _choose(asked: int | str | None, before_ns: int, now_ns: int) -> int:
    if isinstance(asked, int):
        return asked
    return before_ns if asked is None else now_ns


def _nanoseconds(new: NewTimestamp) -> int | str | None:
    """A time, ``"now"``, or ``None`` for no change."""
    match new:
        case ("no-change", _):
            return None
        case ("now", _):
            return "now"
        case ("timestamp", (seconds, nanoseconds)):
            if seconds >= SECONDS_MAX or nanoseconds >= SECOND_NS:
                raise Refused("invalid")
            return int(seconds * SECOND_NS + nanoseconds)
        case _:
            raise AssertionError(f"no such timestamp: {new}")


# ---------------------------------------------------------------------------------------------------------------- identity


def hash_of(descriptor: Descriptor) -> tuple[int, int]:
    return _hash(descriptor.tree.number(descriptor.identity()))


def hash_at(base: Descriptor, path: str, *, follow: bool) -> tuple[int, int]:
    with place_of(base, path, follow=follow) as place:
        return _hash(base.tree.number(identity_of(place.existing())))


def _hash(number: int) -> tuple[int, int]:
    """(lower, upper). Of identity alone, as in wasmtime: guests take it for an inode number, which must not change with the
    content."""
    digest = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=16, key=HASH_LABEL).digest()
    return (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
