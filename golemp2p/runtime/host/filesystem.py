"""wasi:filesystem: types and preopens, over the worker's own directory.

    guest ── descriptor ─┬─► filesystem_entries   names: open, make, link, rename, remove, list
                         ├─► filesystem_content   bytes: read, write, size, streams
                         └─► filesystem_times     stat, times, hashes
                                    │
                                    ├─► filesystem_tree   quotas, identity, open files
                                    └─► filesystem_walk   paths, safely

Durability: everything is executed again by replay, on a directory that the driver has emptied; only the times that ``stat``
and ``stat-at`` tell are journalled (``filesystem_times``). Hence ``sync`` and ``sync-data`` do nothing: what survives a crash
is the journal, and the files are made from it again.

Hostile guests: paths are resolved name by name inside the descriptor they start from (``filesystem_walk``); sizes, counts and
depths are limited (``filesystem_tree``) and answered with ``quota`` or ``name-too-long``. Trouble of the machine is never an
answer (``filesystem_errors``).

Differs from wasmtime-wasi in that a descriptor without ``mutate-directory`` answers ``read-only`` (as the interface says),
reads of a directory answer ``is-directory``, and a link may be followed by ``link-at``.
"""

from __future__ import annotations

from golemp2p.runtime.host import filesystem_content as content
from golemp2p.runtime.host import filesystem_entries as entries
from golemp2p.runtime.host import filesystem_times as times
from golemp2p.runtime.host.declare import PURE, WRITE_LOCAL, HostContext, HostInterface
from golemp2p.runtime.host.filesystem_entries import Listing
from golemp2p.runtime.host.filesystem_errors import FilesystemError, Refused, answering
from golemp2p.runtime.host.filesystem_times import NewTimestamp, Stat
from golemp2p.runtime.host.filesystem_tree import Descriptor, FileTree, tree_of
from golemp2p.runtime.host.streams import InputStream, IoError, OutputStream

TYPES = HostInterface("wasi:filesystem/types")
PREOPENS = HostInterface("wasi:filesystem/preopens")
INTERFACES = (TYPES, PREOPENS)

TYPES.resource("descriptor", lambda descriptor: descriptor.release())
TYPES.resource("directory-entry-stream", lambda listing: listing.release())

ROOT_FLAGS = ("read", "mutate-directory")

Flags = tuple[str, ...] | list[str]


def held(ctx: HostContext, rep: int) -> Descriptor:
    """The descriptor a guest passed; its tree is there from now on."""
    descriptor = ctx.resources.get(rep, Descriptor)
    tree_of(ctx)
    return descriptor


def follows(path_flags: Flags) -> bool:
    return "symlink-follow" in path_flags


def hand_out(ctx: HostContext, resource: Descriptor | Listing) -> int:
    """A handle for ``resource``, which is given back when there can be no handle."""
    try:
        return ctx.resources.push(resource)
    except BaseException:
        resource.release()
        raise


def hand_out_stream(ctx: HostContext, stream: InputStream | OutputStream) -> int:
    try:
        return ctx.resources.push(stream)
    except BaseException:
        stream.close()
        raise


# ---------------------------------------------------------------------------------------------------------------- preopens


@PREOPENS.function("get-directories", PURE)
def get_directories(ctx: HostContext) -> list[tuple[int, str]]:
    """The root under the two names that guests ask for. Touches no disk: most guests call it and many never use it."""
    tree = ctx.state(FileTree)
    return [(ctx.resources.push(Descriptor(tree, None, ROOT_FLAGS, is_directory=True)), name) for name in ("/", ".")]


# ----------------------------------------------------------------------------------------------------------------- content


@TYPES.function("[method]descriptor.read-via-stream", PURE)
@answering
def read_via_stream(ctx: HostContext, rep: int, offset: int) -> int:
    return hand_out_stream(ctx, content.FileInputStream(held(ctx, rep).content("read"), offset))


@TYPES.function("[method]descriptor.write-via-stream", PURE)
@answering
def write_via_stream(ctx: HostContext, rep: int, offset: int) -> int:
    return hand_out_stream(ctx, content.FileOutputStream(held(ctx, rep).content("write"), offset))


@TYPES.function("[method]descriptor.append-via-stream", PURE)
@answering
def append_via_stream(ctx: HostContext, rep: int) -> int:
    return hand_out_stream(ctx, content.FileOutputStream(held(ctx, rep).content("write"), None))


@TYPES.function("[method]descriptor.read", PURE)
@answering
def read(ctx: HostContext, rep: int, length: int, offset: int) -> tuple[bytes, bool]:
    return content.read_at(held(ctx, rep).content("read"), length, offset)


@TYPES.function("[method]descriptor.write", WRITE_LOCAL)
@answering
def write(ctx: HostContext, rep: int, buffer: bytes, offset: int) -> int:
    return content.write_at(held(ctx, rep).content("write"), buffer, offset)


@TYPES.function("[method]descriptor.set-size", WRITE_LOCAL)
@answering
def set_size(ctx: HostContext, rep: int, size: int) -> None:
    content.set_size(held(ctx, rep).content("write"), size)


@TYPES.function("[method]descriptor.advise", PURE)
@answering
def advise(ctx: HostContext, rep: int, offset: int, length: int, advice: str) -> None:
    """Nothing to advise: reads come from the page cache as they are. Not for directories, as in POSIX."""
    if held(ctx, rep).is_directory:
        raise Refused("bad-descriptor")


@TYPES.function("[method]descriptor.sync-data", PURE)
@answering
def sync_data(ctx: HostContext, rep: int) -> None:
    """Durability is the journal's; see the head of this file."""
    held(ctx, rep)


