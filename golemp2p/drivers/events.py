"""A worker's events for those who watch it live: the last ``HISTORY`` and then what happens, never more than they can take."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import trio

from golemp2p.model.worker import WorkerEvent

HISTORY = 128
"""Events a new listener sees from the past, as in Golem."""

BACKLOG_MAX = 1024
"""Events waiting for one listener; beyond it the listener is dropped rather than the worker slowed."""


class EventStream:
    """Events of one worker. Publishing never waits."""

    __slots__ = ("_history", "_listeners")

    def __init__(self) -> None:
        self._history: deque[WorkerEvent] = deque(maxlen=HISTORY)
        self._listeners: set[trio.MemorySendChannel[WorkerEvent]] = set()

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def publish(self, event: WorkerEvent) -> None:
        self._history.append(event)
        if self._listeners:
            for channel in list(self._listeners):
                try:
                    channel.send_nowait(event)
                except (trio.WouldBlock, trio.BrokenResourceError):
                    self._listeners.discard(channel)
                    channel.close()

    def listen(self) -> tuple[AsyncIterator[WorkerEvent], trio.MemorySendChannel[WorkerEvent]]:
        """Past and future events; the second value identifies the listener to ``leave``."""
        send, receive = trio.open_memory_channel[WorkerEvent](BACKLOG_MAX)
        for event in self._history:
            send.send_nowait(event)
        self._listeners.add(send)
        return receive, send

    def leave(self, listener: trio.MemorySendChannel[WorkerEvent]) -> None:
        self._listeners.discard(listener)
        listener.close()

    def close(self) -> None:
        """Tell every listener that this was all."""
        for channel in self._listeners:
            channel.close()
        self._listeners.clear()
