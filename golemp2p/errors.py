"""Every error golemp2p raises, sorted by who must act.

    Golemp2pError
    ├── UsageError               you asked for what cannot be; nothing was changed
    │   ├── NotFound             ComponentNotFound, WorkerNotFound, FunctionNotFound, PromiseNotFound, InvocationNotFound,
    │   │                        NodeNotFound, ShardNotFound
    │   ├── AlreadyExists        ComponentAlreadyExists, WorkerAlreadyExists
    │   ├── InvalidName          a component, worker or function name that breaks the grammar
    │   ├── InvalidComponent     bytes that are not a component this node can run
    │   ├── MalformedRequest     JSON, query or header that cannot be read
    │   ├── MalformedInvite      text that is no invite to a mesh, or not all of one
    │   ├── ValueMismatch        a value that does not fit its WIT type; knows the path
    │   ├── WrongArity           too few or too many arguments
    │   ├── PayloadTooLarge      more bytes than the limit
    │   └── InvalidState         the operation does not fit what the worker, the shard or the node is doing
    │       └── OtherMesh        this node holds data of one mesh, and is to join another
    ├── WorkerFailure            the guest, or its history, stops this invocation
    │   ├── GuestTrapped         the guest trapped (unreachable, stack overflow, out of memory, host refusal)
    │   │   ├── UnknownImport    it called a host function nobody provides
    │   │   └── LimitExceeded    memory, table, wall time, file-system bytes, ...
    │   ├── GuestExited          it called exit
    │   ├── PreviousInvocationFailed   an earlier invocation failed for good; the worker stays failed
    │   ├── PreviousInvocationExited
    │   ├── WorkerInterrupted    somebody interrupted it
    │   ├── InvocationCanceled   somebody canceled it while it was pending
    │   ├── RecordedFailure      one read back from a log, whose own class would know more than was written down
    │   └── Divergence           replay met another call than the journal holds: never retried, always loud
    ├── WorldError               retrying later, or elsewhere, may help
    │   ├── StorageFailed        the disk refused (StorageFull: for lack of space)
    │   ├── Overloaded           queue or worker table is full
    │   ├── Draining             this node is shutting down
    │   ├── Moved                another node is to be asked: this one does not lead the shard, or not any more
    │   ├── DeadlineExceeded     no answer in time; whether the peer did what it was asked is unknown
    │   ├── Unreachable          no connection to the peer, and none to be had now
    │   │   ├── ConnectionLost   it broke under us: reset, cut, silent, or given up by the peer
    │   │   └── ConnectionClosed we closed it
    │   └── RequestFailed        the peer answered with an error of its own; knows the peer's code
    ├── RemoteError              a peer broke the protocol: close, remember, count
    │   ├── HandshakeFailed      it could not prove the mesh key, or its own, or did not speak the handshake
    │   ├── RecordForged         sealed bytes that the peer's key did not seal, or not as the next ones
    │   ├── FrameMalformed       well sealed, and nonsense, or more than was agreed
    │   └── VersionMismatch      no version of the protocol that both know
    └── DataDamaged              stored bytes fail their hash, signature or length; repair or restore

``code`` is stable and is what programs should look at; the text is for people. Outward mapping happens in three tables
only: HTTP status (gateway), WIT variants (runtime.host), wire codes (mesh).
"""

from __future__ import annotations

from typing import ClassVar


class Golemp2pError(Exception):
    """The root of the tree. ``code`` is a stable kebab-case name."""

    code: ClassVar[str] = "internal"


class UsageError(Golemp2pError):
    """The caller asked for what cannot be. Nothing was changed; repeating the same request gives the same error."""

    code = "usage"


class NotFound(UsageError):
    code = "not-found"


class ComponentNotFound(NotFound):
    code = "component-not-found"


class WorkerNotFound(NotFound):
    code = "worker-not-found"


class FunctionNotFound(NotFound):
    code = "function-not-found"


class PromiseNotFound(NotFound):
    code = "promise-not-found"


class InvocationNotFound(NotFound):
    code = "invocation-not-found"


class NodeNotFound(NotFound):
    code = "node-not-found"


class ShardNotFound(NotFound):
    code = "shard-not-found"


class AlreadyExists(UsageError):
    code = "already-exists"


class ComponentAlreadyExists(AlreadyExists):
    code = "component-already-exists"


class WorkerAlreadyExists(AlreadyExists):
    code = "worker-already-exists"


class InvalidName(UsageError):
    code = "invalid-name"


class InvalidComponent(UsageError):
    code = "invalid-component"


class MalformedRequest(UsageError):
    code = "malformed-request"


class MalformedInvite(UsageError):
    """The text says what is wrong and what to do, and nothing of the invite itself, which holds a key."""

    code = "malformed-invite"