@TYPES.function("[method]descriptor.sync", PURE)
@answering
def sync(ctx: HostContext, rep: int) -> None:
    held(ctx, rep)


# -------------------------------------------------------------------------------------------------------------- what it is


@TYPES.function("[method]descriptor.get-flags", PURE)
@answering
def get_flags(ctx: HostContext, rep: int) -> tuple[str, ...]:
    return held(ctx, rep).flags


@TYPES.function("[method]descriptor.get-type", PURE)
@answering
def get_type(ctx: HostContext, rep: int) -> str:
    return "directory" if held(ctx, rep).is_directory else "regular-file"


@TYPES.function("[method]descriptor.stat", PURE)
@answering
def stat(ctx: HostContext, rep: int) -> Stat:
    return times.stat_descriptor(ctx, held(ctx, rep))


@TYPES.function("[method]descriptor.stat-at", PURE)
@answering
def stat_at(ctx: HostContext, rep: int, path_flags: Flags, path: str) -> Stat:
    return times.stat_path(ctx, held(ctx, rep), path, follow=follows(path_flags))


@TYPES.function("[method]descriptor.set-times", WRITE_LOCAL)
@answering
def set_times(ctx: HostContext, rep: int, access: NewTimestamp, modification: NewTimestamp) -> None:
    times.set_times_descriptor(held(ctx, rep), access, modification)


@TYPES.function("[method]descriptor.set-times-at", WRITE_LOCAL)
@answering
def set_times_at(  # noqa: PLR0917 - the interface's own parameters
    ctx: HostContext, rep: int, path_flags: Flags, path: str, access: NewTimestamp, modification: NewTimestamp
) -> None:
    times.set_times_path(held(ctx, rep), path, access, modification, follow=follows(path_flags))


@TYPES.function("[method]descriptor.is-same-object", PURE)
def is_same_object(ctx: HostContext, rep: int, other: int) -> bool:
    return held(ctx, rep).identity() == held(ctx, other).identity()


@TYPES.function("[method]descriptor.metadata-hash", PURE)
@answering
def metadata_hash(ctx: HostContext, rep: int) -> tuple[int, int]:
    return times.hash_of(held(ctx, rep))


@TYPES.function("[method]descriptor.metadata-hash-at", PURE)
@answering
def metadata_hash_at(ctx: HostContext, rep: int, path_flags: Flags, path: str) -> tuple[int, int]:
    return times.hash_at(held(ctx, rep), path, follow=follows(path_flags))


# ----------------------------------------------------------------------------------------------------------------- entries


@TYPES.function("[method]descriptor.open-at", WRITE_LOCAL)
@answering
def open_at(ctx: HostContext, rep: int, path_flags: Flags, path: str, open_flags: Flags, flags: Flags) -> int:  # noqa: PLR0917 - the interface's own parameters
    opened = entries.open_at(held(ctx, rep), path, follow=follows(path_flags), how=tuple(open_flags), flags=tuple(flags))
    return hand_out(ctx, opened)


@TYPES.function("[method]descriptor.read-directory", PURE)
@answering
def read_directory(ctx: HostContext, rep: int) -> int:
    return hand_out(ctx, Listing(held(ctx, rep)))


@TYPES.function("[method]directory-entry-stream.read-directory-entry", PURE)
@answering
def read_directory_entry(ctx: HostContext, rep: int) -> tuple[str, str] | None:
    return ctx.resources.get(rep, Listing).next()


@TYPES.function("[method]descriptor.create-directory-at", WRITE_LOCAL)
@answering
def create_directory_at(ctx: HostContext, rep: int, path: str) -> None:
    entries.create_directory(held(ctx, rep), path)


@TYPES.function("[method]descriptor.link-at", WRITE_LOCAL)
@answering
def link_at(ctx: HostContext, rep: int, old_path_flags: Flags, old_path: str, new_rep: int, new_path: str) -> None:  # noqa: PLR0917 - the interface's own parameters
    new_base = held(ctx, new_rep)
    entries.hard_link(held(ctx, rep), old_path, new_base, new_path, follow=follows(old_path_flags))


@TYPES.function("[method]descriptor.symlink-at", WRITE_LOCAL)
@answering
def symlink_at(ctx: HostContext, rep: int, old_path: str, new_path: str) -> None:
    entries.symlink(held(ctx, rep), old_path, new_path)


@TYPES.function("[method]descriptor.readlink-at", PURE)
@answering
def readlink_at(ctx: HostContext, rep: int, path: str) -> str:
    return entries.readlink(held(ctx, rep), path)


@TYPES.function("[method]descriptor.rename-at", WRITE_LOCAL)
@answering
def rename_at(ctx: HostContext, rep: int, old_path: str, new_rep: int, new_path: str) -> None:
    entries.rename(held(ctx, rep), old_path, held(ctx, new_rep), new_path)


@TYPES.function("[method]descriptor.remove-directory-at", WRITE_LOCAL)
@answering
def remove_directory_at(ctx: HostContext, rep: int, path: str) -> None:
    entries.remove_directory(held(ctx, rep), path)


@TYPES.function("[method]descriptor.unlink-file-at", WRITE_LOCAL)
@answering
def unlink_file_at(ctx: HostContext, rep: int, path: str) -> None:
    entries.unlink_file(held(ctx, rep), path)


@TYPES.function("filesystem-error-code", PURE)
def filesystem_error_code(ctx: HostContext, error: int) -> str | None:
    """What went wrong with a stream over a file; ``None`` for the errors of other streams."""
    failed = ctx.resources.get(error, IoError)
    return failed.code if isinstance(failed, FilesystemError) else None
