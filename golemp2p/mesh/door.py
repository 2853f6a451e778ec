"""Where strangers come in: every listener's connections, until they have proved who they are.

    accept ──> no room? closed ──> shaking hands ──> a channel, to ``came``
                                        └── too many of them: the oldest is closed; failed: to ``failed``

Whoever holds a place longest without proving anything gives way to newcomers, so that silent connections cannot keep others out: an
honest peer needs a moment only. It is told nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from golemp2p.errors import ConnectionLost, Golemp2pError, RemoteError, Unreachable
from golemp2p.mesh.limits import NetworkLimits
from golemp2p.mesh.opening import Identity, open_accepted
from golemp2p.mesh.session import Channel

ACCEPT_PAUSE_S = 0.1
"""When the process has no descriptors left: it gets one back soon, or somebody looks at the notice."""


class Door:
    """``is_welcome``: asked about a proved public key; ``has_room``: before anything is read. Its length: who is shaking hands."""

    def __init__(
        self,
        identity: Identity,
        limits: NetworkLimits,
        *,
        is_welcome: Callable[[bytes], bool],
        has_room: Callable[[], bool],
        came: Callable[[Channel], None],
        failed: Callable[[Golemp2pError], None],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._is_welcome = is_welcome
        self._has_room = has_room
        self._came = came
        self._failed = failed
        self._shaking: dict[trio.CancelScope, None] = {}

    def __len__(self) -> int:
        return len(self._shaking)

    async def attend(self, listener: trio.abc.Listener[trio.abc.Stream]) -> None:
        """Until cancelled; closes the listener, and whoever is still shaking hands."""
        async with listener, trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    self._failed(Unreachable(f"accepting nothing: {error}"))
                    await trio.sleep(ACCEPT_PAUSE_S)
                    continue
                if self._has_room():
                    nursery.start_soon(self._shake, stream)
                else:
                    self._failed(Unreachable("too many connections"))
                    await trio.aclose_forcefully(stream)

    async def _shake(self, stream: trio.abc.Stream) -> None:
        scope = trio.CancelScope()
        if len(self._shaking) >= self._limits.handshakes_max:
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]  # now: the next newcomer of this turn takes another's place
            oldest.cancel()
        self._shaking[scope] = None
        try:
            with scope:
                self._came(await open_accepted(stream, self._identity, self._limits.session, self._is_welcome))
        except (RemoteError, ConnectionLost) as error:
            self._failed(error)
        finally:
            self._shaking.pop(scope, None)
        if scope.cancelled_caught:
            self._failed(Unreachable("a silent connection gave way to a newer one"))
