"""wasi:random: random, insecure, insecure-seed. Journalled; all three give cryptographically strong bytes.

In a simulation the host's bytes come from the seed, and then so do these.
"""

from __future__ import annotations

from golemp2p.errors import LimitExceeded
from golemp2p.runtime.host.declare import READ_LOCAL, HostContext, HostInterface

RANDOM = HostInterface("wasi:random/random")
INSECURE = HostInterface("wasi:random/insecure")
INSECURE_SEED = HostInterface("wasi:random/insecure-seed")
INTERFACES = (RANDOM, INSECURE, INSECURE_SEED)

RANDOM_BYTES_MAX = 64 << 20
"""One call's bytes are held by the host and kept in the journal, and the interface cannot give fewer than asked."""


def _bytes(ctx: HostContext, length: int) -> bytes:
    if length > RANDOM_BYTES_MAX:
        raise LimitExceeded("random_bytes_max", f"{length} random bytes asked for at once; {RANDOM_BYTES_MAX} is the most")
    return ctx.host.random_bytes(length)


def _u64(ctx: HostContext) -> int:
    return int.from_bytes(ctx.host.random_bytes(8), "little")


@RANDOM.function("get-random-bytes", READ_LOCAL)
def get_random_bytes(ctx: HostContext, length: int) -> bytes:
    return _bytes(ctx, length)


@RANDOM.function("get-random-u64", READ_LOCAL)
def get_random_u64(ctx: HostContext) -> int:
    return _u64(ctx)


@INSECURE.function("get-insecure-random-bytes", READ_LOCAL)
def get_insecure_random_bytes(ctx: HostContext, length: int) -> bytes:
    return _bytes(ctx, length)


@INSECURE.function("get-insecure-random-u64", READ_LOCAL)
def get_insecure_random_u64(ctx: HostContext) -> int:
    return _u64(ctx)


@INSECURE_SEED.function("insecure-seed", READ_LOCAL)
def insecure_seed(ctx: HostContext) -> tuple[int, int]:
    return (_u64(ctx), _u64(ctx))
