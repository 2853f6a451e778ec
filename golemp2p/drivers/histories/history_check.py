"""A history, checked frame by frame as it is read: order, digest, both logs, the worker's story, its component. No I/O, no engine.

    frames ──> Order ──> LogCheck (worker) ──entries──> Story
                     ──> LogCheck (component) ──entries──> which bytes the worker runs
                     ──> blobs, and where they lie

What it finds is in ``report``; running the worker again (``drivers.histories.reexecution``) needs ``plan``.
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.core.story import Story
from golemp2p.drivers.histories.log_check import LogCheck
from golemp2p.errors import DataDamaged, InvalidName
from golemp2p.model import entries as e
from golemp2p.model.history import HistoryReport
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.wire.certificate import Birth, load_birth
from golemp2p.wire.history import (
    BlobOpening,
    Closing,
    Frame,
    LogOpening,
    Milestone,
    Opening,
    Order,
    SealFrame,
    SegmentFrame,
    opened,
)

BLOBS_MAX = 1 << 18
"""In one history: their places are kept in memory. Each has more than 64 KiB, so that is 16 GiB of them."""


@dataclass(slots=True)
class Plan:
    """What a re-execution needs beside the frames. ``blobs``: SHA-256 -> where in the file its ``BlobOpening`` begins, and its size.
    ``wasm``: SHA-256 of the component's bytes; ``None`` where it is not shown which those are."""

    worker: WorkerId
    create: e.Create
    skipped: list[tuple[int, int]]
    blobs: dict[bytes, tuple[int, int]]
    wasm: bytes | None


