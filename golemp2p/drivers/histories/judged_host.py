"""What an instance may ask while it is judged (``ports.WorkerHost``): of its journal everything, of the world nothing.

The journal is replaying from beginning to end, so no host function ever acts; where a record ends, asking for more ends the execution
(``core.recorded.JournalEnded``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from golemp2p.core.recorded import JournalEnded, Recorded
from golemp2p.drivers.histories.history_check import Plan
from golemp2p.drivers.worker import LOG_CHARS_MAX
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.ports import GuestLimits, RandomBytes
from golemp2p.values import cbor

BytesOf = Callable[[e.Payload], bytes]
"""The bytes of a payload, wherever they are. What it raises ends the execution."""


class JudgedJournal:
    """``ports.Journal``. Entries that are made here are only compared, so their time is 0."""

    replaying = True

    def __init__(self, recorded: Recorded, bytes_of: BytesOf) -> None:
        self._recorded = recorded
        self._bytes_of = bytes_of

    def take(self, function: str, request_hash: bytes) -> bytes:
        response = self._bytes_of(self._recorded.take_host_call(function, request_hash))
        cbor.loads(response, what=f"the recorded response of {function}")  # hostile bytes must not become objects
        return response

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        raise _live()

    def mark(self) -> int:
        return self._recorded.control(e.NoOp(0))

    def note(self, entry: e.Entry) -> None:
        self._recorded.note(entry)

    def control(self, entry: e.Entry) -> int:
        return self._recorded.control(entry)

    @property
    def last_index(self) -> int:
        return self._recorded.index

    async def commit(self) -> None:
        raise _live()

    def flush_nowait(self) -> None:
        """Nothing is ever written; the scheduler asks when a guest computes for long."""


class JudgedPromises:
    """``ports.PromiseHost``: creating one is a mark in the journal; all else is recorded as the host call that asked."""

    def __init__(self, journal: JudgedJournal) -> None:
        self._journal = journal

    def create(self) -> int:
        index = self._journal.mark()
        self._journal.note(e.PromiseCreated(0, index))
        return index

    async def poll(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        raise _live()

    async def wait(self, worker: WorkerId, oplog_index: int) -> bytes:
        raise _live()

    async def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        raise _live()

    async def delete(self, worker: WorkerId, oplog_index: int) -> None:
        raise _live()


class JudgedHost:
    """One per execution. ``files_root``: as in ``ports.WorkerHost``."""

    def __init__(self, plan: Plan, recorded: Recorded, bytes_of: BytesOf, *, files_root: Path, limits: GuestLimits) -> None:
        create = plan.create
        self.worker = plan.worker
        self.component_version = create.component_version
        self.args = create.args
        self.env = (
            *create.env,
            ("GOLEM_WORKER_NAME", create.worker_name),
            ("GOLEM_COMPONENT_ID", create.component_id),
            ("GOLEM_COMPONENT_VERSION", str(create.component_version)),
        )
        self.files_root = files_root
        self.limits = limits
        self.journal = JudgedJournal(recorded, bytes_of)
        self.promises = JudgedPromises(self.journal)
        self.indexed: dict[tuple[str, tuple[str, ...]], int] = {}
        self.key: str | None = None

    def invocation_key(self) -> str | None:
        return self.key

    def log(self, level: str, context: str, message: str) -> None:
        for start in range(0, max(len(message), 1), LOG_CHARS_MAX):
            self.journal.note(e.Log(0, level, context[:LOG_CHARS_MAX], message[start : start + LOG_CHARS_MAX]))

    def set_retry_policy(self, policy: e.RetryPolicy) -> None:
        self.journal.control(e.ChangeRetryPolicy(0, policy))

    def resource_created(self, resource: int, name: str) -> None:
        self.journal.note(e.CreateResource(0, resource, name))

    def resource_described(self, resource: int, name: str, params: tuple[str, ...]) -> None:
        self.journal.note(e.DescribeResource(0, resource, name, params))

    def resource_dropped(self, resource: int) -> None:
        self.indexed = {key: number for key, number in self.indexed.items() if number != resource}
        self.journal.note(e.DropResource(0, resource))

    def memory_grown(self, delta_bytes: int) -> None:
        self.journal.note(e.GrowMemory(0, delta_bytes))

    # -- what only a host function that acts would ask

    @property
    def random_bytes(self) -> RandomBytes:
        raise _live()

    @property
    def retry_policy(self) -> e.RetryPolicy:
        raise _live()

    @property
    def status_text(self) -> str:
        raise _live()

    @property
    def retry_count(self) -> int:
        raise _live()

    def wall_ns(self) -> int:
        raise _live()

    def monotonic_ns(self) -> int:
        raise _live()

    def suspend_after_s(self) -> float:
        raise _live()


def _live() -> JournalEnded:
    """A host function acts: what it would answer is not recorded."""
    return JournalEnded(None)


__all__ = ["JudgedHost", "JudgedJournal", "JudgedPromises"]
