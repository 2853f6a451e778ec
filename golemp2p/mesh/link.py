"""What a node remembers of one peer: where it is, the connection to it if there is one, and when to dial again.

    no session ── dial or accept ──> session ── lost ──> resting until ``due`` ── dial ──> ...
                                        └─ another one is opened: ``keeps`` says which of the two stays

Two nodes that dial each other at the same moment get two connections. Both keep the one that the node with the greater public key
dialled, so they agree without a word. A connection that comes much later, or from another life of the peer, is the better one: the
peer would not have opened it if it still had the old one.
"""

from __future__ import annotations

from collections import deque

import trio

from golemp2p.errors import Golemp2pError
from golemp2p.mesh.session import Session


class Link:
    """``due``: not dialled before; ``failures``: in a row; ``error``: the last one. Messages in ``pending`` wait for a dial that is
    under way: (kind, payload)."""

    def __init__(self, peer: bytes) -> None:
        self.peer = peer
        self.addresses: tuple[str, ...] = ()
        self.is_kept = False
        self.session: Session | None = None
        self.session_since = 0.0
        self.is_dialling = False
        self.failures = 0
        self.due = 0.0
        self.error: Golemp2pError | None = None
        self.changed = trio.Event()
        """Set, and replaced, when the session came or a dial failed."""
        self.pending: deque[tuple[int, bytes]] = deque()
        self.pending_bytes = 0
        self._retired: Session | None = None

    @property
    def is_idle(self) -> bool:
        """Nothing would be lost with it but addresses."""
        return self.session is None and not self.is_dialling and not self.is_kept

    def keeps(self, new: Session, own: bytes, *, now: float, together_s: float) -> bool:
        """Whether the session it has stays, rather than ``new``. ``together_s``: two connections whose starts are no farther apart
        were dialled without knowing of each other."""
        old = self.session
        if old is None or old.error is not None:
            return False
        if old.dialled == new.dialled or old.agreed.life != new.agreed.life or now - self.session_since > together_s:
            return False
        return old.dialled == (own > self.peer)

    def retire(self, session: Session) -> None:
        """``session`` is not the one any more; the one that was retired before it ends at once, so a peer holds two at most."""
        if self._retired is not None:
            self._retired.close("replaced")
        self._retired = session
        session.retire()

    def put_off(self, message: tuple[int, bytes], bytes_max: int) -> bool:
        """Keep a message for the session to come. ``False``: too much is waiting."""
        size = len(message[1])
        if self.pending_bytes + size > bytes_max:
            return False
        self.pending.append(message)
        self.pending_bytes += size
        return True

    def take_pending(self) -> list[tuple[int, bytes]]:
        taken = list(self.pending)
        self.pending.clear()
        self.pending_bytes = 0
        return taken

    def tell(self) -> None:
        """Wake whoever waits for the session."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()
