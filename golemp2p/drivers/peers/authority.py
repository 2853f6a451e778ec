"""The cryptography of a mesh's membership and of its DHT, for one node (``core.beliefs.Authority``, ``core.dht.Proofs``).

Whoever holds the mesh key passes the handshake, and is admitted with a record that it signed itself; the founder is the operator.
"""

from __future__ import annotations

from golemp2p.model.dht import DhtRecord, ProviderRecord, ShardHint
from golemp2p.model.membership import NodeRecord, Removal
from golemp2p.wire.certificate import Genesis
from golemp2p.wire.identity import Signer
from golemp2p.wire.messages_dht import is_hint_genuine, is_provider_genuine
from golemp2p.wire.messages_membership import is_record_genuine, is_removal_genuine, sign_record


class MeshAuthority:
    def __init__(self, signer: Signer, genesis: Genesis) -> None:
        self._signer, self._genesis = signer, genesis

    def sign(self, record: NodeRecord) -> NodeRecord:
        return sign_record(record, self._genesis.mesh_id, self._signer)

    def admits(self, record: NodeRecord) -> bool:
        return is_record_genuine(record, self._genesis.mesh_id)

    def ordered(self, removal: Removal) -> bool:
        return is_removal_genuine(removal, self._genesis.mesh_id, self._genesis.operator)

    def is_genuine(self, record: DhtRecord) -> bool:
        match record:
            case NodeRecord():
                return self.admits(record)
            case ShardHint():
                return is_hint_genuine(record, self._genesis)
            case ProviderRecord():
                return is_provider_genuine(record, self._genesis.mesh_id)
