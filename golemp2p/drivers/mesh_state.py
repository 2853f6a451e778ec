"""Which mesh this node belongs to. A node that finds no mesh in its storage founds one (S0)."""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.core.replica_durable import FRESH
from golemp2p.drivers.waiters import Waiter
from golemp2p.model.ids import NodeId
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Member, base_at_birth
from golemp2p.ports import Batch, Clock, RandomBytes, Storage
from golemp2p.wire.certificate import MESH_KEY_BYTES, Genesis, found_mesh, load_genesis
from golemp2p.wire.identity import Signer

GENESIS = "genesis"
"""Name of the genesis record among the storage's metadata."""


@dataclass(frozen=True, slots=True)
class MeshState:
    """The mesh as this node knows it. ``store_id``: 16 bytes that name this node's storage (S9)."""

    genesis: Genesis
    signer: Signer
    store_id: bytes

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
    def public_name(self) -> str:
        """Names the mesh without telling its key."""
        return f"mesh:{self.genesis.mesh_id.hex()}"


async def find_or_found_mesh(
    storage: Storage, signer: Signer, store_id: bytes, *, shards_count: int, clock: Clock, random_bytes: RandomBytes
) -> MeshState:
    """The mesh in ``storage``; a new one, with ``shards_count`` shards, when there is none. Raises ``DataDamaged``."""
    recorded = await storage.get_meta(GENESIS)
    if recorded is None:
        mesh_key = random_bytes(MESH_KEY_BYTES)
        genesis = found_mesh(signer, mesh_key=mesh_key, shards_count=shards_count, created_ns=clock.wall_ns())
        await _write_births(storage, Member(signer.public_key, store_id), shards_count)
        await storage.put_meta(GENESIS, genesis.encoded())
    else:
        genesis = load_genesis(recorded)
    return MeshState(genesis, signer, store_id)


async def _write_births(storage: Storage, founder: Member, shards_count: int) -> None:
    """Configuration zero of every shard is the founder alone (S0). Durable before the genesis record: a node without one that has shards
    did not finish founding, and founds anew."""
    base = base_at_birth(founder)
    waiter = Waiter()
    storage.submit(
        Batch(replicas=[ReplicaWrite(shard, FRESH, base=base) for shard in range(shards_count)]),
        lambda error: waiter.settle(None, error),
    )
    await waiter.wait()
