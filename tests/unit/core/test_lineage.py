"""Who led a shard in which term, from its milestones alone: what proves it, what does not reach, and what nobody honest wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from golemp2p.core.lineage import Lineage
from golemp2p.model.history import Problems, Standing
from golemp2p.model.replication import NO_HASH, Branch, Configuration, Content, Election, Entry, Member
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.notary import ShardNotary, ShardVerifier, sign_branch

MESH, SHARD = b"m" * 32, 3
KEYS = [SigningKey(bytes([n]) * 32) for n in range(1, 6)]
A, B, C, D, STRANGER = KEYS
OPERATOR = SigningKey(b"o" * 32)


def member(key: SigningKey, store: int = 0) -> Member:
    return Member(key.public_key, bytes([store]) * 16)


def of(*keys: SigningKey) -> tuple[Member, ...]:
    return tuple(member(key) for key in keys)


FOUNDER = Configuration(of(A))
LEARNING = Configuration(of(A), of(B, C))
JOINT = Configuration(of(A), (), of(A, B, C))
THREE = Configuration(of(A, B, C))


class Shard:
    """Writes milestones as the primaries of a shard would, with whatever stands between them left out."""

    def __init__(self) -> None:
        self.position, self.hash = 0, NO_HASH
        self.entries: list[Entry] = []
        self.wrong, self.unshown = Problems(), Problems()
        verifier = ShardVerifier(mesh_id=MESH, shard=SHARD, operator=OPERATOR.public_key)
        self.lineage = Lineage(A.public_key, verifier, SHARD, self.wrong, self.unshown)

    def write(self, author: SigningKey, term: int, content: Content, *, gap: int = 0, previous: bytes | None = None) -> Entry:
        """``gap``: entries that are no milestones come before it."""
        self.position += 1 + gap
        previous = (bytes([gap]) * 32 if gap else self.hash) if previous is None else previous
        notary = ShardNotary(author, mesh_id=MESH, shard=SHARD)
        digest = notary.entry_hash(self.position, term, previous, author.public_key, content)
        signature = notary.sign_entry(digest) if isinstance(content, Configuration) else b""
        entry = Entry(self.position, term, previous, author.public_key, content, signature, digest)
        self.hash = digest
        self.entries.append(entry)
        return entry

    def elect(self, primary: SigningKey, term: int, configuration: Configuration, *voters: SigningKey, gap: int = 0) -> Entry:
        votes = tuple((member(voter), vote(voter, term, primary)) for voter in voters)
        return self.write(primary, term, Election(member(primary), configuration, votes), gap=gap)

    def grow(self) -> None:
        """The founder is joined by two others."""
        self.elect(A, 1, FOUNDER, A)
        for configuration in (LEARNING, JOINT, THREE):
            self.write(A, 1, configuration, gap=2)

    def told(self, *leaving_out: int) -> Lineage:
        for place, entry in enumerate(self.entries):
            if place not in leaving_out:
                self.lineage.add(entry)
        return self.lineage

    def standing(self, term: int) -> Standing | None:
        shown = self.lineage.term(term)
        return None if shown is None else shown.standing


def vote(voter: SigningKey, term: int, primary: SigningKey, shard: int = SHARD) -> bytes:
    return ShardNotary(voter, mesh_id=MESH, shard=shard).cast_vote(term, primary.public_key)


def reasons(problems: Problems) -> str:
    return "; ".join(str(problem) for problem in problems.listed)


@pytest.fixture
def shard() -> Shard:
    return Shard()


def test_a_founder_alone(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.elect(A, 4, FOUNDER, A, gap=9)
    shard.told()
    assert (shard.standing(1), shard.standing(4), shard.standing(2)) == (Standing.ELECTED, Standing.ELECTED, None)
    assert not shard.wrong
    assert not shard.unshown


def test_from_one_to_three_and_on(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B, gap=1)
    shard.elect(C, 3, THREE, C, B)
    lineage = shard.told()
    assert [(term.term, term.primary, term.standing) for term in lineage.terms()] == [
        (1, A.public_key, Standing.ELECTED), (2, B.public_key, Standing.ELECTED), (3, C.public_key, Standing.ELECTED),
    ]  # fmt: skip
    assert (lineage.term(3).votes, lineage.term(3).voters) == (2, 3)  # type: ignore[union-attr]
    assert not shard.wrong
    assert not shard.unshown
    assert lineage.holds(C.public_key)
    assert not lineage.holds(D.public_key)


def test_while_joint_both_majorities_count(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(A, 1, LEARNING)
    shard.write(A, 1, JOINT)
    shard.elect(B, 2, JOINT, B, C)  # of the incoming, not of the old
    shard.told()
    assert shard.standing(2) is None
    assert "2 of 3 votes are no majority" in reasons(shard.wrong)


def test_a_minority_elects_nobody(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, B)
    shard.told()
    assert shard.standing(2) is None
    assert "1 of 3 votes are no majority" in reasons(shard.wrong)


def test_a_stranger_has_no_vote(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B, STRANGER)
    shard.told()
    assert shard.standing(2) is None
    assert "a vote of a stranger" in reasons(shard.wrong)


def test_nobody_votes_twice(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, B, B)
    shard.told()
    assert "a second vote" in reasons(shard.wrong)


@pytest.mark.parametrize("forged", [vote(STRANGER, 2, B), vote(A, 3, B), vote(A, 2, C), vote(A, 2, B, shard=4), bytes(64)])
def test_votes_are_signed_for_this_election(shard: Shard, forged: bytes) -> None:
    shard.grow()
    shard.write(B, 2, Election(member(B), THREE, ((member(A), forged), (member(B), vote(B, 2, B)))))
    shard.told()
    assert shard.standing(2) is None
    assert "has not its signature" in reasons(shard.wrong)


def test_an_election_is_written_by_whom_it_names(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(STRANGER, 2, Election(member(A), FOUNDER, ((member(A), vote(A, 2, A)),)))
    shard.told()
    assert shard.standing(2) is None
    assert "was written by" in reasons(shard.wrong)


def test_a_term_has_one_primary(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B)
    shard.elect(C, 2, THREE, A, C)
    assert shard.told().term(2).primary == B.public_key  # type: ignore[union-attr]
    assert "another primary was known in this term" in reasons(shard.wrong)


def test_electors_of_ones_own_making_prove_nothing(shard: Shard) -> None:
    """Whoever makes up a configuration for itself may have been away while it came to be, as far as one can see."""
    shard.grow()
    shard.elect(STRANGER, 2, Configuration(of(STRANGER)), STRANGER)
    shard.elect(B, 3, THREE, A, B)
    shard.told()
    assert shard.standing(2) is Standing.UNSHOWN
    assert shard.standing(3) is Standing.ELECTED  # what follows is shown again
    assert not shard.wrong
    assert "what made them voters is missing" in reasons(shard.unshown)


def test_the_founder_does_not_decide_for_ever(shard: Shard) -> None:
    shard.grow()
    shard.elect(A, 2, FOUNDER, A)
    shard.told()
    assert shard.standing(2) is Standing.UNSHOWN


def test_who_only_learns_decides_nothing(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B)
    shard.told(1)
    assert shard.standing(2) is Standing.ELECTED
    assert not shard.unshown


@pytest.mark.parametrize("missing", [0, 2, 3])
def test_what_comes_after_a_hole_is_not_shown(shard: Shard, missing: int) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B)
    shard.told(missing)
    assert shard.standing(2) is Standing.UNSHOWN
    assert not shard.wrong
    assert shard.unshown
    assert not shard.lineage.holds(B.public_key)


def test_only_the_newest_milestones(shard: Shard) -> None:
    shard.grow()
    shard.elect(B, 2, THREE, A, B)
    shard.elect(C, 3, THREE, A, B)
    shard.told(0, 1, 2, 3)
    assert (shard.standing(2), shard.standing(3)) == (Standing.UNSHOWN, Standing.UNSHOWN)
    assert not shard.wrong
    assert shard.unshown.count == 1  # of one hole it is told once


def test_a_configuration_is_signed_by_the_primary_of_its_term(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(STRANGER, 1, Configuration(of(A), of(STRANGER)))
    entry = shard.write(A, 1, LEARNING)
    shard.entries[-1] = replace(entry, signature=bytes(64))
    shard.told()
    assert "led the term" in reasons(shard.wrong)
    assert "the signature is not its author's" in reasons(shard.wrong)
    assert shard.lineage.configuration == FOUNDER


def test_voters_do_not_change_in_one_step(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(A, 1, THREE)
    shard.elect(B, 2, THREE, A, B)
    shard.told()
    assert shard.standing(2) is Standing.UNSHOWN
    assert "steps are missing" in reasons(shard.unshown)


def test_a_configuration_in_a_term_without_an_election(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(A, 2, LEARNING)
    shard.told()
    assert "no election of the term is shown" in reasons(shard.unshown)
    assert not shard.lineage.holds(B.public_key)


def test_what_is_changed_does_not_match_its_hash(shard: Shard) -> None:
    entry = shard.elect(A, 1, FOUNDER, A)
    for changed in (replace(entry, position=7), replace(entry, term=2), replace(entry, previous_hash=b"x" * 32)):
        shard.lineage.add(changed)
    assert reasons(shard.wrong).count("does not match its hash") == 3
    assert shard.standing(1) is None


def test_neighbours_are_linked(shard: Shard) -> None:
    shard.elect(A, 1, FOUNDER, A)
    shard.write(A, 1, LEARNING, previous=b"x" * 32)
    shard.told()
    assert "the previous hash differs" in reasons(shard.wrong)


def test_positions_and_terms_never_fall(shard: Shard) -> None:
    first, second = shard.elect(A, 1, FOUNDER, A), shard.elect(A, 5, FOUNDER, A)
    for entry in (first, second, second, first):
        shard.lineage.add(entry)
    assert reasons(shard.wrong).count("stands after position 2, term 5") == 2


def branch(shard: Shard, survivor: SigningKey, operator: SigningKey, **facts: object) -> Branch:
    unsigned = Branch(b"b" * 16, member(survivor), 1, shard.position, shard.hash, operator.public_key, b"")
    return sign_branch(operator, replace(unsigned, **facts), mesh_id=MESH, shard=SHARD)  # type: ignore[arg-type]


def test_an_operator_lets_a_survivor_go_on(shard: Shard) -> None:
    shard.grow()
    shard.write(C, 7, branch(shard, C, OPERATOR))
    shard.elect(C, 8, Configuration(of(C)), C)
    shard.told()
    assert (shard.standing(7), shard.standing(8)) == (Standing.FORCED, Standing.ELECTED)
    assert [order.survivor for order in shard.lineage.branches] == [member(C)]
    assert not shard.wrong
    assert not shard.unshown


def test_an_order_leads_out_of_a_hole(shard: Shard) -> None:
    shard.grow()
    shard.write(C, 7, branch(shard, C, OPERATOR))
    shard.told(0, 1, 2)
    assert shard.standing(7) is Standing.FORCED
    assert shard.lineage.holds(C.public_key)


def test_only_the_operator_orders(shard: Shard) -> None:
    shard.grow()
    shard.write(STRANGER, 7, branch(shard, STRANGER, STRANGER))
    shard.told()
    assert shard.standing(7) is None
    assert "not signed by the operator" in reasons(shard.wrong)


def test_an_order_is_for_one_replica_and_one_place(shard: Shard) -> None:
    shard.grow()
    shard.write(B, 7, branch(shard, C, OPERATOR))
    shard.write(C, 8, branch(shard, C, OPERATOR, last_position=2))
    shard.told()
    assert "to go on, and was written by" in reasons(shard.wrong)
    assert "from another entry" in reasons(shard.wrong)
    assert (shard.standing(7), shard.standing(8)) == (None, None)
