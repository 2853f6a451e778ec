"""The first frame of both sides: which version of the protocol both speak, and what each of them takes.

    old  speaks 3..4 ─┐                                      the highest version that both know;
    new  speaks 4..5 ─┴─> they speak 4                        a release speaks its own version and the one before it

So nodes one release apart work together, and a mesh is upgraded one node after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.errors import FrameMalformed, VersionMismatch
from golemp2p.mesh.frames import FRAME_BYTES_MIN, Hello

VERSION_LOWEST = 1
VERSION_HIGHEST = 1


@dataclass(frozen=True, slots=True)
class Agreed:
    """``version``: spoken on this connection. The rest: what the peer takes, and which life of it speaks."""

    version: int
    frame_bytes_max: int
    requests_max: int
    life: bytes


def agree(own: Hello, theirs: Hello) -> Agreed:
    """Both sides come to the same version. Raises ``VersionMismatch`` or ``FrameMalformed``."""
    if theirs.lowest > theirs.highest:
        raise FrameMalformed("a hello whose lowest version is above its highest")
    if theirs.frame_bytes_max < FRAME_BYTES_MIN:
        raise FrameMalformed(f"a hello that takes no frames of {FRAME_BYTES_MIN} bytes")
    version = min(own.highest, theirs.highest)
    if version < max(own.lowest, theirs.lowest):
        raise VersionMismatch(
            f"this node speaks versions {own.lowest} to {own.highest}, the peer {theirs.lowest} to {theirs.highest}"
        )
    return Agreed(version, theirs.frame_bytes_max, theirs.requests_max, theirs.life)
