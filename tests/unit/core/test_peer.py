"""One node's part in the mesh, step by step. Whole meshes under faults: tests/unit/sim/test_sim_mesh.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from replica_world import FakeNotary

from benchmarks.small_world import Trust, key_of, record_of
from golemp2p.core.beliefs import MemberChanged
from golemp2p.core.effects import Persist, Send
from golemp2p.core.membership_profile import MS, S
from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Drained, MembersKnown, PeerProfile, Requested
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import StartServing
from golemp2p.core.requests import Answered, GaveUp
from golemp2p.model.messages_requests import Answer, Busy, Forward, NotPrimary
from golemp2p.model.messages_shard import AskPrimary, Resigned, ShardMessage
from golemp2p.model.replication import MAIN_BRANCH, Member

SHARDS = 4


class Mesh:
    """Peers over perfect wires and disks: a write is durable at once, a message arrives at once. ``seen``: other effects, by node."""

    def __init__(self, count: int) -> None:
        self.now_ns = 0
        self.peers: dict[bytes, Peer] = {}
        self.disks: dict[bytes, dict[int, ReplicaDurable]] = {}
        self.seen: dict[bytes, list[Any]] = {}
        self.cut: set[bytes] = set()
        self.is_lost: Callable[[Send], bool] = lambda _send: False
        self._wire: deque[tuple[bytes, Send]] = deque()
        for number in range(count):
            self.add(number)

    def add(self, number: int, *, store_id: bytes = bytes(16)) -> None:
        key = key_of(number)
        founder = Member(key, store_id)
        self.disks[key] = {} if number else {shard: ReplicaDurable.at_birth(founder) for shard in range(SHARDS)}
        self.seen[key] = []
        record = replace(record_of(number), store_id=store_id, incarnation=self.now_ns)
        self.peers[key] = peer = Peer(
            record, self.disks[key], shards_count=SHARDS, notary=lambda _shard: FakeNotary(key), authority=Trust(),
            proofs=Trust(), dice=Random(number), profile=PeerProfile(),
        )  # fmt: skip
        self.carry_out(key, peer.start(self.now_ns, known=[key_of(0)] if number else []))

    def carry_out(self, key: bytes, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._wire.append((key, effect))
                case Persist(write, token, then):
                    self.disks[key].setdefault(write.shard, ReplicaDurable()).apply(write)
                    self._wire.extend((key, send) for send in then)
                    self.carry_out(key, self.peers[key].persisted(token, self.now_ns))
                case _:
                    self.seen[key].append(effect)

    def run(self, for_ns: int) -> None:
        end_ns = self.now_ns + for_ns
        while True:
            while self._wire:
                sender, send = self._wire.popleft()
                if send.peer in self.peers and not self.cut & {sender, send.peer} and not self.is_lost(send):
                    self.carry_out(send.peer, self.peers[send.peer].receive(sender, send.message, self.now_ns))
            dues = [(due_ns, key) for key, peer in self.peers.items() if (due_ns := peer.next_due_ns()) is not None]
            due_ns, key = min(dues, default=(end_ns + 1, b""))
            if due_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, due_ns)
            self.carry_out(key, self.peers[key].on_time(self.now_ns))

    def of(self, key: bytes, kind: type) -> list[Any]:
        return [effect for effect in self.seen[key] if isinstance(effect, kind)]


A, B, C, D = map(key_of, range(4))


def grown() -> Mesh:
    mesh = Mesh(3)
    mesh.run(15 * S)
    for peer in mesh.peers.values():
        assert {len(peer.shards.voters(shard)) for shard in range(SHARDS)} == {3}
    return mesh


def primary_of(mesh: Mesh, shard: int) -> bytes:
    (key,) = [key for key, peer in mesh.peers.items() if peer.shards.is_serving(shard)]
    return key


def test_the_founder_serves_all_shards_at_once_and_then_needs_nothing():
    mesh = Mesh(1)
    mesh.run(60 * MS)  # a campaign without others waits for its jitter only
    assert {effect.shard for effect in mesh.of(A, StartServing)} == set(range(SHARDS))
    mesh.run(20 * S)
    assert mesh.peers[A].next_due_ns() is None


def test_those_who_join_get_replicas_and_a_share_of_the_lead():
    mesh = grown()
    assert len({primary_of(mesh, shard) for shard in range(SHARDS)}) > 1
    assert {record.public_key for record in mesh.of(C, MembersKnown)[-1].records} == {A, B}


def test_a_request_reaches_whoever_serves_and_its_answer_comes_back():
    mesh = grown()
    for shard in range(SHARDS):
        primary = primary_of(mesh, shard)
        number, effects = mesh.peers[B].submit(shard, "key", b"work", mesh.now_ns + S, mesh.now_ns)
        mesh.carry_out(B, effects)
        mesh.run(10 * MS)
        requested = mesh.of(primary, Requested)[-1]
        assert (requested.sender, requested.forward.payload) == (B, b"work")
        mesh.carry_out(primary, mesh.peers[primary].answer(B, Answer(requested.forward.number, b"done"), mesh.now_ns))
        mesh.run(10 * MS)
        assert (mesh.of(B, Answered)[-1].number, mesh.of(B, Answered)[-1].payload) == (number, b"done")


def test_who_does_not_lead_says_who_does():
    mesh = grown()
    primary = primary_of(mesh, 0)
    other, asker = [key for key in (A, B, C) if key != primary]
    (answer,) = sends(mesh.peers[other].receive(asker, Forward(7, 0, "key", 1_000, b""), mesh.now_ns), NotPrimary)
    assert (answer.message.number, answer.message.primary) == (7, primary)


def test_a_primary_in_doubt_asks_for_patience():
    mesh = grown()
    primary = primary_of(mesh, 0)
    asker = B if primary == A else A
    for other in {A, B, C} - {primary}:
        mesh.peers[primary].shards.judged(other, mesh.now_ns, is_dead=True)
    effects = mesh.peers[primary].receive(asker, Forward(7, 0, "key", 1_000, b""), mesh.now_ns)
    assert [send.message.number for send in sends(effects, Busy)] == [7]


def test_the_shards_of_a_dead_node_find_other_primaries():
    mesh = grown()
    dead = primary_of(mesh, 0)
    led = [shard for shard in range(SHARDS) if primary_of(mesh, shard) == dead]
    mesh.cut.add(dead)
    mesh.run(4 * S)
    left = [key for key in (A, B, C) if key != dead]
    for shard in led:
        assert [mesh.peers[key].shards.is_serving(shard) for key in left].count(True) == 1
    assert not any(mesh.peers[dead].shards.is_serving(shard) for shard in range(SHARDS))  # S10


def test_without_a_majority_requests_end_in_time_and_say_so():
    mesh = grown()
    mesh.cut |= {A, B}
    mesh.run(4 * S)
    number, effects = mesh.peers[C].submit(0, "key", b"", mesh.now_ns + 2 * S, mesh.now_ns)
    mesh.carry_out(C, effects)
    mesh.run(3 * S)
    assert [(gave_up.number, gave_up.reason) for gave_up in mesh.of(C, GaveUp)] == [(number, "deadline")]


def test_a_leaving_node_gives_everything_away_and_says_farewell():
    mesh = grown()
    mesh.add(3)
    mesh.run(15 * S)
    mesh.carry_out(B, mesh.peers[B].leave(mesh.now_ns))
    mesh.run(5 * S)
    assert mesh.of(B, Drained)
    assert len(mesh.peers[B].shards) == 0
    for shard in range(SHARDS):
        assert set(mesh.peers[primary_of(mesh, shard)].shards.voters(shard)) == {A, C, D}
    assert [change.member.status.name for change in mesh.of(A, MemberChanged) if change.member.public_key == B][-1] == "LEFT"


@pytest.mark.parametrize("leaves", [True, False])
def test_the_seats_of_a_lost_store_are_given_away_when_its_node_goes_before_it_took_them_again(leaves: bool):
    mesh = grown()
    mesh.cut.add(C)
    mesh.run(5 * S)
    mesh.cut.clear()
    mesh.add(2, store_id=b"another store id")
    mesh.add(3)
    mesh.is_lost = lambda send: send.peer == C and isinstance(send.message, ShardMessage)
    mesh.run(5 * S)
    groups = [mesh.peers[primary_of(mesh, shard)].shards[shard].configuration for shard in range(SHARDS)]
    assert all(Member(C, bytes(16)) in group.voters and Member(C, b"another store id") in group.learners for group in groups)
    if leaves:
        mesh.carry_out(C, mesh.peers[C].leave(mesh.now_ns))
        mesh.run(S)
        assert mesh.of(C, Drained)
    mesh.cut.add(C)
    mesh.run(90 * S)
    for shard in range(SHARDS):
        assert set(mesh.peers[primary_of(mesh, shard)].shards.voters(shard)) == {A, B, D}


def test_asked_about_a_shard_that_it_does_not_hold_it_resigns():
    mesh = Mesh(2)
    mesh.run(10 * MS)
    alone = Mesh(2)
    question = ShardMessage(SHARDS + 1, MAIN_BRANCH, 9, bytes(16), AskPrimary())
    (answer,) = sends(alone.peers[A].receive(B, question, 0), ShardMessage) or [None]
    assert answer is None, "not to a stranger"
    (answer,) = sends(mesh.peers[A].receive(B, question, mesh.now_ns), ShardMessage)
    assert answer.message.body == Resigned(9)


def sends(effects: list[Any], kind: type) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]
