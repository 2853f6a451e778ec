"""Two lists of members that compare notes end up equal, page by page."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.small_world import FAKE, Trust, key_of, record_of
from golemp2p.core.effects import Send
from golemp2p.core.members import Members
from golemp2p.core.membership import Membership
from golemp2p.model import messages_membership as msg
from golemp2p.model.membership import Claim, NodeRecord, Removal, Status


def signed(number: int, incarnation: int = 0, *, left: bool = False) -> NodeRecord:
    return replace(record_of(number, incarnation=incarnation), left=left, signature=FAKE)


def members(*known: tuple[int, int, Status]) -> Members:
    made = Members(key_of(0), 10_000, 100)
    for number, incarnation, status in known:
        made.put(signed(number, incarnation, left=status is Status.LEFT), status, 0)
    return made


def test_pages_cover_all_keys_in_order():
    made = members(*((number, 0, Status.ALIVE) for number in range(600)))
    made.remove(Removal(key_of(600), FAKE))
    pages = made.pages()
    assert len(pages) == 3
    assert (pages[0].low, pages[-1].high) == (b"", b"")
    assert [page.high for page in pages[:-1]] == [page.low for page in pages[1:]]
    entries = [entry for page in pages for entry in page.entries]
    assert [key for key, _, _ in entries] == sorted(key_of(number) for number in range(601))
    assert all(page.low <= key and (not page.high or key < page.high) for page in pages for key, _, _ in page.entries)


def test_each_difference_is_settled_the_right_way():
    ours = members(
        (1, 5, Status.ALIVE), (2, 4, Status.ALIVE), (3, 1, Status.DEAD), (4, 1, Status.ALIVE), (5, 0, Status.ALIVE),
        (6, 2, Status.LEFT), (7, 0, Status.ALIVE),
    )  # fmt: skip
    ours.remove(Removal(key_of(8), FAKE))
    theirs = members(
        (1, 4, Status.DEAD), (2, 5, Status.ALIVE), (3, 1, Status.ALIVE), (4, 1, Status.DEAD), (6, 1, Status.ALIVE),
        (7, 0, Status.ALIVE), (8, 3, Status.ALIVE), (9, 0, Status.SUSPECT), (10, 0, Status.DEAD), (11, 0, Status.LEFT),
    )  # fmt: skip
    (page,) = theirs.pages()
    updates, wanted, claims = ours.compare(page, key_of(99))
    lacking = {update.subject if isinstance(update, Claim | Removal) else update.public_key for update in updates}
    assert lacking == {key_of(number) for number in (1, 3, 5, 6, 8)}
    assert Claim(key_of(3), 1, Status.DEAD, key_of(0)) in updates
    assert set(wanted) == {key_of(2), key_of(9)}, "the dead we never knew are no loss"
    assert claims == [Claim(key_of(4), 1, Status.DEAD, key_of(99))]


STATES = st.dictionaries(st.integers(2, 12), st.tuples(st.integers(0, 3), st.booleans()), max_size=10)


@given(STATES, STATES, st.sets(st.integers(2, 12), max_size=2))
@settings(max_examples=100, deadline=None)
def test_two_that_compare_their_lists_agree(one, other, removed):
    nodes = {}
    for number, states in ((0, one), (1, other)):
        node = nodes[key_of(number)] = Membership(record_of(number), Trust(), Random(number))
        node.receive(key_of(1 - number), msg.Join(signed(1 - number)), 0)
        for known, (incarnation, left) in states.items():
            record = signed(known, incarnation + 10 * left, left=left)
            node.members.put(record, Status.LEFT if left else Status.ALIVE, 0)
    for number in removed:
        nodes[key_of(0)].remove(Removal(key_of(number), FAKE), 0)
    messages = [(key_of(0), Send(key_of(1), msg.SyncStart(nodes[key_of(0)].members.digest())))]
    for _ in range(50):
        if not messages:
            break
        sender, send = messages.pop(0)
        effects = nodes[send.peer].receive(sender, send.message, 0)
        messages += [(send.peer, effect) for effect in effects if isinstance(effect, Send)]
        if not messages and send.peer == key_of(0):  # once more from the other side: pages go one way
            messages = [(key_of(1), Send(key_of(0), msg.SyncStart(nodes[key_of(1)].members.digest())))]
    digests = {node.members.digest() for node in nodes.values()}
    assert len(digests) == 1
