"""What the replica core needs of cryptography. The bytes that are hashed and signed are the wire's business (``wire.notary``).

One notary speaks for one node in one shard of one mesh, so that nothing signed here is valid there.
"""

from __future__ import annotations

from typing import Protocol

from golemp2p.model.replication import Branch, Content, LogSegment


class Verifier(Protocol):
    """Who checks what others signed."""

    def entry_hash(self, position: int, term: int, previous_hash: bytes, author: bytes, content: Content) -> bytes: ...

    def is_entry_signed(self, entry_hash: bytes, signature: bytes, author: bytes) -> bool: ...

    def is_vote(self, term: int, primary: bytes, voter: bytes, signature: bytes) -> bool: ...

    def is_segment_signed(self, segment: LogSegment) -> bool:
        """The bytes have the facts that are claimed, and their author's signature."""

    def is_branch_signed(self, branch: Branch) -> bool:
        """By the mesh's operator."""


class Notary(Verifier, Protocol):
    """Who signs for this node as well."""

    def sign_entry(self, entry_hash: bytes) -> bytes: ...

    def cast_vote(self, term: int, primary: bytes) -> bytes:
        """This node's vote. S1: it must be durable that it was cast before it is let out."""
