"""The toy: replicated model workers over plain Raft, small enough to be broken in every way on purpose. First of the subjects.

    client ──> gateway (any node) ──Forward──> primary of the worker's shard ──Append──> followers
                                  <──Answer──                               <──Acked──
    worker ──call──> outbox ──Forward (derived key)──> primary of the other worker ──Answer──> settle entry

Shard s lives on nodes s, s+1, ... (``replicas`` of them, modulo n) for good: the toy has no membership change, so a store that is
lost or rotten stays silent for ever (it is not the voter it was), and majorities must come from the rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from golemp2p.core.effects import Persist, Send
from golemp2p_sim import model_worker
from golemp2p_sim.disk import JournalImage
from golemp2p_sim.faults import KINDS
from golemp2p_sim.node import Answered, BecamePrimary, Effects, Halt, Invoked, ReplicaView, Reply, Request, Step, Surroundings
from golemp2p_sim.toy_messages import Acked, Answer, Append, Ask, Forward, Vote, describe, size_of
from golemp2p_sim.toy_replica import ToyReplica, ToyRules
from golemp2p_sim.toy_state import make_entry
from golemp2p_sim.units import MS

TICK_NS, TICK_JITTER_NS = 100 * MS, 30 * MS
WAITING_MAX = 256
"""Invocations that wait for their commit on one node; more are told to come back."""
ASKED_MAX = 1_024
CALLS_MAX = 100_000
ASKED_TTL_NS = 2_000 * MS
CALL_RETRY_NS = 400 * MS
_READS = ("get", "read", "balance", "fired")


@dataclass(slots=True)
class OutgoingCall:
    """A call between workers that has not ended. ``told``: the judge knows of it. ``settling``: its end is being written."""

    shard: int
    due_ns: int
    told: bool = False
    settling: bool = False


class ToyNode:
    """One process of the toy."""

    def __init__(self, toy: Toy, surroundings: Surroundings) -> None:
        self._toy, self._rules = toy, toy.rules
        self._me, self._keys, self._dice = surroundings.index, surroundings.keys, surroundings.dice
        self._index = toy.index_of(surroundings.keys)
        self._lost = surroundings.store != 0
        self._replicas: dict[int, ToyReplica] = {}
        self._waiting: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._asked: dict[int, tuple[int, int]] = {}
        self._calls: dict[str, OutgoingCall] = {}
        self._hints: dict[int, int] = {}
        self._number = surroundings.dice.getrandbits(40)
        self._tokens = 0
        self._token_shard: dict[int, int] = {}
        self._due_ns = 0
        self._out: list[Any] = []

    # -- SimulatedNode --------------------------------------------------------------------------------------------------------

    def start(self, image: Any, now_ns: int) -> Effects:
        records: dict[int, list[Any]] = {}
        for record in image.records:
            records.setdefault(record.shard, []).append(record)
        rotten = {image.records[index].shard for index in image.rotten}
        for shard in self._toy.shards_of(self._me):
            members = self._toy.groups()[shard]
            replica = ToyReplica(shard, self._me, members, keys=self._keys, dice=self._dice, rules=self._rules)
            replica.sound = not self._lost and shard not in rotten
            replica.disk = image.records
            self._replicas[shard] = replica
            if replica.sound:
                replica.recover(records.get(shard, ()), now_ns)
        self._due_ns = now_ns + self._dice.randrange(TICK_NS)
        return ()

    def next_due_ns(self) -> int | None:
        return self._due_ns

    def on_time(self, now_ns: int) -> Effects:
        self._due_ns = now_ns + TICK_NS - self._dice.randrange(TICK_JITTER_NS)
        for replica in self._replicas.values():
            replica.on_tick(now_ns, self._token(2))
            self._drain(replica, now_ns)
        for number in [number for number, (_, asked_ns) in self._asked.items() if now_ns - asked_ns > ASKED_TTL_NS]:
            del self._asked[number]
        self._drop_stale()
        for key in list(self._calls):
            self._call(key, now_ns)
        return self._done()

    def on_message(self, sender: bytes, message: Any, now_ns: int) -> Effects:
        src = self._index.get(sender)
        if src is None:
            return ()
        kind = type(message)
        if kind is Forward:
            self._invoke(message, src, now_ns)
        elif kind is Answer:
            self._answered(src, message, now_ns)
        else:
            replica = self._replicas.get(message.shard)
            if replica is None or not replica.sound or src not in replica.members:
                return ()
            if kind is Append:
                replica.on_append(src, message, now_ns, self._token())
            elif kind is Acked:
                replica.on_acked(src, message, now_ns)
            elif kind is Ask:
                replica.on_ask(src, message, now_ns, self._token())
            elif kind is Vote:
                replica.on_vote(src, message, now_ns, self._token())
            self._drain(replica, now_ns)
        return self._done()

    def on_persisted(self, token: int, now_ns: int) -> Effects:
        shard = self._token_shard.pop(token)
        replica = self._replicas[shard]
        replica.persisted(token)
        if replica.out or replica.just_applied:
            self._drain(replica, now_ns)
        return self._done()

    def on_write_failed(self, token: int, now_ns: int) -> Effects:
        return (Halt("the disk refused a write"),)

    def on_reset(self, peer: bytes, now_ns: int) -> Effects:
        return ()

    def on_request(self, request: Request, now_ns: int) -> Effects:
        if len(self._asked) >= ASKED_MAX:
            return (Reply(request.id, False, "busy"),)
        self._number += 1
        self._asked[self._number] = (request.id, now_ns)
        self._forward(Forward(self._number, request.key, request.worker, request.operation), now_ns)
        return self._done()

    def on_leave(self, now_ns: int) -> Effects:
        raise AssertionError("groups of this subject do not move: nobody can leave")

    def replicas(self) -> Sequence[ReplicaView]:
        return [
            ReplicaView(r.shard, r.term, r.serving, r.sound, r.commit, r.chains[r.commit], r.state.digest)
            for r in self._replicas.values()
        ]

    def chain_at(self, shard: int, position: int) -> int | None:
        replica = self._replicas.get(shard)
        return replica.chains[position] if replica is not None and position <= replica.commit else None

    def queues(self) -> Mapping[str, tuple[int, int]]:
        waiting = sum(len(askers) for askers in self._waiting.values())
        return {
            "waiting invocations": (waiting, WAITING_MAX),
            "forwarded requests": (len(self._asked), ASKED_MAX),
            "calls between workers": (len(self._calls), CALLS_MAX),
        }

    # -- inside ---------------------------------------------------------------------------------------------------------------

    def _done(self) -> Effects:
        out, self._out = self._out, []
        return out

    def _token(self, count: int = 1) -> int:
        """Numbers for ``count`` writes that may be made now."""
        first = self._tokens + 1
        self._tokens += count
        return first

    def _send(self, dst: int, message: Any) -> None:
        self._out.append(Send(self._keys[dst], message))

    def _forward(self, forward: Forward, now_ns: int) -> None:
        shard = self._toy.shard_of(forward.worker)
        target = self._hints.get(shard, -1)
        if target < 0:
            target = self._dice.choice(self._toy.groups()[shard])
        if target == self._me:
            self._invoke(forward, self._me, now_ns)
        else:
            self._send(target, forward)

    def _invoke(self, forward: Forward, src: int, now_ns: int) -> None:
        """As the primary, or say who is."""
        shard = self._toy.shard_of(forward.worker)
        replica = self._replicas.get(shard)
        if replica is None or not replica.serving:
            hint = replica.leader if replica is not None else -1
            self._answer(
                src, Answer(forward.request, forward.key, False, "not primary", hint if hint != self._me else -1, shard), now_ns
            )
            return
        name = (forward.worker, forward.key)
        known = replica.state.results.get(name)
        if known is not None and self._rules.key_takes_effect_once:
            self._answer_result(replica, name, known, (src, forward.request), now_ns)
            return
        if not self._rules.read_through_log and forward.operation[0] in _READS:
            self._read_here(replica, forward, src, now_ns)
            return
        askers = self._waiting.setdefault(name, [])
        if self._rules.bounded_proposals and sum(len(some) for some in self._waiting.values()) >= WAITING_MAX:
            if not askers:
                del self._waiting[name]
            self._answer(src, Answer(forward.request, forward.key, False, "busy", self._me, shard), now_ns)
            return
        askers.append((src, forward.request))
        if len(askers) == 1 or not self._rules.key_takes_effect_once:
            entry = make_entry(replica.term, "invoke", forward.key, forward.worker, forward.operation)
            if not self._rules.answer_after_commit:
                self._answer_early(replica, forward, src, now_ns)
            replica.propose(entry, self._token())
            self._drain(replica, now_ns)

    def _read_here(self, replica: ToyReplica, forward: Forward, src: int, now_ns: int) -> None:
        """The bug of ``read_through_log``: a primary that was replaced does not know it yet."""
        state = replica.state.workers.get(forward.worker, model_worker.initial(forward.worker))
        _, result, _ = model_worker.apply(forward.worker, state, forward.operation)
        self._answer(src, Answer(forward.request, forward.key, True, result, self._me, replica.shard), now_ns)

    def _answer_early(self, replica: ToyReplica, forward: Forward, src: int, now_ns: int) -> None:
        """The bug of ``answer_after_commit``."""
        state = replica.state.workers.get(forward.worker, model_worker.initial(forward.worker))
        _, result, _ = model_worker.apply(forward.worker, state, forward.operation)
        self._answer_result(replica, (forward.worker, forward.key), (len(replica.log), result), (src, forward.request), now_ns)

    def _answer_result(
        self, replica: ToyReplica, name: tuple[str, str], known: tuple[int, Any], asker: tuple[int, int], now_ns: int
    ) -> None:
        (position, result), (worker, key), (src, request) = known, name, asker
        self._out.append(Answered(replica.shard, position, replica.chains[position], worker, key, result))
        self._answer(src, Answer(request, key, True, result, self._me, replica.shard), now_ns)

    def _answer(self, dst: int, answer: Answer, now_ns: int) -> None:
        if dst == self._me:
            self._answered(dst, answer, now_ns)
        else:
            self._send(dst, answer)

    def _answered(self, src: int, answer: Answer, now_ns: int) -> None:
        if answer.shard >= 0:
            self._hints[answer.shard] = answer.hint if not answer.ok else src
        if answer.request < 0:
            self._call_ended(answer, now_ns)
            return
        asked = self._asked.pop(answer.request, None)
        if asked is not None:
            self._out.append(Reply(asked[0], answer.ok, answer.value))

    # -- calls between workers ------------------------------------------------------------------------------------------------

    def _call(self, key: str, now_ns: int) -> None:
        call = self._calls[key]
        if now_ns < call.due_ns or call.settling:
            return
        wanted = self._replicas[call.shard].state.outbox.get(key)
        if wanted is None:
            del self._calls[key]
            return
        call.due_ns = now_ns + CALL_RETRY_NS
        if not call.told:
            call.told = True
            self._out.append(Step("call-goes-out"))
            self._out.append(Invoked(wanted.worker, wanted.operation, key))
        self._forward(Forward(-1, key, wanted.worker, wanted.operation), now_ns)

    def _call_ended(self, answer: Answer, now_ns: int) -> None:
        call = self._calls.get(answer.key)
        if call is None or not answer.ok or call.settling:
            return
        replica = self._replicas[call.shard]
        if replica.serving:
            call.settling = True
            replica.propose(make_entry(replica.term, "settle", answer.key), self._token())
            self._drain(replica, now_ns)

    # -- what a replica did ---------------------------------------------------------------------------------------------------

    def _drain(self, replica: ToyReplica, now_ns: int) -> None:
        """Take over the replica's effects; answer and call what was applied."""
        while replica.out or replica.just_applied:
            out, replica.out = replica.out, []
            applied, replica.just_applied = replica.just_applied, []
            for effect in out:
                self._out.append(effect)
                if type(effect) is Persist:
                    self._token_shard[effect.token] = replica.shard
                elif type(effect) is BecamePrimary:
                    self._out.append(Step("became-primary"))
                    self._take_over_calls(replica, now_ns)
            for position, entry, result, derived in applied:
                if entry.kind == "settle":
                    self._calls.pop(entry.key, None)
                elif entry.kind == "invoke":
                    self._applied(replica, (entry.worker, entry.key), (position, result), derived, now_ns)
        if replica.role != "primary":
            self._turn_away(replica, now_ns)

    def _applied(self, replica: ToyReplica, name: tuple[str, str], known: tuple[int, Any], derived: str, now_ns: int) -> None:
        if not replica.serving:
            return
        call = replica.state.outbox.get(derived)  # it may have been settled by an entry of the same batch
        if call is not None:
            self._calls.setdefault(derived, OutgoingCall(replica.shard, now_ns + call.delay_ns))
        askers = self._waiting.pop(name, ())
        known = replica.state.results.get(name, known)
        for asker in askers:
            self._answer_result(replica, name, known, asker, now_ns)

    def _take_over_calls(self, replica: ToyReplica, now_ns: int) -> None:
        if self._rules.calls_survive_takeover:
            for key, call in replica.state.outbox.items():
                self._calls.setdefault(key, OutgoingCall(replica.shard, now_ns + call.delay_ns))

    def _turn_away(self, replica: ToyReplica, now_ns: int) -> None:
        """No longer primary: whoever waits here should ask elsewhere."""
        if not self._waiting:
            return
        hint = replica.leader if replica.leader != self._me else -1
        for name in [name for name in self._waiting if self._toy.shard_of(name[0]) == replica.shard]:
            for src, request in self._waiting.pop(name):
                self._answer(src, Answer(request, name[1], False, "not primary any more", hint, replica.shard), now_ns)

    def _drop_stale(self) -> None:
        """Calls are the serving primary's business."""
        for key in [key for key, call in self._calls.items() if not self._replicas[call.shard].serving]:
            del self._calls[key]


