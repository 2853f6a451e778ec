"""What a network tells whoever owns it, and the figures it keeps.

connected ──> message*, serve* ──> disconnected(reason)          misbehaved(peer, what), notice: at any time
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import trio

from golemp2p.core.effects import Notice
from golemp2p.errors import Golemp2pError, RemoteError
from golemp2p.mesh.calls import Call
from golemp2p.mesh.session import SessionStatistics


class Owner(Protocol):
    """Called on the loop, never inside a call of the owner's own. Only ``serve`` may wait."""

    def connected(self, peer: bytes) -> None:
        """A new connection; what was under way on an old one may be lost."""

    def disconnected(self, peer: bytes, reason: Golemp2pError) -> None: ...

    def message(self, peer: bytes, message: Any) -> trio.Event | None:
        """``None``: done with it; else it counts as unverified work of that peer until the event is set. Raises ``RemoteError`` for
        what no honest peer sends."""

    def misbehaved(self, peer: bytes | None, what: RemoteError) -> None:
        """``peer``: ``None`` when nobody proved who it was."""

    def notice(self, notice: Notice) -> None: ...

    async def serve(self, call: Call) -> bytes:
        """As ``session.Handler.serve``."""
        ...


class NetworkStatistics(NamedTuple):
    """``traffic``: sums over all sessions, past ones included; ``misbehaviour``: error code and count."""

    connections: int
    known_peers: int
    dials: int
    dials_failed: int
    accepted: int
    handshakes_under_way: int
    messages_dropped: int
    misbehaviour: tuple[tuple[str, int], ...]
    traffic: SessionStatistics
