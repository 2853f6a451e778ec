"""What a primary does, from winning its election until it steps down: append, commit, change members, hand over.

    Election appended --committed--> SERVING <--majority lost, regained--> stopped
                                     SERVING --hand_over(target)--> stopped --target up to date--> TakeOver

Raft 5.3, 5.4.2; thesis 3.10 (leadership transfer), 4.3 (joint consensus), 10.2.1 (own disk in parallel with the followers') and
10.2.2 (pipelining). **Where it differs:** no heartbeats; followers learn the commit position with the next append, and when there is
none for a moment, by an empty one: then they say that they know, and nobody says anything any more. A timer runs only while
something sent is unanswered, or something committed untold, by a peer that is held alive; what cannot be sent to a suspected peer waits
for ``peer_alive``. A primary that had lost its majority commits an entry before it serves again: another may have been elected.
"""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p.core.configuration import final_configuration, is_quorum, next_configuration, quorum_position
from golemp2p.core.progress import Progress
from golemp2p.core.replica_effects import StartServing, StopServing
from golemp2p.core.replica_state import ReplicaState
from golemp2p.errors import InvalidState
from golemp2p.model.messages_shard import Append, Appended, Offer, TakeOver
from golemp2p.model.replication import Branch, Configuration, Content, Election, Entry, LogSegment, Member, NoOp

UNTOLD_MAX = 8
"""Removed members that are still to be told so: as many as one change removes, and some to spare."""