class Toy:
    """The subject. ``shards``: 0 for one per node, at most 64. ``rules``: see ``ToyRules``."""

    name = "toy"
    survives = frozenset(KINDS) - {"sync-dropped", "store-restored", "byzantine", "destroyed", "leave"}
    steps: tuple[str, ...] = ("became-primary", "call-goes-out", "voted")

    def __init__(self, nodes: int, *, replicas: int = 3, shards: int = 0, rules: ToyRules | None = None) -> None:
        self._made_of = (nodes, replicas, shards)
        self.rules = rules or ToyRules()
        size = min(replicas, nodes)
        size -= 1 - size % 2  # an even group survives no more than the odd one below it
        count = shards or min(nodes, 64)
        self._groups = [tuple((shard * max(1, nodes // count) + i) % nodes for i in range(size)) for shard in range(count)]
        self._shards: dict[int, list[int]] = {}
        for shard, group in enumerate(self._groups):
            for node in group:
                self._shards.setdefault(node, []).append(shard)
        self._indexes: dict[bytes, int] = {}
        self._shard_of: dict[str, int] = {}

    def without(self, rule: str) -> Toy:
        """The same with one rule off."""
        nodes, replicas, shards = self._made_of
        return Toy(nodes, replicas=replicas, shards=shards, rules=replace(self.rules, **{rule: False}))

    def index_of(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        if len(self._indexes) != len(keys):
            self._indexes = {key: index for index, key in enumerate(keys)}
        return self._indexes

    def shards_of(self, node: int) -> Sequence[int]:
        return self._shards.get(node, ())

    def node(self, surroundings: Surroundings) -> ToyNode:
        return ToyNode(self, surroundings)

    def image(self) -> JournalImage:
        return JournalImage()

    def groups(self) -> Sequence[tuple[int, ...]]:
        return self._groups

    def shard_of(self, worker: str) -> int:
        shard = self._shard_of.get(worker)
        if shard is None:
            shard = self._shard_of[worker] = zlib.crc32(worker.encode()) % len(self._groups)
        return shard

    def message_bytes(self, message: Any) -> int:
        return size_of(message)

    def describe(self, message: Any) -> str:
        return describe(message)

    def lie(self, message: Any, dice: Random, behaviour: str) -> Any | None:
        """A vote for whoever asks, a wrong primary, an acknowledgement of what was never written."""
        match behaviour, message:
            case "equivocate", Vote():
                return replace(message, granted=True)
            case "forge-hints", Answer():
                return replace(message, ok=False, value="not primary", hint=dice.choice(self._groups[message.shard]))
            case "lie-about-log", Acked():
                return replace(message, matched=message.matched + dice.randint(1, 3), refused=False)
        return None
