"""What the parts of a replica share: term, vote, role, log, what is durable, who is alive; and the effects being collected.

Nothing here decides; voting, following, leading and catching up do. Terms and votes become durable with every write, and every
promise (a vote, an acknowledgement) leaves through a write. A term adopted in passing need not be durable by itself: what a crash
makes a replica forget, it had promised nothing in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from golemp2p.core.configuration import is_quorum
from golemp2p.core.effects import Effect, Notice, Persist, Send
from golemp2p.core.notary import Notary
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import Committed
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.core.replica_rules import Limits, Rules
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import Body, ShardMessage
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Base, Configuration, Entry, Head, Member

if TYPE_CHECKING:
    from golemp2p.core.leading import Leading
    from golemp2p.core.voting import Campaign


class Role(Enum):
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    PRIMARY = "primary"


class ReplicaState:
    """``primary``: public key of the primary of ``term``, ``None`` while unknown. ``damaged``: this replica lost something that it
    may have acknowledged; until its log is at least at ``high_water`` again it promises nothing (S9). ``place_ahead``: (term, position)
    of the newest configuration that names this replica, as the primary of that term says, whose history it is being given. ``outcast``:
    a quorum of the last configuration it knows says that it is in none any more: the joint one that leads to that is committed.
    ``is_astray``: it cannot tell who leads, and what it has counts for nothing.

    ``durable_position <= written_position <= log.last_position``: durable, handed to storage, and in memory; what a primary has
    queued and not flushed is in memory only."""

    __slots__ = (
        "_pending",
        "_token",
        "belonged",
        "branch_heard",
        "campaign",
        "damaged",
        "damaged_logs",
        "durable_position",
        "effects",
        "high_water",
        "is_astray",
        "leading",
        "limits",
        "log",
        "me",
        "notary",
        "outcast",
        "place_ahead",
        "primary",
        "role",
        "rules",
        "shard",
        "suspected",
        "term",
        "voted_for",
        "written_position",
    )

    def __init__(
        self,
        shard: int,
        me: Member,
        durable: ReplicaDurable,
        notary: Notary,
        *,
        rules: Rules,
        limits: Limits,
        log: ReplicaLog,
    ) -> None:
        self.shard = shard
        self.me = me
        self.notary = notary
        self.rules = rules
        self.limits = limits
        self.log = log
        self.term = durable.record.term
        self.voted_for = durable.record.voted_for
        self.high_water = durable.record.high_water
        self.belonged = durable.record.belonged
        self.damaged_logs = durable.damaged_logs
        self.damaged = log.last < self.high_water or bool(self.damaged_logs)
        self.durable_position = self.written_position = log.last_position
        self.outcast = self.is_astray = False
        self.place_ahead = (0, 0)
        self.role = Role.FOLLOWER
        self.primary: bytes | None = None
        self.leading: Leading | None = None
        self.campaign: Campaign | None = None
        self.suspected: dict[bytes, None] = {}
        self.branch_heard = log.branch  # what a blank replica is spoken to about
        self.effects: list[Effect] = []
        self._token = 0
        self._pending: deque[tuple[int, int]] = deque()

    # -- effects

    def send(self, peer: bytes, body: Body, *, term: int | None = None) -> None:
        self.effects.append(self.sending(peer, body, term=term))

    def sending(self, peer: bytes, body: Body, *, term: int | None = None) -> Send:
        branch = self.branch_heard if self.log.is_blank else self.log.branch
        wrapped = ShardMessage(self.shard, branch, self.term if term is None else term, self.me.store_id, body)
        return Send(peer, wrapped)

    def notice(self, name: str, **fields: Any) -> None:
        self.effects.append(Notice(name, (("shard", self.shard), ("term", self.term), *fields.items())))

    def persist(self, then: Sequence[Send] = (), **parts: Any) -> int:
        """Make ``parts`` (fields of ``ReplicaWrite``) durable together with the record, then send ``then``. Returns the token."""
        self._token += 1
        self.belonged = self.has_belonged() and not parts.get("is_forgotten", False)
        if "entries" in parts:
            self.written_position = parts["entries"][-1].position
        last = self.log.term_at(self.written_position), self.written_position
        high_water = max(self.high_water, last) if self.damaged else last
        record = ReplicaRecord(self.term, self.voted_for, self.log.commit, high_water, self.belonged)
        self.high_water = high_water
        self._pending.append((self._token, self.written_position))
        self.effects.append(Persist(ReplicaWrite(self.shard, record, **parts), self._token, tuple(then)))
        return self._token

    def persisted(self, token: int) -> None:
        """Writes become durable in order: this one, and all before it."""
        while self._pending and self._pending[0][0] <= token:
            self.durable_position = max(self.durable_position, self._pending.popleft()[1])

    # -- changes

    def truncate(self, first: int) -> None:
        assert first > self.log.commit or not self.rules.truncate_only_uncommitted, "what is committed stays"
        self.log.truncate(first)
        self.durable_position = min(self.durable_position, first - 1)
        self.written_position = min(self.written_position, first - 1)
        self._pending = deque((token, min(position, first - 1)) for token, position in self._pending)

    def install(self, base: Base, heads: Mapping[Key, Head]) -> None:
        """Start over from ``base``, which the next write holds; nothing of it is durable yet."""
        self.log.install(base, heads)
        self.damaged_logs = ()
        self.durable_position = 0
        self.written_position = base.position
        self._pending = deque((token, 0) for token, _ in self._pending)

    def compact(self, position: int) -> None:
        """Keep of the entries up to ``position``, as far as they are committed and durable, only the heads of the logs. Not while
        segments are damaged: they are fetched up to where the base says that their logs end."""
        position = min(position, self.log.commit, self.durable_position)
        if self.log.base.position < position and not self.damaged_logs:
            base, changed = self.log.compact(position)
            self.persist(base=base, heads=tuple(changed.items()))

    def commit(self, position: int) -> None:
        """Everything up to ``position`` is committed, as far as this replica has it."""
        position = min(position, self.log.last_position)
        first = self.log.commit + 1
        if position >= first:
            self.log.commit = position
            self.effects.append(Committed(self.shard, tuple(self.log.between(first, position + 1))))

    def adopt(self, term: int, reason: str) -> None:
        """Enter a higher term as a follower that has not voted in it and knows no primary of it."""
        assert term > self.term, "terms only rise"
        self.step_down(reason)
        self.term = term
        self.voted_for = None
        self.primary = None

    def step_down(self, reason: str) -> None:
        """Be a follower. The primary's duties end here (S10); what it queued and did not flush was never there."""
        if self.leading is not None:
            self.leading.end(reason)
            self.leading = None
            self.primary = None
            if self.log.last_position > self.written_position:
                self.truncate(self.written_position + 1)
        self.campaign = None
        self.role = Role.FOLLOWER

    def check_repaired(self) -> None:
        """S9: with a log at least as up to date (S2's order) as its durable high-water mark, received from a primary of that term
        or a later one, a replica holds all that it ever acknowledged and that may be committed: it counts again."""
        if self.damaged and not self.damaged_logs and self.log.last >= self.high_water:
            self.damaged = False
            self.notice("replica-repaired", position=self.log.last_position)

    # -- questions

    def known_as(self, configuration: Configuration, member: Member) -> Member:
        """``member``, as ``configuration`` may know it: node *and* store (S9)."""
        if self.rules.store_id_identity:
            return member
        same_node = (other for other in configuration.members if other.public_key == member.public_key)
        return next(same_node, member)

    @property
    def abstains(self) -> bool:
        """ "I cannot tell": neither votes nor acknowledgements that count."""
        return self.damaged and self.rules.damaged_replica_abstains

    @property
    def is_elector(self) -> bool:
        return self.known_as(self.log.configuration, self.me) in self.log.configuration.electors

    def has_belonged(self) -> bool:
        """Whether it was a member once, as far as it knows: a newcomer comes by bases and entries that are older than its joining."""
        return self.belonged or any(self.known_as(step, self.me) in step.members for step in self.log.configurations())

    def expect(self, milestones: Sequence[Entry]) -> None:
        """What comes after the base that the primary has just offered."""
        places = [
            entry.position
            for entry in milestones
            if entry.content.__class__ is Configuration and self.known_as(entry.content, self.me) in entry.content.members
        ]
        self.place_ahead = (self.term, max(places, default=0))

    def is_expected(self) -> bool:
        """Whether it is on its way to a configuration that names it: what it reads of its removal meanwhile was before."""
        term, position = self.place_ahead
        return term == self.term and self.log.commit < position

    def lose_way(self) -> None:
        """Nothing leads from what this replica knows to who leads now. A voter's word counts, so it waits for better proof; but one
        that is being given the shard's history begins anew, since a blank one believes whoever speaks first."""
        self.is_astray = not self.is_elector or (self.damaged and self.log.last_position == 0)

    def has_live_majority(self) -> bool:
        """Whether a quorum of the configuration is not suspected by this node."""
        configuration = self.log.configuration
        if not self.suspected:
            return not self.log.is_blank
        return is_quorum(configuration, [m for m in configuration.electors if m.public_key not in self.suspected])

    def holds_primary_alive(self) -> bool:
        """S3: this node knows the primary of the term and does not suspect it. A primary holds itself alive while it can reach a
        majority."""
        if self.leading is not None:
            return self.has_live_majority()
        return self.primary is not None and self.primary not in self.suspected
