"""The mesh as a subject: whole nodes that grow from one founder, find each other, share the shards, and lose and replace members.

Born on one node (S0); every other one joins it, or whoever else is there. The groups of shards move: who votes is what their logs say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from golemp2p.core.liveness import LivenessProfile
from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import PeerProfile
from golemp2p.core.placement import Place, Targets, ranked, targets
from golemp2p.core.planner import PlacementProfile
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_rules import Limits, Rules
from golemp2p.model.ids import Key
from golemp2p.model.membership import NodeRecord
from golemp2p.model.replication import NO_HASH, Base, Configuration, Member
from golemp2p_sim.faults import KINDS
from golemp2p_sim.mesh_image import MeshImage
from golemp2p_sim.mesh_node import MeshNode, store_id
from golemp2p_sim.mesh_wire import Packet, Trust, describe, lie, packet_bytes
from golemp2p_sim.node import Image, SimulatedNode, Surroundings
from golemp2p_sim.randomness import node_key
from golemp2p_sim.shard_forger import posed, rewritten, usurped
from golemp2p_sim.units import S

if TYPE_CHECKING:
    from golemp2p_sim.host import Host
    from golemp2p_sim.world import World

ENTRIES_MAX = 48
"""Of a shard's log before it is compacted: few, so that catching up by manifest is seen."""
REPAIR_AFTER_NS, SETTLE_NS = 6 * S, 3 * S
"""A tenth of production's: a run lasts a minute."""

Stand = tuple[tuple[int, int], Configuration]
"""End of a log (term, position), and the newest configuration in it."""
BLANK_STAND: Stand = ((-1, -1), Configuration(()))


@lru_cache(maxsize=64)
def _targets(places: tuple[Place, ...], shards_count: int, replicas: int) -> Targets:
    return targets(places, shards_count, replicas)


class Mesh:
    """``shards``: rounded up to a power of two; 0: about one per node, at most 64. ``batch``: entries that go in one append.
    ``shard_bytes``: of a result, for the planner. ``grown``: at the start all nodes know each other, shards have voters."""

    name = "mesh"
    survives = frozenset(KINDS) - {"sync-dropped", "store-restored"}
    steps: tuple[str, ...] = ("became-primary", "call-goes-out", "voted", "hand-over", "installed")

    def __init__(
        self,
        nodes: int,
        *,
        replicas: int = 3,
        shards: int = 0,
        batch: int = 256,
        rules: Rules | None = None,
        shard_bytes: int = 100,
        grown: bool = False,
    ) -> None:
        self.nodes, self.shard_bytes, self.grown = nodes, shard_bytes, grown
        self.shards_count = 1 << ((shards or min(64, nodes)) - 1).bit_length()
        placement = PlacementProfile(replicas=replicas, repair_after_ns=REPAIR_AFTER_NS, settle_ns=SETTLE_NS)
        self.profile = PeerProfile(
            placement=placement, liveness=LivenessProfile(), rules=rules or Rules(), limits=Limits(append_entries_max=batch),
            entries_max=ENTRIES_MAX,
        )  # fmt: skip
        self._chains: dict[int, dict[int, int]] = {}
        self.world: World | None = None
        self._records: list[NodeRecord] = []
        self._orders: dict[int, list[Place]] = {}

    @staticmethod
    def rule_names() -> tuple[str, ...]:
        return tuple(field.name for field in fields(Rules))

    def without(self, rule: str) -> Mesh:
        """The same with one rule off."""
        profile = self.profile
        return Mesh(
            self.nodes,
            replicas=profile.placement.replicas,
            shards=self.shards_count,
            batch=profile.limits.append_entries_max,
            rules=replace(profile.rules, **{rule: False}),
            shard_bytes=self.shard_bytes,
            grown=self.grown,
        )

    # -- for its nodes

    def targets(self, places: Sequence[Place], shards_count: int, replicas: int) -> Targets:
        """Nodes that know the same members compute the same: once for all of them."""
        return _targets(tuple(sorted(places, key=lambda place: place.public_key)), shards_count, replicas)

    def rank(self, shard: int, places: Mapping[bytes, Place], count: int) -> tuple[bytes, ...]:
        """As ``placement.best``. All nodes are alike, so the order of all is made once, and whoever is not there is passed over."""
        order = self._orders.get(shard)
        if order is None:
            order = self._orders[shard] = ranked(shard, [Place(node_key(index)) for index in range(self.nodes)])
        return tuple(islice((place.public_key for place in order if places.get(place.public_key) == place), count))

    def chains_of(self, shard: int) -> dict[int, int]:
        return self._chains.setdefault(shard, {})

    def record(self, index: int, store: int, incarnation: int) -> NodeRecord:
        """Of a node about itself, unsigned."""
        return NodeRecord(node_key(index), store_id(store), (self.address(index),), 1, "", incarnation)

    def records(self) -> Sequence[NodeRecord]:
        """Of all nodes of a mesh that has grown, signed."""
        if not self._records:
            self._records = [Trust().sign(self.record(index, 0, 0)) for index in range(self.nodes)]
        return self._records

    def grown_shards(self, member: Member) -> dict[int, ReplicaDurable]:
        """What the disk of ``member`` holds in a mesh that has grown: shards in which nothing has happened yet."""
        places = [Place(node_key(index)) for index in range(self.nodes)]
        replicas = self.profile.placement.replicas
        held: dict[int, ReplicaDurable] = {}
        for shard, keys in enumerate(self.targets(places, self.shards_count, replicas).replicas):
            if member.public_key in keys:
                voters = tuple(Member(key, store_id(0)) for key in keys[: len(keys) - (len(keys) + 1) % 2])
                if member in voters:
                    held[shard] = ReplicaDurable(base=Base(0, 0, NO_HASH, b"", Configuration(voters), 0))
        return held

    def address(self, index: int) -> str:
        """In a subnet of its own."""
        return f"{20 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.1:9882"

    def runs(self, public_key: bytes) -> bool:
        """Whether a node with this key is up."""
        assert self.world is not None, "a node runs in a world"
        return any(host.node is not None for host in self.world.hosts if host.key == public_key)

    def is_whole(self, me: int, peer: Peer) -> bool:
        """Nothing that the node holds is damaged or under way, and it votes as what it is now, wherever it knows that it votes."""
        own = node_key(me)
        shards = peer.shards
        for replica in shards.held().values():
            log = replica.log
            seats = [voter for voter in replica.configuration.electors if voter.public_key == own]
            is_settled = not replica.configuration.is_joint and log.configuration_position <= log.commit
            if replica.is_damaged or not is_settled or not replica.is_idle or seats not in ([], [shards.me]):
                return False
        return len(peer.membership.members) > 1 and not self._awaits(own, shards.me.store_id)

    def has_vote(self, member: Member, shard: int) -> bool:
        """In the shard's newest configuration, whatever the member knows of it."""
        assert self.world is not None, "a node runs in a world"
        return member in newest_configuration(shard, self.world).voters

    def _awaits(self, own: bytes, store_id: bytes) -> bool:
        """Whether some group still counts on an earlier store of this node."""
        world = self.world
        assert world is not None, "a node runs in a world"
        newest = newest_configurations(self, world)
        return any(
            voter.public_key == own and voter.store_id != store_id
            for configuration in newest
            for voter in configuration.electors
        )

    # -- Subject

    def placed_in(self, world: World) -> None:
        self.world = world

    def node(self, surroundings: Surroundings) -> MeshNode:
        return MeshNode(self, surroundings)

    def image(self) -> MeshImage:
        return MeshImage()

    def groups(self) -> Sequence[tuple[int, ...]]:
        return [(0,)] * self.shards_count

    def current_groups(self, world: World) -> Sequence[tuple[int, ...]]:
        index = {key: number for number, key in enumerate(world.keys)}
        newest = newest_configurations(self, world)
        groups = [tuple(index[voter.public_key] for voter in c.voters) for c in newest]
        groups += [tuple(index[voter.public_key] for voter in c.incoming) for c in newest if c.is_joint]
        return groups

    def shard_of(self, worker: str) -> int:
        return Key.of("worker", worker).shard(self.shards_count)

    def message_bytes(self, message: Packet) -> int:
        return packet_bytes(message)

    def describe(self, message: Packet) -> str:
        return describe(message)

    def forged(
        self, message: Packet, behaviour: str, *, liar: SimulatedNode, victim: SimulatedNode, disk: Image
    ) -> Packet | None:
        assert isinstance(liar, MeshNode), "a node of this subject"
        assert isinstance(victim, MeshNode), "a node of this subject"
        assert isinstance(disk, MeshImage), "the disk of this subject"
        return forged(message, behaviour, liar, victim, disk)

    def lie(self, message: Packet, dice: Random, behaviour: str) -> Any | None:
        return lie(message, dice, behaviour, tuple(node_key(index) for index in range(self.nodes)))


