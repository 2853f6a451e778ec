"""What may never happen to the replicas of a shard, checked as it happens. Raises ``Violation``."""

from __future__ import annotations

from typing import Any

from golemp2p.core.configuration import is_quorum
from golemp2p.core.effects import Persist, Send
from golemp2p.core.replica import Role
from golemp2p.model.messages_shard import Appended, RequestVote, Voted
from golemp2p.model.replication import Branch, Configuration, Election, LogSegment


class Violation(Exception):
    pass


def demand(condition: bool, rule: str) -> None:
    if not condition:
        raise Violation(rule)


class ReplicaChecks:
    def __init__(self) -> None:
        self.primaries: dict[tuple[bytes, int], tuple[bytes, int]] = {}  # (branch, term) -> (key, life)
        self.entries: dict[tuple[int, int], Any] = {}  # (term, position) -> entry
        self.done: dict[int, tuple[bytes, int]] = {}  # committed position -> (hash, term of who committed it)
        self.votes: dict[tuple[Any, int], bytes] = {}
        self.synced_entries: dict[Any, set[tuple[int, bytes]]] = {}
        self.ever_synced: dict[Any, set[tuple[int, bytes]]] = {}  # what it dropped, being removed, it reaches before it counts
        self.leading: dict[bytes, int] = {}
        self.commit: dict[bytes, int] = {}
        self.doubted: dict[bytes, tuple[int, int]] = {}  # primaries that lost their majority: term, end of their log then
        self.opened: dict[int, tuple[int, bytes]] = {}  # term -> position and hash of its election
        self.bases: dict[Any, int] = {}
        self.acknowledged: dict[bytes, tuple[int, int]] = {}  # of each node: term, and the position it said it holds durably
        self.is_forced = False

    def started(self, node: Any) -> None:
        self.commit[node.key] = node.replica.commit_position

    def stopped(self, node: Any) -> None:
        self.leading.pop(node.key, None)
        self.doubted.pop(node.key, None)

    def harmed(self, node: Any) -> None:
        """Its disk is not what it was: nobody counts on what it said."""
        self.acknowledged.pop(node.key, None)

    # -- messages

    def before(self, node: Any, sender: bytes) -> bool:
        """Whether ``node`` holds the primary alive, and another than the sender, before it receives ``message``."""
        replica = node.replica
        if replica.primary == sender:
            return False
        if replica.role is Role.PRIMARY:
            return bool(replica.is_serving)
        return replica.primary is not None and replica.primary not in node.suspected

    def received(self, node: Any, message: Any, held_alive: bool, effects: list[Any]) -> None:
        if not isinstance(message.body, RequestVote) or message.body.hand_over or not held_alive:
            return
        sends = [e for e in effects if isinstance(e, Send)]
        sends += [send for e in effects if isinstance(e, Persist) for send in e.then]
        for send in sends:
            body = send.message.body
            demand(not isinstance(body, Voted) or body.refusal is not None, "stickiness")

    def sent(self, node: Any, send: Send) -> None:
        demand(send.peer != node.key, "spoke to itself")
        body = send.message.body
        record = node.durable.record
        if isinstance(body, Voted) and not body.trial and body.refusal is None:
            candidate = send.peer
            term = body.term
        elif isinstance(body, RequestVote) and not body.trial:
            candidate = node.key
            term = send.message.term
        elif isinstance(body, Appended) and body.refusal is None:
            held = node.durable.base.position + len(node.durable.entries)
            demand(body.position <= held, "acknowledged before it was durable")
            term, position = self.acknowledged.get(node.key, (0, 0))
            said = max(position, body.position) if term == send.message.term else body.position
            self.acknowledged[node.key] = send.message.term, said
            if not body.damaged and node.replica is not None:
                demand(node.is_whole, "acknowledged while damaged")
            return
        else:
            return
        demand(self.votes.setdefault((node.member, term), candidate) == candidate, "two votes in a term")
        is_durable = (record.term, record.voted_for and record.voted_for.public_key) == (term, candidate)
        demand(is_durable or record.term > term, "voted before it was durable")
        if node.replica is not None:
            demand(node.is_whole, "voted while damaged")

    # -- writes

    def persist(self, node: Any, write: Any) -> None:
        if write.truncate_from is not None:
            demand(write.truncate_from > self.commit.get(node.key, 0), "committed entries truncated")
        for entry in write.entries:
            self.entry(node, entry)

    def entry(self, node: Any, entry: Any) -> None:
        log = node.replica.log
        notary = node.replica._state.notary
        content = entry.content
        if entry.position - 1 >= log.base.position and log.holds(entry.position):
            demand(log.hash_at(entry.position - 1) == entry.previous_hash, "hash chain broken")
        expected = notary.entry_hash(entry.position, entry.term, entry.previous_hash, entry.author, content)
        demand(entry.hash == expected, "hash chain broken")
        if isinstance(content, LogSegment):
            demand(content.author == entry.author and notary.is_segment_signed(content), "signature")
        elif isinstance(content, Election):
            votes = content.votes
            genuine = all(notary.is_vote(entry.term, entry.author, voter.public_key, vote) for voter, vote in votes)
            demand(genuine, "signature")
        elif isinstance(content, Branch):
            self.is_forced = True
        else:
            demand(notary.is_entry_signed(entry.hash, entry.signature, entry.author), "signature")
        if isinstance(content, Configuration):
            self.configuration(node, entry, log.configuration_at(entry.position - 1))
        known = self.entries.setdefault((entry.term, entry.position), entry)
        demand(known.hash == entry.hash, "two entries of one term at one position")
        if isinstance(content, Election | Branch):
            self.opened[entry.term] = entry.position, entry.hash

    def configuration(self, node: Any, entry: Any, before: Configuration) -> None:
        now = entry.content
        if sorted(now.voters) != sorted(before.voters):
            demand(before.is_joint and sorted(before.incoming) == sorted(now.voters), "voters changed at once")
        if node.replica.role is not Role.PRIMARY or not now.is_joint:
            return
        commit = node.replica.commit_position
        commit_hash = node.replica.log.hash_at(commit)
        for voter in now.incoming:
            if voter not in now.voters:
                held = self.synced_entries.get(voter, set())
                is_covered = self.bases.get(voter, 0) >= commit
                demand(is_covered or (commit, commit_hash) in held, "a voter that had not caught up")

    def synced(self, node: Any, write: Any) -> None:
        held = self.synced_entries.setdefault(node.member, set())
        ever = self.ever_synced.setdefault(node.member, set())
        if write.is_forgotten:
            self.harmed(node)
            held.clear()
            self.bases.pop(node.member, None)
        if write.base is not None:
            held.add((write.base.position, write.base.hash))
            ever.add((write.base.position, write.base.hash))
            self.bases[node.member] = write.base.position
        added = [(entry.position, entry.hash) for entry in write.entries]
        held.update(added)
        ever.update(added)

    # -- commits

    def committed(self, node: Any, entries: Any) -> None:
        replica = node.replica
        is_primary = replica.role is Role.PRIMARY
        for entry in entries:
            known = self.done.setdefault(entry.position, (entry.hash, replica.term))
            demand(known[0] == entry.hash, "two committed entries at one position")
        last = entries[-1]
        self.commit[node.key] = last.position
        if is_primary:
            demand(last.term == replica.term, "committed by way of an older term")
            holders = [m for m, held in self.ever_synced.items() if (last.position, last.hash) in held]
            configuration = replica.log.configuration
            demand(is_quorum(configuration, holders), "committed without a durable majority")

    def serving(self, node: Any, term: int) -> None:
        position, entry_hash = self.opened.get(term, (0, b""))
        demand(self.done.get(position, (b"", 0))[0] == entry_hash, "serves before its election is committed")
        doubted_term, end = self.doubted.get(node.key, (0, 0))
        demand(doubted_term != term or node.replica.commit_position > end, "serves again without a commit since")

    # -- every step

    def after(self, node: Any) -> None:
        replica = node.replica
        if replica is not None and replica.log.last >= node.must_reach:
            node.must_reach = (0, 0)  # repaired
        term, position = self.acknowledged.get(node.key, (0, 0))
        if replica is not None and replica.term == term:
            demand(position <= replica.log.last_position, "acknowledged entries dropped")
        if replica is not None and replica.role is Role.FOLLOWER and replica.primary is not None and not replica.log.is_blank:
            elected = self.primaries.get((replica.log.branch, replica.term), (b"", 0))[0]
            demand(replica.primary == elected, "followed who was not elected")
        if replica is None or replica.role is not Role.PRIMARY:
            self.leading.pop(node.key, None)
            return
        if self.leading.get(node.key) != replica.term:
            self.leading[node.key] = replica.term
            who = (node.key, node.lives)
            branch = replica.log.branch
            demand(self.primaries.setdefault((branch, replica.term), who) == who, "two primaries in a term")
            self.complete(replica)
        if not replica._state.has_live_majority():
            self.doubted[node.key] = replica.term, replica.log.last_position
        if replica.is_serving:
            demand(replica._state.has_live_majority(), "serves without a majority")

    def complete(self, replica: Any) -> None:
        """Leader completeness: everything committed in earlier terms is in the log of a new primary."""
        if self.is_forced:
            return
        log = replica.log
        for position, (entry_hash, term) in self.done.items():
            if term < replica.term and position >= log.base.position:
                held = log.holds(position) and log.hash_at(position) == entry_hash
                demand(held, "a committed entry is lost")
