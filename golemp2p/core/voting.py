"""Elections: campaigning, voting, and the certificate that a won election leaves behind (S1, S2, S3, S7).

    campaign(now) --trial--> [quorum says it would] --term + 1, own vote durable--> RequestVote --> [quorum] --> certificate

Raft 5.2 and 5.4.1, and the thesis' 4.2.3 and 9.6. **Where it differs:** no election timeouts: the node decides who campaigns, and
when, from its failure detector, and a voter sticks to a primary which its *node* holds alive. A trial round first, so that a
campaign nobody will vote for raises no term and writes nothing. Votes are signed, and a voter must be an elector of the configuration
which the candidate states, not of its own: a voter to come may not have heard yet that it is one. It knows the candidate, at least
as a learner, or is shown how it became an elector.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from golemp2p.core.configuration import is_quorum
from golemp2p.core.evidence import newest_configuration
from golemp2p.core.leading import Leading
from golemp2p.core.replica_state import ReplicaState, Role
from golemp2p.model.messages_shard import AskPrimary, Refusal, RequestVote, ShardMessage, Voted
from golemp2p.model.replication import Election, Member


@dataclass(slots=True)
class Campaign:
    """``votes``: per elector, its signature (empty in a trial). ``shown``: electors that did not know the candidate and
    were shown its milestones. ``own_vote``: token of the write that makes it durable."""

    term: int
    trial: bool
    hand_over: bool
    request: RequestVote
    due_ns: int
    delay_ns: int
    votes: dict[Member, bytes] = field(default_factory=dict)
    refused: dict[Member, Refusal] = field(default_factory=dict)
    shown: dict[Member, None] = field(default_factory=dict)
    own_vote: int | None = None
    tries: int = 1


class Voting:
    __slots__ = ("_state",)

    def __init__(self, state: ReplicaState) -> None:
        self._state = state

    def campaign(self, now_ns: int, *, hand_over: bool = False) -> None:
        """Try to become primary. Does nothing where that cannot be right: damaged, no elector, primary already."""
        state = self._state
        if not self.may_campaign() or state.role is Role.PRIMARY:
            state.notice("campaign-refused", damaged=state.damaged)
            return
        state.step_down("campaign")
        alone = is_quorum(state.log.configuration, [self._self()])
        self._start(now_ns, trial=not (alone or hand_over), hand_over=hand_over)

    def may_campaign(self) -> bool:
        """Not while it is damaged. An elector may; or one that is leaving, as long as it does not know that its leaving is committed:
        it may be the only one whose log is up to date (thesis, 4.2.2)."""
        state = self._state
        log = state.log
        is_leaving = log.configuration_position > log.commit and state.me in log.configuration_before.electors
        return (state.is_elector or is_leaving) and not state.abstains

    def _self(self) -> Member:
        return self._state.known_as(self._state.log.configuration, self._state.me)

    def _start(self, now_ns: int, *, trial: bool, hand_over: bool) -> None:
        state = self._state
        log = state.log
        request = RequestVote(trial, hand_over, log.last_position, log.last_term, log.configuration, log.configuration_position)
        delay_ns = state.limits.vote_retry_ns
        campaign = Campaign(state.term + 1, trial, hand_over, request, now_ns + delay_ns, delay_ns)
        state.campaign = campaign
        if trial:
            campaign.votes[self._self()] = b""
            self._request(campaign)
            return
        state.term = campaign.term
        state.voted_for = state.me
        state.primary = None
        state.role = Role.CANDIDATE
        requests = [state.sending(member.public_key, request) for member in self._unheard(campaign)]
        if state.rules.vote_durable_first:
            campaign.own_vote = state.persist(requests)
        else:
            state.persist()
            state.effects.extend(requests)
            self._count(campaign, self._self(), state.notary.cast_vote(state.term, state.me.public_key), now_ns)

    def _unheard(self, campaign: Campaign) -> list[Member]:
        """Electors whose answer is open. Another store under this node's own key is one that it lost: nobody is there to answer."""
        own_key = self._state.me.public_key
        electors = campaign.request.configuration.electors
        refused = [m for m, refusal in campaign.refused.items() if refusal is not Refusal.PRIMARY_ALIVE]  # that one may change
        return [m for m in electors if m.public_key != own_key and m not in campaign.votes and m not in refused]

    def _request(self, campaign: Campaign) -> None:
        for member in self._unheard(campaign):
            request = self._showing(campaign) if member in campaign.shown else campaign.request
            self._state.send(member.public_key, request, term=campaign.term)

    def _showing(self, campaign: Campaign) -> RequestVote:
        return replace(campaign.request, milestones=self._state.log.milestones())

    def persisted(self, token: int, now_ns: int) -> None:
        state = self._state
        campaign = state.campaign
        if campaign is not None and campaign.own_vote is not None and token >= campaign.own_vote:
            campaign.own_vote = None
            self._count(campaign, self._self(), state.notary.cast_vote(state.term, state.me.public_key), now_ns)

    def requested(self, candidate: Member, term: int, body: RequestVote, now_ns: int) -> None:
        """Somebody wants to be primary of ``term``."""
        state = self._state
        candidate = state.known_as(body.configuration, candidate)
        key = candidate.public_key
        refusal = self._unwilling(candidate, body)
        if key == state.primary and term > state.term and state.leading is None:
            state.primary = None  # it asks for votes, so it leads no more
        if refusal is None and term > state.term and not body.trial:
            state.adopt(term, "higher-term")
        refusal = refusal or self._unable(candidate, term, body)
        if refusal is Refusal.PRIMARY_ALIVE and state.primary is not None and state.leading is None:
            state.send(state.primary, AskPrimary())
        if refusal is Refusal.NOT_A_MEMBER and state.leading is not None:
            state.leading.tell_outsider(candidate, now_ns)
        if refusal is not None or body.trial:
            whom = state.primary if refusal is Refusal.NOT_A_MEMBER and state.leading is None else None
            state.send(key, Voted(term, body.trial, refusal, b"", whom or b""))
            return
        state.voted_for = candidate
        vote = state.sending(key, Voted(term, False, None, state.notary.cast_vote(term, key)))
        if state.rules.vote_durable_first:
            state.persist([vote])
        else:
            state.persist()
            state.effects.append(vote)

    def _unwilling(self, candidate: Member, body: RequestVote) -> Refusal | None:
        """Reasons not even to look at the term."""
        state = self._state
        electors = body.configuration.electors
        own = state.log.configuration
        if state.abstains:
            return Refusal.DAMAGED
        if state.known_as(body.configuration, state.me) not in electors or state.log.is_blank:
            return Refusal.NOT_A_VOTER
        is_outdated = body.configuration_position <= state.log.configuration_position
        if candidate not in own.electors and (is_outdated or candidate not in electors or not self._is_known(candidate, body)):
            return Refusal.NOT_A_MEMBER
        is_primary = candidate.public_key == state.primary  # it was: it knows best that it is no more
        if state.rules.stickiness and not body.hand_over and not is_primary and state.holds_primary_alive():
            return Refusal.PRIMARY_ALIVE
        return None

    def _is_known(self, candidate: Member, body: RequestVote) -> bool:
        """Whether ``candidate``, no elector as far as this replica knows, may have become one: it is a learner, or shows its group's
        milestones. Else whoever asks with a configuration of its own making would be voted for."""
        state = self._state
        if candidate in state.log.configuration.members or not state.rules.verify_election:
            return True
        return candidate in newest_configuration(state, body).electors

    def _unable(self, candidate: Member, term: int, body: RequestVote) -> Refusal | None:
        state = self._state
        if term < state.term or (body.trial and term == state.term):
            return Refusal.OLD_TERM
        if state.rules.up_to_date_vote and (body.last_term, body.last_position) < state.log.last:
            return Refusal.BEHIND
        has_voted = state.voted_for is not None and state.voted_for != candidate
        if state.rules.vote_once and not body.trial and has_voted:
            return Refusal.VOTED
        return None

    def voted(self, sender: Member, message: ShardMessage, body: Voted, now_ns: int) -> None:
        state = self._state
        campaign = state.campaign
        if campaign is None or (body.term, body.trial) != (campaign.term, campaign.trial):
            return
        voter = state.known_as(campaign.request.configuration, sender)
        if voter not in campaign.request.configuration.electors:
            return
        if body.refusal is Refusal.NOT_A_MEMBER and voter not in campaign.shown:
            campaign.shown[voter] = None
            state.send(voter.public_key, self._showing(campaign), term=campaign.term)
            return
        if body.refusal is not None:
            campaign.refused[voter] = body.refusal
            if body.primary and body.primary != state.me.public_key:
                state.send(body.primary, AskPrimary())
            outside = [member for member, refusal in campaign.refused.items() if refusal is Refusal.NOT_A_MEMBER]
            state.outcast = state.outcast or is_quorum(campaign.request.configuration, outside)
            if campaign.trial and message.term >= campaign.term:
                state.adopt(message.term, "higher-term")  # so that the next campaign is in a term not used yet
            return
        key = state.me.public_key
        is_genuine = body.trial or state.notary.is_vote(campaign.term, key, voter.public_key, body.signature)
        if is_genuine or not state.rules.verify_signature:
            self._count(campaign, voter, body.signature, now_ns)

    def _count(self, campaign: Campaign, voter: Member, signature: bytes, now_ns: int) -> None:
        state = self._state
        campaign.votes[voter] = signature
        if not is_quorum(campaign.request.configuration, campaign.votes):
            return
        if campaign.trial:
            self._start(now_ns, trial=False, hand_over=campaign.hand_over)
            return
        electors = campaign.request.configuration.electors
        votes = tuple(sorted((member, vote) for member, vote in campaign.votes.items() if member in electors))
        state.campaign = None
        state.role = Role.PRIMARY
        state.primary = state.me.public_key
        state.leading = Leading(state)
        state.leading.open_term(Election(self._self(), campaign.request.configuration, votes), now_ns)

    def next_due_ns(self) -> int | None:
        """When to ask again those who did not answer; ``None`` when there is nobody to ask."""
        campaign = self._state.campaign
        if campaign is None or campaign.own_vote is not None:
            return None
        return campaign.due_ns

    def on_time(self, now_ns: int) -> None:
        state = self._state
        campaign = state.campaign
        if campaign is None or campaign.own_vote is not None or now_ns < campaign.due_ns:
            return
        if campaign.tries >= state.limits.campaign_tries_max or not self._unheard(campaign):
            state.notice("campaign-failed", votes=len(campaign.votes), trial=campaign.trial)
            state.step_down("campaign-failed")
            return
        campaign.tries += 1
        campaign.delay_ns = min(2 * campaign.delay_ns, state.limits.retry_max_ns)
        campaign.due_ns = now_ns + campaign.delay_ns
        self._request(campaign)