def forged(packet: Packet, behaviour: str, liar: MeshNode, victim: MeshNode, disk: MeshImage) -> Packet | None:
    """The same with one message forged, of a shard that both hold."""
    messages = list(packet.messages)
    for place, message in enumerate(messages):
        lies, believes = (node.replica_of(message) for node in (liar, victim))
        if lies is None or believes is None:
            continue
        if behaviour == "usurp":
            said = usurped(message, liar.member, lies.log)
        elif behaviour == "pose":
            said = posed(message, believes.log)
        else:
            said = rewritten(message, lies.election, believes.log, disk.shards.get(message.shard, ReplicaDurable()))
        if said is not None:
            messages[place] = said
            return Packet(tuple(messages))
    return None


def newest_configurations(mesh: Mesh, world: World) -> list[Configuration]:
    """Of each shard the configuration in the most up-to-date log that any node has, in memory or on disk."""
    best: list[Stand] = [BLANK_STAND] * mesh.shards_count
    for host in world.hosts:
        image, node = host.disk.image, host.node
        assert isinstance(image, MeshImage), "the disk of this subject"
        for shard in {**image.shards, **(node.held() if isinstance(node, MeshNode) else {})}:
            best[shard] = max(best[shard], _stand(host, shard), key=lambda stand: stand[0])
    return [configuration for _, configuration in best]


def newest_configuration(shard: int, world: World) -> Configuration:
    return max((_stand(host, shard) for host in world.hosts), key=lambda stand: stand[0])[1]


def _stand(host: Host, shard: int) -> Stand:
    """What the node has, or else its disk."""
    if host.gone:
        return BLANK_STAND
    held = host.node.configuration(shard) if isinstance(host.node, MeshNode) else None
    image = host.disk.image
    if held is None and isinstance(image, MeshImage) and shard in image.shards:
        held = _stored(image.shards[shard])
    return held or BLANK_STAND


def _stored(durable: ReplicaDurable) -> Stand | None:
    base = durable.base
    if not base.configuration.voters:
        return None
    last = durable.entries[-1] if durable.entries else base
    found = [entry.content for entry in durable.entries if isinstance(entry.content, Configuration)]
    return (last.term, last.position), (found or [base.configuration])[-1]
