"""What one connection may hold and how long it may take. Every number is per peer."""

from __future__ import annotations

from dataclasses import dataclass, field

from golemp2p.errors import UsageError
from golemp2p.mesh.frames import EXTRA_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_MIN


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Times in seconds. What a peer can make this node hold is at most ``queued_bytes_max`` + ``requests_bytes_max`` +
    ``unverified_bytes_max`` + a frame + a record, and ``window_bytes`` for every transfer that this node asked for."""

    handshake_s: float = 5.0
    """From the first byte to both hellos. Long for a handshake of 0.5 ms and two round trips; short for who only holds a place."""
    write_s: float = 10.0
    """One write of at most ``flush_bytes_max`` must be taken within this: 25 KB/s."""
    ping_after_s: float = 10.0
    """So long after the last byte of a peer it is asked whether it is there. Who is alive is for the membership to find out, sooner."""
    silence_s: float = 30.0
    """A connection over which nothing came for so long is given up: the other end may be gone without a word."""
    close_s: float = 2.0
    """What is queued leaves, and the peer says its own end, within this."""
    flush_bytes_max: int = 256 << 10
    """One write: four records."""
    bulk_flush_bytes: int = 64 << 10
    """Of chunks in one write: what a message may have to wait behind in this process."""
    frame_bytes_max: int = FRAME_BYTES_MAX
    """Longest frame taken; told to the peer."""
    queued_bytes_max: int = 16 << 20
    """Waiting to be written. Above it messages are dropped, requests refused, answers wait; two of the largest frames fit."""
    requests_max: int = 256
    """Of the peer, unanswered; told to it. More are refused as ``overloaded``."""
    requests_bytes_max: int = 16 << 20
    """Payloads of the peer's unanswered requests."""
    unverified_bytes_max: int = 16 << 20
    """Messages handed over and not yet worked off (``Handler.message``). Above it nothing more is read."""
    window_bytes: int = 512 << 10
    """Credit of a transfer: what the sender may have under way. 50 MB/s at 10 ms."""

    def __post_init__(self) -> None:
        whole = self.frame_bytes_max + EXTRA_BYTES_MAX
        if not FRAME_BYTES_MIN <= self.frame_bytes_max <= FRAME_BYTES_MAX:
            raise UsageError(f"frame_bytes_max is from {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX}")
        if min(self.queued_bytes_max, self.requests_bytes_max, self.unverified_bytes_max) < whole:
            raise UsageError("queued, requests_bytes and unverified must hold one frame at least")
        if not 0 < self.ping_after_s < self.silence_s:
            raise UsageError("ping_after_s comes before silence_s")


@dataclass(frozen=True, slots=True)
class NetworkLimits:
    """Times in seconds. ``session``: of every connection."""

    session: SessionLimits = field(default_factory=SessionLimits)
    connections_max: int = 4_096
    """Of this node. More are not accepted; the descriptors of a process are few."""
    handshakes_max: int = 64
    """Accepted connections that have not proved anything yet; more wait in the listener's backlog."""
    dial_s: float = 5.0
    """To open a connection, over all addresses of a peer."""
    dials_max: int = 64
    """At once."""
    pending_bytes_max: int = 1 << 20
    """Messages to one peer that wait while it is dialled. More are dropped."""
    peers_max: int = 65_536
    """Peers with known addresses; who was dialled longest ago is forgotten first."""