class ValueMismatch(UsageError):
    """A value does not fit its type. ``path`` is like ``params[0].items[2].price``; ``expected`` and ``got`` are short texts."""

    code = "value-mismatch"

    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got}")
        self.path, self.expected, self.got = path, expected, got


class WrongArity(UsageError):
    code = "wrong-arity"


class PayloadTooLarge(UsageError):
    code = "payload-too-large"


class InvalidState(UsageError):
    code = "invalid-state"


class OtherMesh(InvalidState):
    code = "other-mesh"


class WorkerFailure(Golemp2pError):
    """The guest or its history stops this invocation; other workers are untouched."""

    code = "worker-failure"


class GuestTrapped(WorkerFailure):
    """The guest trapped. ``backtrace`` holds wasm frames when known, else ``""``."""

    code = "guest-trapped"

    def __init__(self, message: str, backtrace: str = "") -> None:
        super().__init__(message)
        self.backtrace = backtrace


class StackOverflowed(GuestTrapped):
    code = "stack-overflow"


class OutOfMemory(GuestTrapped):
    code = "out-of-memory"


class UnknownImport(GuestTrapped):
    code = "unknown-import"


class LimitExceeded(GuestTrapped):
    """A limit was passed. ``limit`` is the setting's name."""

    code = "limit-exceeded"

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class GuestExited(WorkerFailure):
    """The guest called ``exit``; ``status`` is 0 for success, 1 for failure, or the code given."""

    code = "guest-exited"

    def __init__(self, status: int) -> None:
        super().__init__(f"the worker exited with status {status}")
        self.status = status


class PreviousInvocationFailed(WorkerFailure):
    code = "previous-invocation-failed"


class PreviousInvocationExited(WorkerFailure):
    code = "previous-invocation-exited"


class WorkerInterrupted(WorkerFailure):
    code = "worker-interrupted"


class InvocationCanceled(WorkerFailure):
    code = "invocation-canceled"


class RecordedFailure(WorkerFailure):
    """A failure read back from the log whose class takes more than a message. ``code`` is the original's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # an instance's own code, on purpose


class Divergence(WorkerFailure):
    """Replay met another call, or another request, than the journal holds. Never retried."""

    code = "divergence"

    def __init__(self, index: int, expected: str, got: str) -> None:
        super().__init__(f"replay diverged at oplog index {index}: the journal holds {expected}, the worker asked {got}")
        self.index, self.expected, self.got = index, expected, got


class WorldError(Golemp2pError):
    """The world refused; ``retry_after_s`` says when another try may help (``None``: unknown)."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFailed(WorldError):
    code = "storage-failed"


class StorageFull(StorageFailed):
    code = "storage-full"


class Overloaded(WorldError):
    code = "overloaded"


class Draining(WorldError):
    code = "draining"


class Moved(WorldError):
    """This node does not lead the shard, or not any more. Whether what it had begun takes effect is unknown; with the same idempotency
    key it may be asked for again."""

    code = "moved"


class DeadlineExceeded(WorldError):
    """No answer in time. Whether the peer did what it was asked is unknown: repeat it only with the same idempotency key."""

    code = "deadline-exceeded"


class Unreachable(WorldError):
    """No connection to a peer. What was under way on an old one may have happened or not."""

    code = "unreachable"


class ConnectionLost(Unreachable):
    """The connection broke under us: reset, cut short, silent for too long, or given up by the peer."""

    code = "connection-lost"


class ConnectionClosed(Unreachable):
    """We closed the connection ourselves."""

    code = "connection-closed"


class RequestFailed(WorldError):
    """The peer answered with an error. ``remote_code``: the ``code`` of the error there."""

    code = "request-failed"

    def __init__(self, remote_code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{remote_code}: {message}", retry_after_s)
        self.remote_code = remote_code


class RemoteError(Golemp2pError):
    """A peer broke the protocol. Whoever holds the connection closes it, remembers the peer and counts the event.

    The text says what was wrong, and never holds keys, payloads or other bytes of the peer's.
    """

    code = "remote"


class HandshakeFailed(RemoteError):
    code = "handshake-failed"


class RecordForged(RemoteError):
    """Sealed bytes fail: damaged, forged, replayed or left out. Whoever sits on the line can do that too: no proof against the
    peer."""

    code = "record-forged"


class FrameMalformed(RemoteError):
    code = "frame-malformed"


class VersionMismatch(RemoteError):
    """Nobody is to blame: the two nodes are more than one version apart."""

    code = "version-mismatch"


class DataDamaged(Golemp2pError):
    """Stored bytes fail their hash, signature or length. ``log`` names the log (or blob), ``reason`` what failed."""

    code = "data-damaged"

    def __init__(self, log: str, reason: str) -> None:
        super().__init__(f"{log}: {reason}")
        self.log, self.reason = log, reason
