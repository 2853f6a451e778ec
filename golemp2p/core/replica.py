"""One replica of one shard: Raft without timers (ARCHITECTURE 4, S0-S11). The whole of it, seen from outside.

                     campaign(now)              quorum of votes
      FOLLOWER ----------------------> CANDIDATE ----------------> PRIMARY --election committed--> serving
         ^  ^ ------ higher term, or a primary of this term ---------' |
         '---------------- higher term, removed -----------------------'

Ongaro and Ousterhout 2014, Ongaro's thesis. **Where it differs**: no election timeout and no heartbeat. The node's failure
detector tells every replica about peers (``peer_suspected``, ``peer_alive``) and decides who campaigns; an idle shard has no timer
and sends nothing. Votes leave a signed certificate in the log. Entries are hash-chained and signed. Votes and acknowledgements name
the store, so that a disk that lost data is another member. After a restart a replica is a follower in any case (S7).

    voting     elections           following   taking appends        leading   the primary's duties      catch_up   manifests
    log        entries, commit     state       shared facts, effects  durable   what storage holds

Calls return effects, to be carried out in order (``core.effects``, ``core.replica_effects``). Peers are 32-byte public keys; the
caller has authenticated the sender of each message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from golemp2p.core.catch_up import CatchUp
from golemp2p.core.effects import Effect
from golemp2p.core.entry_check import intact
from golemp2p.core.evidence import is_primary
from golemp2p.core.following import Following
from golemp2p.core.forced_recovery import give_way, recover_by_force
from golemp2p.core.leading import Leading
from golemp2p.core.notary import Notary
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.core.replica_rules import Limits, Rules
from golemp2p.core.replica_source import Source
from golemp2p.core.replica_state import ReplicaState, Role
from golemp2p.core.voting import Voting
from golemp2p.errors import InvalidState
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import (
    Append,
    Appended,
    AskPrimary,
    FetchedSegments,
    FetchManifest,
    FetchSegments,
    ManifestPage,
    Offer,
    Refusal,
    RequestVote,
    Resigned,
    ShardMessage,
    TakeOver,
    Voted,
)
from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import BLANK_BASE, Branch, Configuration, Deletion, Entry, Head, LogSegment, Member, NoOp

DEFAULT_RULES = Rules()
DEFAULT_LIMITS = Limits()


class Replica:
    """``durable`` is what storage holds, read and not changed here. Entries that do not chain are taken for damage: cut if they are
    above the durable high-water mark (a torn tail), else the replica abstains until it is repaired (S9)."""

    __slots__ = ("_catch_up", "_following", "_source", "_state", "_voting")

    def __init__(
        self,
        shard: int,
        me: Member,
        durable: ReplicaDurable,
        notary: Notary,
        *,
        rules: Rules = DEFAULT_RULES,
        limits: Limits = DEFAULT_LIMITS,
        suspected: Iterable[bytes] = (),
    ) -> None:
        log = ReplicaLog(durable.base, durable.heads, intact(durable.base, durable.entries, notary), durable.record.commit)
        state = ReplicaState(shard, me, durable, notary, rules=rules, limits=limits, log=log)
        state.suspected = dict.fromkeys(suspected)
        self._state = state
        self._voting = Voting(state)
        self._following = Following(state)
        self._catch_up = CatchUp(state, self._following, durable.staged_heads())
        self._source = Source(state)
        if len(durable.entries) > len(log.entries):
            state.persist(truncate_from=log.last_position + 1)
        if not rules.new_term_after_restart and state.voted_for == me and log.author_at(log.last_position) == me.public_key:
            state.role, state.primary = Role.PRIMARY, me.public_key
            state.leading = Leading(state)
            state.leading.resume()

    # -- inputs: any replica

    def started(self) -> list[Effect]:
        """Effects of the construction; call it once, first."""
        return self._taken()

    def receive(self, sender: bytes, message: ShardMessage, now_ns: int) -> list[Effect]:
        """A message of the peer with public key ``sender``, for this shard."""
        state = self._state
        assert message.shard == state.shard, "a message for this shard"
        if message.branch != state.log.branch and not state.log.is_blank:
            state.notice("other-branch", peer=sender, branch=message.branch)
            return self._taken()
        state.branch_heard = message.branch
        body = message.body
        match body:
            case Append() | TakeOver() | Offer():
                self._heard_primary(sender, message, body, now_ns)
            case RequestVote():
                self._voting.requested(Member(sender, message.store_id), message.term, body, now_ns)
            case _:
                self._heard_member(Member(sender, message.store_id), message, now_ns)
        return self._taken()

    def persisted(self, token: int, now_ns: int) -> list[Effect]:
        """The write with this token, and so all before it, is durable."""
        state = self._state
        state.persisted(token)
        self._voting.persisted(token, now_ns)
        if state.leading is not None:
            state.leading.advance(now_ns)
        if state.log.base.branch != state.log.branch:
            state.compact(state.log.branch_position())  # newcomers to a branch start from a base of that branch
        return self._taken()

    def campaign(self, now_ns: int) -> list[Effect]:
        """The node wants this replica to be primary: nobody is, or who was is held dead. Refused with a notice where it cannot be.
        Calling it again starts over."""
        self._voting.campaign(now_ns)
        return self._taken()

    def peer_suspected(self, peer: bytes, now_ns: int) -> list[Effect]:
        """The node holds ``peer`` dead (S3, S10). Nothing is sent to it, except requests for votes, until ``peer_alive``."""
        state = self._state
        state.suspected[peer] = None
        if state.leading is not None:
            state.leading.liveness_changed(peer, now_ns)
        return self._taken()

    def peer_alive(self, peer: bytes, now_ns: int) -> list[Effect]:
        """The node holds ``peer`` alive: again, or through a new connection, so that what was under way to it may be lost."""
        state = self._state
        state.suspected.pop(peer, None)
        if state.leading is not None:
            state.leading.liveness_changed(peer, now_ns)
        elif state.abstains and not state.log.is_blank:
            last = state.log.last_position
            state.send(peer, Appended(last, Refusal.DAMAGED, last, True, state.log.commit))  # a primary repairs this replica
        return self._taken()

    def disown(self, peer: bytes) -> None:
        """``peer`` is not what it was (its store is another one): if this replica held it for the primary, it knows of none now."""
        state = self._state
        if state.primary == peer and state.leading is None:
            state.primary = None

    def ask_primary(self, peer: bytes | None = None) -> list[Effect]:
        """Ask ``peer``, or whom this replica holds for the primary, whether it is."""
        state = self._state
        whom = peer or state.primary
        if whom is not None and state.leading is None:
            state.send(whom, AskPrimary())
        return self._taken()

    def resign(self) -> list[Effect]:
        """Tell the electors that this replica, which cannot campaign, does not lead: they may hold it for the primary of this term from
        before a restart."""
        state = self._state
        if state.leading is None and not state.log.is_blank:
            for member in state.log.configuration.electors:
                if member.public_key != state.me.public_key:
                    state.send(member.public_key, Resigned(state.term))
        return self._taken()

    def repair(self, source: bytes, now_ns: int) -> list[Effect]:
        """Fetch the logs that storage found damaged from ``source``."""
        if self._state.damaged_logs:
            self._catch_up.repair(source, now_ns)
        return self._taken()

    def witnessed(self, term: int, high_water: tuple[int, int]) -> list[Effect]:
        """A peer proves that this store was further once: ``term``, and ``high_water`` as in ``ReplicaRecord``. An old disk image was
        restored; what it promised since is unknown, so it abstains until repaired and votes in no term up to that one."""
        state = self._state
        if term > state.term:
            state.adopt(term, "witnessed")
        if state.log.last < high_water:
            state.step_down("witnessed")
            state.damaged = True
            state.high_water = max(state.high_water, high_water)
            state.notice("store-went-back", high_water=high_water)
        state.voted_for = state.voted_for or state.me  # whatever it was, there is no second vote in this term
        state.persist()
        return self._taken()

    def compact(self, position: int) -> list[Effect]:
        """Keep of the entries up to ``position`` (at most the commit position) only the heads of the logs."""
        self._state.compact(position)
        return self._taken()

    def forget(self) -> list[Effect]:
        """The shard's data goes, after its members have removed this replica (``is_removed``). The record stays: should it be taken in
        again under the same store id, it abstains until it holds what it once acknowledged (S9). Else it could vote for a candidate of
        the old configuration that lacks what was committed without it. Nothing else may be called afterwards."""
        state = self._state
        assert self.is_removed, "a replica that its group has removed"
        state.step_down("removed")
        if not state.rules.record_outlives_removal:
            state.term, state.voted_for, state.high_water = 0, None, (0, 0)
            state.install(BLANK_BASE, {})
        state.persist(is_forgotten=True)
        return self._taken()

    def next_due_ns(self) -> int | None:
        """When ``on_time`` should be called; ``None`` for a replica with nothing under way."""
        leading = self._state.leading
        soonest_ns = None if leading is None else leading.next_due_ns()
        for due_ns in (self._voting.next_due_ns(), self._catch_up.next_due_ns()):
            if due_ns is not None and (soonest_ns is None or due_ns < soonest_ns):
                soonest_ns = due_ns
        return soonest_ns

    def on_time(self, now_ns: int) -> list[Effect]:
        state = self._state
        self._voting.on_time(now_ns)
        self._catch_up.on_time(now_ns)
        if state.leading is not None:
            state.leading.on_time(now_ns)
        return self._taken()

    # -- inputs: the primary

    def append(self, segments: Sequence[LogSegment]) -> int:
        """Queue segments, sealed by this node under ``term`` and continuing ``head`` of their logs; ``flush`` ships them. Returns the
        position of the last. Raises ``InvalidState`` when this replica is not serving."""
        leading = self._serving()
        return [leading.add(segment) for segment in segments][-1]

    def delete(self, log: Key) -> int:
        """Queue the end of a log. Returns its position. Raises ``InvalidState``."""
        leading = self._serving()
        if self._state.log.heads.head(log) is None:
            raise InvalidState(f"{log} is not in this shard")
        return leading.add(Deletion(log))

    def no_op(self) -> int:
        """Queue an entry that does nothing. Returns its position. Raises ``InvalidState``."""
        return self._serving().add(NoOp())

    def flush(self, now_ns: int) -> list[Effect]:
        """Ship what is queued: one durable write, one message per follower."""
        if self._state.leading is not None:
            self._state.leading.flush(now_ns)
        return self._taken()

    def change_members(self, voters: Sequence[Member], learners: Sequence[Member], now_ns: int) -> list[Effect]:
        """Change who votes and who learns (S8): learners are added and dropped at once, voters through a joint configuration.
        Raises ``InvalidState`` (see ``Leading.change``)."""
        self._serving().change(voters, learners, now_ns)
        return self._taken()

    def is_caught_up(self, member: Member) -> bool:
        """Whether ``member`` is a learner that may become a voter. Only a primary knows."""
        return self._state.leading is not None and self._state.leading.is_caught_up(member)

    def is_answered_by(self, target: bytes) -> bool:
        """Whether this replica is primary, and ``target`` a voter that takes in time what it is sent."""
        return self._state.leading is not None and self._state.leading.is_answered_by(target)

    def hand_over(self, target: bytes, now_ns: int) -> list[Effect]:
        """Make the voter ``target`` primary. Call it between invocations. Raises ``InvalidState``."""
        self._serving().hand_over(target, now_ns)
        return self._taken()

    def recover_by_force(self, order: Branch, now_ns: int) -> list[Effect]:
        """Go on alone from what this replica has, by an operator's ``order``, under a new branch name; the other replicas of the old
        history are not listened to any more. Raises ``InvalidState`` when the order does not fit this replica."""
        recover_by_force(self._state, order, now_ns)
        return self._taken()

    def give_way(self, order: Branch) -> list[Effect]:
        """To the survivor of a forced recovery: this replica is one of the old history. Its data goes, its record stays; nothing else
        may be called afterwards. Raises ``InvalidState`` when the order does not fit."""
        give_way(self._state, order)
        return self._taken()

    # -- questions

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def primary(self) -> bytes | None:
        """Public key of the primary of this term, as far as this replica knows. ``election`` is the newest proof."""
        return self._state.primary

    @property
    def election(self) -> Entry | None:
        """The newest election in the log, with its certificate, also when it is compacted away; ``None`` before the first."""
        return self._state.log.election()

    @property
    def is_serving(self) -> bool:
        return self._state.leading is not None and self._state.leading.is_serving

    @property
    def is_damaged(self) -> bool:
        return self._state.damaged

    @property
    def may_campaign(self) -> bool:
        """Whether it is an elector, or one that is leaving, and holds all it ever acknowledged."""
        return self._voting.may_campaign()

    @property
    def wants_repair(self) -> bool:
        """Whether ``repair`` should be called, with a source that is alive."""
        return bool(self._state.damaged_logs) and not self._catch_up.is_under_way

    @property
    def record(self) -> ReplicaRecord:
        """What outlives the replica when its group has removed it."""
        state = self._state
        return ReplicaRecord(state.term, state.voted_for, 0, state.high_water)

    @property
    def is_idle(self) -> bool:
        """Nothing under way: no timer, no message, no write."""
        return self.next_due_ns() is None and self._state.durable_position == self._state.log.last_position

    @property
    def is_removed(self) -> bool:
        """Whether a committed configuration has no place for this replica, which was a member before; or a quorum of the others told it
        so when it campaigned; or it cannot be told who leads, and has nothing that counts. Never of one that is damaged: it may have
        lost the configuration that names it; nor of one that is reading the history of its shard anew: it may come upon an earlier
        removal."""
        state = self._state
        if state.outcast or state.is_astray:
            return True
        log = state.log
        configuration = log.configuration
        if state.known_as(configuration, state.me) in configuration.voters:
            return False
        is_known = (
            not log.is_blank and not state.damaged and not state.is_expected() and log.configuration_position <= log.commit
        )
        return is_known and state.has_belonged() and state.known_as(configuration, state.me) not in configuration.members

    @property
    def commit_position(self) -> int:
        return self._state.log.commit

    @property
    def log(self) -> ReplicaLog:
        """To look at, not to change."""
        return self._state.log

    @property
    def configuration(self) -> Configuration:
        return self._state.log.configuration

    def suspects(self, peer: bytes) -> bool:
        return peer in self._state.suspected

    def head(self, log: Key) -> Head | None:
        """Where ``log`` ends, with everything queued: what the next segment must continue."""
        return self._state.log.heads.head(log)

    def applied_head(self, log: Key) -> Head | None:
        """Where ``log`` ends as far as it is committed."""
        return self._state.log.heads.head(log, at=self._state.log.commit)

    # -- inside

    def _taken(self) -> list[Effect]:
        effects, self._state.effects = self._state.effects, []
        return effects

    def _serving(self) -> Leading:
        leading = self._state.leading
        if leading is None or not leading.is_serving:
            raise InvalidState("this replica does not serve the shard")
        return leading

    def _heard_primary(self, sender: bytes, message: ShardMessage, body: Append | Offer | TakeOver, now_ns: int) -> None:
        """What only the primary of a term sends."""
        state = self._state
        if message.term < state.term:
            state.send(sender, Appended(_position_of(body), Refusal.OLD_TERM, 0, state.abstains, state.log.commit))
            return
        if not self._is_primary(sender, message.term, body):
            state.notice("unproven-primary", peer=sender, claimed=message.term)
            state.send(sender, Appended(_position_of(body), Refusal.UNPROVEN, 0, state.abstains, state.log.commit))
            if isinstance(body, Append | Offer) and body.milestones:
                state.lose_way()
            return
        if message.term > state.term:
            state.adopt(message.term, "higher-term")
        if state.primary not in (None, sender):
            state.notice("protocol-violation", peer=sender, reason="second-primary")
            return
        if state.role is Role.CANDIDATE or state.campaign is not None:
            state.step_down("elected-another")
        state.primary = sender
        if isinstance(body, Append):
            self._following.append(sender, body)
        elif isinstance(body, Offer):
            state.expect(body.milestones)
            self._catch_up.offered(sender, body.base, now_ns)
        else:
            self._voting.campaign(now_ns, hand_over=True)

    def _is_primary(self, sender: bytes, term: int, body: Append | Offer | TakeOver) -> bool:
        """Whether ``sender`` won ``term``, as far as this replica can tell. A blank one cannot, and believes whoever speaks first."""
        state = self._state
        if (state.primary, state.term) == (sender, term) or state.log.is_blank or not state.rules.verify_election:
            return True
        return is_primary(state, sender, term, body)

    def _heard_member(self, member: Member, message: ShardMessage, now_ns: int) -> None:
        """Answers and questions, of any replica. A higher term counts if its sender is a member as far as this replica knows."""
        state = self._state
        body = message.body
        if message.term > state.term and member in state.log.configuration.members:
            is_trial = isinstance(body, Voted) and body.trial  # promises nothing, moves nothing
            if not is_trial:
                state.adopt(message.term, "higher-term")
        leading = state.leading
        match body:
            case Appended() if leading is not None and (
                message.term == state.term or body.refusal in (Refusal.DAMAGED, Refusal.UNPROVEN)
            ):
                leading.appended(member, body, now_ns)
            case Voted():
                self._voting.voted(member, message, body, now_ns)
            case Appended() if leading is not None and message.term > state.term:
                leading.outran(member)
            case AskPrimary():
                if leading is None or message.term != state.term:
                    state.send(member.public_key, Resigned(message.term))
                if leading is not None:
                    leading.tell_outsider(member, now_ns)
            case Resigned():
                if state.primary == member.public_key and body.term == state.term:
                    state.primary = None
            case FetchManifest():
                self._source.manifest(member.public_key, body)
            case FetchSegments():
                self._source.segments(member.public_key, body)
            case ManifestPage():
                self._catch_up.page(member.public_key, body, now_ns)
            case FetchedSegments():
                self._catch_up.segments(member.public_key, body, now_ns)
            case _:
                pass


def _position_of(body: Append | Offer | TakeOver) -> int:
    """The position that an answer to ``body`` is about."""
    match body:
        case Append():
            return body.previous_position
        case Offer():
            return body.base.position
        case TakeOver():
            return 0
