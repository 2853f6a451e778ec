"""Operations and answers on the wire: round trips, limits, and hostile bytes."""

from __future__ import annotations

import uuid
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p import errors
from golemp2p.errors import DataDamaged, MalformedRequest, PayloadTooLarge, ValueMismatch
from golemp2p.model import entries as e
from golemp2p.model import operations as o
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import OwnedResource, WorkerMetadata, WorkerStatus
from golemp2p.wire import operations as wire
from tests.property.wit_strategies import all_types, texts

NODE = bytes(range(32))
COMPONENT = ComponentId(uuid.UUID(int=7))
WORKER = WorkerId(COMPONENT, "w")

naturals = st.integers(0, (1 << 63) - 1)
components = st.binary(min_size=16, max_size=16).map(lambda raw: ComponentId(uuid.UUID(bytes=raw)))
names = st.from_regex(r"[a-z0-9é][a-z0-9é-]{0,20}", fullmatch=True)
workers = st.builds(WorkerId, components, names)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
args = st.lists(texts, max_size=3).map(tuple)
lent = st.builds(o.Lent, st.binary(min_size=32, max_size=32), st.integers(0, wire.BODY_BYTES_MAX), st.just(NODE))
bodies = st.binary(max_size=40) | lent
invocations = (workers, texts, bodies, texts)
operations: st.SearchStrategy[Any] = st.one_of(
    st.builds(o.Invoke, *invocations),
    st.builds(o.Enqueue, *invocations),
    st.builds(o.CreateWorker, workers, args, pairs),
    st.builds(o.DescribeWorker, workers),
    st.builds(o.DeleteWorker, workers),
    st.builds(o.InterruptWorker, workers, st.booleans()),
    st.builds(o.ResumeWorker, workers),
    st.builds(o.CancelInvocation, workers, texts),
    st.builds(o.CompletePromise, workers, naturals, bodies),
    st.builds(o.ReadPromise, workers, naturals),
    st.builds(o.AwaitPromise, workers, naturals),
    st.builds(o.DeletePromise, workers, naturals),
    st.builds(o.ReadOplog, workers, naturals, st.integers(1, wire.OPLOG_COUNT_MAX)),
    st.builds(o.AddComponent, components, texts, lent, st.booleans(), pairs),
    st.builds(o.UpdateComponent, components, lent, st.none() | st.booleans(), st.none() | pairs),
    st.builds(o.CountVersions, components),
)

resources = st.tuples(naturals, st.builds(OwnedResource, naturals, texts, st.none() | args))
metadata = st.builds(
    WorkerMetadata, workers, args, pairs, st.sampled_from(WorkerStatus), naturals, naturals, naturals, naturals,
    st.none() | texts, naturals, naturals, st.lists(resources, max_size=2).map(tuple),
)  # fmt: skip
entries: st.SearchStrategy[Any] = st.one_of(
    st.builds(e.Log, naturals, texts, texts, texts),
    st.builds(e.ExportedFunctionCompleted, naturals, st.binary(max_size=20), naturals),
    st.builds(
        e.ExportedFunctionCompleted,
        naturals,
        st.builds(e.BlobRef, st.binary(min_size=32, max_size=32), naturals),
        naturals,
    ),
)
slices = st.builds(
    o.OplogSlice,
    st.lists(st.tuples(naturals, entries), max_size=3).map(tuple),
    st.none() | naturals,
    naturals,
    naturals,
    naturals,
)
http = st.sampled_from(["", "http://127.0.0.1:9881", "https://[::1]:1"])


def values_of(kind: type) -> st.SearchStrategy[Any]:
    match kind:
        case o.Invoke:
            return st.builds(o.Outcome, st.none() | all_types, bodies)
        case o.CreateWorker | o.DescribeWorker:
            return metadata
        case o.CancelInvocation | o.CompletePromise:
            return st.booleans()
        case o.ReadOplog:
            return slices
        case o.ReadPromise | o.AwaitPromise:
            return st.none() | bodies
        case o.AddComponent | o.UpdateComponent | o.CountVersions:
            return naturals
    return st.none()


KINDS = [
    o.Invoke, o.Enqueue, o.CreateWorker, o.DescribeWorker, o.DeleteWorker, o.InterruptWorker, o.ResumeWorker, o.CancelInvocation,
    o.CompletePromise, o.ReadOplog, o.AddComponent, o.UpdateComponent, o.CountVersions, o.ReadPromise, o.AwaitPromise,
    o.DeletePromise,
]  # fmt: skip
answers = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(st.just(kind), st.builds(o.Done, st.just(NODE), http, values_of(kind)))
)


@given(operations)
def test_operations_come_back_as_they_were(operation: o.Operation):
    decoded = wire.decode_operation(wire.encode_operation(operation))
    assert decoded == operation
    assert o.log_of(decoded) == o.log_of(operation)


@given(answers)
def test_answers_come_back_as_they_were(answer: tuple[type, o.Answer]):
    kind, value = answer
    assert wire.decode_answer(kind, wire.encode_answer(kind, value)) == value


def test_a_refusal_is_an_answer_to_anything():
    for kind in KINDS:
        refused = o.Refused(NODE, "", errors.LimitExceeded("fuel", "no more"))
        answer = wire.decode_answer(kind, wire.encode_answer(kind, refused))
        assert isinstance(answer, o.Refused)
        assert isinstance(answer.error, errors.LimitExceeded)
        assert (answer.node, answer.error.limit, str(answer.error)) == (NODE, "fuel", "no more")


