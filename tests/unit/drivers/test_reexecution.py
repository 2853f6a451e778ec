"""Workers run again from their journals: equal where nodes were honest, found out where an executor lied with every signature right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from history_forge import unshown, wrong
from history_nodes import COUNTER, entries_of, exported, judged, rewritten

from golemp2p.errors import GuestTrapped, UsageError
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.values.cbor import dumps

Change = Callable[[list[e.Entry]], list[e.Entry]]


async def ran(machine: Any, *calls: tuple[str, list[Any]], ephemeral: bool = False) -> tuple[Any, bytes]:
    """A machine, and the history of its worker ``w`` that was called so; failures are passed over."""
    one = machine(counter=COUNTER)
    async with one.service() as service:
        info = await service.client.add_component("counter", one.guests.wasm("counter"), ephemeral=ephemeral)
        for number, (function, params) in enumerate(calls):
            with suppress(GuestTrapped):
                await service.client.invoke(info.component, "w", function, params, idempotency_key=f"k{number}")
        if ephemeral:
            await trio.sleep(1)  # its answers do not wait for its log
        return one, await exported(service.histories, info.component, "w")


USUAL = (("add", [1]), ("add", [2]), ("add", [3]))


async def test_what_an_honest_node_did(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, *USUAL, ("large", [70_000]), ("sleep", [3]))
    effects = list(one.guests.effects)
    report = await judged(file, one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.verdict == "verified"
    assert report.run is not None
    assert (report.run.invocations, report.run.host_calls, report.run.lines, report.run.end) == (5, 9, 4, "idle")
    assert one.guests.effects == effects  # nothing left it
    assert one.guests.alive == 0
    assert (report.blobs, report.invocations) == (2, 5)


def place(entries: list[e.Entry], kind: type, number: int = 0) -> int:
    return [index for index, entry in enumerate(entries) if isinstance(entry, kind)][number]


def changed(kind: type, number: int = 0, **fields: Any) -> Change:
    """The history with other ``fields`` in the ``number``-th entry of a kind."""

    def change(entries: list[e.Entry]) -> list[e.Entry]:
        at = place(entries, kind, number)
        entries[at] = entries[at]._replace(**fields)
        return entries

    return change


def without(kind: type, number: int = 0) -> Change:
    def change(entries: list[e.Entry]) -> list[e.Entry]:
        del entries[place(entries, kind, number)]
        return entries

    return change


def inserted(entry: e.Entry, before: type, number: int = 0) -> Change:
    def change(entries: list[e.Entry]) -> list[e.Entry]:
        entries.insert(place(entries, before, number), entry)
        return entries

    return change


Call, Done, Invoked = e.ImportedFunctionInvoked, e.ExportedFunctionCompleted, e.ExportedFunctionInvoked
LIE = dumps(99)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed(Done, 1, response=LIE), "the result 99, the worker asked for the result 3"),
        (changed(Done, 1, response=e.BlobRef(bytes(32), 70_000)), "the result blob 0000"),
        (changed(Invoked, 1, request=dumps([5])), "host call test:world::effect"),
        (changed(Call, 1, request_hash=bytes(16)), "host call test:world::effect with request 0000"),
        (changed(Call, 1, function="test:world::other"), "host call test:world::other"),
        (changed(e.Log, 1, message="nothing of the kind"), "the stdout line 'nothing of the kind'"),
        (changed(e.Log, 1, level="stderr"), "the stderr line"),
        (without(e.Log, 1), "the worker asked the stdout line"),
        (without(Call, 1), "the journal holds ExportedFunctionCompleted"),
        (without(Done, 0), "'k1' begins before 'k0' has an outcome"),
        (inserted(e.Log(1, "stdout", "", "more"), Done, 0), "the stdout line 'more'"),
        (inserted(Call(1, "test:clock::now", "read-local", bytes(16), LIE), Done, 0), "host call test:clock::now"),
        (inserted(e.NoOp(1), Done, 0), "NoOp"),
        (inserted(e.Failed(1, "guest-trapped", "so it says", False), Done, 2), "the failure guest-trapped"),
        (inserted(e.Exited(1, 0), Done, 2), "Exited"),
        (inserted(e.InvocationRefused(1, "k2", "value-mismatch", ""), Done, 2), "the failure value-mismatch"),
        (changed(Call, 0, response=b"\xff"), "holds what no node writes"),
        (changed(Invoked, 1, function="test:guest/api.{nothing}"), "calls what its component does not have"),
        (changed(Invoked, 1, request=b"\xff"), "holds what no node writes"),
        (changed(Invoked, 1, request=dumps(7)), "cannot be given what the journal holds"),
    ],
)
async def test_a_lie_of_the_executor(machine: Any, autojump_clock: Any, tmp_path: Path, change: Change, reason: str) -> None:
    """With the whole chain signed again: hashes, signatures and certificates are all in order."""
    one, file = await ran(machine, *USUAL)
    forged = rewritten(file, one.key, change)
    report = await judged(forged, one.guests, tmp_path)
    assert report.verdict == "wrong"
    assert reason in wrong(report)
    assert report.logs[0].runs[0].standing is not None
    assert (await judged(rewritten(file, one.key, lambda entries: entries), one.guests, tmp_path)).verdict == "verified"


async def test_a_divergence_names_its_place(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, *USUAL)
    report = await judged(rewritten(file, one.key, changed(Done, 1, response=LIE)), one.guests, tmp_path)
    index = place(entries_of(file), Done, 1) + 1
    assert report.run is not None
    assert report.run.divergence == (index, "the result 99", "for the result 3")
    assert report.wrong.listed[0].at == index
    assert report.run.end == ""


async def test_what_the_world_answered_is_believed(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    """A dishonest executor can lie about that: with the line that the guest makes of it, all is in order."""
    one, file = await ran(machine, ("add", [1]))

    def change(entries: list[e.Entry]) -> list[e.Entry]:
        changed(Call, 0, response=dumps(7))(entries)
        return changed(e.Log, 0, message="now 7")(entries)

    assert (await judged(rewritten(file, one.key, change), one.guests, tmp_path)).verdict == "verified"


# ---------------------------------------------------------------------------------------------------------------- all ends


async def test_a_failed_worker(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, ("add", [1]), ("fail", ["because"]))
    report = await judged(file, one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.run is not None
    assert (report.run.end, report.run.invocations, report.run.failures) == ("failed", 1, 1)
    assert sum(isinstance(entry, e.Failed) for entry in entries_of(file)) > 1  # tried again and again, told once


async def test_a_failure_of_the_moment_is_not_shown(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, *USUAL)

    def change(entries: list[e.Entry]) -> list[e.Entry]:
        return [*entries[:-1], e.Failed(1, "limit-exceeded", "too long", False)]

    report = await judged(rewritten(file, one.key, change), one.guests, tmp_path)
    assert report.verdict == "incomplete"
    assert "the journal holds the failure limit-exceeded (too long); the re-execution: goes on" in unshown(report)


async def test_nothing_comes_after_the_end(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, ("add", [1]), ("fail", ["because"]))
    report = await judged(rewritten(file, one.key, lambda all_: [*all_, e.NoOp(1)]), one.guests, tmp_path)
    assert "the worker asked nothing: the worker has come to its end" in wrong(report)


@pytest.mark.parametrize("length", range(2, 15))
async def test_wherever_the_journal_ends(machine: Any, autojump_clock: Any, tmp_path: Path, length: int) -> None:
    """A node that died in the middle of an invocation left no more than that."""
    one, file = await ran(machine, *USUAL)
    forged = rewritten(file, one.key, lambda entries: entries[:length])
    report = await judged(forged, one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    last = entries_of(forged)[-1]
    assert report.run is not None
    assert report.run.end == ("idle" if isinstance(last, Done | e.PendingInvocation) else "unfinished")


async def test_a_promise_that_is_waited_for(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one = machine(counter=COUNTER)
    async with one.service() as service, trio.open_nursery() as nursery:
        info = await service.client.add_component("counter", one.guests.wasm("counter"))
        nursery.start_soon(service.client.invoke, info.component, "w", "promise", [])
        await trio.sleep(1)
        waiting = await judged(await exported(service.histories, info.component, "w"), one.guests, tmp_path)
        entries = (await service.client.oplog(WorkerId(info.component, "w"))).entries
        index = next(at for at, entry in entries if isinstance(entry, e.NoOp))
        await service.client.complete_promise(WorkerId(info.component, "w"), index, b"yes")
        await trio.sleep(1)
        done = await judged(await exported(service.histories, info.component, "w"), one.guests, tmp_path)
    assert [wrong(report) + unshown(report) for report in (waiting, done)] == ["", ""]
    assert waiting.run is not None
    assert done.run is not None
    assert (waiting.run.end, done.run.end, done.run.invocations) == ("unfinished", "idle", 1)


async def test_interrupted_and_crashed_in_the_middle(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one = machine(counter=COUNTER)
    async with one.node_that_crashes() as local:
        info = await local.add_component("counter", one.guests.wasm("counter"))
        worker = WorkerId(info.component, "w")
        await local.invoke(info.component, "w", "add", [1])
        await local.enqueue(info.component, "w", "sleep", [5])
        await trio.sleep(1)
        await local.interrupt_worker(worker, recover_immediately=True)
        await trio.sleep(1)
        await local.interrupt_worker(worker)
        await local.resume_worker(worker)
        await trio.sleep(1)
    async with one.service() as service:
        await trio.sleep(10)
        await service.client.invoke(info.component, "w", "add", [2])
        file = await exported(service.histories, info.component, "w")
    report = await judged(file, one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.run is not None
    assert (report.run.invocations, report.run.end) == (3, "idle")
    assert len(report.logs[0].runs) == 2  # a term for each start of the node


# --------------------------------------------------------------------------------------------------------------- ephemeral


async def test_an_ephemeral_worker(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, ("add", [1]), ("fail", ["because"]), ("add", [2]), ephemeral=True)
    report = await judged(file, one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.run is not None
    assert (report.run.invocations, report.run.failures, report.run.end) == (2, 1, "idle")
    lie = rewritten(file, one.key, changed(Done, 1, response=dumps(3)))  # the sum, as if it had a memory
    assert "the result 3, the worker asked for the result 2" in wrong(await judged(lie, one.guests, tmp_path))


async def test_an_ephemeral_worker_whose_node_stopped(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one = machine(counter=COUNTER)
    async with one.node_that_crashes() as local:
        info = await local.add_component("counter", one.guests.wasm("counter"), ephemeral=True)
        await local.invoke(info.component, "w", "add", [1])
        for number in range(3):
            await local.enqueue(info.component, "w", "sleep", [5], idempotency_key=f"s{number}")
        await trio.sleep(7)
    async with one.service() as service:
        await trio.sleep(30)
        await service.client.invoke(info.component, "w", "add", [2])
        await trio.sleep(1)
        file = await exported(service.histories, info.component, "w")
    report = await judged(file, one.guests, tmp_path)
    assert wrong(report) == ""
    assert [problem.reason.partition(";")[0] for problem in report.unshown.listed] == [
        "the journal holds the failure worker-interrupted (the node stopped while the ephemeral worker ran)"
    ]
    assert report.run is not None
    assert (report.run.invocations, report.run.end) == (4, "idle")
    assert any(isinstance(entry, e.InvocationRefused) for entry in entries_of(file))


async def test_an_ephemeral_execution_that_was_cut_short(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, ("add", [1]), ("add", [2]), ephemeral=True)

    def change(entries: list[e.Entry]) -> list[e.Entry]:
        at = place(entries, Done, 1)
        begun = entries[at - 3 : at - 1]  # what a first try recorded, before the node's operator interrupted it
        assert isinstance(begun[0], Call)
        return [*entries[: at - 3], *begun, e.Interrupted(1), e.Resumed(1), *entries[at - 3 :]]

    report = await judged(rewritten(file, one.key, change), one.guests, tmp_path)
    assert wrong(report) + unshown(report) == ""
    assert report.run is not None
    assert (report.run.invocations, report.run.cut_short) == (2, 1)


# ------------------------------------------------------------------------------------------------------------- components


async def test_without_the_component(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one = machine(counter=COUNTER)
    async with one.service() as service:
        info = await service.client.add_component("counter", one.guests.wasm("counter"))
        await service.client.invoke(info.component, "w", "add", [1])
        file = await exported(service.histories, info.component, "w", with_component=False)
    report = await judged(file, one.guests, tmp_path)
    assert report.verdict == "incomplete"
    assert report.run is None
    assert "its bytes were left out" in unshown(report)
    wasm = tmp_path / "counter.wasm"
    wasm.write_bytes(one.guests.wasm("counter"))
    report = await judged(file, one.guests, tmp_path, wasm=wasm)
    assert report.run is not None
    assert report.run.invocations == 1
    assert "was left out" in unshown(report)  # nobody but who gave the bytes says that these are they


async def test_with_another_component(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    one, file = await ran(machine, ("add", [1]))
    other = tmp_path / "other.wasm"
    other.write_bytes(b"\0asm other")
    with pytest.raises(UsageError, match="is not the component that the worker runs"):
        await judged(file, one.guests, tmp_path, wasm=other)


async def test_a_component_that_does_other_things_is_found_out(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    """The same bytes, as far as the judge knows, but another program: as if the executor had run another one."""

    async def other(guest: Any, number: int) -> int:
        guest.say(f"now {guest.now()}")
        await guest.effect(f"add {number}")
        return number

    _, file = await ran(machine, *USUAL)
    cheat = machine(counter={**COUNTER, "add": (*COUNTER["add"][:2], other)})
    report = await judged(file, cheat.guests, tmp_path)
    assert "the result 3, the worker asked for the result 2" in wrong(report)


async def test_our_own_limits_accuse_nobody(machine: Any, autojump_clock: Any, tmp_path: Path) -> None:
    from golemp2p.errors import LimitExceeded

    async def slow(guest: Any, number: int) -> int:
        raise LimitExceeded("wall_time_s", "too slow for this machine")

    _, file = await ran(machine, *USUAL)
    weak = machine(counter={**COUNTER, "add": (*COUNTER["add"][:2], slow)})
    report = await judged(file, weak.guests, tmp_path)
    assert report.verdict == "incomplete"
    assert "the re-execution stopped: it came to a limit of its own where the journal goes on: limit-exceeded" in unshown(
        report
    )
