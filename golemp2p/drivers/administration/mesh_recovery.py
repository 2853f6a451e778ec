"""Forced recovery: which shards may go on from this node's replica alone, and the operator's orders for them.

    majority there, or only slow       refused: it recovers by itself
    a voter that could come back       refused until the operator has forgotten it: two histories would be served
    another replica holds more         refused here: there it loses less
    else                               Branch, signed ──> this replica is the only voter, and the planner gives it new company
                                       shown to who holds the old history (restored backups, damaged replicas): it gives way

What may be lost stands in the order, and so in the shard's log for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from golemp2p.client import RecoveredShard, Recovery
from golemp2p.core.configuration import is_quorum
from golemp2p.core.peer import Peer
from golemp2p.core.replica import Replica
from golemp2p.drivers.administration.mesh_names import node_name, short_name
from golemp2p.drivers.administration.node_facts import NodeDirectory, Told
from golemp2p.drivers.peers.mesh_state import MeshState
from golemp2p.errors import DataDamaged, FrameMalformed, Golemp2pError, InvalidState, ShardNotFound
from golemp2p.model.node_status import ReplicaReport, Wanted
from golemp2p.model.replication import BRANCH_BYTES, Branch, Member
from golemp2p.ports import Asked, Mesh, RandomBytes
from golemp2p.wire.call_kinds import OVERRULED
from golemp2p.wire.identity import Signer
from golemp2p.wire.notary import sign_branch
from golemp2p.wire.orders import ORDERS_MAX, decode_orders, encode_orders

logger = logging.getLogger(__name__)

SHOW_S = 10.0
"""A node that holds many shards of the old history writes to its disk for each."""

Reports = Mapping[bytes, Mapping[int, ReplicaReport]]
"""By node that answered, by shard."""


class Drives(Protocol):
    @property
    def peer(self) -> Peer: ...

    def now_ns(self) -> int: ...

    def carry_out(self, effects: Sequence[Any]) -> None: ...


class Recovering:
    """``mesh``: through which other nodes are shown the orders."""

    def __init__(
        self, driver: Drives, mesh: Mesh, state: MeshState, directory: NodeDirectory, random_bytes: RandomBytes
    ) -> None:
        self._driver, self._mesh = driver, mesh
        self._peer = driver.peer
        self._state = state
        self._directory = directory
        self._random_bytes = random_bytes

    async def recover(self, operator: Signer, shards: Sequence[int] | None) -> Recovery:
        """As ``client.MeshAdmin.recover``."""
        held = self._peer.shards.held()
        for shard in shards or ():
            if not 0 <= shard < self._state.shards_count:
                raise ShardNotFound(f"this mesh has shards 0 to {self._state.shards_count - 1}, not {shard}")
            if shard not in held:
                raise InvalidState(f"this node holds no replica of shard {shard}; `golemp2p mesh shards --all` shows who does")
        told = await self._directory.ask_all(self._peer.membership.members.others(), Wanted.HELD)
        reports = {key: _by_shard(one) for key, one in told.items()}
        recovered, refused = [], []
        orders: dict[int, Branch] = {}
        for shard in sorted(held) if shards is None else dict.fromkeys(shards):
            replica = held.get(shard)
            if replica is None:  # given away while others were asked
                continue
            if self._has_majority(shard, replica, reports, silent_too=False):
                if shards is not None:
                    refused.append((shard, "a majority of its voters is there: it recovers by itself"))
                continue
            reason = self._why_not(shard, replica, reports)
            if reason is None:
                one, orders[shard] = self._order(shard, replica, operator)
                recovered.append(one)
            else:
                refused.append((shard, reason))
        await self._show(orders, reports)
        return Recovery(tuple(recovered), tuple(refused))

    async def serve(self, asked: Asked) -> bytes:
        """A call of kind ``OVERRULED``: what this node holds of those old histories gives way. Raises ``FrameMalformed``."""
        try:
            orders = decode_orders(asked.payload)
        except DataDamaged as error:
            raise FrameMalformed(str(error)) from None
        for shard, order in orders:
            try:
                self._driver.carry_out(self._peer.give_way(shard, order, self._driver.now_ns()))
            except InvalidState as error:
                logger.info("overruling_refused", extra={"shard": shard, "reason": str(error)})
            else:
                logger.warning("replica_overruled", extra={"shard": shard, "by": node_name(order.survivor.public_key)})
        return b""

    async def _show(self, orders: Mapping[int, Branch], reports: Reports) -> None:
        """Who is there with the old history listens to nothing of the new one until it has seen the order."""
        for key, held in reports.items():
            shown = [(shard, order) for shard, order in orders.items() if shard in held]
            for start in range(0, len(shown), ORDERS_MAX):
                try:
                    payload = encode_orders(shown[start : start + ORDERS_MAX])
                    await self._mesh.request(key, OVERRULED, payload, deadline_s=SHOW_S)
                except Golemp2pError as error:
                    logger.warning("order_not_shown", extra={"peer": node_name(key), "error": str(error)})

    def _has_majority(self, shard: int, replica: Replica, reports: Reports, *, silent_too: bool) -> bool:
        """``silent_too``: counting who is held present and did not answer: it may be able."""
        electors = replica.configuration.electors
        able = [elector for elector in electors if self._is_able(shard, elector, replica, reports, silent_too)]
        return is_quorum(replica.configuration, able)

    def _is_able(self, shard: int, elector: Member, replica: Replica, reports: Reports, silent_too: bool) -> bool:
        """Whether ``elector`` may be counted on: it is present with the store that the group knows, and has not lost the shard."""
        key = elector.public_key
        if key == self._peer.own:
            return elector == self._peer.shards.me and not replica.is_damaged
        if not self._is_present(elector):
            return False
        if key not in reports:
            return silent_too
        report = reports[key].get(shard)
        return report is not None and not report.is_damaged and report.branch == replica.log.branch

    def _is_present(self, elector: Member) -> bool:
        member = self._peer.membership.members.get(elector.public_key)
        return member is not None and member.is_present and member.record.store_id == elector.store_id

    def _why_not(self, shard: int, replica: Replica, reports: Reports) -> str | None:
        if replica.log.is_blank:
            return "this node's replica was still empty"
        if self._has_majority(shard, replica, reports, silent_too=True):
            present = [elector.public_key for elector in replica.configuration.electors if self._is_present(elector)]
            names = _names(key for key in present if key not in reports and key != self._peer.own)
            return f"{names} may be there, though silent: wait, or `golemp2p mesh forget` each that is lost for good"
        returning = [key for key in self._lost(replica) if self._could_return(key, replica)]
        if returning:
            return f"{_names(returning)} could come back with the old history: `golemp2p mesh forget` each of them first"
        ours = replica.log.last
        same = {key: held[shard] for key, held in reports.items() if shard in held and held[shard].branch == replica.log.branch}
        ahead = [key for key, report in same.items() if _last(report) > ours]
        if ahead:
            best = max(ahead, key=lambda key: (_last(same[key]), key))
            return f"{short_name(best)} holds more of it: recover it there"
        return None

    def _lost(self, replica: Replica) -> list[bytes]:
        electors = replica.configuration.electors
        return [elector.public_key for elector in electors if elector != self._peer.shards.me]

    def _could_return(self, key: bytes, replica: Replica) -> bool:
        """Whether a node that is not there may still hold the old history, and nobody would turn it away."""
        members = self._peer.membership.members
        member = members.get(key)
        return members.removal(key) is None and (member is None or not member.is_present) and key != self._peer.own

    def _order(self, shard: int, replica: Replica, operator: Signer) -> tuple[RecoveredShard, Branch]:
        log = replica.log
        was_damaged = replica.is_damaged
        lost = tuple(map(node_name, self._lost(replica)))
        unsigned = Branch(
            branch=self._random_bytes(BRANCH_BYTES),
            survivor=self._peer.shards.me,
            uncertain_from=log.commit + 1,
            last_position=log.last_position,
            last_hash=log.last_hash,
            operator=operator.public_key,
            signature=b"",
        )
        order = sign_branch(operator, unsigned, mesh_id=self._state.genesis.mesh_id, shard=shard)
        self._driver.carry_out(self._peer.recover_by_force(shard, order, self._driver.now_ns()))
        logger.warning(
            "shard_recovered_by_force",
            extra={"shard": shard, "branch": order.branch.hex(), "missing_after": order.last_position, "lost": " ".join(lost)},
        )
        told = RecoveredShard(shard, order.branch.hex(), order.uncertain_from, order.last_position, lost, was_damaged)
        return told, order


def _names(keys: Iterable[bytes]) -> str:
    return ", ".join(map(short_name, keys))


def _by_shard(told: Told) -> dict[int, ReplicaReport]:
    return {report.shard: report for report in told.reports}


def _last(report: ReplicaReport) -> tuple[int, int]:
    """As Raft compares logs (S2)."""
    return report.last_term, report.last_position
