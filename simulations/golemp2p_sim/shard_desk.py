"""Invocations on a simulated node: gateway for clients, primary for workers, caller between workers.

    client ──> gateway ──Forward──> primary: in the log already? answer : append a segment ──committed──> Answer
    worker ──call──> outbox ──Forward (derived key)──> primary of the other worker ──Answer──> settle entry

Results leave for committed entries only (S6). Who is not primary names the one it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from golemp2p.core.effects import Send
from golemp2p.model.ids import Key
from golemp2p_sim.node import Answered, Invoked, Reply, Request, Step
from golemp2p_sim.shard_copy import ShardCopy
from golemp2p_sim.toy_messages import Answer, Forward
from golemp2p_sim.toy_state import Entry, make_entry
from golemp2p_sim.units import MS

WAITING_MAX = 256
"""Invocations that wait for their commit on one node; more are told to come back."""
ASKED_MAX = 1_024
CALLS_MAX = 100_000
ASKED_TTL_NS = 2_000 * MS
CALL_RETRY_NS = 400 * MS


log_of = lru_cache(maxsize=4_096)(Key.of)
"""The log of a worker, remembered: a run has a dozen of them, and asks each thousands of times."""


@dataclass(slots=True)
class OutgoingCall:
    """A call between workers that has not ended. ``told``: the judge knows of it. ``settling``: its end is being written."""

    shard: int
    due_ns: int
    told: bool = False
    settling: bool = False


class ShardDesk:
    """One per node. ``flush(copy, now_ns)`` ships what was proposed; ``out`` collects effects."""

    def __init__(
        self,
        me: int,
        keys: Sequence[bytes],
        groups: Sequence[tuple[int, ...]],
        shard_of: Callable[[str], int],
        *,
        index: Mapping[bytes, int],
        dice: Random,
        out: Callable[[Any], None],
        flush: Callable[[ShardCopy, int], None],
    ) -> None:
        self._me, self._keys, self._groups, self._shard_of, self._dice = me, keys, groups, shard_of, dice
        self._index = index
        self._out, self._flush = out, flush
        self.copies: dict[int, ShardCopy] = {}
        self._waiting: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._asked: dict[int, tuple[int, int]] = {}
        self._calls: dict[str, OutgoingCall] = {}
        self._hints: dict[int, int] = {}
        self._number = dice.getrandbits(40)

    # -- gateway

    def request(self, request: Request, now_ns: int) -> None:
        if len(self._asked) >= ASKED_MAX:
            self._out(Reply(request.id, False, "busy"))
            return
        self._number += 1
        self._asked[self._number] = (request.id, now_ns)
        self._forward(Forward(self._number, request.key, request.worker, request.operation), now_ns)

    def _forward(self, forward: Forward, now_ns: int) -> None:
        shard = self._shard_of(forward.worker)
        target = self._hints.get(shard, -1)
        if target < 0:
            target = self._dice.choice(self._groups[shard])
        if target == self._me:
            self.invoke(forward, self._me, now_ns)
        else:
            self._out(Send(self._keys[target], forward))

    def answered(self, src: int, answer: Answer, now_ns: int) -> None:
        if answer.shard >= 0:
            self._hints[answer.shard] = src if answer.ok else answer.hint
        if answer.request < 0:
            self._call_ended(answer, now_ns)
            return
        asked = self._asked.pop(answer.request, None)
        if asked is not None:
            self._out(Reply(asked[0], answer.ok, answer.value))

    # -- primary

    def invoke(self, forward: Forward, src: int, now_ns: int) -> None:
        """As the primary, or say who is."""
        shard = self._shard_of(forward.worker)
        copy = self.copies.get(shard)
        if copy is None or not copy.replica.is_serving:
            self._answer(src, Answer(forward.request, forward.key, False, "not primary", self._primary_of(copy), shard), now_ns)
            return
        name = (forward.worker, forward.key)
        known = copy.state.results.get(name)
        if known is not None:
            self._answer_result(copy, name, known, (src, forward.request), now_ns)
            return
        askers = self._waiting.get(name)
        if askers is not None:
            if len(askers) < WAITING_MAX:
                askers.append((src, forward.request))
            return
        if len(self._waiting) >= WAITING_MAX:
            self._answer(src, Answer(forward.request, forward.key, False, "busy", self._me, shard), now_ns)
            return
        self._waiting[name] = [(src, forward.request)]
        entry = make_entry(copy.replica.term, "invoke", forward.key, forward.worker, forward.operation)
        copy.propose(log_of("worker", forward.worker), entry)
        self._flush(copy, now_ns)

    def applied(self, copy: ShardCopy, entry: Entry, now_ns: int, ran: tuple[int, Any], derived: str) -> None:
        """``copy`` ran a committed entry. ``ran``: (position, result); ``derived``: key of the call that goes out, or ``""``."""
        if entry.kind == "settle":
            self._calls.pop(entry.key, None)
            return
        if not copy.is_primary:
            return
        call = copy.state.outbox.get(derived)
        if call is not None:
            self._calls.setdefault(derived, OutgoingCall(copy.shard, now_ns + call.delay_ns))
        name = (entry.worker, entry.key)
        for asker in self._waiting.pop(name, ()):
            self._answer_result(copy, name, copy.state.results.get(name, ran), asker, now_ns)

    def serving_began(self, copy: ShardCopy, now_ns: int) -> None:
        """Calls of the shard's workers are this node's business now."""
        for key, call in copy.state.outbox.items():
            self._calls.setdefault(key, OutgoingCall(copy.shard, now_ns + call.delay_ns))

    def serving_ended(self, copy: ShardCopy, now_ns: int) -> None:
        """Whoever waits here should ask elsewhere; calls are the next primary's."""
        hint = self._primary_of(copy)
        for name in [name for name in self._waiting if self._shard_of(name[0]) == copy.shard]:
            for src, request in self._waiting.pop(name):
                self._answer(src, Answer(request, name[1], False, "not primary any more", hint, copy.shard), now_ns)
        for key in [key for key, call in self._calls.items() if call.shard == copy.shard]:
            del self._calls[key]

    def _primary_of(self, copy: ShardCopy | None) -> int:
        primary = copy.replica.primary if copy is not None else None
        return -1 if primary is None or primary == self._keys[self._me] else self._index[primary]

    def _answer_result(
        self, copy: ShardCopy, name: tuple[str, str], known: tuple[int, Any], asker: tuple[int, int], now_ns: int
    ) -> None:
        (position, result), (worker, key), (src, request) = known, name, asker
        chain = copy.chain_at(position)
        assert chain is not None, "results come from applied entries"
        self._out(Answered(copy.shard, position, chain, worker, key, result))
        self._answer(src, Answer(request, key, True, result, self._me, copy.shard), now_ns)

    def _answer(self, dst: int, answer: Answer, now_ns: int) -> None:
        if dst == self._me:
            self.answered(dst, answer, now_ns)
        else:
            self._out(Send(self._keys[dst], answer))

    # -- calls between workers

    def tick(self, now_ns: int) -> None:
        if self._asked:
            for number in [number for number, (_, asked_ns) in self._asked.items() if now_ns - asked_ns > ASKED_TTL_NS]:
                del self._asked[number]
        for key in [key for key, call in self._calls.items() if now_ns >= call.due_ns and not call.settling]:
            self._call(key, now_ns)

    def _call(self, key: str, now_ns: int) -> None:
        call = self._calls.get(key)
        if call is None or now_ns < call.due_ns or call.settling:
            return
        wanted = self.copies[call.shard].state.outbox.get(key)
        if wanted is None:
            del self._calls[key]
            return
        call.due_ns = now_ns + CALL_RETRY_NS
        if not call.told:
            call.told = True
            self._out(Step("call-goes-out"))
            self._out(Invoked(wanted.worker, wanted.operation, key))
        self._forward(Forward(-1, key, wanted.worker, wanted.operation), now_ns)

    def _call_ended(self, answer: Answer, now_ns: int) -> None:
        call = self._calls.get(answer.key)
        if call is None or not answer.ok or call.settling:
            return
        copy = self.copies[call.shard]
        if copy.replica.is_serving:
            call.settling = True
            copy.propose(log_of("calls", str(copy.shard)), make_entry(copy.replica.term, "settle", answer.key))
            self._flush(copy, now_ns)

    def queues(self) -> Mapping[str, tuple[int, int]]:
        return {
            "waiting invocations": (len(self._waiting), WAITING_MAX),
            "forwarded requests": (len(self._asked), ASKED_MAX),
            "calls between workers": (len(self._calls), CALLS_MAX),
        }
