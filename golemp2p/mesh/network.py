"""A node among its peers: dials them by key, listens, keeps one connection per pair, and tells its owner what happens.

    owner ── learn(peer, addresses) ───> Link per peer ── dial task: backoff, jitter ──> streams ──> opening ──┐
          ── send, request, fetch ─────>      │                                                               ├─> Session
          <── connected, disconnected ──      │          Door ── listeners ──> opening ───────────────────────┘      │
          <── message, serve, misbehaved ─────┴──────────────────────────────────────────────────────────────────────┘

A peer that is needed is dialled when something is sent to it; one that is *kept* is dialled again and again. While it rests after a
failure, messages to it are dropped and requests fail at once: who asks knows others. Times are trio's, of the clock that its loop was
given; chance comes from ``dice`` and from the identity's ``random_bytes``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from golemp2p.core.dice import Dice
from golemp2p.core.effects import Notice
from golemp2p.errors import (
    ConnectionClosed,
    DeadlineExceeded,
    Golemp2pError,
    RemoteError,
    Unreachable,
    UsageError,
)
from golemp2p.mesh.backoff import Backoff
from golemp2p.mesh.calls import Call, Download
from golemp2p.mesh.conduct import Conduct, Penalties
from golemp2p.mesh.door import Door
from golemp2p.mesh.limits import NetworkLimits
from golemp2p.mesh.link import Link
from golemp2p.mesh.opening import Identity, open_dialled
from golemp2p.mesh.owner import NetworkStatistics, Owner
from golemp2p.mesh.registry import Registry
from golemp2p.mesh.session import Channel, Session, SessionStatistics
from golemp2p.mesh.streams import Streams, listen_all
from golemp2p.model.ids import NodeId


class Network:
    """``run`` must be running for anything to move."""

    def __init__(
        self,
        identity: Identity,
        owner: Owner,
        *,
        streams: Streams,
        dice: Dice,
        limits: NetworkLimits | None = None,
        backoff: Backoff | None = None,
        penalties: Penalties | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.own = identity.key.public_key
        self._identity = identity
        self._owner = owner
        self._streams = streams
        self._dice = dice
        self._limits = limits or NetworkLimits()
        self._backoff = backoff or Backoff()
        self._registry = registry or Registry()
        self._conduct = Conduct(penalties or Penalties())
        self._links: dict[bytes, Link] = {}
        self._sessions: dict[Session, None] = {}
        self._past = SessionStatistics(*[0] * len(SessionStatistics._fields))
        self._door = Door(
            identity, self._limits, is_welcome=self._is_welcome, has_room=self._has_room, came=self._came, failed=self._failed
        )
        self._dial_slots = trio.CapacityLimiter(self._limits.dials_max)
        self._dials = self._dials_failed = self._accepted = self._dropped = 0
        self._closing = trio.Event()
        self._all_over = trio.Event()
        self._nursery: trio.Nursery | None = None

    # -- whom it knows

    def learn(self, peer: bytes, addresses: Sequence[str]) -> None:
        """Where ``peer`` (public key) can be dialled, best first; replaces what was known."""
        if peer == self.own:
            raise UsageError("a node does not dial itself")
        link = self._link(peer)
        link.addresses = tuple(addresses)
        if link.is_kept:
            self._want(link)

    def keep(self, peer: bytes, *, kept: bool = True) -> None:
        """Stay connected to ``peer``, dialling again whenever it is lost; or not any more."""
        link = self._link(peer)
        link.is_kept = kept
        if kept:
            self._want(link)

    def forget(self, peer: bytes) -> None:
        """It is no peer any more: closes the connection."""
        link = self._links.pop(peer, None)
        if link is not None:
            link.is_kept, link.addresses = False, ()
            if link.session is not None:
                link.session.close("forgotten")

    def peers(self) -> list[bytes]:
        """Public keys of who is connected."""
        return [peer for peer, link in self._links.items() if link.session is not None]

    # -- telling and asking

    def send(self, peer: bytes, message: Any) -> bool:
        """A one-way message of a core. ``False``: dropped, for want of a connection or of room. ``True`` promises nothing either.
        Raises ``PayloadTooLarge``."""
        link = self._links.get(peer)
        if link is not None and link.session is not None:
            return link.session.send(*self._registry.encode(message))
        if (
            link is not None
            and self._want(link)
            and link.put_off(self._registry.encode(message), self._limits.pending_bytes_max)
        ):
            return True
        self._dropped += 1
        return False

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        """The peer's answer; a connection is opened if need be, within the deadline. Raises as ``Session.request``; ``Unreachable``,
        with ``retry_after_s``, while the peer rests after a failure."""
        until = trio.current_time() + deadline_s
        session = await self._session(peer, deadline_s)
        return await session.request(kind, payload, deadline_s=max(0.0, until - trio.current_time()))

    @asynccontextmanager
    async def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AsyncIterator[Download]:
        """A bulk answer, as ``Session.fetch``."""
        session = await self._session(peer, progress_s)
        async with session.fetch(kind, payload, progress_s=progress_s) as download:
            yield download

    def statistics(self) -> NetworkStatistics:
        traffic = self._past
        for session in self._sessions:
            traffic = _sum(traffic, session.statistics())
        return NetworkStatistics(
            len(self._sessions), len(self._links), self._dials, self._dials_failed, self._accepted, len(self._door),
            self._dropped, tuple(sorted(self._conduct.counts.items())), traffic,
        )  # fmt: skip

    def troubles(self) -> dict[bytes, Golemp2pError]:
        """Why there is no connection to a peer, as the last attempt found."""
        return {peer: link.error for peer, link in self._links.items() if link.session is None and link.error is not None}

    def traffic(self) -> dict[bytes, SessionStatistics]:
        """Of each connection, by the peer's public key."""
        return {peer: link.session.statistics() for peer, link in self._links.items() if link.session is not None}

    # -- life

    async def run(
        self, listen: Sequence[str] = (), *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until ``close``, then until all sessions said goodbye. ``task_status``: the addresses it listens on. Raises
        ``Unreachable`` when one of ``listen`` cannot be had."""
        listeners = await listen_all(self._streams, listen)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            async with trio.open_nursery() as accepting:
                for _, listener in listeners:
                    accepting.start_soon(self._door.attend, listener)
                task_status.started([address for address, _ in listeners])
                for link in list(self._links.values()):
                    if link.is_kept:
                        self._want(link)
                await self._closing.wait()
                accepting.cancel_scope.cancel()
            for session in list(self._sessions):
                session.close("shutting-down")
            with trio.move_on_after(2 * self._limits.session.close_s):
                while self._sessions:
                    self._all_over = trio.Event()
                    await self._all_over.wait()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Accept nothing more, say goodbye to everybody; ``run`` ends."""
        self._closing.set()

    # -- what sessions report

    def message(self, peer: bytes, kind: int, payload: bytes) -> trio.Event | None:
        return self._owner.message(peer, self._registry.decode(kind, payload))

    async def serve(self, call: Call) -> bytes:
        return await self._owner.serve(call)

    # -- dialling

    def _link(self, peer: bytes) -> Link:
        link = self._links.pop(peer, None) or Link(peer)
        self._links[peer] = link
        if len(self._links) > self._limits.peers_max:
            oldest = next((other for other in self._links.values() if other.is_idle and other is not link), None)
            if oldest is not None:
                del self._links[oldest.peer]
        return link

    def _want(self, link: Link) -> bool:
        """Dial, unless there is a connection, a dial under way, or a reason to wait. Whether a session is there or on its way."""
        if link.session is not None:
            return True
        now = trio.current_time()
        link.due = max(link.due, self._conduct.shunned_until(link.peer))
        resting = link.due > now
        if (
            not link.is_dialling
            and link.addresses
            and (link.is_kept or not resting)
            and self._nursery
            and not self._closing.is_set()
            and not self._nursery.cancel_scope.cancel_called
        ):
            link.is_dialling = True
            self._nursery.start_soon(self._dial, link)
        return link.is_dialling and not resting

    async def _session(self, peer: bytes, deadline_s: float) -> Session:
        link = self._links.get(peer)
        if link is None:
            raise Unreachable(f"no address of {NodeId.of(peer)} is known")
        with trio.move_on_after(deadline_s):
            while link.session is None:
                if not self._want(link):
                    rest_s = max(0.0, link.due - trio.current_time())
                    why = link.error or ("this node is not running" if link.addresses else "no address is known")
                    raise Unreachable(f"{NodeId.of(peer)}: {why}", rest_s or None)
                await link.changed.wait()
            return link.session
        raise DeadlineExceeded(f"no connection to {NodeId.of(peer)} within {deadline_s:g} s")

    async def _dial(self, link: Link) -> None:
        """Until there is a session; once only, unless the peer is kept."""
        try:
            while link.session is None and (link.is_kept or link.due <= trio.current_time()) and not self._closing.is_set():
                await trio.sleep_until(link.due)
                if link.session is not None:
                    break
                self._dials += 1
                channel = await self._reach(link)
                if channel is not None and self._links.get(link.peer) is link:
                    self._start(channel)
                elif channel is not None:  # forgotten meanwhile
                    await trio.aclose_forcefully(channel.stream)
                    break
        finally:
            link.is_dialling = False

    async def _reach(self, link: Link) -> Channel | None:
        """Try all addresses. What is wrong with one of them says nothing about the peer: it has proved nothing there."""
        async with self._dial_slots:
            with trio.move_on_after(self._limits.dial_s + self._limits.session.handshake_s):
                link.error = Unreachable("not reached in time")
                for address in link.addresses:
                    try:
                        with trio.fail_after(self._limits.dial_s):
                            stream = await self._streams.open(address)
                        return await open_dialled(stream, self._identity, link.peer, self._limits.session)
                    except trio.TooSlowError:
                        link.error = Unreachable(f"{address}: no connection within {self._limits.dial_s:g} s")
                    except RemoteError as error:
                        link.error = error
                        self._misbehaved(None, error, address)
                    except (Unreachable, UsageError) as error:
                        link.error = error
        self._dials_failed += 1
        self._dropped += len(link.take_pending())
        self._rest(link)
        self._notice("dial-failed", peer=link.peer, error=str(link.error), failures=link.failures)
        link.tell()
        return None

    def _rest(self, link: Link) -> None:
        link.failures += 1
        link.due = trio.current_time() + self._backoff.delay_s(link.failures, self._dice)

    # -- accepting

    def _is_welcome(self, peer: bytes) -> bool:
        return peer != self.own and self._conduct.is_welcome(peer, trio.current_time())

    def _has_room(self) -> bool:
        return len(self._sessions) < self._limits.connections_max

    def _came(self, channel: Channel) -> None:
        self._accepted += 1
        self._start(channel)

    def _failed(self, error: Golemp2pError) -> None:
        if isinstance(error, RemoteError):
            self._misbehaved(None, error)
        else:
            self._notice("accept-failed", error=str(error))

    # -- sessions

    def _start(self, channel: Channel) -> None:
        session = Session(channel, self, self._limits.session)
        self._sessions[session] = None
        link = self._link(channel.peer)
        now = trio.current_time()
        together_s = self._limits.dial_s + self._limits.session.handshake_s
        if link.keeps(session, self.own, now=now, together_s=together_s):
            link.retire(session)
        else:
            old, link.session, link.session_since, link.error = link.session, session, now, None
            if old is not None:
                link.retire(old)
            self._owner.connected(session.peer)
            for kind, payload in link.take_pending():
                session.send(kind, payload)
            link.tell()
        assert self._nursery is not None, "it runs"
        self._nursery.start_soon(self._attend, session, link)

    async def _attend(self, session: Session, link: Link) -> None:
        error: Golemp2pError = ConnectionClosed("this node stopped")
        try:
            error = await session.run()
        finally:
            del self._sessions[session]
            self._past = _sum(self._past, session.statistics())
            self._all_over.set()
            if isinstance(error, RemoteError):
                self._misbehaved(session.peer, error)
            if link.session is session:
                self._lost(link, error)

    def _lost(self, link: Link, error: Golemp2pError) -> None:
        link.session, link.error = None, error
        if trio.current_time() - link.session_since >= self._backoff.healthy_s:
            link.failures = 0
        self._rest(link)
        self._owner.disconnected(link.peer, error)
        self._notice("disconnected", peer=link.peer, error=str(error))
        if link.is_kept:
            self._want(link)

    def _misbehaved(self, peer: bytes | None, error: RemoteError, address: str | None = None) -> None:
        self._conduct.note(peer, error, trio.current_time())
        self._owner.misbehaved(peer, error)
        self._notice("peer-misbehaved", peer=peer, address=address, code=error.code, error=str(error))

    def _notice(self, name: str, **fields: Any) -> None:
        self._owner.notice(Notice(name, tuple(fields.items())))


def _sum(left: SessionStatistics, right: SessionStatistics) -> SessionStatistics:
    return SessionStatistics(*[one + other for one, other in zip(left, right, strict=True)])
