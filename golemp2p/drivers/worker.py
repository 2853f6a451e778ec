"""One worker, loaded: its log, its queue, its execution, and those who wait for its results.

    accept -> (pending) -> invoked -> ... host calls ... -> completed -> durable -> the caller gets its answer
                 ^                                              |
                 '---------- next invocation starts meanwhile --'        (S6: only answers wait for the commit)

A worker's task exists only while it has something to do. When an execution dies (trap, interrupt, suspension) it is dropped
and, if there is a next one, the log is replayed into a new instance. A worker whose log cannot be written is *broken*: all who wait
get the storage's error, and the node forgets this object and reads the log anew on next use.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.core.mailbox import Admission, Mailbox
from golemp2p.core.retry import delay_before_retry
from golemp2p.core.worker_state import Invocation, Refused, WorkerState
from golemp2p.drivers.components import LoadedComponent
from golemp2p.drivers.events import EventStream
from golemp2p.drivers.execution import Execution
from golemp2p.drivers.failures import failure_from, refusal_of
from golemp2p.drivers.invocation_log import log_finished
from golemp2p.drivers.journal import WorkerJournal
from golemp2p.drivers.oplog import LogWriter
from golemp2p.drivers.promises import Promises
from golemp2p.drivers.waiters import Waiter, Waiters
from golemp2p.errors import (
    DataDamaged,
    Golemp2pError,
    GuestExited,
    InvalidState,
    Moved,
    UsageError,
    ValueMismatch,
    WorkerFailure,
    WorkerInterrupted,
    WorldError,
)
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerEvent, WorkerStatus
from golemp2p.ports import Suspended

if TYPE_CHECKING:
    from golemp2p.drivers.workers import Workers

logger = logging.getLogger(__name__)

RESUMABLE = (WorkerStatus.INTERRUPTED, WorkerStatus.SUSPENDED, WorkerStatus.IDLE, WorkerStatus.RUNNING)
LOG_CHARS_MAX = 16 * 1024
"""Longer output is recorded in pieces, longer error texts are cut: an entry is bounded."""


class Worker:
    """``node`` is the table this worker lives in. Built from the entries of its log (at least ``Create``)."""

    __slots__ = (
        "_events",
        "_execution",
        "_mailbox",
        "_restart_asked",
        "_scope",
        "_task_running",
        "_time_offset",
        "_unread",
        "create",
        "current_key",
        "gone",
        "id",
        "last_used",
        "node",
        "promises",
        "shard",
        "state",
        "waiters",
        "writer",
    )

    def __init__(self, node: Workers, worker: WorkerId, state: WorkerState, writer: LogWriter, entries: list[e.Entry]) -> None:
        assert state.create is not None
        self.node = node
        self.id = worker
        self.shard = node.shard_of(worker)
        self.state = state
        self.writer = writer
        self.create = state.create
        self.current_key: str | None = None
        self.gone = False
        self.last_used = node.clock.monotonic_ns()
        self._mailbox = Mailbox(state, node.settings.queue_max)
        self.waiters = Waiters()
        self.promises = Promises(self)
        self._events: EventStream | None = None
        self._execution: Execution | None = None
        self._unread: list[e.Entry] | None = entries
        self._scope: trio.CancelScope | None = None
        self._task_running = False
        self._restart_asked = False
        writer.on_broken = self.drop
        self._time_offset = max(node.clock.wall_ns(), state.last_time_ns) - node.clock.monotonic_ns()

    # -- what executions use --------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The worker's clock: wall time when it was loaded, monotonic from there, never before its last entry."""
        return self._time_offset + self.node.clock.monotonic_ns()

    def append(self, entry: e.Entry) -> int:
        self.state.apply(entry)
        return self.writer.append(entry)

    async def commit_for_effect(self) -> None:
        """S6: everything an effect depends on is durable. Ephemeral workers do not wait."""
        if self.create.ephemeral:
            self.writer.flush_nowait()
        else:
            await self.writer.commit()

    @property
    def files_root(self) -> Path:
        return self.node.files_dir / self.id.key.digest.hex()

    @property
    def retry_policy(self) -> e.RetryPolicy:
        return self.state.retry_policy or self.node.settings.retry_policy

    def environment(self) -> tuple[tuple[str, str], ...]:
        """Worker env, then what golem adds, in the order guests see it (component env was merged at creation)."""
        create = self.create
        return (
            *create.env,
            ("GOLEM_WORKER_NAME", create.worker_name),
            ("GOLEM_COMPONENT_ID", create.component_id),
            ("GOLEM_COMPONENT_VERSION", str(create.component_version)),
        )

    def suspend_after_s(self) -> float:
        return float("inf") if self.create.ephemeral else self.node.suspend_after_s()

    def log(self, journal: WorkerJournal, level: str, context: str, message: str) -> None:
        time_ns = self.now_ns()
        kind = level if level in ("stdout", "stderr") else "log"
        for start in range(0, max(len(message), 1), LOG_CHARS_MAX):
            before = self.state.tail
            part = message[start : start + LOG_CHARS_MAX]
            journal.note(e.Log(time_ns, level, context[:LOG_CHARS_MAX], part))
            if self.state.tail != before:  # else it was recorded and shown by an earlier execution
                self._publish(WorkerEvent(kind, time_ns, level=level, context=context, message=part))

    # -- what the node uses ---------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Must stay in memory: a task, waiters, listeners or unwritten entries."""
        listening = self._events is not None and self._events.has_listeners
        unwritten = self.writer.durable < self.writer.tail
        return bool(self._task_running or self.waiters or self.promises or listening or unwritten)

    @property
    def is_running(self) -> bool:
        """Its task has something to do, or waits for something without being unloaded."""
        return self._task_running

    @property
    def memory_bytes(self) -> int:
        return self._execution.memory_bytes if self._execution is not None else 0

    @property
    def is_instantiated(self) -> bool:
        return self._execution is not None

    def close_events(self) -> None:
        """Tell listeners that there will be no more."""
        if self._events is not None:
            self._events.close()

    def events(self) -> EventStream:
        if self._events is None:
            self._events = EventStream()
        return self._events

    def submit(self, key: str, function: str, request: bytes) -> Waiter | None:
        """Accept an invocation, or join the one that has this key. Returns who to wait for, ``None`` when the outcome is
        recorded already (ask ``recorded``). Raises as ``Mailbox.admit``."""
        self.last_used = self.node.clock.monotonic_ns()
        ready = self._execution is not None and not self._task_running and self.state.status is WorkerStatus.IDLE
        try:
            admission = self._mailbox.admit(key, ready=ready)
        except Golemp2pError as refusal:
            self.node.count_refusal(refusal.code)
            raise
        if admission is Admission.KNOWN:
            return None
        if admission is not Admission.JOINED:
            if self.state.interrupted:
                self.append(e.Resumed(self.now_ns()))
            if admission is Admission.START:
                self.append(e.ExportedFunctionInvoked(self.now_ns(), function, key, request))
            else:
                self.append(e.PendingInvocation(self.now_ns(), function, key, request))
            self.wake()
        return self.waiters.add(key)

    async def recorded(self, key: str) -> Any:
        """The outcome of a finished invocation: its value, or its error raised."""
        outcome = self.state.results[key]
        await self.writer.commit()
        if isinstance(outcome, Refused):
            raise failure_from(outcome)
        return await self.node.recorded_result(self.id, outcome.at)

    def wake(self) -> None:
        """Start the task, if there is something to do and it does not run."""
        if self._task_running or self.gone:
            return
        state = self.state
        if state.failed is not None or state.exited is not None or state.interrupted:
            return
        if state.running is None and not state.pending:
            return
        if state.suspended:
            return
        self._task_running = True
        self.node.worker_began(self)
        self.node.spawn(self._run)

    def wake_from_timer(self) -> None:
        """The time the worker waits for has come."""
        if self.state.suspended and not self.state.interrupted and not self.gone:
            self.append(e.Resumed(self.now_ns()))  # rides in the next segment; until then the timer is still in the head
        self.wake()

    async def cancel_pending(self, key: str) -> bool | None:
        """True: canceled. False: started, or finished. ``None``: unknown key."""
        if key in self.state.pending:
            ended = [self.state.pending[key]]
            self.append(e.CancelPendingInvocation(self.now_ns(), key))
            self._finish(ended, None, refusal_of(self.state.results[key]))
            await self.writer.commit()
            return True
        if key in self.state.results or self._mailbox.is_waiting(key):
            return False
        return None

    async def interrupt(self, *, recover_immediately: bool) -> None:
        """Stop the execution. ``recover_immediately``: replay and go on, as after a crash; nobody who waits notices."""
        state = self.state
        if recover_immediately:
            if self._task_running and self._scope is not None:
                self._restart_asked = True
                self._scope.cancel()
            else:
                self.unload()
            return
        if state.status in (WorkerStatus.IDLE, WorkerStatus.FAILED, WorkerStatus.EXITED, WorkerStatus.INTERRUPTED):
            await self.writer.commit()
            return
        self.append(e.Interrupted(self.now_ns()))
        if self._scope is not None:
            self._scope.cancel()
        keys, reason = self.waiters.keys(), WorkerInterrupted("Interrupted via the Golem API")
        self.writer.when_durable(lambda failure: self.waiters.settle(keys, None, failure or reason))
        await self.writer.commit()

    async def resume(self) -> None:
        """Let an interrupted or suspended worker go on."""
        state = self.state
        if state.status not in RESUMABLE:
            raise InvalidState(f"worker {self.id} is {state.status.value}; only interrupted, suspended or idle ones resume")
        if state.interrupted or state.suspended:
            self.append(e.Resumed(self.now_ns()))
        self.wake()
        await self.writer.commit()

    async def stop(self, error: Exception) -> None:
        """Stop for good (deletion, shutdown): cancel, wait for the task to end, settle every waiter with ``error``."""
        self.gone = True
        if self._scope is not None:
            self._scope.cancel()
        while self._task_running:
            await self.node.task_ended.park()
        self.unload()
        self._leave(error)

    # -- the task -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            again = not self.gone
            while again:
                with trio.CancelScope() as scope:
                    self._scope, self._restart_asked = scope, False
                    again = await self._attempt()
                if scope.cancelled_caught:
                    again = self._interrupted()
        except WorldError as error:  # the log cannot be written any more
            self.drop(error)
        except BaseException:
            self.unload()
            raise
        finally:
            self._scope = None
            self._task_running = False
            self.current_key = None
            self.last_used = self.node.clock.monotonic_ns()
            self.node.worker_rested(self)
        self.wake()

    async def _attempt(self) -> bool:
        """One execution, as long as it lives and has work. True: try again with a new one."""
        try:
            while not self.state.interrupted and (self.state.running is not None or self.state.pending):
                if self._execution is None:
                    await self._revive()
                else:
                    await self._run_next(self._execution)
        except Suspended as suspended:
            return self._suspend(suspended)
        except GuestExited as exited:
            return self._exit(exited)
        except WorkerFailure as failure:
            return await self._fail(failure)
        except (WorldError, DataDamaged) as error:
            self.drop(error)
        except Exception as error:  # a bug of ours: this worker stops loudly, the node goes on
            logger.exception("worker_crashed", extra={"worker": str(self.id)})
            return await self._fail(WorkerFailure(f"internal error: {error!r}"))
        return False

    async def _revive(self) -> None:
        """A new instance, replayed to where the log ends; an invocation that was under way is finished on the way."""
        entries, self._unread = self._unread, None
        if entries is None and not self.create.ephemeral:
            await self.writer.commit()
            entries = await self.node.read_entries(self.id, self.writer.durable)
        component = await self._component()
        self._execution = await Execution.start(self, component, entries or [])
        await self._execution.replay()

    async def _component(self) -> LoadedComponent:
        """Raises ``DataDamaged`` when it cannot be had: that is no failure of the worker's, and is not recorded as one."""
        try:
            return await self.node.components.loaded(self.id.component, self.create.component_version)
        except UsageError as error:
            raise DataDamaged(f"worker {self.id}", f"its component cannot be loaded: {error}") from error

    async def _run_next(self, execution: Execution) -> None:
        invocation = self.state.running or self._mailbox.next()
        assert invocation is not None
        if self.state.running is None:
            self.append(e.ExportedFunctionInvoked(self.now_ns(), invocation.function, invocation.key, invocation.request))
        self._announce(invocation)
        try:
            value, response = await execution.run(invocation.function, invocation.request)
        except ValueMismatch as error:
            self.refuse(invocation.key, error)
        else:
            self.complete(invocation.function, value, response)
        if self.create.ephemeral:
            self.unload()

    def _announce(self, invocation: Invocation) -> None:
        self.current_key = invocation.key
        self._publish(
            WorkerEvent("invocation-start", self.now_ns(), function=invocation.function, idempotency_key=invocation.key)
        )

    def complete(self, function: str, value: Any, response: bytes) -> None:
        """The running invocation has its result; callers get it when it is durable."""
        running = self.state.running
        assert running is not None
        self.append(e.ExportedFunctionCompleted(self.now_ns(), response, 0))
        self.node.invocations_total += 1
        self._publish(WorkerEvent("invocation-finished", self.now_ns(), function=function, idempotency_key=running.key))
        self._finish([running], value, None)

    def refuse(self, key: str, error: Golemp2pError) -> None:
        """The running invocation ends with an error that leaves the worker usable."""
        ended = [each for each in self.state.open_invocations if each.key == key]
        self.append(e.InvocationRefused(self.now_ns(), key, error.code, str(error)[:LOG_CHARS_MAX]))
        self._finish(ended, None, error)

    # -- ends of an execution -------------------------------------------------------------------------------------------

    def _interrupted(self) -> bool:
        """The execution was cancelled; True when it is to be replayed at once."""
        self.unload()
        again = self._restart_asked and not self.gone and not self.state.interrupted
        if again:
            self.append(e.Restart(self.now_ns()))
        return again

    def _suspend(self, suspended: Suspended) -> bool:
        """Unload until a timer or a promise wakes the worker. True when the promise was completed meanwhile."""
        self.unload()
        wake_ns = suspended.wake_ns
        if wake_ns is None and self.promises.was_completed_meanwhile():
            return True
        self.append(e.Suspend(self.now_ns(), wake_ns))
        if wake_ns is None:
            self.writer.flush_nowait()
        else:
            self.writer.when_durable(lambda error: None if error else self.node.sleeps_until(self, wake_ns))
        return False

    def _exit(self, exited: GuestExited) -> bool:
        """Record the end. True when the worker goes on nevertheless: an ephemeral one ends with every invocation anyway."""
        self.unload()
        if self.create.ephemeral:
            return self._refuse_current(exited)
        ended = self.state.open_invocations
        self.append(e.Exited(self.now_ns(), exited.status))
        self._finish(ended, None, exited)
        return False

    def _refuse_current(self, failure: WorkerFailure) -> bool:
        """An ephemeral worker's failure is that of one invocation; the next one starts afresh. Always True."""
        invocation = self.state.running or self._mailbox.next()
        assert invocation is not None, "an execution without an invocation"
        self.refuse(invocation.key, failure)
        return True

    async def _fail(self, failure: WorkerFailure) -> bool:
        """Record the failure; True when it is to be tried again, after the policy's delay."""
        self.unload()
        delay = None
        if not self.create.ephemeral:
            sample = int.from_bytes(self.node.random_bytes(4), "big") / 2**32
            delay = delay_before_retry(self.retry_policy, self.state.failures + 1, failure.code, sample)
        told = {"worker": str(self.id), "code": failure.code, "error": str(failure), "retry_in_s": delay}
        logger.warning("execution_failed", extra=told)
        self.node.count_failure(failure.code)
        if self.create.ephemeral:
            return self._refuse_current(failure)
        ended = self.state.open_invocations
        self.append(e.Failed(self.now_ns(), failure.code, str(failure)[:LOG_CHARS_MAX], delay is not None))
        if delay is None:
            self._finish(ended, None, failure)
            return False
        self.writer.flush_nowait()
        await trio.sleep(delay)
        return True

    def drop(self, error: Exception) -> None:
        """The log cannot be written or read, or is another node's now: this object is of no more use, its guest must stop (S10)."""
        if self.gone:
            return
        if not isinstance(error, Moved):
            logger.error("worker_broken", extra={"worker": str(self.id), "error": str(error)})
        self.gone = True
        self.writer.abandon(error)
        if self._scope is not None:
            self._scope.cancel()
        self.unload()
        self._leave(error)
        self.node.broken(self, error)

    def _leave(self, error: Exception) -> None:
        """Nobody shall wait for this object any more."""
        self.waiters.settle(self.waiters.keys(), None, error)
        self.promises.release()
        self.close_events()

    def unload(self) -> None:
        """Drop the instance; the log remembers."""
        execution, self._execution = self._execution, None
        if execution is not None:
            execution.close()

    # -- outcomes -------------------------------------------------------------------------------------------------------

    def _finish(self, ended: list[Invocation], value: Any, error: Golemp2pError | None) -> None:
        """These invocations are over; who waits is told, and a line is logged, when that is durable."""
        now_ns = self.now_ns()

        def durable(failure: Exception | None) -> None:
            self.waiters.settle([each.key for each in ended], value, failure or error)
            if failure is None:
                log_finished(self.id, ended, now_ns, error)

        if self.create.ephemeral:
            durable(None)
            self.writer.flush_nowait()
        else:
            self.writer.when_durable(durable)

    def _publish(self, event: WorkerEvent) -> None:
        """Show an event once what it tells of is durable (S6); soon, if somebody listens."""
        stream = self.events()
        if self.create.ephemeral:
            stream.publish(event)
        else:
            self.writer.when_durable(lambda error: None if error else stream.publish(event), flush=stream.has_listeners)
