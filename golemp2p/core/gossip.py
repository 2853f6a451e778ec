"""Updates on their way through the mesh: which ride on the next message (SWIM, section 4.1).

    add ---> level 0 --sent--> level 1 --sent--> ... level lambda * ceil(log10(n + 1)) - 1 --sent--> gone

Infection style: each member passes an update on a bounded number of times, the least-sent first, and a newer update about a member
replaces the older one. With n members an update reaches all with high probability, whatever messages are lost.
"""

from __future__ import annotations

from golemp2p.model.membership import Claim, NodeRecord, Removal, Update


def subject_of(update: Update) -> bytes:
    """The public key of the member that ``update`` is about."""
    match update:
        case NodeRecord():
            return update.public_key
        case Claim() | Removal():
            return update.subject


class Gossip:
    """At most one update per member, hence as bounded as the list of members."""

    __slots__ = ("_factor", "_levels", "_where")

    def __init__(self, retransmit_factor: int) -> None:
        self._factor = retransmit_factor
        self._levels: list[dict[bytes, Update]] = [{}]
        self._where: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._where)

    def add(self, update: Update) -> None:
        """``update`` is news: it starts anew, and replaces what was on its way about the same member."""
        subject = subject_of(update)
        self.drop(subject)
        self._levels[0][subject] = update
        self._where[subject] = 0

    def drop(self, subject: bytes) -> None:
        level = self._where.pop(subject, None)
        if level is not None:
            del self._levels[level][subject]

    def take(self, count: int, members: int) -> tuple[Update, ...]:
        """Up to ``count`` updates for one message, in a mesh of ``members``; each has then been sent once more."""
        if not self._where:
            return ()
        taken: list[tuple[int, bytes, Update]] = []
        for level, updates in enumerate(self._levels):
            for subject, update in updates.items():
                if len(taken) == count:
                    break
                taken.append((level, subject, update))
        rounds = transmissions(self._factor, members)
        for level, subject, update in taken:
            self.drop(subject)
            if level + 1 < rounds:
                self._put(level + 1, subject, update)
        return tuple(update for _, _, update in taken)

    def _put(self, level: int, subject: bytes, update: Update) -> None:
        while len(self._levels) <= level:
            self._levels.append({})
        self._levels[level][subject] = update
        self._where[subject] = level


def transmissions(factor: int, members: int) -> int:
    """lambda * ceil(log10(n + 1)), in integers: the digits of n, since 10^(d-1) <= n < 10^d makes the logarithm d."""
    return factor * len(str(members))
