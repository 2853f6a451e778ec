"""Which nodes should hold which shard: rendezvous hashing, failure domains, bounded loads. Pure functions of the members present.

    members present ---targets()---> for every shard: its replicas, the primary to be first
                                     (a proposal: the configuration in the shard's own log decides)

Each pair of shard and peer has a cost (``rendezvous``); the cheapest pairs are accepted first, as long as the shard lacks replicas,
its failure domain is not used yet, and the peer has room: at most 1.25 times its share by weight (Mirrokni, Thorup, Zadimoghaddam
2018, bounded loads; as one global order instead of a ring). A second pass of the same kind makes one of the replicas primary, with
the same bound, since most work is the primary's. Two nodes that know the same members compute the same targets.

**Where it differs:** with few shards per node pure rendezvous hashing is uneven (a Poisson distribution: 1.5 times the mean at 31
replicas per node, 3 times at 3). The bound costs a few moves more than the ideal when a node comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from golemp2p.core.rendezvous import cost, costs
from golemp2p.model.ids import KEY_BYTES, NodeId

REPLICAS = 3
LOAD_PERCENT_MAX = 125
"""c: bound of a node's load, in percent of its share. A node may always hold its share rounded up."""
CLOSEST = 32
"""Members to choose from when not all are known: the ones whose ids are XOR-closest to the shard's key."""
RANKED = 24
"""Peers kept per shard for the first pass. Enough for all shards but a few, which are then ranked over all peers."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node that can hold replicas. ``domain`` "" means that it is a failure domain by itself."""

    public_key: bytes
    weight: int = 1
    domain: str = ""

    @property
    def failure_domain(self) -> str | bytes:
        return self.domain or self.public_key


@dataclass(frozen=True, slots=True)
class Targets:
    """``replicas[shard]``: public keys, the preferred primary first, then by rank. ``full``: nodes at their bound."""

    replicas: tuple[tuple[bytes, ...], ...]
    full: frozenset[bytes]


def targets(places: Sequence[Place], shards_count: int, replicas: int = REPLICAS) -> Targets:
    """Where every shard should be. ``places``: all members present, in any order."""
    known = sorted(places, key=lambda place: place.public_key)
    count = min(replicas, len(known))
    rows = {place.public_key: costs(place.public_key, place.weight, shards_count) for place in known}
    ranking = [
        nsmallest(RANKED, ((row[shard], public_key) for public_key, row in rows.items())) for shard in range(shards_count)
    ]
    assignment = _Assignment(known, shards_count, count)
    assignment.accept(sorted((price, key, shard) for shard, ranked in enumerate(ranking) for price, key in ranked))
    for bounded, apart in ((True, True), (False, True), (False, False)):
        for shard in assignment.unfilled():
            everybody = sorted((rows[key][shard], key, shard) for key in rows)
            assignment.accept(everybody, bounded=bounded, apart=apart)
    full = frozenset(key for key, load in assignment.load.items() if load >= assignment.bound[key])
    return Targets(_with_primaries(known, assignment.chosen), full)


