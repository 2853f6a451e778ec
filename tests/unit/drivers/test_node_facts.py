"""What nodes tell each other about themselves: kept as long as it is true, asked for once, checked."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.drivers.administration.node_facts import ASK_S, KEPT_MAX, PAGES_MAX, NodeDirectory
from golemp2p.errors import DataDamaged, DeadlineExceeded, FrameMalformed
from golemp2p.model import node_status as m
from golemp2p.model.node_status import NodeFacts, NodeLoad, ReplicaReport, ReplicaRole, StatusAnswer, StatusAsked, Wanted
from golemp2p.values import cbor
from golemp2p.wire.call_kinds import STATUS
from golemp2p.wire.node_status import (
    ANSWER_BYTES_MAX,
    decode_status_answer,
    decode_status_asked,
    encode_status_answer,
    encode_status_asked,
)

ME, PEER = b"m" * 32, b"p" * 32
FACTS = NodeFacts("0.1.0", "http://10.0.0.2:9881", 7)
LOAD = NodeLoad(3, 1, 2)


def report(shard: int) -> ReplicaReport:
    return ReplicaReport(
        shard, ReplicaRole.PRIMARY, is_serving=True, is_damaged=False, branch=bytes(16), term=4, primary=PEER, voters=(PEER,),
        learners=(ME,), last_term=4, last_position=9, commit=8,
    )  # fmt: skip


class FakeMesh:
    own = ME
    shards_count = 65_536

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[StatusAsked] = []
        self.incarnations: dict[bytes, int] = {ME: 1, PEER: 1}
        self.reports: list[ReplicaReport] = []

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        await trio.lowlevel.checkpoint()
        assert (peer, kind, deadline_s) == (PEER, STATUS, ASK_S)
        self.asked.append(decode_status_asked(payload))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else encode_status_answer(answer)

    def directory(self) -> NodeDirectory:
        return NodeDirectory(
            self,
            own=lambda: NodeFacts("mine", "http://127.0.0.1:1", 1),
            load=lambda: LOAD,
            reports=lambda _wanted, first: [one for one in self.reports if one.shard >= first][: m.REPORTS_MAX],
            incarnation_of=self.incarnations.get,
        )


async def test_what_was_told_is_known_until_the_node_starts_anew():
    mesh = FakeMesh()
    directory = mesh.directory()
    assert directory.known(PEER) is None
    mesh.answers = [StatusAnswer(FACTS, LOAD)]
    told = await directory.ask(PEER)
    assert (told.facts, told.load, told.reports) == (FACTS, LOAD, ())
    assert directory.known(PEER) == FACTS
    mesh.incarnations[PEER] = 2
    assert directory.known(PEER) is None
    del mesh.incarnations[PEER]
    assert directory.known(PEER) is None


async def test_it_knows_itself_without_asking():
    mesh = FakeMesh()
    directory = mesh.directory()
    known = directory.known(ME)
    assert known is not None
    assert known.http == "http://127.0.0.1:1"
    assert (await directory.ask(ME)).facts.version == "mine"
    assert mesh.asked == []


async def test_memory_is_bounded():
    mesh = FakeMesh()
    directory = mesh.directory()
    for number in range(KEPT_MAX + 2):
        key = number.to_bytes(32, "big")
        mesh.incarnations[key] = 1
        directory._keep(key, 1, FACTS)
    assert len(directory._kept) == KEPT_MAX
    assert directory.known(bytes(32)) is None


async def test_reports_come_in_pages():
    mesh = FakeMesh()
    mesh.reports = [report(shard) for shard in range(0, 5_000, 2)]
    directory = mesh.directory()
    mesh.answers = [directory.answer(StatusAsked(Wanted.HELD, first)) for first in (0, 2_047, 4_095)]
    assert [len(answer.reports) for answer in mesh.answers] == [1_024, 1_024, 452]
    told = await directory.ask(PEER, Wanted.HELD)
    assert list(told.reports) == mesh.reports
    assert [asked.first for asked in mesh.asked] == [0, 2_047, 4_095]


async def test_who_is_asked_answers_what_was_asked():
    mesh = FakeMesh()
    mesh.reports = [report(3)]
    directory = mesh.directory()

    class Asked:
        peer = PEER
        payload = encode_status_asked(StatusAsked())

    assert decode_status_answer(await directory.serve(Asked())).reports == ()
    Asked.payload = encode_status_asked(StatusAsked(Wanted.LED, 3))
    assert decode_status_answer(await directory.serve(Asked())).reports == (report(3),)
    Asked.payload = b"nonsense"
    with pytest.raises(FrameMalformed):
        await directory.serve(Asked())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        StatusAnswer(FACTS, LOAD, (report(5), report(5))),
        StatusAnswer(FACTS, LOAD, (report(5), report(4))),
        StatusAnswer(FACTS, LOAD, (), 3),
        StatusAnswer(FACTS, LOAD, (report(5),), 5),
    ],
)
async def test_answers_that_are_none(answer: Any):
    mesh = FakeMesh()
    mesh.answers = [answer]
    with pytest.raises(FrameMalformed):
        await mesh.directory().ask(PEER, Wanted.HELD)


async def test_reports_of_shards_that_the_mesh_does_not_have():
    mesh = FakeMesh()
    mesh.shards_count = 4
    mesh.answers = [StatusAnswer(FACTS, LOAD, (report(4),))]
    with pytest.raises(FrameMalformed):
        await mesh.directory().ask(PEER, Wanted.HELD)


async def test_reports_without_an_end_are_not_read():
    mesh = FakeMesh()
    mesh.answers = [StatusAnswer(FACTS, LOAD, (report(shard),), shard + 1) for shard in range(PAGES_MAX + 1)]
    with pytest.raises(FrameMalformed, match="without an end"):
        await mesh.directory().ask(PEER, Wanted.HELD)


async def test_of_many_those_that_answer():
    mesh = FakeMesh()
    mesh.answers = [DeadlineExceeded("late")]
    told = await mesh.directory().ask_all([ME, PEER])
    assert list(told) == [ME]


def test_the_largest_answer_fits():
    members = tuple(bytes([number]) * 32 for number in range(m.MEMBERS_MAX // 2))
    full = [
        ReplicaReport(
            65_535, ReplicaRole.PRIMARY, is_serving=True, is_damaged=True, branch=b"b" * 16, term=(1 << 63) - 1, primary=PEER,
            voters=members, learners=members, last_term=(1 << 63) - 1, last_position=(1 << 63) - 1, commit=(1 << 63) - 1,
        )
    ] * m.REPORTS_MAX  # fmt: skip
    facts = NodeFacts("v" * m.VERSION_BYTES_MAX, "h" * m.HTTP_BYTES_MAX, 1)
    data = encode_status_answer(StatusAnswer(facts, LOAD, tuple(full), 65_535))
    assert len(data) < ANSWER_BYTES_MAX
    assert decode_status_answer(data).reports == tuple(full)


KEYS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, (1 << 63) - 1)
REPORTS = st.builds(
    ReplicaReport, st.integers(0, 65_535), st.sampled_from(ReplicaRole), st.booleans(), st.booleans(),
    st.binary(min_size=16, max_size=16), NUMBERS, st.one_of(st.just(b""), KEYS), st.lists(KEYS, max_size=5).map(tuple),
    st.lists(KEYS, max_size=3).map(tuple), NUMBERS, NUMBERS, NUMBERS,
)  # fmt: skip
COUNTS = st.integers(0, 65_536)
ANSWERS = st.builds(
    StatusAnswer,
    st.builds(NodeFacts, st.text(max_size=16), st.text(max_size=64), NUMBERS),
    st.builds(NodeLoad, COUNTS, COUNTS, COUNTS),
    st.lists(REPORTS, max_size=3).map(tuple),
    st.one_of(st.none(), st.integers(0, 65_535)),
)


@given(ANSWERS)
def test_answers_come_back(answer: StatusAnswer):
    assert decode_status_answer(encode_status_answer(answer)) == answer


@given(st.builds(StatusAsked, st.sampled_from(Wanted), st.integers(0, 65_536)))
def test_questions_come_back(asked: StatusAsked):
    assert decode_status_asked(encode_status_asked(asked)) == asked


@given(st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.binary() | st.text(), st.lists).map(cbor.dumps)))
def test_hostile_bytes(data: bytes):
    for decode in (decode_status_answer, decode_status_asked):
        try:
            decode(data)
        except DataDamaged:
            continue
