import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.core.replay import Cursor
from golemp2p.errors import Divergence
from golemp2p.model import entries as e

HASH = bytes(16)


def call(name: str, response: bytes = b"r", request: bytes = HASH) -> e.ImportedFunctionInvoked:
    return e.ImportedFunctionInvoked(1, name, "read-local", request, response)


def log(message: str) -> e.Log:
    return e.Log(1, "stdout", "", message)


def test_takes_calls_in_order_and_turns_live():
    cursor = Cursor([call("a", b"1"), log("x"), call("b", b"2")])
    assert cursor.replaying
    assert cursor.take_host_call("a", HASH) == b"1"
    assert (cursor.index, cursor.next_index) == (1, 3)
    assert cursor.take_host_call("b", HASH) == b"2"
    assert not cursor.replaying
    assert cursor.peek() is None


def test_another_name_diverges_and_shows_both():
    with pytest.raises(Divergence, match=r"index 1.*host call a .*host call b ") as caught:
        Cursor([call("a")]).take_host_call("b", HASH)
    assert caught.value.index == 1


def test_another_request_diverges_even_under_the_same_name():
    with pytest.raises(Divergence, match="a with request 01"):
        Cursor([call("a")]).take_host_call("a", b"\1" * 16)


def test_another_kind_diverges():
    with pytest.raises(Divergence, match="NoOp"):
        Cursor([e.NoOp(1)]).take_host_call("a", HASH)
    with pytest.raises(Divergence, match="the worker asked NoOp"):
        Cursor([call("a")]).take(e.NoOp)


def test_skipped_ranges_and_jumps_are_not_consumed():
    entries = [e.Create(*[None] * 11), call("a"), call("b"), e.Jump(1, 2, 4), call("c")]
    cursor = Cursor(entries, [(2, 4)])
    cursor.take(e.Create)
    assert cursor.take_host_call("c", HASH) == b"r"
    assert cursor.index == 5


def test_hints_after_the_last_call_are_repeated_once_each():
    cursor = Cursor([call("a"), log("x"), log("x"), log("y")])
    assert cursor.is_repeated(log("never seen"))  # still replaying
    cursor.take_host_call("a", HASH)
    again = log("x")._replace(time_ns=99)
    assert [cursor.is_repeated(again) for _ in range(3)] == [True, True, False]
    assert cursor.is_repeated(log("y"))
    assert not cursor.is_repeated(log("z"))


def test_hints_before_the_last_call_are_not_expected_again():
    cursor = Cursor([log("x"), call("a")])
    cursor.take_host_call("a", HASH)
    assert not cursor.is_repeated(log("x"))


entries_strategy = st.lists(
    st.one_of(
        st.builds(call, st.sampled_from("abc"), st.binary(max_size=2)),
        st.builds(log, st.sampled_from("xy")),
        st.just(e.NoOp(1)),
    ),
    max_size=30,
)
ranges_strategy = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)).map(lambda r: (min(r), max(r))), max_size=4)


@given(entries_strategy, ranges_strategy)
def test_consumes_exactly_what_a_naive_reader_would(entries, ranges):
    naive = [
        (index, entry)
        for index, entry in enumerate(entries, 1)
        if type(entry) not in e.HINTS and not any(a <= index <= b for a, b in ranges)
    ]
    cursor = Cursor(entries, ranges)
    consumed = []
    while cursor.replaying:
        entry = cursor.peek()
        if type(entry) is e.ImportedFunctionInvoked:
            assert cursor.take_host_call(entry.function, entry.request_hash) == entry.response
        else:
            cursor.take(type(entry))
        consumed.append((cursor.index, entry))
    assert consumed == naive
