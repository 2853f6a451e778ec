"""One replica of one shard in the toy: a plain Raft (Ongaro & Ousterhout 2014, figure 2), fixed members, timers and all.

    FOLLOWER ──silence──> CANDIDATE ──majority──> PRIMARY ──own no-op committed──> serving
        ^──────────────── higher term, or no majority heard for long ──────────────┘

It exists to prove that the world and its judges find bugs: each safety rule of ``ToyRules`` can be switched off. It is *not* what
golemp2p runs: the real cores live in ``golemp2p.core``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any

from golemp2p.core.effects import Persist, Send
from golemp2p_sim.node import Ballot, BecamePrimary, Committed, Executed, Sometimes, Step
from golemp2p_sim.toy_messages import Acked, Append, Ask, LogRecord, TermRecord, Vote
from golemp2p_sim.toy_state import Entry, ShardState, chain_after, make_entry
from golemp2p_sim.units import MS

ELECTION_MIN_NS, ELECTION_MAX_NS = 500 * MS, 1_000 * MS
QUORUM_LOST_NS = 1_500 * MS
BATCH_MAX = 64
"""Entries in one message."""


@dataclass(frozen=True, slots=True)
class ToyRules:
    """All true is the right protocol; each false is a bug that the judges must find."""

    one_vote_per_term: bool = True
    vote_durable_before_sent: bool = True
    vote_for_up_to_date_only: bool = True
    append_must_fit: bool = True
    ack_after_durable: bool = True
    commit_by_majority: bool = True
    answer_after_commit: bool = True
    read_through_log: bool = True
    serve_after_own_entry: bool = True
    key_takes_effect_once: bool = True
    resend_what_is_missing: bool = True
    bounded_proposals: bool = True
    calls_survive_takeover: bool = True

    @staticmethod
    def names() -> tuple[str, ...]:
        return tuple(field.name for field in fields(ToyRules))


class ToyReplica:
    """``members``: node indexes; ``me`` is among them. Effects are appended to ``out``. ``disk``: all records on it, for judges."""

    __slots__ = (
        "_deadline_ns", "_dice", "_durable", "_heard", "_keys", "_match", "_next", "_rules", "_token", "_votes", "chains", "commit",
        "disk", "just_applied", "leader", "log", "me", "members", "others", "out", "role", "serving", "shard", "sound", "state",
        "term", "vote",
    )  # fmt: skip

    def __init__(
        self, shard: int, me: int, members: tuple[int, ...], *, keys: Sequence[bytes], dice: Random, rules: ToyRules
    ) -> None:
        self.shard, self.me, self.members, self._keys = shard, me, members, keys
        self.others = tuple(member for member in members if member != me)
        self._dice, self._rules = dice, rules
        self.term, self.vote, self.role, self.leader = 0, -1, "follower", -1
        self.log: list[Entry] = []
        self.chains: list[int] = [0]
        self.commit = 0
        self.state = ShardState()
        self.sound, self.serving = True, False
        self.out: list[Any] = []
        self.disk: Sequence[TermRecord | LogRecord] = ()
        self.just_applied: list[tuple[int, Entry, Any, str]] = []
        self._durable = 0
        self._votes: dict[int, None] = {}
        self._next: dict[int, int] = {}
        self._match: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        self._token: dict[int, int] = {}
        self._deadline_ns = 0

    # -- durable state --------------------------------------------------------------------------------------------------------

    def recover(self, records: Iterable[TermRecord | LogRecord], now_ns: int) -> None:
        for record in records:
            self.term, self.vote = record.term, record.vote
            if type(record) is LogRecord:
                del self.log[record.first - 1 :]
                self.log += record.entries
        for entry in self.log:
            self.chains.append(chain_after(self.chains[-1], entry))
        self._durable = len(self.log)
        self.wait(now_ns)

    def wait(self, now_ns: int) -> None:
        self._deadline_ns = now_ns + self._dice.randint(ELECTION_MIN_NS, ELECTION_MAX_NS)

    def _send(self, member: int, message: Any) -> Send:
        return Send(self._keys[member], message)

    def _ballot(self, candidate: int) -> Ballot:
        shard, term = self.shard, self.term
        return Ballot(shard, self.me, term, candidate, lambda: self._is_on_disk(term, candidate))

    def _is_on_disk(self, term: int, vote: int) -> bool:
        newest = next((record for record in reversed(self.disk) if record.shard == self.shard), None)
        return newest is not None and (newest.term > term or (newest.term, newest.vote) == (term, vote))

    def _persist_term(self, token: int, *then: Any) -> None:
        self.out.append(Persist(TermRecord(self.shard, self.term, self.vote), token, then))

    def _write(self, first: int, entries: Sequence[Entry], token: int, *then: Send) -> None:
        """Replace the log from ``first`` on, in memory now and on disk soon."""
        if first <= len(self.log):
            self._token.clear()  # what those writes reached is gone again
        del self.log[first - 1 :]
        del self.chains[first:]
        self._durable = min(self._durable, first - 1)
        for entry in entries:
            self.log.append(entry)
            self.chains.append(chain_after(self.chains[-1], entry))
        self._token[token] = len(self.log)
        self.out.append(Persist(LogRecord(self.shard, first, tuple(entries), self.term, self.vote), token, then))

    def persisted(self, token: int) -> None:
        last = self._token.pop(token, None)
        if last is not None:
            self._durable = max(self._durable, last)
            if self.role == "primary":
                self._advance()

    # -- elections ------------------------------------------------------------------------------------------------------------

    def on_tick(self, now_ns: int, token: int) -> None:
        if not self.sound:
            return
        if self.role == "primary":
            alive = 1 + sum(now_ns - self._heard.get(member, 0) < QUORUM_LOST_NS for member in self.others)
            if alive <= len(self.members) // 2:
                self.out.append(Sometimes("a primary lost its majority and stepped down"))
                self._follow(self.term, -1, now_ns)
            else:
                self._beat()
        elif now_ns >= self._deadline_ns:
            self._campaign(now_ns, token)

    def _campaign(self, now_ns: int, token: int) -> None:
        self.term, self.vote, self.role, self.leader = self.term + 1, self.me, "candidate", -1
        self._votes = {self.me: None}
        self.wait(now_ns)
        last_term = self.log[-1].term if self.log else 0
        ask = Ask(self.shard, self.term, len(self.log), last_term)
        self._persist_term(token, *(self._send(member, ask) for member in self.others), self._ballot(self.me))
        if not self.others:
            self._lead(now_ns, token + 1)

    def on_ask(self, src: int, ask: Ask, now_ns: int, token: int) -> None:
        rules = self._rules
        if ask.term > self.term and self.role != "primary":
            self._follow(ask.term, -1, now_ns, heard=False)
        elif ask.term > self.term:
            self._follow(ask.term, -1, now_ns)
        mine = (self.log[-1].term if self.log else 0, len(self.log))
        fresh = (ask.last_term, ask.last) >= mine or not rules.vote_for_up_to_date_only
        free = self.vote in (-1, src) or not rules.one_vote_per_term
        granted = ask.term == self.term and fresh and free and self.role != "primary"
        if granted:
            self.vote = src
            self.wait(now_ns)
        answer = [self._send(src, Vote(self.shard, self.term, granted)), *([self._ballot(src)] if granted else [])]
        if rules.vote_durable_before_sent:
            self._persist_term(token, *answer)
        else:
            self.out += answer
        if granted:
            self.out.append(Step("voted"))

    def on_vote(self, src: int, vote: Vote, now_ns: int, token: int) -> None:
        if vote.term > self.term:
            self._follow(vote.term, -1, now_ns)
        elif self.role == "candidate" and vote.term == self.term and vote.granted:
            self._votes[src] = None
            if len(self._votes) > len(self.members) // 2:
                self._lead(now_ns, token)

    def _lead(self, now_ns: int, token: int) -> None:
        self.role, self.leader, self.serving = "primary", self.me, False
        self._next = dict.fromkeys(self.others, len(self.log) + 1)
        self._match = dict.fromkeys(self.others, 0)
        self._heard = dict.fromkeys(self.others, now_ns)
        if not self._rules.serve_after_own_entry:
            self._serve()
        self.propose(make_entry(self.term, "noop"), token)
        self._beat()

    def _serve(self) -> None:
        self.serving = True
        self.out.append(BecamePrimary(self.shard, self.term))

    def _follow(self, term: int, leader: int, now_ns: int, *, heard: bool = True) -> None:
        if term > self.term:
            self.term, self.vote = term, -1
        if self.role == "primary":
            self.out.append(Sometimes("a primary yielded"))
        self.role, self.leader, self.serving = "follower", leader, False
        if heard:
            self.wait(now_ns)

    # -- appending ------------------------------------------------------------------------------------------------------------

    def propose(self, entry: Entry, token: int) -> None:
        self._write(len(self.log) + 1, (entry,), token)
        for member in self.others:
            self._feed(member)
        if not self._rules.commit_by_majority or not self.others:
            self._advance()

    def _feed(self, member: int) -> None:
        """Send what ``member`` lacks, believing that what was sent arrives."""
        first = self._next[member]
        entries = tuple(self.log[first - 1 : first - 1 + BATCH_MAX])
        previous_term = self.log[first - 2].term if first > 1 else 0
        self.out.append(self._send(member, Append(self.shard, self.term, first - 1, previous_term, entries, self.commit)))
        self._next[member] = first + len(entries)

    def _beat(self) -> None:
        for member in self.others:
            self._feed(member)

    def on_append(self, src: int, append: Append, now_ns: int, token: int) -> None:
        if append.term < self.term:
            self.out.append(self._send(src, Acked(self.shard, self.term, 0, True)))
            return
        if append.term > self.term or self.role != "follower" or self.leader != src:
            self._follow(append.term, src, now_ns)
        self.wait(now_ns)
        previous = append.previous
        fits = previous <= len(self.log) and (previous == 0 or self.log[previous - 1].term == append.previous_term)
        if not fits and (self._rules.append_must_fit or previous > len(self.log)):
            self.out.append(Sometimes("an append did not fit"))
            self.out.append(self._send(src, Acked(self.shard, self.term, min(previous - 1, len(self.log)), True)))
            return
        first = previous + 1
        fresh = list(append.entries)
        while fresh and first <= len(self.log) and self.log[first - 1].term == fresh[0].term:
            first, fresh = first + 1, fresh[1:]
        matched = previous + len(append.entries)
        ack = self._send(src, Acked(self.shard, self.term, matched))
        if fresh:
            if first <= len(self.log):
                self.out.append(Sometimes("an uncommitted suffix was truncated"))
                if first <= self.commit:
                    return  # never in the right protocol; in a broken one the judge sees both logs
            if self._rules.ack_after_durable:
                self._write(first, fresh, token, ack)
            else:
                self._write(first, fresh, token)
                self.out.append(ack)
        elif matched > self._durable and self._rules.ack_after_durable:
            self._persist_term(token, ack)  # writes become durable in order: this one after those that were waiting
        else:
            self.out.append(ack)
        self._commit_to(min(append.commit, matched))

    def on_acked(self, src: int, acked: Acked, now_ns: int) -> None:
        if acked.term > self.term:
            self._follow(acked.term, -1, now_ns)
            return
        if self.role != "primary" or acked.term < self.term:
            return
        self._heard[src] = now_ns
        if acked.refused:
            if not self._rules.resend_what_is_missing or acked.matched < self._match[src]:
                return  # the latter: a late message, or a disk that forgot what it had acknowledged
            self._next[src] = min(acked.matched, len(self.log)) + 1
            self._feed(src)
        elif acked.matched > self._match[src]:
            self._match[src] = acked.matched
            self._next[src] = max(self._next[src], acked.matched + 1)
            self._advance()

    def _advance(self) -> None:
        marks = sorted([self._durable, *self._match.values()], reverse=True)
        agreed = marks[len(self.members) // 2] if self._rules.commit_by_majority else len(self.log)
        if agreed > self.commit and self.log[agreed - 1].term == self.term:
            self._commit_to(agreed)

    def _commit_to(self, position: int) -> None:
        position = min(position, len(self.log))
        if position <= self.commit:
            return
        first = self.commit + 1
        self.out.append(Committed(self.shard, first, tuple(self.chains[first : position + 1])))
        self.commit = position
        once = self._rules.key_takes_effect_once
        for at in range(first, position + 1):
            entry = self.log[at - 1]
            executed, result, derived = self.state.apply(at, entry, once=once)
            if executed:
                self.out.append(Executed(self.shard, at, entry.worker, entry.key, result))
            self.just_applied.append((at, entry, result, derived))
        if self.role == "primary" and not self.serving and self.log[position - 1].term == self.term:
            self._serve()
