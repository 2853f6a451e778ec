"""Nodes of a mesh for tests of what stands on ``core.peer``: real cores, real signatures, perfect wires and disks, time by hand.

Infidelities: a write is durable at once; messages and calls take no time and arrive at once, or, to and from who is ``cut``, never.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import trio

from golemp2p.core.beliefs import Expelled, Removed
from golemp2p.core.effects import Persist, Send
from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Drained
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.drivers.administration.mesh_admin import MeshDesk
from golemp2p.drivers.administration.mesh_reports import load_of, reports_of
from golemp2p.drivers.administration.node_facts import NodeDirectory
from golemp2p.drivers.peers.mesh_state import MeshState
from golemp2p.errors import Unreachable
from golemp2p.model.membership import NodeRecord, Removal
from golemp2p.model.node_status import NodeFacts
from golemp2p.model.replication import Member
from golemp2p.wire.call_kinds import STATUS
from golemp2p.wire.certificate import Genesis, found_mesh
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.messages_membership import is_record_genuine, is_removal_genuine, sign_record
from golemp2p.wire.notary import ShardNotary

SHARDS = 4
S = 1_000_000_000


class Authority:
    def __init__(self, key: SigningKey, genesis: Genesis) -> None:
        self._key, self._genesis = key, genesis

    def sign(self, record: NodeRecord) -> NodeRecord:
        return sign_record(record, self._genesis.mesh_id, self._key)

    def admits(self, record: NodeRecord) -> bool:
        return is_record_genuine(record, self._genesis.mesh_id)

    def ordered(self, removal: Removal) -> bool:
        return is_removal_genuine(removal, self._genesis.mesh_id, self._genesis.operator)

    def is_genuine(self, _record: Any) -> bool:
        return True


class Asked:
    def __init__(self, peer: bytes, payload: bytes) -> None:
        self.peer, self.payload = peer, payload

    async def send(self, chunk: bytes) -> None:
        raise NotImplementedError


class Meta:
    """The metadata of a storage."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get_meta(self, name: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.values.get(name)

    async def put_meta(self, name: str, value: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.values[name] = value


class Node:
    """``drive``s its peer as ``MeshDesk`` wants it, and serves as much of ``ports.Mesh`` as it needs."""

    def __init__(
        self, mesh: PeerMesh, number: int, *, store: int = 0, removals: tuple[Removal, ...] = (), **record: Any
    ) -> None:
        self.mesh = mesh
        self.number = number
        self.key = mesh.keys[number]
        self.own = self.key.public_key
        self.shards_count = SHARDS
        self.storage: Any = Meta()
        self.disk = mesh.disks.setdefault((number, store), {})
        self.seen: list[Any] = []
        self.drained, self.expelled = trio.Event(), trio.Event()
        self.stopped: list[str] = []
        self.operator: SigningKey | None = None
        genesis = mesh.genesis
        fields = {
            "addresses": (f"10.0.0.{number + 1}:9882",),
            "weight": 100,
            "domain": "",
            "incarnation": mesh.now_ns,
            **record,
        }
        self.peer = Peer(
            NodeRecord(self.own, bytes([store]) * 16, **fields),
            self.disk,
            shards_count=SHARDS,
            notary=lambda shard: ShardNotary(self.key, mesh_id=genesis.mesh_id, shard=shard, operator=genesis.operator),
            authority=Authority(self.key, genesis),
            proofs=Authority(self.key, genesis),
            dice=Random(number),
        )
        self.directory = NodeDirectory(
            self,
            own=lambda: NodeFacts(f"0.{number}", f"http://10.0.0.{number + 1}:9881", 7),
            load=lambda: load_of(self.peer),
            reports=lambda wanted, first: reports_of(self.peer, wanted, first),
            incarnation_of=self.incarnation_of,
        )
        self.desk = MeshDesk(
            self,
            self,
            MeshState(genesis, self.key, bytes(16)),
            self.directory,
            self.storage,
            operator=lambda: self.operator,
            random_bytes=Random(number).randbytes,
            drained=self.drained,
            expelled=self.expelled,
            stop=self.stopped.append,
        )
        known = [] if number == 0 and not store else [key.public_key for key in mesh.keys if key is not self.key]
        mesh.nodes[self.own] = self
        self.carry_out(self.peer.start(mesh.now_ns, known=known, removals=removals))

    def incarnation_of(self, peer: bytes) -> int | None:
        member = self.peer.membership.members.get(peer)
        return None if member is None or not member.is_present else member.record.incarnation

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.mesh.reaches(self.own, peer):
            raise Unreachable("cut")
        other = self.mesh.nodes[peer]
        serve = other.directory.serve if kind == STATUS else other.desk.serve_overruled
        return await serve(Asked(self.own, payload))

    def now_ns(self) -> int:
        return self.mesh.now_ns

    def traffic(self) -> dict[bytes, Any]:
        return {}

    def carry_out(self, effects: Any) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.mesh.wire.append((self.own, effect))
                case Persist(write, token, then):
                    self.disk.setdefault(write.shard, ReplicaDurable()).apply(write)
                    self.mesh.wire.extend((self.own, send) for send in then)
                    self.carry_out(self.peer.persisted(token, self.mesh.now_ns))
                case Drained():
                    self.drained.set()
                case Expelled():
                    self.expelled.set()
                case _:
                    self.seen.append(effect)

    def removals(self) -> tuple[Removal, ...]:
        return tuple(effect.removal for effect in self.seen if isinstance(effect, Removed))


class PeerMesh:
    """Node 0 is the founder."""

    def __init__(self, count: int, *, operator: SigningKey | None = None) -> None:
        self.now_ns = S
        self.keys = [SigningKey(bytes([number + 1]) * 32) for number in range(count + 3)]
        operator_key = None if operator is None else operator.public_key
        self.genesis = found_mesh(self.keys[0], mesh_key=bytes(32), shards_count=SHARDS, created_ns=0, operator=operator_key)
        self.nodes: dict[bytes, Node] = {}
        self.disks: dict[tuple[int, int], dict[int, ReplicaDurable]] = {}
        self.cut: set[bytes] = set()
        self.wire: deque[tuple[bytes, Send]] = deque()
        founder = Member(self.keys[0].public_key, bytes(16))
        self.disks[0, 0] = {shard: ReplicaDurable.at_birth(founder) for shard in range(SHARDS)}
        for number in range(count):
            Node(self, number)

    def __getitem__(self, number: int) -> Node:
        return self.nodes[self.keys[number].public_key]

    def reaches(self, one: bytes, other: bytes) -> bool:
        return one in self.nodes and other in self.nodes and not self.cut & {one, other}

    def kill(self, *numbers: int) -> None:
        self.cut |= {self.keys[number].public_key for number in numbers}

    def run(self, for_s: float) -> None:
        end_ns = self.now_ns + int(for_s * S)
        while True:
            while self.wire:
                sender, send = self.wire.popleft()
                if self.reaches(sender, send.peer):
                    node = self.nodes[send.peer]
                    node.carry_out(node.peer.receive(sender, send.message, self.now_ns))
            dues = [(due_ns, key) for key, node in self.nodes.items() if (due_ns := node.peer.next_due_ns()) is not None]
            due_ns, key = min(dues, default=(end_ns + 1, b""))
            if due_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, due_ns)
            self.nodes[key].carry_out(self.nodes[key].peer.on_time(self.now_ns))

    def grown(self) -> PeerMesh:
        self.run(15)
        return self
