"""What a person asks of this node about the mesh, and has it do (``client.MeshAdmin``).

    gateway ──> MeshDesk ──looks at──> Peer        status, invite: at once
                         ──asks──────> other nodes  peers, shards, ring (``node_facts``)
                         ──orders────> Peer ──effects──> whoever drives it          leave, forget, recover

The operator's key signs removals and forced recoveries. It lies in a file of its own, made with the mesh in the founder's data
directory; wherever a copy of it lies, orders can be given, and nodes run without it.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import trio

from golemp2p.client import Figure, MeshInvite, NodeStatus, PeerInfo, Recovery, Ring, ShardInfo
from golemp2p.core.peer import Peer
from golemp2p.drivers.administration.mesh_figures import figures_of
from golemp2p.drivers.administration.mesh_names import node_name, resolved, short_name
from golemp2p.drivers.administration.mesh_recovery import Recovering
from golemp2p.drivers.administration.mesh_reports import load_of, reports_of
from golemp2p.drivers.administration.mesh_ring import ring_of, shard_info, unseen_shard
from golemp2p.drivers.administration.node_facts import NodeDirectory
from golemp2p.drivers.peers.mesh_state import MeshState
from golemp2p.errors import InvalidState
from golemp2p.mesh.session import SessionStatistics
from golemp2p.model.membership import Member, Status
from golemp2p.model.node_status import NodeLoad, Wanted
from golemp2p.ports import Asked, Mesh, RandomBytes, Storage
from golemp2p.wire.identity import Signer
from golemp2p.wire.invite import CONTACTS_MAX, Contact, Invite, encode_invite, is_address
from golemp2p.wire.messages_membership import sign_removal

logger = logging.getLogger(__name__)

LEAVING = "leaving"
"""Name of the mark, among the storage's metadata, of a node that was told to leave and has not finished."""

FAREWELL_S = 1.0
"""Between the farewell and the end of the process: messages leave, and whoever watches the progress sees that it is over."""


class Drives(Protocol):
    """Whoever runs the peer: carries out what its calls return."""

    @property
    def peer(self) -> Peer: ...

    def now_ns(self) -> int: ...

    def carry_out(self, effects: Sequence[Any]) -> None: ...

    def traffic(self) -> Mapping[bytes, SessionStatistics]: ...


