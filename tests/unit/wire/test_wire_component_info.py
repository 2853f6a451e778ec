"""Versions of components between nodes: there and back, limits, hostile bytes."""

from __future__ import annotations

import dataclasses
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, MalformedRequest, PayloadTooLarge
from golemp2p.model.ids import ComponentId
from golemp2p.model.wit import ComponentType, Function, Interface, Primitive
from golemp2p.model.worker import ComponentInfo
from golemp2p.values.cbor import dumps, loads
from golemp2p.wire.component_info import (
    ANSWER_BYTES_MAX,
    ENVIRONMENT_BYTES_MAX,
    VersionsQuestion,
    decode_answer,
    decode_component_info,
    decode_question,
    encode_answer,
    encode_component_info,
    encode_failure,
    encode_question,
    is_question,
)


def info(version: int = 0, functions: int = 1, **fields: object) -> ComponentInfo:
    exports = tuple(Function(f"function-{n}", (("a", Primitive("u64")),), Primitive("string")) for n in range(functions))
    type_ = ComponentType((), (Interface("test:guest/api", exports),))
    base = ComponentInfo(
        component=ComponentId(uuid.UUID(int=7)), name="counter", version=version, sha256=bytes(32), size_bytes=5,
        ephemeral=False, env=(("A", "1"),), created_ns=17, type=type_, memory_initial=65536,
    )  # fmt: skip
    return dataclasses.replace(base, **fields)


infos = st.builds(
    info,
    version=st.integers(0, 1 << 20),
    functions=st.integers(0, 5),
    component=st.uuids().map(ComponentId),
    name=st.text(max_size=60),
    sha256=st.binary(min_size=32, max_size=32),
    size_bytes=st.integers(0, 1 << 40),
    ephemeral=st.booleans(),
    env=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=4).map(tuple),
    created_ns=st.integers(0, (1 << 63) - 1),
    memory_initial=st.integers(0, 1 << 40),
)


@given(infos)
def test_an_info_there_and_back(one):
    assert decode_component_info(encode_component_info(one)) == one


@given(st.uuids(), st.integers(0, 1 << 20))
def test_a_question_there_and_back(identity, known):
    question = VersionsQuestion(ComponentId(identity), known)
    assert is_question(encode_question(question))
    assert decode_question(encode_question(question)) == question


def test_an_answer_there_and_back():
    one = [info(version) for version in range(3)]
    assert decode_answer(encode_answer(3, one)) == (3, tuple(one), None)
    assert decode_answer(encode_answer(0, [])) == (0, (), None)
    assert decode_answer(encode_failure("storage-full", "é" * 2_000)).failure == ("storage-full", "é" * 512)


def test_an_answer_holds_what_fits_and_one_at_least():
    wide = [info(version, functions=5_000) for version in range(10)]
    data = encode_answer(10, wide)
    assert len(data) <= ANSWER_BYTES_MAX
    answer = decode_answer(data)
    assert answer.total == 10
    assert 1 <= len(answer.infos) < 10
    assert list(answer.infos) == wide[: len(answer.infos)]
    largest = info(0, functions=9_000, env=(("A", "x" * (ENVIRONMENT_BYTES_MAX - 1)),))
    assert decode_answer(encode_answer(1, [largest])).infos == (largest,)
    with pytest.raises(PayloadTooLarge):
        encode_answer(1, [info(0, functions=30_000)])


def test_an_environment_beyond_its_limit_is_refused():
    pairs = tuple((f"{number}", "x" * 1_000) for number in range(ENVIRONMENT_BYTES_MAX // 1_000))
    with pytest.raises(DataDamaged, match="environment"):
        decode_component_info(encode_component_info(info(env=pairs)))


@given(st.binary(max_size=300))
def test_hostile_bytes_are_refused_by_name(data):
    for decode in (decode_component_info, decode_answer):
        with suppress(DataDamaged):
            decode(data)
    with suppress(MalformedRequest):
        decode_question(data)


@given(infos, st.data())
def test_a_changed_info_is_another_or_refused(one, data):
    plain = loads(encode_component_info(one))
    place = data.draw(st.integers(0, len(plain) - 1))
    plain[place] = data.draw(st.sampled_from([None, -1, 1 << 63, True, "x", b"x", [], [[1, 2]], 1.5, {}]))
    try:
        changed = decode_component_info(dumps(plain))
    except DataDamaged:
        return
    assert encode_component_info(changed) == dumps(plain)


def test_other_requests_are_no_questions():
    for payload in (b"", dumps([1, [2]]), dumps(["component-version", bytes(16), 0]), encode_answer(0, [])):
        assert not is_question(payload)
        with pytest.raises(MalformedRequest):
            decode_question(payload)
