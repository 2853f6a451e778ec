"""A copy of a data directory, taken while its node runs (or not).

The database is copied through SQLite's online backup in one read transaction: one moment, all of it; writers go on.
Blobs are copied after it, so that every blob that moment refers to is there (blobs are written before what names them).
Left out are ``cache/`` and ``workers/``, which are rebuilt, and the lock.

The copy is a complete data directory, *with the node's secret key*, and the operator's where it is kept: keep it as one keeps keys. It
gets a new store id, and remembers the old one as ``backup-of``: a restored disk is old, and must never vote as if it had forgotten
nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import apsw

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.storage.blobs import BlobFolder, sync_directory
from golemp2p.storage.database import DATABASE, open_reader, storage_error, translated
from golemp2p.storage.datadir import FOLDERS, KEY_FILE, OPERATOR_FILE, STORE_ID_BYTES, STORE_ID_META, write_durably

BACKUP_OF_META = "backup-of"


@dataclass(frozen=True, slots=True)
class BackupReport:
    """``damaged_blobs``: names (hex) of blobs that could not be copied because their bytes do not match."""

    database_bytes: int
    blobs: int
    blob_bytes: int
    damaged_blobs: tuple[str, ...]


def backup(source: Path, target: Path) -> BackupReport:
    """Copy data directory ``source`` to ``target``, which must not exist. Blocks, for as long as reading everything
    takes.

    ``target`` appears whole or not at all (until then it is ``target.partial``, which a later backup replaces). Raises
    ``UsageError``, ``StorageFull``, ``StorageFailed``, ``DataDamaged`` (the database itself cannot be read)."""
    if not (source / DATABASE).is_file():
        raise UsageError(f"{source} is no data directory: it has no {DATABASE}")
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already; a backup is made where nothing is yet")
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{target} is inside of {source}")
    partial = target.with_name(target.name + ".partial")
    try:
        if partial.exists():
            shutil.rmtree(partial)
        for path in (partial, *(partial / name for name in FOLDERS)):
            path.mkdir(mode=0o700, parents=True)
        _copy_database(source / DATABASE, partial / DATABASE)
        for name in (KEY_FILE, OPERATOR_FILE):
            if (source / name).exists():
                write_durably(partial / name, (source / name).read_bytes())
        blobs, blob_bytes, damaged = _copy_blobs(BlobFolder(source / "blobs"), BlobFolder(partial / "blobs"))
        size = (partial / DATABASE).stat().st_size
        sync_directory(partial)
        os.rename(partial, target)
        sync_directory(target.absolute().parent)
    except OSError as error:
        raise storage_error(error.filename or target, error) from error
    return BackupReport(size, blobs, blob_bytes, damaged)


def _copy_database(source: Path, target: Path) -> None:
    reader = open_reader(source)
    try:
        with translated(str(target)):
            copy = apsw.Connection(str(target))
            try:
                with copy.backup("main", reader, "main") as copying:
                    copying.step(-1)
                # as one plain file: journal_mode delete folds a WAL in and syncs
                copy.pragma("journal_mode", "delete")
                copy.pragma("synchronous", "full")
                _rename_store(copy)
            finally:
                copy.close()
    finally:
        reader.close()
    target.chmod(0o600)


def _rename_store(copy: apsw.Connection) -> None:
    with copy:
        old = copy.execute("SELECT value FROM meta WHERE name = ?", (STORE_ID_META,)).get
        if old is None:
            return
        put = "INSERT INTO meta(name, value) VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
        copy.execute(put, (BACKUP_OF_META, old))
        copy.execute(put, (STORE_ID_META, secrets.token_bytes(STORE_ID_BYTES)))
        # the new member never was in any group; else it would take itself for removed, and drop what it is there to save
        copy.execute("UPDATE replicas SET belonged = 0")


def _copy_blobs(source: BlobFolder, target: BlobFolder) -> tuple[int, int, tuple[str, ...]]:
    count, size = 0, 0
    damaged: list[str] = []
    for path in source.files():
        try:
            data = source.get(bytes.fromhex(path.name))
        except DataDamaged:
            damaged.append(path.name)
            continue
        target.put(data)
        count += 1
        size += len(data)
    return count, size, tuple(damaged)
