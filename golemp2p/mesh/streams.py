"""Bytes between machines, as the network asks for them; TCP over IPv4 and IPv6. Tests and simulations bring their own.

address   ``host:port``, ``[2001:db8::1]:port``; a name may stand for several machines' worth of both kinds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from golemp2p.errors import Unreachable, UsageError


class Streams(Protocol):
    """Where connections come from."""

    async def open(self, address: str) -> trio.abc.Stream:
        """Raises ``Unreachable``. Without a deadline of its own."""
        ...

    async def listen(self, address: str) -> list[tuple[str, trio.abc.Listener[trio.abc.Stream]]]:
        """Listeners, each with the address that it got (port 0: any free one). Raises ``Unreachable``."""
        ...


class TcpStreams:
    """Tries a name's addresses as RFC 8305 (Happy Eyeballs) wants. Small writes leave at once (TCP_NODELAY): records gather what
    belongs together. A listener on ``[::]`` takes IPv6 only: listen on ``0.0.0.0`` as well."""

    async def open(self, address: str) -> trio.abc.Stream:
        host, port = split_address(address)
        try:
            return await trio.open_tcp_stream(host, port)
        except (OSError, ValueError) as error:  # the latter for names that no name can be: addresses come from peers
            raise Unreachable(f"{address}: {error}") from error

    async def listen(self, address: str) -> list[tuple[str, trio.abc.Listener[trio.abc.Stream]]]:
        host, port = split_address(address)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise Unreachable(f"cannot listen on {address}: {error.strerror or error}") from error
        return [(join_address(*listener.socket.getsockname()[:2]), listener) for listener in listeners]


async def listen_all(streams: Streams, addresses: Sequence[str]) -> list[tuple[str, trio.abc.Listener[trio.abc.Stream]]]:
    """Listeners on all of them, or on none: raises ``Unreachable``."""
    listeners: list[tuple[str, trio.abc.Listener[trio.abc.Stream]]] = []
    try:
        for address in addresses:
            listeners += await streams.listen(address)
    except BaseException:  # cancellation, too
        for _, listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    return listeners


def split_address(address: str) -> tuple[str, int]:
    """Host without brackets, port. Raises ``UsageError``."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not colon
        or not host
        or (":" in host and not bracketed)
        or not port.isascii()
        or not port.isdigit()
        or int(port) > 65_535
    ):
        raise UsageError(f"{address!r} is no address: host:port, with an IPv6 address in brackets")
    return host[1:-1] if bracketed else host, int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
