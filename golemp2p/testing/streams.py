"""Streams in memory, for networks that share a loop: a listener is an entry in a dictionary.

Infidelities: nothing takes time or gets lost; what is sent is buffered without limit, so nobody is ever too slow; addresses are any
text with a port, and a port 0 becomes the next free number.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from golemp2p.errors import Unreachable


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, closed: Callable[[], None]) -> None:
        self.arrivals, self._waiting = trio.open_memory_channel[trio.abc.Stream](1_000)
        self._closed = closed

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._waiting.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self._closed()
        self._waiting.close()
        await trio.lowlevel.checkpoint()


class MemoryStreams:
    """One world of addresses. ``cut(address)`` makes an address silent: dialling it waits for ever."""

    def __init__(self) -> None:
        self._listeners: dict[str, MemoryListener] = {}
        self._silent: set[str] = set()
        self.opened: list[tuple[str, trio.abc.Stream, trio.abc.Stream]] = []
        """Address, the dialler's end, the listener's end."""

    def cut(self, address: str) -> None:
        self._silent.add(address)

    async def open(self, address: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if address in self._silent:
            await trio.sleep_forever()
        listener = self._listeners.get(address)
        if listener is None:
            raise Unreachable(f"{address}: nobody listens")
        here, there = trio.testing.memory_stream_pair()
        self.opened.append((address, here, there))
        listener.arrivals.send_nowait(there)
        return here

    async def listen(self, address: str) -> list[tuple[str, trio.abc.Listener[trio.abc.Stream]]]:
        await trio.lowlevel.checkpoint()
        host, _, port = address.rpartition(":")
        number = int(port) or next(n for n in range(1, 65_536) if f"{host}:{n}" not in self._listeners)
        bound = f"{host}:{number}"
        if bound in self._listeners:
            raise Unreachable(f"{bound}: somebody listens there")
        self._listeners[bound] = MemoryListener(lambda: self._forget(bound))
        return [(bound, self._listeners[bound])]

    def _forget(self, bound: str) -> None:
        self._listeners.pop(bound, None)