def test_an_answer_to_something_else_is_refused():
    data = wire.encode_answer(o.CancelInvocation, o.Done(NODE, "", True))
    for kind in (o.ResumeWorker, o.Invoke, o.ReadOplog, o.CountVersions):
        with pytest.raises(DataDamaged):
            wire.decode_answer(kind, data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes):
    with pytest.raises(DataDamaged):
        wire.decode_operation(data)
    for kind in KINDS:
        with pytest.raises(DataDamaged):
            wire.decode_answer(kind, data)


@given(operations, st.data())
def test_changed_bytes_are_refused_or_another_operation(operation: o.Operation, data: st.DataObject):
    encoded = bytearray(wire.encode_operation(operation))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_operation(bytes(encoded))
    except DataDamaged:
        return
    assert wire.decode_operation(wire.encode_operation(other)) == other


@given(answers, st.data())
def test_changed_bytes_are_refused_or_another_answer(answer: tuple[type, o.Answer], data: st.DataObject):
    kind, value = answer
    encoded = bytearray(wire.encode_answer(kind, value))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_answer(kind, bytes(encoded))
    except DataDamaged:
        return
    assert isinstance(other, o.Done | o.Refused)


ID = COMPONENT.uuid.bytes
HOLDER = [bytes(32), 1, NODE]


@pytest.mark.parametrize(
    "hostile",
    [
        [1, [[ID, "w"], "f", "text", "k"]],
        [1, [[ID, "a/b"], "f", b"[]", "k"]],
        [1, [[ID, ""], "f", b"[]", "k"]],
        [1, [[ID[1:], "w"], "f", b"[]", "k"]],
        [1, [[ID, "w"], "f", [bytes(32), wire.BODY_BYTES_MAX + 1, NODE], "k"]],
        [1, [[ID, "w"], "f", [bytes(31), 1, NODE], "k"]],
        [1, [[ID, "w"], "f", bytes(wire.INLINE_BYTES_MAX + 1), "k"]],
        [1, [[ID, "w"], "f", b"[]", "k" * 1025]],
        [1, [[ID, "w"], "f", b"[]"]],
        [6, [[ID, "w"], 1]],
        [9, [[ID, "w"], -1, b""]],
        [10, [[ID, "w"], 1, 0]],
        [11, [ID, "name", b"\0asm", False, []]],
        [11, [ID, "name", HOLDER, False, [["A"]]]],
        [12, [ID, HOLDER, None, {}]],
        [0, [ID]],
        [99, [ID]],
        [True, [[ID, "w"]]],
    ],
)
def test_nonsense_is_refused(hostile: object):
    with pytest.raises(DataDamaged):
        wire.decode_operation(cbor2.dumps(hostile))


@pytest.mark.parametrize(
    "address", ["ftp://x", "http://", "http://x\r\nset-cookie: a=b", "http://x y", "http://" + "x" * wire.HTTP_BYTES_MAX, None]
)
def test_an_address_that_is_none_is_refused(address: object):
    with pytest.raises(DataDamaged):
        wire.decode_answer(o.DeleteWorker, cbor2.dumps([0, [NODE, address, None]]))


def test_a_type_that_is_none_is_refused():
    for dumped in (b"", b"\x84\x01\x80\x80\x80", b"\x84\x01\x80\x80\x81\x83\x60\x81\x83\x60\x80\xf6\x80"):
        with pytest.raises(DataDamaged):
            wire.decode_answer(o.Invoke, cbor2.dumps([0, [NODE, "", [dumped, b""]]]))


def test_equal_types_come_back_as_one_object():
    def result() -> Any:
        return wire.decode_answer(o.Invoke, wire.encode_answer(o.Invoke, o.Done(NODE, "", o.Outcome(e_type, b"\x01")))).value

    from golemp2p.model.wit import ListOf, Primitive

    e_type = ListOf(Primitive("string"))
    assert result().type is result().type
    assert result().type == e_type


def test_what_the_primary_would_not_understand_never_leaves():
    with pytest.raises(MalformedRequest):
        wire.encode_operation(o.CancelInvocation(WORKER, "k" * 1025))
    with pytest.raises(ValueMismatch):
        wire.encode_operation(o.CancelInvocation(WORKER, "\ud800"))
    with pytest.raises(MalformedRequest):
        wire.encode_operation(o.ReadOplog(WORKER, 1, 0))
    with pytest.raises(PayloadTooLarge):
        wire.encode_operation(o.CreateWorker(WORKER, ("a" * 250_000,) * 5, ()))


def test_the_largest_that_is_carried_fits():
    largest = o.Invoke(WORKER, "f" * wire.FUNCTION_BYTES_MAX, bytes(wire.INLINE_BYTES_MAX), "k" * 1024)
    assert wire.decode_operation(wire.encode_operation(largest)) == largest


def test_an_operation_on_a_component_belongs_to_the_log_of_its_versions():
    wasm = o.Lent(bytes(32), 1, NODE)
    asked = [
        o.AddComponent(COMPONENT, "n", wasm, False, ()),
        o.UpdateComponent(COMPONENT, wasm, None, None),
        o.CountVersions(COMPONENT),
    ]
    assert {o.log_of(operation) for operation in asked} == {o.component_log(COMPONENT)}
    assert o.log_of(o.DescribeWorker(WORKER)) == WORKER.key