class HistoryCheck:
    """``mesh_id``: of the mesh that the history must be of; ``None``: of any."""

    def __init__(self, mesh_id: bytes | None = None) -> None:
        self.report = HistoryReport(b"", "", "")
        self._mesh_id = mesh_id
        self._order = Order()
        self._birth: Birth | None = None
        self._worker: WorkerId | None = None
        self._story: Story | None = None
        self._log: LogCheck | None = None
        self._versions = 0
        self._version: e.ComponentVersionAdded | None = None
        self._named: dict[bytes, int] = {}
        self._blobs: dict[bytes, tuple[int, int]] = {}
        self._blob_at = 0
        self._has_component_log = False
        self._is_broken = False
        self._is_over = False

    def frame(self, data: bytes, at: int) -> None:
        """The next frame, with its length; it begins at offset ``at``. After damage to the file itself, which is in the report, nothing
        more is looked at."""
        if self._is_over:
            return
        try:
            frame = opened(data)
            self._order.take(data, frame)
            self._take(data, frame, at)
        except (DataDamaged, InvalidName) as error:
            self.break_off(error)

    def break_off(self, error: Exception) -> None:
        """The file cannot be read on."""
        self._is_over = True
        reason = error.reason if isinstance(error, DataDamaged) else str(error)
        self.report.wrong.add("file", reason)

    def end(self) -> None:
        """There are no more frames."""
        if self._is_over:
            return
        try:
            self._order.end()
        except DataDamaged as error:
            self.break_off(error)
        else:
            self._look_back()

    def plan(self) -> Plan | None:
        """``None`` where nothing can be run again: the file, or the chain of the worker's log, is broken."""
        story = self._story
        if self._is_over or self._is_broken or self._worker is None or story is None or story.create is None:
            return None
        wasm = None if self._version is None else self._version.sha256
        return Plan(self._worker, story.create, story.skipped, self._blobs, wasm)

    # -- frame by frame

    def _take(self, data: bytes, frame: Frame, at: int) -> None:
        log = self._log
        if isinstance(frame, BlobOpening):
            self._blob_at = at
        if self._order.blob is not None:
            self._keep_blob(*self._order.blob)
        match frame:
            case Opening():
                self._open(frame)
            case LogOpening():
                self._open_log(frame, data)
                return
            case SealFrame():
                assert log is not None, "the order has it so"
                log.seal(frame)
                self._is_broken = self._is_broken or (log.is_broken and log.findings.kind == "worker")
                self._log = None
                return
            case Closing():
                return
        if log is not None:
            log.frame(data)
        if isinstance(frame, Milestone) and log is not None:
            log.milestone(frame)
        elif isinstance(frame, SegmentFrame) and log is not None:
            for entry in log.segment(frame):
                self._tell(log, entry)

    def _open(self, opening: Opening) -> None:
        self._birth = birth = load_birth(opening.birth)
        self._worker = WorkerId(ComponentId.parse(opening.component), opening.worker)
        report = self.report
        report.mesh_id, report.component_id, report.worker_name = birth.mesh_id, opening.component, opening.worker
        if str(self._worker.component) != opening.component:
            report.wrong.add("file", "the component's id is not in its usual form")
        if self._mesh_id is not None and birth.mesh_id != self._mesh_id:
            report.wrong.add("file", f"is of mesh {birth.mesh_id.hex()}, not of mesh {self._mesh_id.hex()}")
        self._story = Story(self._worker, report.wrong, report.unshown)

    def _open_log(self, opening: LogOpening, data: bytes) -> None:
        birth, worker = self._birth, self._worker
        assert birth is not None, "the order has it so"
        expected = str(worker) if opening.kind == "worker" else str(worker.component if worker is not None else "")
        if opening.identity != expected:
            raise DataDamaged("history", f"the log of {opening.kind} {opening.identity!r}, and not of {expected!r}")
        self._has_component_log = self._has_component_log or opening.kind == "component"
        self._log = LogCheck(opening, data, birth, self.report.wrong, self.report.unshown)
        self.report.logs.append(self._log.findings)

    def _keep_blob(self, sha256: bytes, size: int) -> None:
        if len(self._blobs) >= BLOBS_MAX:
            raise DataDamaged("history", f"more than {BLOBS_MAX} blobs")
        self._blobs[sha256] = (self._blob_at, size)
        self.report.blobs += 1
        self.report.blob_bytes += size

    def _tell(self, log: LogCheck, entry: e.Entry) -> None:
        if log.findings.kind == "worker":
            assert self._story is not None, "the order has it so"
            self._story.tell(entry)
            for field in entry:
                if isinstance(field, e.BlobRef) and len(self._named) < BLOBS_MAX:
                    self._named.setdefault(field.sha256, field.size_bytes)
        else:
            self._add_version(entry)

    def _add_version(self, entry: e.Entry) -> None:
        create = None if self._story is None else self._story.create
        number, component = self._versions, self.report.component_id
        self._versions += 1
        if not isinstance(entry, e.ComponentVersionAdded) or (entry.component_id, entry.version) != (component, number):
            self.report.wrong.add(f"component log, index {number + 1}", f"is not version {number} of the component", number + 1)
        elif create is not None and create.component_version == number:
            self._version = entry

    # -- all of it

    def _look_back(self) -> None:
        """What can be said only when everything was read."""
        report, story = self.report, self._story
        report.invocations = 0 if story is None else story.invocations
        if story is not None and story.create is None and not report.wrong:
            report.wrong.add("worker log", "is empty: there is no such worker")
        for sha256, size in self._named.items():
            found = self._blobs.get(sha256)
            if found is None:
                report.unshown.add("worker log", f"blob {sha256.hex()}, which it names, was left out")
            elif found[1] != size:
                report.wrong.add("worker log", f"blob {sha256.hex()} has {found[1]} bytes, {size} were recorded")
        if story is not None and story.create is not None:
            self._check_component(story.create)

    def _check_component(self, create: e.Create) -> None:
        report, version = self.report, self._version
        if not self._has_component_log:
            report.unshown.add("component log", "was left out: that the worker's component has these bytes is not shown")
            return
        if version is None:
            report.wrong.add("component log", f"has no version {create.component_version}, which the worker was created with")
            return
        report.component = (version.version, version.sha256)
        told = (create.component_size, create.ephemeral)
        if told != (version.size_bytes, version.ephemeral):
            reason = f"the worker was created as one of another component than version {version.version}"
            report.wrong.add("worker log, index 1", reason, 1)
        given = dict(create.env)
        missing = [name for name, _ in version.env if name not in given]
        if missing:
            report.wrong.add("worker log, index 1", f"lacks {missing[0]!r} of the component's environment", 1)
