"""wasi:logging/logging: levelled log lines. Hints in the oplog; they appear once, however often the worker replays."""

from __future__ import annotations

from golemp2p.runtime.host.declare import HostContext, HostInterface

LOGGING = HostInterface("wasi:logging/logging")
INTERFACES = (LOGGING,)

MESSAGE_CHARACTERS_MAX = 64 << 10
"""A longer message becomes several lines: an entry stays well below the size of a segment, and nothing is lost."""

CONTEXT_CHARACTERS_MAX = 1024
"""The context names a topic and is repeated on every line; longer ones are cut."""


@LOGGING.function("log")
def log(ctx: HostContext, level: str, context: str, message: str) -> None:
    """``level``: trace, debug, info, warn, error or critical."""
    context = context[:CONTEXT_CHARACTERS_MAX]
    for start in range(0, max(len(message), 1), MESSAGE_CHARACTERS_MAX):
        ctx.host.log(level, context, message[start : start + MESSAGE_CHARACTERS_MAX])