class Leading:
    """``is_serving``: guests may run and answer. ``progress``: of every other member."""

    __slots__ = ("_in_doubt", "_opened_at", "_state", "_transfer", "_transfer_due_ns", "is_serving", "progress")

    def __init__(self, state: ReplicaState) -> None:
        self._state = state
        self._opened_at = state.log.last_position + 1
        self._in_doubt = False  # the majority was lost since the entry at _opened_at
        self._transfer: Member | None = None
        self._transfer_due_ns = 0
        self.is_serving = False
        self.progress: dict[Member, Progress] = {}

    # -- appending

    def open_term(self, content: Election | Branch, now_ns: int) -> None:
        """The first entry of the term; with it the logs of the others are brought in line."""
        next_position = self._state.log.last_position + 1
        self.add(content)
        for progress in self.progress.values():
            progress.next, progress.wants_base = next_position, False
        self._refresh("")
        self.flush(now_ns)

    def resume(self) -> None:
        """Go on under a term of an earlier life: what S7 forbids. Only a simulation with that rule off comes here."""
        self._opened_at = self._state.log.last_position
        self._track()
        for progress in self.progress.values():
            progress.next, progress.wants_base = self._opened_at + 1, False
        self._refresh("")

    def add(self, content: Content) -> int:
        """Queue ``content`` for the next ``flush``. Returns its position."""
        state = self._state
        log = state.log
        position = log.last_position + 1
        author = state.me.public_key
        signs_itself = content.__class__ in (LogSegment, Election, Branch)
        if content.__class__ is LogSegment:
            assert (content.author, content.term) == (author, state.term), "a primary writes in its own name and term"
        entry_hash = state.notary.entry_hash(position, state.term, log.last_hash, author, content)
        signature = b"" if signs_itself else state.notary.sign_entry(entry_hash)
        if content.__class__ is Configuration:
            self._meet(content, log.configuration)
        log.append(Entry(position, state.term, log.last_hash, author, content, signature, entry_hash))
        if content.__class__ is not LogSegment:
            self._track()
        if content.__class__ is Configuration:
            self._refresh("no-majority")
        return position

    def _track(self) -> None:
        """Follow the members of the newest configuration; and those whom it removes, until they know that it is committed. Not those
        under this node's own key: itself, and a store that it lost."""
        state = self._state
        log = state.log
        members = log.configuration.members
        if log.configuration_position > log.commit:
            members += log.configuration_before.members
        untold = [member for member, progress in self.progress.items() if self._is_untold(progress)]
        members = tuple(dict.fromkeys((*members, *untold[-UNTOLD_MAX:])))
        delay_ns = state.limits.retry_ns
        self.progress = {
            member: self.progress.get(member) or Progress(log.last_position + 1, delay_ns, wants_base=True)
            for member in members
            if member.public_key != state.me.public_key
        }

    def _meet(self, configuration: Configuration, before: Configuration) -> None:
        """Whoever joins is new: if it was a member once, it may have dropped all it had (S9)."""
        for member in configuration.members:
            if member not in before.members:
                self.progress.pop(member, None)

    def _is_untold(self, progress: Progress) -> bool:
        reached = progress.match > 0 or progress.asked
        return reached and not progress.is_gone and progress.commit < self._state.log.configuration_position

    def tell_outsider(self, member: Member, now_ns: int) -> None:
        """Somebody who is no member any more asks whether this is its primary, or for votes: bring it as far as the configuration that
        says so."""
        state = self._state
        if member in state.log.configuration.members:
            return
        progress = self.progress.get(member) or Progress(state.log.last_position + 1, state.limits.retry_ns)
        progress.rewind()
        progress.commit, progress.asked, progress.wants_proof, progress.is_gone = 0, True, True, False
        self.progress[member] = progress
        self._track()
        if member in self.progress:
            self._ship(member, progress, now_ns)
            self._remind(member, progress, now_ns)

    def flush(self, now_ns: int) -> None:
        """Ship everything queued: one durable write here, one append per follower, as far as their windows go."""
        state = self._state
        log = state.log
        if log.last_position > state.written_position:
            state.persist(entries=tuple(log.between(state.written_position + 1, log.last_position + 1)))
        for member, progress in self.progress.items():
            self._ship(member, progress, now_ns)

    def _ship(self, member: Member, progress: Progress, now_ns: int) -> None:
        state = self._state
        log = state.log
        limits = state.limits
        if not self._is_spoken_to(member, progress):
            return
        if progress.wants_base or progress.next <= log.base.position:
            progress.wants_base = True
            if not progress.offered:
                progress.offered = True
                state.send(member.public_key, Offer(log.base, log.milestones(after=log.base.position)))
                progress.arm(now_ns)
            return
        window = 1 if progress.probing else limits.appends_in_flight_max
        while progress.next <= state.written_position and len(progress.in_flight) < window:
            first = progress.next
            count = min(limits.append_entries_max, state.written_position + 1 - first)
            entries = log.stretch(first, count, limits.append_bytes_max)
            self._send(member, progress, first - 1, entries)
            progress.sent(first, first + len(entries) - 1, now_ns)

    def _send(self, member: Member, progress: Progress, previous: int, entries: tuple[Entry, ...]) -> None:
        log = self._state.log
        milestones = log.milestones() if progress.wants_proof else ()
        append = Append(previous, log.term_at(previous), log.hash_at(previous), entries, log.commit, milestones)
        self._state.send(member.public_key, append)

    # -- committing

    def appended(self, sender: Member, answer: Appended, now_ns: int) -> None:
        state = self._state
        limits = state.limits
        member = state.known_as(state.log.configuration, sender)
        self._note_store(member)
        progress = self.progress.get(member)
        if progress is None or answer.position > state.log.last_position:
            return  # nobody holds more of a term than its primary
        progress.damaged = answer.damaged
        progress.commit = answer.commit
        if answer.refusal is None:
            progress.accepted(answer.position, now_ns, limits.retry_ns)
        else:
            progress.refused(answer)
            if progress.violations == limits.violations_max and progress.in_flight:
                self._give_up(member, progress, now_ns)
        self.advance(now_ns)
        if state.leading is not self:
            return
        if member not in state.log.configuration.members and not self._is_untold(progress):
            self._track()
        else:
            self._ship(member, progress, now_ns)
            self._remind(member, progress, now_ns)
        if member == self._transfer and answer.refusal is None:  # a refusal may be its answer to being told to take over
            self._take_over()

    def outran(self, member: Member) -> None:
        """A removed member is in a higher term, which it reached in vain: it listens no more, so it is told nothing."""
        progress = self.progress.get(member)
        if progress is not None:
            progress.is_gone = True
            self._track()

    def _give_up(self, member: Member, progress: Progress, now_ns: int) -> None:
        """It refuses whatever it is sent: one of us is broken. If a majority refuses, it is this primary, and another may do better."""
        state = self._state
        state.notice("follower-given-up", peer=member.public_key)
        progress.rewind()
        progress.due_ns = now_ns + state.limits.given_up_ns
        limit = state.limits.violations_max
        left = [m for m, p in self.progress.items() if p.violations < limit]
        if not is_quorum(state.log.configuration, [state.known_as(state.log.configuration, state.me), *left]):
            state.step_down("refused")

    def _owes(self, member: Member, progress: Progress) -> bool:
        """Whether this follower is to be told what is committed."""
        log = self._state.log
        is_known = progress.match > 0 or progress.asked
        is_behind = is_known and progress.commit < log.commit and log.base.position < progress.next
        return is_behind and self._is_spoken_to(member, progress)

    def _is_spoken_to(self, member: Member, progress: Progress) -> bool:
        """Not who is suspected, or lost its store; nor who refuses all it is sent, as one of us is broken: it is asked seldom."""
        state = self._state
        is_refusing = progress.violations >= state.limits.violations_max
        return not progress.is_gone and not is_refusing and member.public_key not in state.suspected

    def _remind(self, member: Member, progress: Progress, now_ns: int) -> None:
        """If nothing is under way that tells it what is committed, tell it in a moment."""
        if progress.due_ns is None and self._owes(member, progress):
            progress.due_ns = now_ns + self._state.limits.tell_ns

    def _note_store(self, member: Member) -> None:
        """A node has one store at a time: whatever it had under another id is lost (S9)."""
        for other, progress in self.progress.items():
            if other == member:
                progress.is_gone = False
            elif other.public_key == member.public_key and not progress.is_gone:
                progress.due_ns = None
                self._state.notice("store-replaced", peer=other.public_key, store_id=other.store_id)
                progress.is_gone = True

    def advance(self, now_ns: int) -> None:
        """Commit what a quorum holds durably, by way of an entry of this term (S5)."""
        state = self._state
        log = state.log
        if log.commit == log.last_position:
            return
        positions = {member: progress.match for member, progress in self.progress.items() if not progress.damaged}
        positions[state.known_as(log.configuration, state.me)] = state.durable_position
        position = quorum_position(log.configuration, positions)
        if position <= log.commit or (state.rules.own_term_commit and log.term_at(position) != state.term):
            return
        is_new = log.commit < log.configuration_position  # or a joint one inherited from the primary before
        has_configuration = (is_new or log.configuration.is_joint) and log.configuration_position <= position
        state.commit(position)
        self._refresh("")
        for member, progress in self.progress.items():
            self._remind(member, progress, now_ns)
        if has_configuration:
            self._configured(now_ns)

    def _configured(self, now_ns: int) -> None:
        """The newest configuration is committed: on to the next step, or tell everyone."""
        state = self._state
        log = state.log
        if log.configuration.is_joint:
            self.add(final_configuration(log.configuration))
            self.flush(now_ns)
            return
        for member, progress in self.progress.items():
            if not progress.wants_base and progress.next > log.base.position:
                self._send(member, progress, progress.next - 1, ())
        self._track()
        self._confirm(now_ns)
        if not state.is_elector:
            heir = max(log.configuration.voters, key=lambda voter: self.progress[voter].match)
            state.send(heir.public_key, TakeOver())
            state.step_down("removed")

    # -- serving

    def _refresh(self, reason: str) -> None:
        """Start or stop serving, whichever is due. S7: not before the own election is committed. S10: not without a majority."""
        state = self._state
        is_open = state.log.commit >= self._opened_at or not state.rules.serve_after_election_commit
        has_majority = state.has_live_majority() or not state.rules.stop_without_majority
        self._in_doubt = (self._in_doubt or not has_majority) and state.rules.confirm_regained_majority
        may_serve = is_open and has_majority and not self._in_doubt and self._transfer is None
        if may_serve and not self.is_serving:
            state.effects.append(StartServing(state.shard, state.term))
        elif self.is_serving and not may_serve:
            state.effects.append(StopServing(state.shard, reason))
        self.is_serving = may_serve

    def _confirm(self, now_ns: int) -> None:
        """The majority is back: commit an entry before serving again, since another primary may have been elected meanwhile."""
        if self._in_doubt and self._state.has_live_majority():
            self._in_doubt = False
            self._opened_at = self.add(NoOp())
            self.flush(now_ns)

    def liveness_changed(self, peer: bytes, now_ns: int) -> None:
        """``peer`` was just suspected, or is alive (again): then what was under way to it counts as lost."""
        self._refresh("no-majority")
        for member, progress in self.progress.items():
            if member.public_key == peer:
                progress.violations = 0
                progress.is_gone = False  # a late message of an old store may have said so of the one that is there
                progress.rewind()
                progress.delay_ns = self._state.limits.retry_ns
                progress.commit = 0  # it may have started anew: then it knows neither that nor who is primary
                self._ship(member, progress, now_ns)
                self._remind(member, progress, now_ns)
        self._confirm(now_ns)

    def end(self, reason: str) -> None:
        if self.is_serving:
            self._state.effects.append(StopServing(self._state.shard, reason))
        self.is_serving = False

    # -- members

    def change(self, voters: Sequence[Member], learners: Sequence[Member], now_ns: int) -> int:
        """Begin a change of members (S8). Returns the position of the configuration it begins with.

        Raises ``InvalidState``: a change is under way, this primary has not committed its election, a voter to come has not
        caught up as a learner, the sizes are not allowed, or no majority of the voters to come is held alive: what they cannot commit,
        nobody can take back.
        """
        state = self._state
        log = state.log
        if log.commit < max(self._opened_at, log.configuration_position):
            raise InvalidState("the election or the last change of members is not committed yet")
        if state.rules.learner_before_voter:
            for voter in voters:
                if voter not in log.configuration.electors and not self.is_caught_up(voter):
                    raise InvalidState(f"{voter.public_key.hex()} has not caught up as a learner")
        changed = next_configuration(log.configuration, voters, learners, joint=state.rules.joint_consensus)
        if not is_quorum(changed, [member for member in changed.electors if member.public_key not in state.suspected]):
            raise InvalidState("too few of the voters to come are held alive")
        position = self.add(changed)
        self.flush(now_ns)
        return position

    def is_caught_up(self, member: Member) -> bool:
        """Whether ``member`` is a learner that holds everything committed."""
        state = self._state
        progress = self.progress.get(member)
        is_learner = member in state.log.configuration.learners
        return is_learner and progress is not None and not progress.damaged and progress.match >= state.log.commit

    def hand_over(self, target: bytes, now_ns: int) -> None:
        """Stop serving, bring ``target`` up to date and have it campaign. Called off if it does not in time.

        Raises ``InvalidState``: it is no other voter, or is suspected, or a hand-over is under way.
        """
        state = self._state
        voters = state.log.configuration.electors
        member = next((m for m in self.progress if m in voters and m.public_key == target), None)
        if member is None or target in state.suspected or self._transfer is not None:
            raise InvalidState("a shard is handed to another live voter, once at a time")
        self._transfer = member
        self._transfer_due_ns = now_ns + state.limits.hand_over_ns
        self._refresh("hand-over")
        self.flush(now_ns)
        self._take_over()

    def is_answered_by(self, target: bytes) -> bool:
        """Whether this voter takes what it is sent, in time: one that lives, and whose disk does not write, does not."""
        state = self._state
        return any(
            member.public_key == target and progress.delay_ns <= state.limits.retry_ns and not progress.damaged
            for member, progress in self.progress.items()
            if member in state.log.configuration.electors
        )

    @property
    def is_handing_over(self) -> bool:
        return self._transfer is not None

    def _take_over(self) -> None:
        """Tell it to, if it is up to date. If that gets lost, or it cannot, the hand-over is called off in time."""
        target = self._transfer
        if target is None or target not in self.progress:
            return
        if self.progress[target].match == self._state.log.last_position:
            self._state.send(target.public_key, TakeOver())

    # -- time

    def next_due_ns(self) -> int | None:
        suspected = self._state.suspected
        soonest_ns = None if self._transfer is None else self._transfer_due_ns
        for member, progress in self.progress.items():  # asked after every message: no lists are made
            due_ns = progress.due_ns
            if due_ns is not None and (soonest_ns is None or due_ns < soonest_ns) and member.public_key not in suspected:
                soonest_ns = due_ns
        return soonest_ns

    def on_time(self, now_ns: int) -> None:
        limits = self._state.limits
        if self._transfer is not None and now_ns >= self._transfer_due_ns:
            self._transfer = None
            self._refresh("")
        for member, progress in self.progress.items():
            due_ns = progress.due_ns
            if due_ns is not None and now_ns >= due_ns:
                progress.rewind()
                progress.violations = min(progress.violations, limits.violations_max - 1)
                progress.delay_ns = min(2 * progress.delay_ns, limits.retry_max_ns)
                self._ship(member, progress, now_ns)
                if progress.due_ns is None and self._owes(member, progress):
                    self._send(member, progress, progress.next - 1, ())
                    progress.arm(now_ns)
