"""Whom a node remembers, to find the mesh again after a restart: all members it has heard of since it last wrote them down.

    a member is new, or can be reached elsewhere --a pause later, at the next occasion--> MembersKnown: all those present

Who goes is kept until then: it may be who finds the mesh again. While a mesh grows every newcomer is news, and the list is long: so
it is written now and then. What is lost with a crash before that is some of many addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from golemp2p.core.effects import Effect
from golemp2p.core.peer_effects import MembersKnown
from golemp2p.model.membership import NodeRecord


class AddressBook:
    """``pause_ns``: between two writes."""

    def __init__(self, pause_ns: int) -> None:
        self._pause_ns = pause_ns
        self._known: dict[bytes, tuple[str, ...]] = {}
        self._is_old = False
        self._next_ns: int | None = None

    def met(self, record: NodeRecord) -> None:
        """This is a member, and present."""
        if self._known.get(record.public_key) != record.addresses:
            self._is_old = True

    def written(self, present: Callable[[], Sequence[NodeRecord]], now_ns: int) -> list[Effect]:
        """The effect, if it is time for one. ``present``: the other members."""
        if not self._is_old or (self._next_ns is not None and now_ns < self._next_ns):
            return []
        self._is_old = False
        self._next_ns = now_ns + self._pause_ns
        records = present()
        self._known = {record.public_key: record.addresses for record in records}
        return [MembersKnown(tuple(records))]
