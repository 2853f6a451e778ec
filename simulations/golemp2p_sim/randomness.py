"""Labelled random streams: every part of the world has dice of its own, all decided by one seed.

    seed ──BLAKE2b(seed, label)──> stream "net/3", stream "disk/0", stream "faults", ...

Streams do not touch each other: removing a fault, or adding a node, leaves the throws of everything else as they were.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random


class Streams:
    """``seed`` decides everything; a label names a stream, always the same one for the same seed."""

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, label: str) -> Random:
        """A fresh generator at the start of the stream ``label``: keep it, a second call starts over."""
        digest = blake2b(f"{self.seed}/{label}".encode(), digest_size=16).digest()
        return Random(int.from_bytes(digest, "big"))


def node_key(index: int) -> bytes:
    """The 32-byte name of virtual node ``index``. It stands for a public key; nothing is signed with it."""
    return blake2b(f"golemp2p_sim/node/{index}".encode(), digest_size=32).digest()
