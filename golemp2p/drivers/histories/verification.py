"""The whole judgement of one file: checked, then run again if it stands and its component can be had."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import trio

from golemp2p.drivers.histories.history_check import Plan
from golemp2p.drivers.histories.history_file import HistoryFile, check_file
from golemp2p.drivers.histories.reexecution import Reexecution
from golemp2p.errors import Golemp2pError, UsageError
from golemp2p.model.history import HistoryReport
from golemp2p.ports import GuestLimits, Guests


class Watch(Protocol):
    """Whoever wants to know how far it is."""

    def phase(self, name: str, total: int) -> None:
        """``checking``, ``compiling`` (of which nobody knows how far it is: ``total`` 0), ``running``: of so many bytes."""
        ...

    def done(self, count: int) -> None:
        """So many bytes of the phase are behind."""
        ...


class Unwatched:
    def phase(self, name: str, total: int) -> None: ...

    def done(self, count: int) -> None: ...


async def verify_file(
    path: Path,
    guests: Guests | None,
    *,
    work_dir: Path,
    limits: GuestLimits,
    mesh_id: bytes | None = None,
    wasm: Path | None = None,
    watch: Watch | None = None,
) -> HistoryReport:
    """Everything that can be said of the history in ``path``, which nobody changes meanwhile.

    ``guests``: the engine; ``None``: nothing is run again, which the report says. ``work_dir``: an empty directory, for files of the
    guest. ``mesh_id``: of the mesh that it must be of. ``wasm``: the component's bytes, where they are not in the file.

    Raises ``OSError``; ``UsageError`` for a ``wasm`` that is another component.
    """
    watch = watch or Unwatched()
    size = (await trio.Path(path).stat()).st_size
    watch.phase("checking", size)
    check = check_file(path, mesh_id, watch.done)
    report, plan = check.report, check.plan()
    if plan is None:
        return report
    if guests is None:
        report.unshown.add("component", "was not run again, as asked: whether results are what it computes is not shown")
        return report
    with path.open("rb") as file:
        source = HistoryFile(file, plan.blobs)
        bytes_at = _bytes_of(plan, source, wasm, work_dir)
        if bytes_at is None:
            report.unshown.add("component", "its bytes were left out: whether results are what it computes is not shown")
            return report
        watch.phase("compiling", 0)
        try:
            component = await guests.load(_hash_of(bytes_at), bytes_at)
        except Golemp2pError as error:
            report.unshown.add("component", f"cannot be run here: {error}")
            return report
        watch.phase("running", size)
        files_dir = work_dir / "files"
        await Reexecution(plan, source, component, report, files_dir=files_dir, limits=limits, progress=watch.done).run()
    return report


def _bytes_of(plan: Plan, source: HistoryFile, wasm: Path | None, work_dir: Path) -> Path | None:
    """The component's bytes as a file; ``None`` when they are not to be had."""
    if wasm is not None:
        if plan.wasm is not None and _hash_of(wasm) != plan.wasm:
            raise UsageError(f"{wasm} is not the component that the worker runs, whose SHA-256 is {plan.wasm.hex()}")
        return wasm
    if plan.wasm is None or plan.wasm not in plan.blobs:
        return None
    path = work_dir / "component.wasm"
    with path.open("wb") as file:
        for piece in source.pieces(plan.wasm):
            file.write(piece)
    return path


def _hash_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
