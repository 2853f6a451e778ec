import pytest

from golemp2p.core.shard import Record, Shard

NODE = b"n" * 32


def make(durable: Record | None = None) -> Shard:
    return Shard(NODE, lambda term: b"certificate %d" % term, durable)


def test_elects_itself_once_per_process_in_a_higher_term():
    shard = make(Record(7, NODE, 12, b"old"))
    assert shard.elect() == 8
    assert shard.elect() == 8
    assert make(Record(8, NODE, 12, b"")).elect() == 9


def test_the_record_travels_with_the_append():
    shard = make()
    shard.elect()
    persist = shard.append(2)
    assert persist.first_position == 1
    assert persist.record == Record(1, NODE, 3, b"certificate 1")
    assert shard.append(1).first_position == 3


def test_appending_before_the_election_is_our_own_fault():
    with pytest.raises(AssertionError):
        make().append(1)


def test_commits_what_is_durable_and_never_goes_back():
    shard = make()
    shard.elect()
    shard.append(3)
    assert shard.persisted(3) == 3
    assert shard.persisted(2) == 3
    assert make(Record(1, NODE, 4, b"")).committed == 3
