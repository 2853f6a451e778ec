"""Running a worker again from its journal, as a judge: every host call it makes, every line it prints and every result it computes
must be the next one recorded. Nothing is written, and no effect leaves: what is not recorded is not answered.

    durable      instantiate ─> invocation ─> invocation ─> ... ─> the end          one instance, as long as the worker lives
    ephemeral    (instantiate ─> invocation) (instantiate ─> invocation) ...        one each

A guest that does something else than is recorded, where it can only do one thing, ends the run with a divergence; what may be so or not
(``core.verdicts``), and what is beyond the record, is *not shown*.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import trio

from golemp2p.core.recorded import JournalEnded, Recorded, shown
from golemp2p.core.verdicts import GOES_ON, MORE, Verdict, is_momentary, judge
from golemp2p.drivers.calling import Caller
from golemp2p.drivers.histories.history_check import Plan
from golemp2p.drivers.histories.judged_host import JudgedHost
from golemp2p.errors import DataDamaged, Divergence, Golemp2pError, GuestExited, UsageError, ValueMismatch, WorkerFailure
from golemp2p.model import entries as e
from golemp2p.model.history import HistoryReport, RunFindings
from golemp2p.ports import GuestComponent, GuestInstance, GuestLimits
from golemp2p.values.cbor import dumps, loads
from golemp2p.values.names import ResolvedFunction
from golemp2p.values.resolve import resolve

RESULT_CHARS = 200
"""Of a result, in what is told of a divergence."""

RESOLVED_MAX = 4096
"""Names of functions remembered; those with indexed resources are endless."""


class Source(Protocol):
    """Where the journal is read from: ``history_file.HistoryFile``."""

    def entries(self, progress: Callable[[int], None]) -> Iterator[tuple[int, e.Entry]]: ...

    def blob(self, sha256: bytes) -> bytes: ...


class _Stopped(Exception):
    """The re-execution cannot go on, and nothing is wrong with the journal."""


class _Execution(NamedTuple):
    host: JudgedHost
    caller: Caller


_MISFIT = (AssertionError, TypeError, ValueError, LookupError, AttributeError, OverflowError)
"""What comes of values that fit no type; nodes record none, so they are checked where they are used."""


class Reexecution:
    """Of the worker in ``plan``, whose entries and blobs ``source`` has. What it finds goes into ``report``: its ``run``, and problems.

    ``files_dir``: for the worker's files; emptied by every execution. ``limits`` should be at least those of the nodes that ran it.
    ``progress``: told how many bytes of the journal were repeated.
    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        component: GuestComponent,
        report: HistoryReport,
        *,
        files_dir: Path,
        limits: GuestLimits,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._plan = plan
        self._source = source
        self._component = component
        self._report = report
        self._files_dir = files_dir
        self._limits = limits
        self._findings = report.run = RunFindings()
        self._recorded = Recorded(source.entries(progress), plan.skipped, ephemeral=plan.create.ephemeral)
        self._resolved: dict[str, ResolvedFunction] = {}
        self._invoked: e.ExportedFunctionInvoked | None = None  # begun, and without an outcome

    async def run(self) -> None:
        """Returns when the journal ends, or the guest leaves it. May be cancelled."""
        findings, recorded = self._findings, self._recorded
        try:
            recorded.take(e.Create)
            if self._plan.create.ephemeral:
                await self._run_ephemeral()
            else:
                await self._run_durable()
        except Divergence as divergence:
            self._diverge(divergence)
        except _Stopped as stopped:
            self._stop(str(stopped))
        except UsageError as error:
            self._wrong(f"the journal calls what its component does not have: {error}")
        except DataDamaged as error:
            self._wrong(f"the journal holds what no node writes: {error}")
        except Golemp2pError as error:
            self._stop(f"{error.code}: {error}")
        except _MISFIT as error:
            self._wrong(f"the guest cannot be given what the journal holds: {error!r}")
        findings.host_calls, findings.lines = recorded.calls, recorded.lines

    # -- executions

    async def _run_durable(self) -> None:
        """One instance. It ends with the journal, or with what is recorded as the worker's end."""
        recorded, findings = self._recorded, self._findings
        findings.end = "idle"
        async with self._execution() as execution:
            while execution is not None and recorded.peek() is not None:
                if not await self._repeat(execution):
                    break
        if recorded.peek() is not None:
            raise recorded.divergence("nothing: the worker has come to its end")

    async def _run_ephemeral(self) -> None:
        recorded, findings = self._recorded, self._findings
        findings.end = "idle"
        while (entry := recorded.peek()) is not None:
            if isinstance(entry, e.Interrupted | e.Restart):
                recorded.take(type(entry))
                continue
            async with self._execution() as execution:
                if execution is not None:
                    await self._repeat(execution)

    @asynccontextmanager
    async def _execution(self) -> AsyncIterator[_Execution | None]:
        """A new instance; ``None`` when it came to an end before its first invocation."""
        if self._files_dir.exists():
            await trio.to_thread.run_sync(shutil.rmtree, self._files_dir)
        host = JudgedHost(self._plan, self._recorded, self._bytes, files_root=self._files_dir, limits=self._limits)
        instance: GuestInstance | None = None
        try:
            instance = await self._component.instantiate(host)
        except JournalEnded:
            self._ended(MORE)
        except (Divergence, DataDamaged):
            raise
        except WorkerFailure as failure:
            self._failed(failure)
        try:
            yield None if instance is None else _Execution(host, Caller(self._function, instance, host))
        finally:
            if instance is not None:
                instance.close()

    async def _repeat(self, execution: _Execution) -> bool:
        """The next invocation, or the one that was begun. False when the execution is over with it."""
        recorded = self._recorded
        await trio.lowlevel.checkpoint()
        outcome = recorded.peek()
        if self._invoked is None and outcome is not None and recorded.is_outcome(outcome):
            return self._ended(GOES_ON)
        if self._invoked is None:
            self._invoked = recorded.take(e.ExportedFunctionInvoked)
        invoked = self._invoked
        try:
            execution.host.key = invoked.idempotency_key
            value = await execution.caller.call(invoked.function, self._bytes(invoked.request))
        except ValueMismatch as error:
            return self._ended(error.code)
        except JournalEnded:
            return self._ended(MORE)
        except Divergence:
            raise
        except WorkerFailure as failure:
            return self._failed(failure)
        return self._completed(value)

    def _failed(self, failure: WorkerFailure) -> bool:
        return self._ended(failure.code, str(failure), failure.status if isinstance(failure, GuestExited) else 0)

    # -- outcomes

    def _completed(self, value: Any) -> bool:
        """The guest computed ``value``: it must be what is recorded. True when the worker goes on."""
        recorded = self._recorded
        response = dumps(value)
        outcome = recorded.peek()
        if outcome is None:
            self._findings.end = "unfinished"  # the result was not recorded any more
            return False
        if recorded.is_outcome(outcome):
            return self._ended(GOES_ON, f"the result {_short(response)}")
        completed = recorded.take(e.ExportedFunctionCompleted)
        if not _is_equal(completed.response, response):
            raise Divergence(recorded.index, f"the result {_short(completed.response)}", f"for the result {_short(response)}")
        self._findings.invocations += 1
        self._invoked = None
        return True

    def _ended(self, repeated: str, text: str = "", status: int = 0) -> bool:
        """The execution ends, or the invocation is refused, as ``repeated`` says (a code, ``MORE`` or ``GOES_ON``). What is recorded
        must agree. True when the worker goes on with another invocation."""
        recorded, findings = self._recorded, self._findings
        outcome = recorded.peek()
        if outcome is None:
            findings.end = "unfinished"
            return False
        if not recorded.is_outcome(outcome):
            if is_momentary(repeated):
                raise _Stopped(f"it came to a limit of its own where the journal goes on: {repeated}: {text}")
            raise recorded.divergence(f"to end with {repeated}" + (f" ({text})" if text else ""))
        recorded.take(type(outcome))
        return self._agree(outcome, repeated, text, status)

    def _agree(self, outcome: e.Entry, repeated: str, text: str, status: int) -> bool:
        findings = self._findings
        match outcome:
            case e.InvocationRefused():
                self._judge(outcome, outcome.code, repeated, text)
                self._invoked = None
                return outcome.code == ValueMismatch.code
            case e.Failed():
                self._judge(outcome, outcome.code, repeated, text)
                findings.end, self._invoked = "failed", None
            case e.Exited():
                self._judge(outcome, GuestExited.code, repeated, text)
                if repeated == GuestExited.code and status != outcome.status:
                    raise Divergence(self._recorded.index, shown(outcome), f"to exit with status {status}")
                findings.end, self._invoked = "exited", None
            case _:  # an ephemeral execution was cut short; the invocation begins anew
                findings.cut_short += 1
        return False

    def _judge(self, outcome: e.Entry, recorded: str, repeated: str, text: str) -> None:
        match judge(recorded, repeated):
            case Verdict.SAME:
                self._findings.failures += 1
            case Verdict.POSSIBLE:
                reason = f"the journal holds {shown(outcome)}; the re-execution: {repeated}{f' ({text})' if text else ''}"
                self._report.unshown.add(f"worker log, index {self._recorded.index}", reason, self._recorded.index)
            case Verdict.IMPOSSIBLE:
                got = f"the re-execution: {repeated}" + (f" ({text})" if text else "")
                raise Divergence(self._recorded.index, shown(outcome), got)

    # -- what executions need

    def _function(self, name: str) -> ResolvedFunction:
        found = self._resolved.get(name)
        if found is None:
            if len(self._resolved) >= RESOLVED_MAX:
                self._resolved.clear()
            found = self._resolved[name] = resolve(name, self._component.type)
        return found

    def _bytes(self, payload: e.Payload) -> bytes:
        """Raises ``_Stopped`` when it was left out."""
        if isinstance(payload, bytes):
            return payload
        if payload.sha256 not in self._plan.blobs:
            raise _Stopped(f"blob {payload.sha256.hex()} was left out")
        return self._source.blob(payload.sha256)

    # -- telling

    def _diverge(self, divergence: Divergence) -> None:
        self._findings.divergence = (divergence.index, divergence.expected, divergence.got)
        self._findings.end = ""
        place = f"worker log, index {divergence.index}"
        reason = f"the journal holds {divergence.expected}, the worker asked {divergence.got}"
        self._report.wrong.add(place, reason, divergence.index)

    def _wrong(self, reason: str) -> None:
        self._findings.end = ""
        self._report.wrong.add(f"worker log, index {self._recorded.index}", reason, self._recorded.index)

    def _stop(self, reason: str) -> None:
        self._findings.end = ""
        place = f"worker log, after index {self._recorded.index}"
        self._report.unshown.add(place, f"the re-execution stopped: {reason}", self._recorded.index)


def _is_equal(recorded: e.Payload, response: bytes) -> bool:
    if isinstance(recorded, bytes):
        return recorded == response
    return (recorded.sha256, recorded.size_bytes) == (hashlib.sha256(response).digest(), len(response))


def _short(response: e.Payload) -> str:
    """A recorded or recomputed result, cut for a message."""
    try:
        text = repr(loads(response)) if isinstance(response, bytes) else f"blob {response.sha256.hex()}"
    except DataDamaged as error:
        text = f"bytes that are no result ({error.reason})"
    return text if len(text) <= RESULT_CHARS else text[:RESULT_CHARS] + "..."