class MeshDesk:
    """``operator``: the operator's key, if it is kept here, read anew each time. ``drained``, ``expelled``: set when this node has
    left, or was removed. ``stop``: ends the process, for the reason ``left`` or ``removed``. ``run`` must be running."""

    def __init__(
        self,
        driver: Drives,
        mesh: Mesh,
        state: MeshState,
        directory: NodeDirectory,
        storage: Storage,
        *,
        operator: Callable[[], Signer | None],
        random_bytes: RandomBytes,
        drained: trio.Event,
        expelled: trio.Event,
        stop: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._peer = driver.peer
        self._state = state
        self._directory = directory
        self._storage = storage
        self._operator_key = operator
        self._drained, self._expelled, self._stop = drained, expelled, stop
        self._recovering = Recovering(driver, mesh, state, directory, random_bytes)

    async def run(self) -> None:
        """Go on leaving, if this node was at it when it stopped; and see to its end, whenever that is."""
        if await self._storage.get_meta(LEAVING):
            logger.info("leaving_resumed")
            self._driver.carry_out(self._peer.leave(self._driver.now_ns()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end, self._drained, "left", nursery.cancel_scope)
            nursery.start_soon(self._end, self._expelled, "removed", nursery.cancel_scope)

    async def _end(self, event: trio.Event, reason: str, scope: trio.CancelScope) -> None:
        await event.wait()
        if reason == "left":  # should the node be started again, it joins anew
            await self._storage.put_meta(LEAVING, b"")
        logger.info("membership_ended", extra={"reason": reason})
        await trio.sleep(FAREWELL_S)
        self._stop(reason)
        scope.cancel()

    # -- looking

    def status(self) -> NodeStatus:
        peer = self._peer
        record = peer.membership.record
        facts = self._directory.known(peer.own)
        load = load_of(peer)
        counts = [member.status for member in peer.membership.members.everyone]
        return NodeStatus(
            node=node_name(peer.own),
            public_key=peer.own,
            mesh=self._state.public_name,
            state=self._state_text(load),
            is_founder=self._state.is_founder,
            keeps_operator_key=self._operator() is not None,
            version=facts.version if facts else "",
            started_ns=facts.started_ns if facts else 0,
            addresses=record.addresses,
            http=facts.http if facts else "",
            domain=record.domain,
            weight=record.weight,
            incarnation=record.incarnation,
            health=peer.membership.health,
            members_alive=counts.count(Status.ALIVE),
            members_suspect=counts.count(Status.SUSPECT),
            members_dead=counts.count(Status.DEAD),
            shards_count=self._state.shards_count,
            shards_voting=load.voting,
            shards_learning=load.learning,
            shards_leading=load.leading,
        )

    def figures(self) -> list[Figure]:
        return figures_of(self._peer, self._driver.traffic())

    def _state_text(self, load: NodeLoad) -> str:
        membership = self._peer.membership
        leads_all = load.voting == load.leading > 0
        if self._expelled.is_set():
            return "removed"
        if membership.is_over:
            return "left"
        if membership.record.weight == 0:
            return "leaving"
        if membership.members.present_count == 1 and (leads_all or not membership.is_joining):
            return "alone"
        if self._peer.is_outside:
            return "joining"
        return "lonely" if membership.is_joining or membership.is_lonely else "member"

    async def peers(self) -> list[PeerInfo]:
        peer = self._peer
        told = await self._directory.ask_all([peer.own, *peer.membership.members.others()])
        now_ns = self._driver.now_ns()
        everyone = sorted(peer.membership.members.everyone, key=lambda m: (m.public_key != peer.own, node_name(m.public_key)))
        return [self._peer_info(member, told.get(member.public_key), now_ns) for member in everyone]

    def _peer_info(self, member: Member, told: Any, now_ns: int) -> PeerInfo:
        record = member.record
        key = member.public_key
        return PeerInfo(
            node=node_name(key),
            public_key=key,
            is_self=key == self._peer.own,
            status=member.status.name.lower(),
            since_s=max(0.0, (now_ns - member.since_ns) / 1e9),
            addresses=record.addresses,
            domain=record.domain,
            weight=record.weight,
            incarnation=record.incarnation,
            http=told.facts.http if told else "",
            version=told.facts.version if told else None,
            rtt_s=None if told is None or key == self._peer.own else told.rtt_s,
            shards_held=told.load.held if told else None,
            shards_leading=told.load.leading if told else None,
        )

    async def shards(self, *, everywhere: bool = False) -> list[ShardInfo]:
        peer = self._peer
        count = self._state.shards_count
        if not everywhere:
            return [shard_info(peer.own, report) for report in reports_of(peer, Wanted.HELD, 0, count)]
        told = await self._directory.ask_all([peer.own, *peer.membership.members.others()], Wanted.LED)
        best: dict[int, ShardInfo] = {}
        for key, one in told.items():
            for report in one.reports:
                if report.shard not in best or best[report.shard].term < report.term:
                    best[report.shard] = shard_info(key, report)
        for report in reports_of(peer, Wanted.HELD, 0, count):
            best.setdefault(report.shard, shard_info(peer.own, report))
        return [best.get(shard) or unseen_shard(shard) for shard in range(count)]

    async def ring(self) -> Ring:
        peer = self._peer
        present = [peer.own, *peer.membership.members.others()]
        told = await self._directory.ask_all(present, Wanted.LED)
        replicas = peer.profile.placement.replicas
        return ring_of(peer.membership.members.everyone, told, self._state.shards_count, replicas)

    def invite(self) -> MeshInvite:
        if self._peer.is_outside:
            raise InvalidState("this node has not joined its mesh yet, so nobody could join through it; `golemp2p mesh status`")
        contacts = self._contacts()
        if not contacts or contacts[0].public_key != self._peer.own:
            raise InvalidState(
                "this node listens for no other nodes, so nobody could join through it: start it with --mesh HOST:PORT"
            )
        text = encode_invite(Invite(self._state.genesis, contacts))
        nodes = tuple((node_name(contact.public_key), contact.addresses) for contact in contacts)
        is_local = all(is_loopback(address) for contact in contacts for address in contact.addresses)
        return MeshInvite(text, self._state.public_name, nodes, is_local)

    def _contacts(self) -> tuple[Contact, ...]:
        """This node, then members that are alive, of as many failure domains as there are."""
        members = self._peer.membership.members
        others = [member for key in members.others() if (member := members.get(key)) is not None]
        alive = [member.record for member in others if member.status is Status.ALIVE and member.record.weight]
        seen: dict[str, int] = {}
        ranks: dict[bytes, int] = {}
        for record in alive:
            ranks[record.public_key] = seen[record.domain] = seen.get(record.domain, -1) + 1
        alive.sort(key=lambda record: ranks[record.public_key])
        contacts = []
        for record in (self._peer.membership.record, *alive):
            addresses = tuple(address for address in record.addresses if is_address(address))
            if addresses:
                contacts.append(Contact(record.public_key, addresses))
        return tuple(contacts[:CONTACTS_MAX])

    # -- ordering

    async def leave(self) -> NodeStatus:
        membership = self._peer.membership
        if membership.is_over or membership.record.weight == 0:
            return self.status()
        heirs = [member for key in membership.members.others() if (member := membership.members.get(key)) is not None]
        if not any(member.record.weight for member in heirs):
            raise InvalidState(
                "nobody is there to take over what this node holds; to stop it and keep its data, end its process (Ctrl-C, SIGTERM)"
            )
        await self._storage.put_meta(LEAVING, b"1")
        logger.info("leaving", extra={"shards": len(self._peer.shards)})
        self._driver.carry_out(self._peer.leave(self._driver.now_ns()))
        return self.status()

    async def forget(self, node: str, *, even_alive: bool = False) -> str:
        operator = self._ordering()
        members = self._peer.membership.members
        key = resolved(node, (*(member.public_key for member in members.everyone), *self._peer.shards.peers()))
        member = members.get(key)
        if key == self._peer.own:
            raise InvalidState("this is the node you are asking; `golemp2p mesh leave` hands over what it holds, and stops it")
        if member is not None and member.is_present and not even_alive:
            if self._peer.membership.is_lonely:
                raise InvalidState(
                    f"this node hears nobody, so it cannot tell whether {short_name(key)} is dead; if you know that it is,"
                    " insist with --even-alive"
                )
            raise InvalidState(
                f"{short_name(key)} is {member.status.name.lower()}: have it leave (`golemp2p mesh leave` there), which loses"
                " nothing; or insist with --even-alive"
            )
        if members.removal(key) is None:
            removal = sign_removal(key, self._state.genesis.mesh_id, operator)
            self._driver.carry_out(self._peer.remove(removal, self._driver.now_ns()))
            if members.removal(key) is None:
                raise InvalidState("this mesh has removed as many nodes as a node can remember; found another")
            logger.warning("node_removed", extra={"peer": node_name(key)})
        return node_name(key)

    async def recover(self, shards: Sequence[int] | None = None) -> Recovery:
        return await self._recovering.recover(self._ordering(), shards)

    async def serve_overruled(self, asked: Asked) -> bytes:
        """A call of kind ``OVERRULED``."""
        return await self._recovering.serve(asked)

    def _ordering(self) -> Signer:
        """The operator's key. Raises ``InvalidState`` when it is not kept here."""
        operator = self._operator()
        if operator is None:
            raise InvalidState(
                "only the operator may order this, and its key is not kept here: copy operator.key from the founder's data directory"
                " into this node's (with mode 0600), or ask the node that has it"
            )
        return operator

    def _operator(self) -> Signer | None:
        for signer in (self._operator_key(), self._state.signer):
            if signer is not None and signer.public_key == self._state.genesis.operator:
                return signer
        return None


def is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
