"""Files on a disk that may lose its power: an SQLite VFS over real files, which knows what was not synced.

    SQLite ──write, truncate──> the real file, at once, and a list of changes since its last sync
              sync ───────────> the list is emptied; nothing else happens, so that a sync costs nothing
    lose_power ──> the file as of its last sync, and of the changes since then those sectors that the dice keep

A process that is killed loses nothing that it has written: that is in its kernel's hands. What SQLite may count on (its "atomic writes"
and the like) is what its default VFS says of the real file system, which promises nothing.

**Where it differs from a disk:** a file that was created or deleted is so at once and for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import apsw

VFS_NAME: Final = "golemp2p-simulated"
SECTOR_BYTES: Final = 512

DIRECTORIES: dict[str, Files] = {}
"""Those that are in use, by path: SQLite names its files by path, too."""


class Change(NamedTuple):
    """``data`` at ``offset``, or no data: the file was cut to ``offset``. ``old``: what was there; ``size``: of the file before."""

    offset: int
    data: bytes | None
    old: bytes
    size: int


class Files:
    """Of one process, in one directory. ``trouble``: what every write and sync fails with, until it is ``None`` again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unsynced: dict[str, list[Change]] = {}
        self._operations_left: int | None = None
        self._is_dead = False
        self.trouble: type[apsw.Error] | None = None

    def open(self) -> None:
        """Databases in this directory may be opened with ``vfs=VFS_NAME``."""
        _registered()
        DIRECTORIES[str(self._directory)] = self

    def stop_after(self, operations: int) -> None:
        """The process dies when it has written, cut or synced so many times more."""
        self._operations_left = operations

    def die(self) -> None:
        """Nothing is written from now on."""
        self._is_dead = True

    def close(self) -> None:
        """After all connections are closed. Safe to repeat, and before ``open``."""
        DIRECTORIES.pop(str(self._directory), None)

    def lose_power(self, dice: Random) -> None:
        """Of what was written since the last sync of each file, something may be missing. Everything is closed."""
        kept = dice.choice((0.0, 0.5, 1.0))
        for name, changes in sorted(self._unsynced.items()):
            path = Path(name)
            if changes and path.exists():
                _forget(path, changes, kept, dice)
        self._unsynced.clear()

    # -- what the files tell

    def may_change(self, path: str) -> None:
        """Raises ``apsw.IOError`` and ``apsw.FullError``."""
        if self._operations_left is not None:
            self._operations_left -= 1
            self._is_dead |= self._operations_left < 0
        if self._is_dead:
            raise apsw.IOError("simulated: the process is gone")
        if self.trouble is not None:
            raise self.trouble(f"simulated: {path}")

    def changed(self, path: str, change: Change) -> None:
        self._unsynced.setdefault(path, []).append(change)

    def synced(self, path: str) -> None:
        self._unsynced.pop(path, None)


def _forget(path: Path, changes: Sequence[Change], kept: float, dice: Random) -> None:
    with path.open("r+b") as file:
        for change in reversed(changes):
            file.seek(change.offset)
            file.write(change.old)
            file.truncate(change.size)
        for change in changes:
            if change.data is None:
                if dice.random() < kept:
                    file.truncate(change.offset)
                continue
            for start in range(0, len(change.data), SECTOR_BYTES):
                if dice.random() < kept:
                    file.seek(change.offset + start)
                    file.write(change.data[start : start + SECTOR_BYTES])


@cache
def _registered() -> _Vfs:
    """For as long as the process lives."""
    return _Vfs()


class _Vfs(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(VFS_NAME, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        assert name is not None, "temporary tables are kept in memory"
        path = name if isinstance(name, str) else name.filename()
        return _File(DIRECTORIES[str(Path(path).parent)], path, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, files: Files, path: str, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._files, self._path = files, path

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._files.may_change(self._path)
        size = self.xFileSize()
        old = self.xRead(min(len(data), size - offset), offset) if offset < size else b""
        super().xWrite(data, offset)
        self._files.changed(self._path, Change(offset, bytes(data), old, size))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._files.may_change(self._path)
        size = self.xFileSize()
        old = self.xRead(size - newsize, newsize) if newsize < size else b""
        super().xTruncate(newsize)
        self._files.changed(self._path, Change(newsize, None, old, size))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._files.may_change(self._path)
        self._files.synced(self._path)
