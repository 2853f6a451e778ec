"""The list of members as one node holds it: who, under which incarnation, in which state. No timers, no messages.

    (unknown) --record--> ALIVE <--> SUSPECT --> DEAD --record with higher incarnation--> ALIVE
                            \\--------- record that says farewell ---------> LEFT         any --removal--> REMOVED, for ever

Lists are compared by a digest over those present (and the removals), then page by page; each difference is settled in favour of the
higher incarnation, and under one incarnation of the higher status.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from golemp2p.model.membership import Claim, Member, NodeRecord, Removal, Status, Update
from golemp2p.model.messages_membership import DIGEST_BYTES, ENTRIES_MAX, SyncPage


class Members:
    """``own`` is this node's key: it is in the list like all others. At most ``members_max`` and ``removals_max``."""

    def __init__(self, own: bytes, members_max: int, removals_max: int) -> None:
        self._own = own
        self._members_max = members_max
        self._removals_max = removals_max
        self._members: dict[bytes, Member] = {}
        self._removals: dict[bytes, Removal] = {}
        self._present: dict[bytes, None] = {}
        self._absent: dict[bytes, None] = {}
        self._dead: dict[bytes, None] = {}
        self._others: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, public_key: object) -> bool:
        return public_key in self._members

    def get(self, public_key: bytes) -> Member | None:
        return self._members.get(public_key)

    def removal(self, public_key: bytes) -> Removal | None:
        return self._removals.get(public_key)

    @property
    def everyone(self) -> Iterable[Member]:
        return self._members.values()

    @property
    def present_count(self) -> int:
        """Members alive or suspect, this node among them."""
        return len(self._present)

    def others(self) -> tuple[bytes, ...]:
        """Keys of the other members present, in the order in which they became so."""
        if self._others is None:
            self._others = tuple(key for key in self._present if key != self._own)
        return self._others

    def is_present(self, public_key: bytes) -> bool:
        return public_key in self._present

    @property
    def has_dead(self) -> bool:
        return bool(self._dead)

    def dead(self) -> list[bytes]:
        return list(self._dead)

    def put(self, record: NodeRecord, status: Status, now_ns: int) -> Member:
        """The member described by ``record`` has ``status`` from now on."""
        key = record.public_key
        member = self._members[key] = Member(record, status, now_ns)
        present, absent = (self._present, self._absent) if status <= Status.SUSPECT else (self._absent, self._present)
        absent.pop(key, None)
        if key not in present:
            present[key] = None
            self._others = None
        if status is not Status.DEAD:
            self._dead.pop(key, None)
        else:
            self._dead[key] = None
        return member

    def remove(self, removal: Removal) -> Member | None:
        """Keep the removal for ever; the member it ended, if there was one."""
        self._removals[removal.subject] = removal
        self._present.pop(removal.subject, None)
        self._others = None
        self._absent.pop(removal.subject, None)
        self._dead.pop(removal.subject, None)
        return self._members.pop(removal.subject, None)

    def forget(self, before_ns: int) -> None:
        """Drop members that were dead or gone before then."""
        for key in [key for key in self._absent if self._members[key].since_ns < before_ns]:
            del self._absent[key], self._members[key]
            self._dead.pop(key, None)

    @property
    def is_full(self) -> bool:
        return len(self._members) >= self._members_max

    @property
    def removals_full(self) -> bool:
        return len(self._removals) >= self._removals_max

    def digest(self) -> bytes:
        """Equal for lists that name the same members present, under the same incarnations, and the same removals."""
        hasher = blake2b(digest_size=DIGEST_BYTES)
        for key in sorted(self._present):
            hasher.update(key + self._members[key].record.incarnation.to_bytes(8, "big"))
        for key in sorted(self._removals):
            hasher.update(b"-" + key)
        return hasher.digest()

    def pages(self) -> list[SyncPage]:
        """The whole list, cut into pages that together cover all keys."""
        entries = [(key, member.record.incarnation, member.status) for key, member in self._members.items()]
        entries += [(key, 0, Status.REMOVED) for key in self._removals]
        entries.sort()
        chunks = [tuple(entries[start : start + ENTRIES_MAX]) for start in range(0, len(entries), ENTRIES_MAX)]
        bounds = [b"", *(chunk[0][0] for chunk in chunks[1:]), b""]
        return [SyncPage(low, high, chunk) for low, high, chunk in zip(bounds, bounds[1:], chunks, strict=False)]

    def compare(self, page: SyncPage, accuser: bytes) -> tuple[list[Update], list[bytes], list[Claim]]:
        """What the sender of ``page`` lacks, the keys about which we lack something, and what it claims about the rest.

        A member we do not know and that is gone anyway is no loss: it is not asked for.
        """
        ours: list[Update] = []
        wanted: list[bytes] = []
        claims: list[Claim] = []
        theirs = {key: (incarnation, status) for key, incarnation, status in page.entries}
        for key, (incarnation, status) in theirs.items():
            member = self._members.get(key)
            if key in self._removals:
                if status is not Status.REMOVED:
                    ours.append(self._removals[key])
            elif member is None:
                if status in (Status.ALIVE, Status.SUSPECT, Status.REMOVED):
                    wanted.append(key)
            elif incarnation > member.record.incarnation or status is Status.REMOVED:
                wanted.append(key)
            elif (incarnation, status) < (member.record.incarnation, member.status):
                ours += self.updates(key)
            elif member.status < status < Status.LEFT:
                claims.append(Claim(key, incarnation, status, accuser))
        for key in (*self._present, *self._removals):
            if key not in theirs and page.low <= key and (not page.high or key < page.high):
                ours += self.updates(key)
        return ours, wanted, claims

    def updates(self, key: bytes) -> list[Update]:
        """All we know about a member, to tell somebody who may know nothing: its record first."""
        if key in self._removals:
            return [self._removals[key]]
        member = self._members.get(key)
        if member is None:
            return []
        if member.status in (Status.SUSPECT, Status.DEAD):
            return [member.record, Claim(key, member.record.incarnation, member.status, self._own)]
        return [member.record]
