"""Histories given away by nodes: of any worker, from any node, whoever died; and what is refused, left out, or not believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from history_forge import STRANGER, WASM, A, B, Forge, checked, cut, unshown, wrong
from history_nodes import COUNTER, exported, judged

from golemp2p.drivers.histories.history import SERVED_MAX, Histories
from golemp2p.errors import DataDamaged, MalformedRequest, Overloaded, Unreachable, WorkerNotFound
from golemp2p.model.history import Standing
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.storage.memory import MemoryStorage
from golemp2p.wire import history as h
from golemp2p.wire.call_kinds import HISTORY
from golemp2p.wire.history_calls import HistoryAsk, decode_history_held, encode_history_ask, encode_history_held


async def grown(machines: Any, names: tuple[str, ...] = ("a", "b", "c", "d")) -> tuple[Any, ComponentId]:
    """A mesh of three that has the component, and workers of these names that were called once."""
    mesh = machines(3, counter=COUNTER)
    await mesh.start_all()
    info = await mesh.clients[0].add_component("counter", mesh[0].guests.wasm("counter"))
    for name in names:
        await mesh.clients[1].invoke(info.component, name, "add", [1])
    return mesh, info.component


async def test_any_worker_from_any_node(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    mesh, component = await grown(machines)
    for name in ("a", "b", "c", "d"):
        for service in mesh.services.values():
            report = await judged(await exported(service.histories, component, name), mesh[0].guests, tmp_path)
            assert wrong(report) + unshown(report) == ""
            assert report.run is not None
            assert report.run.invocations == 1
            assert report.logs[0].configurations >= 3  # the way from one voter to three is shown
            leader = mesh.leader(WorkerId(component, name).key.shard(16))
            assert report.logs[0].seal is not None
            assert report.logs[0].seal.node == mesh[leader].key.public_key  # who knows the newest


async def test_over_the_death_of_its_node(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    mesh, component = await grown(machines, ("w",))
    shard = WorkerId(component, "w").key.shard(16)
    first = mesh.leader(shard)
    await mesh.crash(first)
    others = [number for number in range(3) if number != first]
    await mesh.until(lambda: mesh.leader(shard) is not None)
    await mesh.clients[others[0]].invoke(component, "w", "add", [2])
    second = mesh.leader(shard)
    for number in others:
        report = await judged(await exported(mesh.services[number].histories, component, "w"), mesh[0].guests, tmp_path)
        assert wrong(report) + unshown(report) == ""
        assert [(run.author, run.standing) for run in report.logs[0].runs] == [
            (mesh[first].key.public_key, Standing.ELECTED),
            (mesh[second].key.public_key, Standing.ELECTED),
        ]
        assert report.run is not None
        assert report.run.invocations == 2


async def test_a_follower_gives_it_away_when_nobody_leads(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    mesh, component = await grown(machines, ("w",))
    first = mesh.leader(WorkerId(component, "w").key.shard(16))
    survivor = next(number for number in range(3) if number != first)
    await trio.sleep(2)  # followers learn that it is committed
    for number in range(3):
        if number != survivor:
            await mesh.crash(number)
    report = await judged(await exported(mesh.services[survivor].histories, component, "w"), mesh[0].guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.logs[0].seal is not None
    assert report.logs[0].seal.node == mesh[survivor].key.public_key


async def test_large_payloads_come_along(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    mesh, component = await grown(machines, ())
    await mesh.clients[0].invoke(component, "w", "large", [700_000])
    for service in mesh.services.values():
        report = await judged(await exported(service.histories, component, "w"), mesh[0].guests, tmp_path)
        assert report.verdict == "verified"
        assert report.blob_bytes > 700_000


async def test_nobody_has_it(machines: Any, autojump_clock: Any) -> None:
    mesh, component = await grown(machines, ())
    for service in mesh.services.values():
        with pytest.raises(WorkerNotFound):
            await service.histories.export_worker(WorkerId(component, "nobody"))
    await mesh.clients[0].invoke(component, "w", "add", [1])
    await mesh.clients[0].delete_worker(WorkerId(component, "w"))
    with pytest.raises(WorkerNotFound):
        await mesh.services[1].histories.export_worker(WorkerId(component, "w"))


async def test_born_again(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    """A worker that was deleted and made anew has the history of its second life."""
    mesh, component = await grown(machines, ("w",))
    await mesh.clients[0].delete_worker(WorkerId(component, "w"))
    await mesh.clients[0].invoke(component, "w", "add", [5])
    report = await judged(await exported(mesh.services[1].histories, component, "w"), mesh[0].guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.invocations == 1


async def test_so_many_at_once(machine: Any, autojump_clock: Any) -> None:
    one = machine(counter=COUNTER)
    async with one.service() as service:
        info = await service.client.add_component("counter", one.guests.wasm("counter"))
        await service.client.invoke(info.component, "w", "add", [1])
        worker = WorkerId(info.component, "w")
        open_ones = [await service.histories.export_worker(worker) for _ in range(SERVED_MAX)]
        with pytest.raises(Overloaded):
            await service.histories.export_worker(worker)
        for each in open_ones:
            await anext(each)
            await each.aclose()
        for _ in range(2 * SERVED_MAX):  # those that are refused hold no place
            with pytest.raises(WorkerNotFound):
                await service.histories.export_worker(WorkerId(info.component, "nobody"))
        async with aclosing(await service.histories.export_worker(worker)) as pieces:
            assert checked(b"".join([piece async for piece in pieces])).verdict == "verified"
        assert service.histories.statistics() == {
            "histories_serving": 0.0,
            "histories_exported_total": 1.0,
            "histories_served_total": 0.0,
            "histories_refused_total": 1.0,
        }


async def test_only_what_is_committed(machines: Any, autojump_clock: Any, tmp_path: Path) -> None:
    mesh, component = await grown(machines, ("w",))
    shard = WorkerId(component, "w").key.shard(16)
    leader = mesh.leader(shard)
    before = checked(await exported(mesh.services[leader].histories, component, "w")).logs[0].tail
    for number in range(3):
        if number != leader:
            mesh[number].storage.faults.hold()  # their disks hang: what the leader writes now is held by no majority
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mesh.clients[leader].invoke, component, "w", "add", [2])
        await trio.sleep(0.2)
        head = await mesh[leader].storage.head(WorkerId(component, "w").key)
        assert head is not None
        assert head.tail > before
        assert checked(await exported(mesh.services[leader].histories, component, "w")).logs[0].tail == before
        for number in range(3):
            mesh[number].storage.faults.release()
        await trio.sleep(1)
    report = await judged(await exported(mesh.services[leader].histories, component, "w"), mesh[0].guests, tmp_path)
    assert report.verdict == "verified"
    assert report.logs[0].tail > before


# --------------------------------------------------------------------------------------------------------- other nodes


class Town:
    """``ports.Mesh`` as far as histories need it: ``givers`` answer HISTORY calls with chunks and whether they have it, or fail."""

    own = b"own" + bytes(29)
    shards_count = 16

    def __init__(self, *givers: tuple[list[bytes], bool] | Exception) -> None:
        self.givers = {bytes([number]) * 32: giver for number, giver in enumerate(givers, 1)}
        self.asked: list[tuple[bytes, bytes]] = []

    def is_ready(self, shard: int) -> bool:
        return False

    def primary(self, shard: int) -> bytes | None:
        return None

    def holders(self, shard: int) -> list[bytes]:
        return list(self.givers)

    @asynccontextmanager
    async def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AsyncIterator[Any]:
        assert kind == HISTORY
        self.asked.append((peer, payload))
        giver = self.givers[peer]
        if isinstance(giver, Exception):
            raise giver
        yield Transfer(*giver)


class Transfer:
    def __init__(self, chunks: list[bytes], has_it: bool) -> None:
        self.chunks = chunks
        self.final = encode_history_held(held=has_it)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


class NoBlobs:
    async def get(self, *_: Any, **__: Any) -> bytes:
        raise DataDamaged("blob", "is nowhere")

    ensure = get


FORGE = Forge().usual()
NOTHING: tuple[list[bytes], bool] = ([], False)


def given_worker() -> list[bytes]:
    return FORGE.worker.frames(B)


def desk(*givers: Any) -> tuple[Histories, Town]:
    town = Town(*givers)
    histories = Histories(
        genesis=FORGE.genesis, signer=A, mesh=town, storage=MemoryStorage(), blobs=NoBlobs(),  # type: ignore[arg-type]
        clock=None, commit_position=lambda shard: None,  # type: ignore[arg-type]
    )  # fmt: skip
    return histories, town


async def given(histories: Histories) -> bytes:
    return b"".join([piece async for piece in await histories.export_worker(FORGE.id)])


async def test_it_is_taken_from_the_next_one() -> None:
    histories, town = desk(NOTHING, Unreachable("gone"), (given_worker(), True))
    report = checked(await given(histories))
    assert wrong(report) == ""
    assert [peer[0] for peer, _ in town.asked] == [1, 2, 3, 1, 2, 3]  # for the worker's log, then for its component's
    assert town.asked[0][1] == encode_history_ask(HistoryAsk("worker", str(FORGE.id)))
    assert "component log: was left out" in unshown(
        report
    )  # nobody gives it: the third one gives another log than was asked for


async def test_in_whatever_pieces_it_comes() -> None:
    data = b"".join(given_worker())
    histories, _ = desk(([data[at : at + 7] for at in range(0, len(data), 7)], True))
    assert wrong(checked(await given(histories))) == ""


async def test_what_nobody_can_give_is_told() -> None:
    with pytest.raises(WorkerNotFound):
        await given(desk(NOTHING, NOTHING)[0])
    with pytest.raises(Unreachable):  # somebody may have it
        await given(desk(NOTHING, Unreachable("gone"))[0])
    with pytest.raises(WorkerNotFound):
        await given(desk()[0])


@pytest.mark.parametrize(
    "chunks",
    [
        [b"\xff" * 9],
        [h.encode_frame(h.Opening(b"", "", ""))],
        Forge(name="other").usual().worker.frames(B),
        FORGE.component.frames(B),
        [],
    ],
)
async def test_nonsense_is_not_passed_on(chunks: list[bytes]) -> None:
    histories, _ = desk((chunks, True), (given_worker(), True))
    assert wrong(checked(await given(histories))) == ""
    with pytest.raises(DataDamaged):
        await given(desk((chunks, True))[0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frames: frames[:-1],
        lambda frames: [*frames, frames[-1]],
        lambda frames: [*frames[:-1], b"\0\0"],
        lambda frames: [*frames[:-1], h.encode_frame(h.Closing(bytes(32)))],
    ],
)
async def test_what_breaks_on_the_way_breaks_the_file(spoil: Any) -> None:
    """The first frame has left: nobody else can be asked any more."""
    histories, _ = desk((spoil(given_worker()), True), (given_worker(), True))
    got: list[bytes] = []

    async def take() -> None:
        async for piece in await histories.export_worker(FORGE.id):
            got.append(piece)

    with pytest.raises(DataDamaged):
        await take()
    assert "cut off" in wrong(checked(b"".join(got)))


class Ask:
    """A HISTORY call as it comes in."""

    def __init__(self, payload: bytes) -> None:
        self.peer, self.payload = STRANGER.public_key, payload
        self.sent = b""

    async def send(self, chunk: bytes) -> None:
        self.sent += chunk


async def test_calls_of_other_nodes(machine: Any, autojump_clock: Any) -> None:
    one = machine(counter=COUNTER)
    async with one.service() as service:
        info = await service.client.add_component("counter", one.guests.wasm("counter"))
        await service.client.invoke(info.component, "w", "add", [1])
        worker = str(WorkerId(info.component, "w"))
        for kind, identity in (("worker", worker), ("component", str(info.component))):
            ask = Ask(encode_history_ask(HistoryAsk(kind, identity)))
            assert decode_history_held(await service.histories.serve(ask))
            frames = list(h.FrameSplitter(is_part=True).feed(ask.sent))
            assert h.opened(frames[0]) == h.LogOpening(kind, identity, h_shard(kind, identity))
            assert isinstance(h.opened(frames[-1]), h.SealFrame)
        for identity in ("", "nobody", worker + "x"):
            ask = Ask(encode_history_ask(HistoryAsk("worker", identity)))
            assert not decode_history_held(await service.histories.serve(ask))
            assert ask.sent == b""
        for payload in (b"", b"\xff", b"x" * 5000):
            with pytest.raises(MalformedRequest):
                await service.histories.serve(Ask(payload))


def h_shard(kind: str, identity: str) -> int:
    from golemp2p.model.ids import Key

    return Key.of(kind, identity).shard(16)


async def test_files_are_as_forged_ones(machine: Any, autojump_clock: Any) -> None:
    """What nodes give away has the shape that the forgeries of other tests have."""
    one = machine(counter=COUNTER)
    async with one.service() as service:
        info = await service.client.add_component("counter", one.guests.wasm("counter"))
        await service.client.invoke(info.component, "w", "add", [1])
        file = await exported(service.histories, info.component, "w")
    kinds = [type(h.opened(frame)) for frame in cut(file)]
    forged = [type(h.opened(frame)) for frame in cut(FORGE.file())]
    assert list(dict.fromkeys(kinds)) == list(dict.fromkeys(forged))
    assert WASM not in file