def bounds(places: Sequence[Place], total: int) -> dict[bytes, int]:
    """The most that each place may hold of ``total``: its share by weight rounded up, or 1.25 times it rounded down."""
    weights = sum(place.weight for place in places)
    return {
        place.public_key: max(
            -(-total * place.weight // weights),
            total * place.weight * LOAD_PERCENT_MAX // (weights * 100),
        )
        for place in places
    }


class _Assignment:
    """Replicas chosen so far, per shard in order of cost; loads; bounds."""

    def __init__(self, places: Sequence[Place], shards_count: int, count: int) -> None:
        self._count = count
        self._domains: Mapping[bytes, str | bytes] = {place.public_key: place.failure_domain for place in places}
        different = len(set(self._domains.values()))
        self._per_domain = -(-count // different) if different else 0
        self.bound = bounds(places, shards_count * count) if places else {}
        self.load = {place.public_key: 0 for place in places}
        self.chosen: list[list[bytes]] = [[] for _ in range(shards_count)]

    def accept(self, pairs: Iterable[tuple[int, bytes, int]], *, bounded: bool = True, apart: bool = True) -> None:
        """Take (cost, public key, shard) in the given order, wherever they fit."""
        for _, key, shard in pairs:
            chosen = self.chosen[shard]
            if len(chosen) == self._count or (bounded and self.load[key] >= self.bound[key]) or key in chosen:
                continue
            domain = self._domains[key]
            if apart and sum(self._domains[other] == domain for other in chosen) >= self._per_domain:
                continue
            chosen.append(key)
            self.load[key] += 1

    def unfilled(self) -> list[int]:
        return [shard for shard, chosen in enumerate(self.chosen) if len(chosen) < self._count]


def _with_primaries(places: Sequence[Place], chosen: Sequence[Sequence[bytes]]) -> tuple[tuple[bytes, ...], ...]:
    """Each shard's replicas with its primary first: the best-ranked pairs win, as long as the peer has room for primaries."""
    weights = {place.public_key: place.weight for place in places}
    primaries = _Primaries(chosen, bounds(places, len(chosen)) if places else {})
    pairs = sorted((cost(shard, key, weights[key]), key, shard) for shard, keys in enumerate(chosen) for key in keys)
    for _, key, shard in pairs:
        if shard not in primaries.of and primaries.has_room(key):
            primaries.put(shard, key)
    for shard, keys in enumerate(chosen):
        if keys and shard not in primaries.of:
            primaries.squeeze_in(shard)
    return tuple(tuple(sorted(keys, key=primaries.of.get(shard).__ne__)) for shard, keys in enumerate(chosen))


class _Primaries:
    """Who is primary of what, so far."""

    def __init__(self, chosen: Sequence[Sequence[bytes]], bound: Mapping[bytes, int]) -> None:
        self._chosen = chosen
        self._bound = bound
        self._held: dict[bytes, dict[int, None]] = {key: {} for key in bound}
        self.of: dict[int, bytes] = {}

    def has_room(self, key: bytes) -> bool:
        return len(self._held[key]) < self._bound[key]

    def put(self, shard: int, key: bytes) -> None:
        if shard in self.of:
            del self._held[self.of[shard]][shard]
        self.of[shard] = key
        self._held[key][shard] = None

    def squeeze_in(self, shard: int) -> None:
        """All replicas of ``shard`` are full: along the shortest chain, others pass a shard on to one of its other replicas."""
        reached: dict[bytes, tuple[int, bytes | None]] = dict.fromkeys(self._chosen[shard], (shard, None))
        waiting = list(reached)
        for key in waiting:
            if self.has_room(key):
                self._pass_on(key, reached)
                return
            for held in self._held[key]:
                for other in self._chosen[held]:
                    if other not in reached:
                        reached[other] = (held, key)
                        waiting.append(other)
        self.put(shard, min(self._chosen[shard], key=lambda key: (len(self._held[key]) - self._bound[key], key)))

    def _pass_on(self, key: bytes, reached: Mapping[bytes, tuple[int, bytes | None]]) -> None:
        giver: bytes | None = key
        while giver is not None:
            shard, before = reached[giver]
            self.put(shard, giver)
            giver = before


def ranked(shard: int, places: Iterable[Place]) -> list[Place]:
    """``places`` from the best for this shard to the worst, whatever they hold already."""
    return sorted(places, key=lambda place: (cost(shard, place.public_key, place.weight), place.public_key))


def best(shard: int, places: Mapping[bytes, Place], count: int) -> tuple[bytes, ...]:
    """Public keys of the first ``count`` of ``ranked``. ``places``: by public key."""
    prices = [(cost(shard, place.public_key, place.weight), place.public_key) for place in places.values()]
    return tuple([public_key for _, public_key in nsmallest(count, prices)])


def closest(shard_key: bytes, places: Iterable[Place], count: int = CLOSEST) -> list[Place]:
    """The ``count`` places whose node ids are XOR-closest to ``shard_key`` (20 bytes), closest first."""
    assert len(shard_key) == KEY_BYTES, "a key of 20 bytes"
    wanted = int.from_bytes(shard_key, "big")
    return nsmallest(count, places, key=lambda place: int.from_bytes(NodeId.of(place.public_key).digest, "big") ^ wanted)


def local_targets(shard: int, shard_key: bytes, places: Iterable[Place], replicas: int = REPLICAS) -> tuple[bytes, ...]:
    """Where one shard should be, as seen by a node that knows only part of the mesh: rendezvous hashing among the closest.

    Loads are not bounded, since nobody knows them: among XOR neighbours bounded loads would leave shards unplaced.
    """
    candidates = ranked(shard, closest(shard_key, places))
    assignment = _Assignment(candidates, shard + 1, min(replicas, len(candidates)))
    pairs = [(0, place.public_key, shard) for place in candidates]
    assignment.accept(pairs, bounded=False)
    assignment.accept(pairs, bounded=False, apart=False)
    return tuple(assignment.chosen[shard])


def shard_key(shard: int, shards_count: int) -> bytes:
    """The first key of the shard: its number in the leading bits of 160."""
    bits = shards_count.bit_length() - 1
    return (shard << 8 * KEY_BYTES - bits).to_bytes(KEY_BYTES, "big")


def takeover_rank(shard: int, voters: Iterable[Place], own: bytes) -> int | None:
    """How many of ``voters`` (those alive) should campaign before ``own``; ``None`` if it is not among them."""
    order = [place.public_key for place in ranked(shard, voters)]
    return order.index(own) if own in order else None
