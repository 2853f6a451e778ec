"""What a follower does with appends: check, keep, acknowledge when durable (S4). Raft 5.3.

behind, or no match at previous_position     -> refused, with the last position that might match
held already                                 -> acknowledged (again)
conflict right of the commit position        -> the suffix is truncated, the entries are taken
conflict left of it, or a broken entry       -> refused: the sender broke the protocol; what is committed stays
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from golemp2p.core.entry_check import differs, violation
from golemp2p.core.replica_state import ReplicaState
from golemp2p.model.messages_shard import Append, Appended, Refusal
from golemp2p.model.replication import Entry


class Following:
    __slots__ = ("_state",)

    def __init__(self, state: ReplicaState) -> None:
        self._state = state

    def append(self, primary: bytes, body: Append) -> None:
        """An append of the primary of this replica's term."""
        state = self._state
        log = state.log
        previous = body.previous_position
        if log.is_blank:
            self._refuse(primary, body, Refusal.BLANK, 0)
        elif previous > log.last_position:
            self._refuse(primary, body, Refusal.BEHIND, log.last_position)
        elif previous < log.base.position:
            held = log.base.position - previous  # what the base covers is committed, and so the same everywhere
            self._take(primary, body, body.entries[held:])
        elif log.term_at(previous) != body.previous_term or differs(log.hash_at(previous), body.previous_hash, state.rules):
            if previous <= log.commit:
                self._violated(primary, body, "committed")
            else:
                self._refuse(primary, body, Refusal.CONFLICT, max(log.commit, log.first_of_term(previous) - 1))
        else:
            self._take(primary, body, body.entries)

    def _take(self, primary: bytes, body: Append, entries: Sequence[Entry]) -> None:
        state = self._state
        log = state.log
        changes: dict[str, Any] = {}
        added: list[Entry] = []
        broken = None
        expected = max(body.previous_position, log.base.position) + 1
        for entry in entries:
            broken = "gap" if entry.position != expected else None
            if broken is None and entry.position <= log.last_position and self._is_held(entry):
                expected += 1
                continue
            broken = broken or self._broken(entry)
            if broken is not None:
                break
            if entry.position <= log.last_position:
                state.truncate(entry.position)
                changes["truncate_from"] = entry.position
            log.append(entry)
            added.append(entry)
            expected += 1
        if added:
            changes["entries"] = tuple(added)
        state.check_repaired()
        if broken is not None:
            if changes:
                state.persist(**changes)
            self._violated(primary, body, broken)
            return
        end = max(expected - 1, body.previous_position + len(body.entries))
        commit = min(body.commit, end)
        self.acknowledge(primary, end, commit, **changes)
        state.commit(commit)

    def _is_held(self, entry: Entry) -> bool:
        held = self._state.log.entry(entry.position)
        return held.term == entry.term and not differs(held.hash, entry.hash, self._state.rules)

    def _broken(self, entry: Entry) -> str | None:
        """Why ``entry`` may not be taken, in place of what is held there if something is."""
        state = self._state
        log = state.log
        if entry.position <= log.last_position:
            if entry.position <= log.commit and state.rules.truncate_only_uncommitted:
                return "committed"
            if log.term_at(entry.position) == entry.term:
                return "equivocation"
        return violation(entry, log, state.notary, state.rules)

    def acknowledge(self, primary: bytes, position: int, commit: int, **changes: Any) -> None:
        """Make ``changes`` durable, then say that everything up to ``position`` is, and that what is committed up to ``commit`` is
        known to be."""
        state = self._state
        known = max(commit, state.log.commit)
        answer = state.sending(primary, Appended(position, None, state.log.last_position, state.abstains, known))
        if not changes and state.durable_position >= min(position, state.log.last_position):
            state.effects.append(answer)
        elif state.rules.durable_before_ack:
            state.persist([answer], **changes)
        else:
            state.persist(**changes)
            state.effects.append(answer)

    def _refuse(self, primary: bytes, body: Append, refusal: Refusal, hint: int) -> None:
        state = self._state
        state.send(primary, Appended(body.previous_position, refusal, hint, state.abstains, state.log.commit))

    def _violated(self, primary: bytes, body: Append, reason: str) -> None:
        self._state.notice("protocol-violation", peer=primary, reason=reason, position=body.previous_position)
        self._refuse(primary, body, Refusal.VIOLATION, self._state.log.commit)
