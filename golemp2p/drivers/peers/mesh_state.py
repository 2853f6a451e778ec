"""Which mesh this node belongs to.

storage knows a mesh   no invite, or one to the same    go on
                       an invite to another             refused: one data directory, one mesh
storage knows none     an invite                        join it: nothing is founded
                       no invite                        found one (S0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from golemp2p.core.replica_durable import FRESH
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import OtherMesh
from golemp2p.model.ids import NodeId
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Member, base_at_birth
from golemp2p.ports import Batch, Clock, RandomBytes, Storage
from golemp2p.wire.certificate import MESH_KEY_BYTES, Genesis, found_mesh, load_genesis
from golemp2p.wire.identity import Signer
from golemp2p.wire.invite import CONTACTS_MAX, Contact, Invite, decode_contacts, encode_contacts

GENESIS = "genesis"
"""Name of the genesis record among the storage's metadata."""

CONTACTS = "contacts"
"""Name of the members that the newest invite named: a node that never reached the mesh knows no others."""


@dataclass(frozen=True, slots=True)
class MeshState:
    """The mesh as this node knows it. ``store_id``: 16 bytes that name this node's storage (S9). ``contacts``: members named by an
    invite, now or earlier, without this node."""

    genesis: Genesis
    signer: Signer
    store_id: bytes
    contacts: tuple[Contact, ...] = ()

    @property
    def node(self) -> NodeId:
        return NodeId.of(self.signer.public_key)

    @property
    def mesh_key(self) -> bytes:
        return self.genesis.mesh_key

    @property
    def shards_count(self) -> int:
        return self.genesis.shards_count

    @property
    def is_founder(self) -> bool:
        return self.genesis.founder == self.signer.public_key

    @property
    def public_name(self) -> str:
        """Names the mesh without telling its key."""
        return mesh_name(self.genesis)


def mesh_name(genesis: Genesis) -> str:
    return f"mesh:{genesis.mesh_id.hex()}"


async def find_or_found_mesh(
    storage: Storage,
    signer: Signer,
    store_id: bytes,
    *,
    shards_count: int,
    clock: Clock,
    random_bytes: RandomBytes,
    join: Invite | None = None,
    operator: Callable[[], bytes] | None = None,
) -> MeshState:
    """The mesh in ``storage``, that of ``join``, or a new one with ``shards_count`` shards. ``operator``: asked, when a mesh is
    founded, for the public key that may remove nodes and force recoveries; ``None``: the founder's own.

    Raises ``OtherMesh`` when storage and invite disagree, ``DataDamaged``. Repeating it after a crash midway is safe."""
    recorded = await storage.get_meta(GENESIS)
    if recorded is not None:
        genesis = load_genesis(recorded)
        if join is not None and join.genesis != genesis:
            raise OtherMesh(_refusal(genesis, join.genesis))
        return MeshState(genesis, signer, store_id, await _contacts(storage, join, signer.public_key))
    if join is not None:
        if await storage.replicas():
            raise OtherMesh(
                "this node was founding a mesh when it stopped; join with an empty --data-dir, or start without the invite"
            )
        contacts = await _contacts(
            storage, join, signer.public_key
        )  # first: with the genesis record alone it would find nobody
        await storage.put_meta(GENESIS, join.genesis.encoded())
        return MeshState(join.genesis, signer, store_id, contacts)
    mesh_key = random_bytes(MESH_KEY_BYTES)
    genesis = found_mesh(
        signer,
        mesh_key=mesh_key,
        shards_count=shards_count,
        created_ns=clock.wall_ns(),
        operator=None if operator is None else operator(),
    )
    await _write_births(storage, Member(signer.public_key, store_id), shards_count)
    await storage.put_meta(GENESIS, genesis.encoded())
    return MeshState(genesis, signer, store_id)


async def _contacts(storage: Storage, join: Invite | None, own: bytes) -> tuple[Contact, ...]:
    """Those of the invite first, then those remembered; remembered for the next start if they are news."""
    recorded = await storage.get_meta(CONTACTS)
    known = () if recorded is None else decode_contacts(recorded)
    if join is None:
        return known
    merged = _merged((*join.contacts, *known), own)
    if merged != known:
        await storage.put_meta(CONTACTS, encode_contacts(merged))
    return merged


def _merged(contacts: Iterable[Contact], own: bytes) -> tuple[Contact, ...]:
    found: dict[bytes, Contact] = {}
    for contact in contacts:
        if contact.public_key != own:
            found.setdefault(contact.public_key, contact)
    return tuple(found.values())[:CONTACTS_MAX]


def _refusal(ours: Genesis, theirs: Genesis) -> str:
    return (
        f"this node holds data of {mesh_name(ours)[:17]} and the invite leads to {mesh_name(theirs)[:17]}; a node belongs to one mesh."
        " Join with an empty --data-dir (what is in this one stays as it is), or start without the invite"
    )


async def _write_births(storage: Storage, founder: Member, shards_count: int) -> None:
    """Configuration zero of every shard is the founder alone (S0). Durable before the genesis record: a node without one that has
    shards did not finish founding, and founds anew."""
    base = base_at_birth(founder)
    waiter = Waiter()
    storage.submit(
        Batch(replicas=[ReplicaWrite(shard, FRESH, base=base) for shard in range(shards_count)]),
        lambda error: waiter.settle(None, error),
    )
    await waiter.wait()
