"""Who led a shard in which term, as its milestones prove it: a walk from the founder of the mesh (S0) from election to election.

    {founder} --election, term 1--> configuration {A | B C} --> {A} x {A B C} --> {A B C} --election, term 2--> ...

An election proves its primary if a quorum of the configuration in force signed it; a configuration is in force if the primary of
its term signed it, and it is one step from the one before (S8). An operator's order (``Branch``) proves both at once.

Milestones may be missing: who caught up with a shard was told the newest ones only. What comes after a hole may all be genuine and
cannot be shown to follow; it is *not shown* then, until it leads back to a configuration that is. What no honest replica could have
written, whatever is missing, is *wrong*: hashes, signatures, votes, minorities, strangers.

``core.evidence`` asks the same of a message; here nothing is known beforehand, and everything is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p.core.configuration import is_quorum, is_step
from golemp2p.core.notary import Verifier
from golemp2p.model.history import Problems, Standing, TermShown
from golemp2p.model.replication import Branch, Configuration, Election, Entry, Member


class Lineage:
    """``founder``: public key. ``shard``: for the places in ``wrong`` and ``unshown``.

    ``configuration``: the newest that was named, in force or not; ``None`` before the first.
    """

    def __init__(self, founder: bytes, notary: Verifier, shard: int, wrong: Problems, unshown: Problems) -> None:
        self._founder = founder
        self._notary = notary
        self._shard = shard
        self._wrong = wrong
        self._unshown = unshown
        self._last: Entry | None = None
        self._terms: dict[int, TermShown] = {}
        self._shown: Configuration | None = None  # the newest that is shown to have been in force
        self.configuration: Configuration | None = None
        self.branches: list[Branch] = []
        self.configurations = 0

    def term(self, term: int) -> TermShown | None:
        return self._terms.get(term)

    def terms(self) -> Sequence[TermShown]:
        """In order."""
        return list(self._terms.values())

    def holds(self, node: bytes) -> bool:
        """Whether ``node`` is a member of the newest configuration, and that one is shown."""
        is_shown = self._shown is not None and self.configuration == self._shown
        return is_shown and any(member.public_key == node for member in (self._shown or Configuration(())).members)

    def add(self, entry: Entry) -> None:
        """Milestones in the order of the shard's log."""
        reason = self._misplaced(entry) or self._refusal(entry)
        if reason is not None:
            self._wrong.add(self._place(entry), reason)
            return
        self._last = entry
        match entry.content:
            case Election() as election:
                self._elected(entry, election)
            case Configuration() as configuration:
                self._configured(entry, configuration)
            case Branch() as branch:
                self._branched(entry, branch)

    # -- what holds for every milestone

    def _misplaced(self, entry: Entry) -> str | None:
        last = self._last
        if last is not None and (entry.position <= last.position or entry.term < last.term):
            return f"stands after position {last.position}, term {last.term}"
        opens_term = last is None or entry.term > last.term
        if isinstance(entry.content, Election | Branch) and not opens_term:
            return "another primary was known in this term"
        follows = last is not None and entry.position == last.position + 1
        if last is not None and follows and entry.previous_hash != last.hash:
            return "does not follow the entry before it: the previous hash differs"
        if entry.hash != self._notary.entry_hash(entry.position, entry.term, entry.previous_hash, entry.author, entry.content):
            return "does not match its hash"
        return None

    def _refusal(self, entry: Entry) -> str | None:
        match entry.content:
            case Election() as election:
                return self._not_elected(entry, election)
            case Configuration():
                known = self._terms.get(entry.term)
                if known is not None and known.primary != entry.author:
                    return f"written by {_short(entry.author)}, but {_short(known.primary)} led the term"
                if not self._notary.is_entry_signed(entry.hash, entry.signature, entry.author):
                    return "the signature is not its author's"
                return None
            case Branch() as branch:
                return self._not_ordered(entry, branch)
        return "is no milestone"

    def _not_elected(self, entry: Entry, election: Election) -> str | None:
        primary, electors = election.primary.public_key, election.configuration.electors
        if primary != entry.author:
            return f"names {_short(primary)}, and was written by {_short(entry.author)}"
        cast: list[Member] = []
        for voter, signature in election.votes:
            if voter not in electors or voter in cast:
                return f"a vote of a stranger, or a second vote: {_short(voter.public_key)}"
            if not self._notary.is_vote(entry.term, primary, voter.public_key, signature):
                return f"the vote of {_short(voter.public_key)} has not its signature"
            cast.append(voter)
        if not is_quorum(election.configuration, cast):
            return f"{len(cast)} of {len(electors)} votes are no majority"
        return None

    def _not_ordered(self, entry: Entry, branch: Branch) -> str | None:
        if not self._notary.is_branch_signed(branch):
            return "the order to go on alone is not signed by the operator of the mesh"
        if branch.survivor.public_key != entry.author:
            return f"orders {_short(branch.survivor.public_key)} to go on, and was written by {_short(entry.author)}"
        if (branch.last_position, branch.last_hash) != (entry.position - 1, entry.previous_hash):
            return "orders to go on from another entry than the one before it"
        return None

    # -- what it leads to

    def _elected(self, entry: Entry, election: Election) -> None:
        configuration = election.configuration
        is_birth = self.configuration is None and self._is_birth(configuration)
        if is_birth:
            self._shown = configuration
        standing = Standing.ELECTED if configuration == self._shown else Standing.UNSHOWN
        if standing is Standing.UNSHOWN and configuration != self.configuration:
            self._unshown.add(
                self._place(entry),
                f"elected by {_names(configuration)}; that they were to decide is not shown: what made them voters is missing",
            )
        self.configuration = configuration
        self._terms[entry.term] = TermShown(
            entry.term, entry.position, entry.author, standing, len(election.votes), len(configuration.electors)
        )

    def _is_birth(self, configuration: Configuration) -> bool:
        """Configuration zero is the founder alone (S0), with whatever store it had then."""
        voters = [voter.public_key for voter in configuration.voters]
        return voters == [self._founder] and configuration == Configuration(configuration.voters)

    def _configured(self, entry: Entry, configuration: Configuration) -> None:
        self.configurations += 1
        before, known = self.configuration, self._terms.get(entry.term)
        is_next = before is not None and is_step(before, configuration)
        is_led = known is not None and known.standing is not Standing.UNSHOWN
        if is_next and is_led and before == self._shown:
            self._shown = configuration
        elif not is_next:
            reason = f"{_names(configuration)} do not follow from the members before them: steps are missing"
            self._unshown.add(self._place(entry), reason)
        elif known is None:
            self._unshown.add(self._place(entry), "no election of the term is shown")
        self.configuration = configuration

    def _branched(self, entry: Entry, branch: Branch) -> None:
        self.configuration = self._shown = Configuration((branch.survivor,))
        self._terms[entry.term] = TermShown(entry.term, entry.position, entry.author, Standing.FORCED, 0, 1)
        self.branches.append(branch)

    def _place(self, entry: Entry) -> str:
        what = {Election: "election", Configuration: "configuration", Branch: "order"}.get(type(entry.content), "entry")
        return f"shard {self._shard}, position {entry.position}, {what} in term {entry.term}"


def _short(key: bytes) -> str:
    return key.hex()[:16]


def _names(configuration: Configuration) -> str:
    voters = ", ".join(_short(member.public_key) for member in configuration.electors)
    return f"the voters {voters}" if voters else "no voters"
