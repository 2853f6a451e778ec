"""Errors between nodes: every class comes back as itself with its facts, and hostile bytes make none."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p import errors
from golemp2p.errors import DataDamaged, Golemp2pError
from golemp2p.wire.remote_errors import CLASSES, ERROR_BYTES_MAX, TEXT_BYTES_MAX, decode_error, encode_error, named

SPECIAL = {
    errors.ValueMismatch: lambda: errors.ValueMismatch("params[0].x", "u32", "-1"),
    errors.LimitExceeded: lambda: errors.LimitExceeded("memory_bytes_max", "too much"),
    errors.GuestExited: lambda: errors.GuestExited(-3),
    errors.Divergence: lambda: errors.Divergence(17, "a", "b"),
    errors.RequestFailed: lambda: errors.RequestFailed("odd-code", "text", 1.5),
    errors.DataDamaged: lambda: errors.DataDamaged("worker c/w", "hash"),
    errors.RecordedFailure: lambda: errors.RecordedFailure("limit-exceeded", "it had used too much"),
}
"""Classes whose constructor takes more than a text."""


def all_classes() -> list[type[Golemp2pError]]:
    found: list[type[Golemp2pError]] = [Golemp2pError]
    for kind in found:
        found += [below for below in kind.__subclasses__() if below.__module__ == errors.__name__ and below not in found]
    return found


def example(kind: type[Golemp2pError]) -> Golemp2pError:
    if kind in SPECIAL:
        return SPECIAL[kind]()
    if issubclass(kind, errors.WorldError):
        return kind("no room", 2.5)
    if issubclass(kind, errors.GuestTrapped):
        return kind("unreachable", "frame 0\nframe 1")
    return kind("the text — with more than ASCII")


def facts(error: Golemp2pError) -> tuple[object, ...]:
    return type(error), error.code, str(error), {name: value for name, value in vars(error).items() if name[:2] != "__"}


@pytest.mark.parametrize("kind", all_classes())
def test_every_class_comes_back_as_itself(kind: type[Golemp2pError]):
    error = example(kind)
    assert facts(decode_error(encode_error(error))) == facts(error)


def test_no_two_classes_share_a_code():
    kinds = [kind for kind in all_classes() if kind is not errors.RecordedFailure]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert {kind.code: kind for kind in kinds} == CLASSES


def test_a_retry_without_a_time_stays_without_one():
    again = decode_error(encode_error(errors.Overloaded("full")))
    assert isinstance(again, errors.Overloaded)
    assert again.retry_after_s is None


def test_a_code_that_is_not_known_here_is_a_failed_request():
    class FromTheFuture(errors.UsageError):
        code = "from-the-future"

    error = decode_error(encode_error(FromTheFuture("you could not know")))
    assert type(error) is errors.RequestFailed
    assert (error.remote_code, str(error)) == ("from-the-future", "from-the-future: you could not know")


def test_long_texts_are_cut_and_surrogates_replaced():
    error = errors.GuestTrapped("é" * TEXT_BYTES_MAX + "\ud800", "\ud800" + "b" * (2 * TEXT_BYTES_MAX))
    data = encode_error(error)
    assert len(data) <= ERROR_BYTES_MAX
    again = decode_error(data)
    assert isinstance(again, errors.GuestTrapped)
    assert str(again) == "é" * (TEXT_BYTES_MAX // 2)
    assert again.backtrace == "?" + "b" * (TEXT_BYTES_MAX - 1)


@pytest.mark.parametrize(
    "hostile",
    [
        ["guest-exited", "", None, ["1"], False],
        ["guest-exited", "", None, [], False],
        ["value-mismatch", "", None, ["a", "b"], False],
        ["usage", "", None, ["more"], False],
        ["usage", 1, None, [], False],
        ["usage", "", -1, [], False],
        ["usage", "", None, [[]], False],
        ["usage", "", None, [], 1],
        ["usage", "x" * (TEXT_BYTES_MAX + 1), None, [], False],
        ["x" * 65, "", None, [], False],
        {"code": "usage"},
        None,
    ],
)
def test_nonsense_is_refused(hostile: object):
    with pytest.raises(DataDamaged):
        decode_error(cbor2.dumps(hostile))


@given(st.binary(max_size=200))
def test_random_bytes_make_no_error(data: bytes):
    with pytest.raises(DataDamaged):
        decode_error(data)


@given(st.sampled_from(all_classes()), st.data())
def test_changed_bytes_are_refused_or_another_error(kind: type[Golemp2pError], data: st.DataObject):
    encoded = bytearray(encode_error(example(kind)))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_error(bytes(encoded))
    except DataDamaged:
        return
    assert facts(decode_error(encode_error(other))) == facts(other)


def test_a_failed_call_gets_its_class_back_where_a_text_is_enough():
    found = named(errors.RequestFailed("worker-not-found", "no such worker"))
    assert type(found) is errors.WorkerNotFound
    assert str(found) == "no such worker"
    moved = named(errors.RequestFailed("moved", "elsewhere", 0.1))
    assert isinstance(moved, errors.Moved)
    assert moved.retry_after_s == 0.1


@pytest.mark.parametrize("code", ["value-mismatch", "frame-malformed", "unheard-of"])
def test_other_failed_calls_stay_what_they_are(code: str):
    failed = errors.RequestFailed(code, "text")
    assert named(failed) is failed
