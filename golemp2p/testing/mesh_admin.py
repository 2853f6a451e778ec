"""A mesh without nodes behind it, for tests of the HTTP edge.

Infidelities: what is said of the mesh is a constant until a test changes it; nobody is asked, nothing is signed, and orders are only
written down, in ``orders``. ``error`` is raised by every call once it is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from golemp2p.client import Figure, MeshInvite, NodeStatus, PeerInfo, RecoveredShard, Recovery, Ring, RingNode, ShardInfo

NODE = "node:" + "ab" * 20
OTHER = "node:" + "cd" * 20
STATUS = NodeStatus(
    node=NODE, public_key=b"k" * 32, mesh="mesh:" + "ef" * 32, state="member", is_founder=True, keeps_operator_key=True,
    version="0.1.0", started_ns=1_700_000_000_000_000_000, addresses=("10.0.0.1:9882",), http="http://10.0.0.1:9881",
    domain="rack-1", weight=100, incarnation=7, health=0, members_alive=2, members_suspect=0, members_dead=1, shards_count=4,
    shards_voting=3, shards_learning=1, shards_leading=2,
)  # fmt: skip
MYSELF = PeerInfo(
    NODE, b"k" * 32, is_self=True, status="alive", since_s=9.5, addresses=("10.0.0.1:9882",), domain="rack-1", weight=100,
    incarnation=7, http="http://10.0.0.1:9881", version="0.1.0", rtt_s=None, shards_held=4, shards_leading=2,
)  # fmt: skip
SILENT = PeerInfo(
    OTHER, b"o" * 32, is_self=False, status="dead", since_s=61.0, addresses=("10.0.0.2:9882",), domain="", weight=50,
    incarnation=3, http="", version=None, rtt_s=None, shards_held=None, shards_leading=None,
)  # fmt: skip
SHARD = ShardInfo(
    0, NODE, 3, (NODE, OTHER), (), seen_by=NODE, role="primary", is_serving=True, is_damaged=False, position=17, commit=17
)


class FakeMeshAdmin:
    """``golemp2p.client.MeshAdmin``."""

    def __init__(self) -> None:
        self.node_status = STATUS
        self.orders: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def _asked(self) -> None:
        if self.error is not None:
            raise self.error

    def status(self) -> NodeStatus:
        self._asked()
        return self.node_status

    def figures(self) -> list[Figure]:
        self._asked()
        return [Figure("shard_term", "shard", str(shard), 3.0) for shard in range(2)] + [
            Figure("peer_bytes_sent_total", "peer", OTHER, 9.0)
        ]

    async def peers(self) -> list[PeerInfo]:
        self._asked()
        return [MYSELF, SILENT]

    async def shards(self, *, everywhere: bool = False) -> list[ShardInfo]:
        self._asked()
        return [SHARD._replace(shard=shard) for shard in range(4 if everywhere else 1)]

    async def ring(self) -> Ring:
        self._asked()
        return Ring((RingNode(NODE, "alive", "rack-1", 100, 3, 1, 2, 4.0),), 4, (3,), (OTHER,))

    def invite(self) -> MeshInvite:
        self._asked()
        return MeshInvite("golemp2p-AQEB", STATUS.mesh, ((NODE, ("10.0.0.1:9882",)),), is_local=False)

    async def leave(self) -> NodeStatus:
        self._asked()
        self.orders.append(("leave",))
        self.node_status = self.node_status._replace(state="leaving", weight=0)
        return self.node_status

    async def forget(self, node: str, *, even_alive: bool = False) -> str:
        self._asked()
        self.orders.append(("forget", node, even_alive))
        return OTHER

    async def recover(self, shards: Sequence[int] | None = None) -> Recovery:
        self._asked()
        self.orders.append(("recover", shards))
        return Recovery((RecoveredShard(1, "0f" * 16, 5, 9, (OTHER,), was_damaged=False),), ((2, "a majority is there"),))
