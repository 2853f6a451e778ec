"""Invocations on a whole node: gateway for clients, primary for workers, caller between workers. Routing is the real core's.

    client ──> gateway ──Requests──> primary: in the log already? answer : append a segment ──committed──> Answer
    worker ──call──> outbox ──Requests (derived key)──> primary of the other worker ──Answer──> settle entry

Results leave for committed entries only (S6). While a shard has work, its followers are to hear this node (``Peer.work_began``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Requested
from golemp2p.core.requests import Answered as RequestAnswered
from golemp2p.core.requests import GaveUp
from golemp2p.model.ids import Key
from golemp2p.model.messages_requests import Answer, Busy
from golemp2p_sim.mesh_copy import MeshCopy, calls_log
from golemp2p_sim.mesh_wire import pack, unpack
from golemp2p_sim.node import Answered, Invoked, Reply, Request, Step
from golemp2p_sim.toy_state import Entry, make_entry
from golemp2p_sim.units import MS

WAITING_MAX = 256
"""Invocations that wait for their commit on one node; more are told to come back."""
ASKED_MAX = 1_024
CALLS_MAX = 100_000
CLIENT_DEADLINE_NS = 2_000 * MS
CALL_DEADLINE_NS = 5_000 * MS
CALL_PAUSE_NS = 400 * MS
BUSY_MS = 100
LINGER_NS = 50 * MS
"""Work ends so long after the last invocation: telling followers for each one costs more than it saves."""

Asker = tuple[bytes, int]
"""Who asked, and its number for the request."""


@dataclass(slots=True)
class OutgoingCall:
    """A call between workers that has not ended. ``number``: the request under way, 0 for none; ``settling``: its end is being
    written."""

    shard: int
    due_ns: int
    number: int = 0
    told: bool = False
    settling: bool = False


@dataclass(slots=True)
class ShardWork:
    """``waiting``: (worker, key) -> who waits for its commit. ``until_ns``: when work is over, if nothing comes; 0 without work."""

    waiting: dict[tuple[str, str], list[Asker]] = field(default_factory=dict)
    until_ns: int = 0


class MeshDesk:
    """One per node. ``copy_of(shard)``; ``carry_out(effects, now_ns)`` of the peer; ``out`` collects effects for the world."""

    def __init__(
        self,
        peer: Peer,
        shard_of: Callable[[str], int],
        *,
        copy_of: Callable[[int], MeshCopy],
        carry_out: Callable[[list[Any], int], None],
        out: Callable[[Any], None],
    ) -> None:
        self._peer, self._shard_of, self._copy_of, self._carry_out, self._out = peer, shard_of, copy_of, carry_out, out
        self._work: dict[int, ShardWork] = {}
        self._asked: dict[int, int] = {}  # request -> the client's attempt
        self._calls: dict[str, OutgoingCall] = {}
        self._called: dict[int, str] = {}  # request -> derived key

    # -- gateway

    def request(self, request: Request, now_ns: int) -> None:
        if len(self._asked) >= ASKED_MAX:
            self._out(Reply(request.id, False, "busy"))
            return
        payload = pack((request.worker, request.operation))
        number, effects = self._peer.submit(
            self._shard_of(request.worker), request.key, payload, now_ns + CLIENT_DEADLINE_NS, now_ns
        )
        self._asked[number] = request.id
        self._carry_out(effects, now_ns)

    def answered(self, answer: RequestAnswered, now_ns: int) -> None:
        client = self._asked.pop(answer.number, None)
        if client is not None:
            self._out(Reply(client, True, unpack(answer.payload)))
            return
        call = self._calls.get(self._called.pop(answer.number, ""))
        if call is not None and call.number == answer.number:
            self._settle(call, now_ns)

    def gave_up(self, failure: GaveUp, now_ns: int) -> None:
        client = self._asked.pop(failure.number, None)
        if client is not None:
            self._out(Reply(client, False, failure.reason))
            return
        call = self._calls.get(self._called.pop(failure.number, ""))
        if call is not None and call.number == failure.number:
            call.number, call.due_ns = 0, now_ns + CALL_PAUSE_NS

    # -- primary

    def requested(self, requested: Requested, now_ns: int) -> None:
        """This node serves the shard."""
        forward, asker = requested.forward, (requested.sender, requested.forward.number)
        worker, operation = unpack(forward.payload)
        copy = self._copy_of(forward.shard)
        name = (worker, forward.idempotency_key)
        known = copy.state.results.get(name)
        if known is not None:
            self._answer(copy, name, known, asker, now_ns)
            return
        work = self._work.setdefault(forward.shard, ShardWork())
        askers = work.waiting.get(name)
        if askers is not None:
            if asker not in askers and len(askers) < WAITING_MAX:
                askers.append(asker)
            return
        if copy.stale or sum([len(other.waiting) for other in self._work.values()]) >= WAITING_MAX:
            self._carry_out(self._peer.answer(asker[0], Busy(asker[1], BUSY_MS), now_ns), now_ns)
            return
        work.waiting[name] = [asker]
        copy.propose(Key.of("worker", worker), make_entry(copy.replica.term, "invoke", name[1], worker, operation))
        self._carry_out(self._peer.flush(forward.shard, now_ns), now_ns)
        self._began(forward.shard, work, now_ns)

    def applied(self, copy: MeshCopy, entry: Entry, derived: str, now_ns: int) -> None:
        """``copy`` ran a committed entry. ``derived``: key of the call that goes out, or ``""``."""
        if entry.kind == "settle":
            call = self._calls.pop(entry.key, None)
            if call is not None and call.number:
                self._drop(call)
            return
        name = (entry.worker, entry.key)
        work = self._work.get(copy.shard)
        for asker in work.waiting.pop(name, ()) if work else ():
            self._answer(copy, name, copy.state.results[name], asker, now_ns)
        outgoing = copy.state.outbox.get(derived)
        if outgoing is not None and copy.replica.is_serving:
            self._calls.setdefault(derived, OutgoingCall(copy.shard, now_ns + outgoing.delay_ns))

    def serving_began(self, copy: MeshCopy, now_ns: int) -> None:
        """Calls of the shard's workers are this node's business now."""
        for key, call in copy.state.outbox.items():
            self._calls.setdefault(key, OutgoingCall(copy.shard, now_ns + call.delay_ns))

    def serving_ended(self, shard: int, now_ns: int) -> None:
        """Whoever waits here is told so by silence: it asks elsewhere once it hears who leads. Calls are the next primary's."""
        work = self._work.pop(shard, None)
        for askers in work.waiting.values() if work else ():
            for sender, number in askers:
                self._carry_out(self._peer.answer(sender, Busy(number, BUSY_MS), now_ns), now_ns)
        for key in [key for key, call in self._calls.items() if call.shard == shard]:
            self._drop(self._calls.pop(key))

    def _answer(self, copy: MeshCopy, name: tuple[str, str], known: tuple[int, Any], asker: Asker, now_ns: int) -> None:
        (position, result), (worker, key), (sender, number) = known, name, asker
        chain = copy.chain_at(position)
        assert chain is not None, "results come from applied entries"
        self._out(Answered(copy.shard, position, chain, worker, key, result))
        self._carry_out(self._peer.answer(sender, Answer(number, pack(result)), now_ns), now_ns)

    def _began(self, shard: int, work: ShardWork, now_ns: int) -> None:
        if not work.until_ns:
            self._carry_out(self._peer.work_began(shard, now_ns), now_ns)
        work.until_ns = now_ns + LINGER_NS

    # -- time

    def next_due_ns(self) -> int | None:
        due_ns: int | None = None
        for work in self._work.values():  # asked after every event: no lists are made
            if work.until_ns and (due_ns is None or work.until_ns < due_ns):
                due_ns = work.until_ns
        for call in self._calls.values():
            if not call.number and not call.settling and (due_ns is None or call.due_ns < due_ns):
                due_ns = call.due_ns
        return due_ns

    def on_time(self, now_ns: int) -> None:
        for shard, work in list(self._work.items()):
            if work.until_ns and work.until_ns <= now_ns:
                if work.waiting:
                    work.until_ns = now_ns + LINGER_NS
                else:
                    work.until_ns = 0
                    self._carry_out(self._peer.work_ended(shard, now_ns), now_ns)
        for key, call in list(self._calls.items()):
            if call.due_ns <= now_ns and not call.number and not call.settling:
                self._call(key, call, now_ns)

    # -- calls between workers

    def _call(self, key: str, call: OutgoingCall, now_ns: int) -> None:
        wanted = self._copy_of(call.shard).state.outbox.get(key)
        if wanted is None:
            del self._calls[key]
            return
        if not call.told:
            call.told = True
            self._out(Step("call-goes-out"))
            self._out(Invoked(wanted.worker, wanted.operation, key))
        payload = pack((wanted.worker, wanted.operation))
        deadline_ns = now_ns + CALL_DEADLINE_NS
        call.number, effects = self._peer.submit(self._shard_of(wanted.worker), key, payload, deadline_ns, now_ns)
        self._called[call.number] = key
        self._carry_out(effects, now_ns)

    def _settle(self, call: OutgoingCall, now_ns: int) -> None:
        key = next(key for key, other in self._calls.items() if other is call)
        copy = self._copy_of(call.shard)
        call.number = 0
        if copy.replica.is_serving:
            call.settling = True
            copy.propose(calls_log(call.shard), make_entry(copy.replica.term, "settle", key))
            self._carry_out(self._peer.flush(call.shard, now_ns), now_ns)
        else:
            call.due_ns = now_ns + CALL_PAUSE_NS

    def _drop(self, call: OutgoingCall) -> None:
        if call.number:
            self._called.pop(call.number, None)
            self._peer.requests.cancel(call.number)

    def queues(self) -> Mapping[str, tuple[int, int]]:
        return {
            "waiting invocations": (sum(len(work.waiting) for work in self._work.values()), WAITING_MAX),
            "requests of clients": (len(self._asked), ASKED_MAX),
            "calls between workers": (len(self._calls), CALLS_MAX),
        }
