"""Standard streams, exit, terminals, log lines."""

from __future__ import annotations

import pytest
from host_fakes import Instance, Worker
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import GuestExited, GuestTrapped
from golemp2p.runtime.host.cli import OUTPUT_BYTES_MAX, OutputDecoders, StandardOutput
from golemp2p.runtime.host.logging import CONTEXT_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX

WRITE = "wasi:io/streams.[method]output-stream.blocking-write-and-flush"


@pytest.mark.parametrize("level", ["stdout", "stderr"])
async def test_output_becomes_log_lines_once_over_all_replays(autojump_clock: object, level: str) -> None:
    worker = Worker()

    async def story(instance: Instance) -> None:
        stream = await instance.call(f"wasi:cli/{level}.get-{level}")
        await instance.call(WRITE, stream, b"first\n")
        await instance.call("wasi:clocks/wall-clock.now")
        await instance.call(WRITE, stream, b"")

    await story(worker.start())
    await story(worker.start())
    assert worker.lines == [(level, "", "first\n")]


async def test_a_character_split_over_writes_and_handles_is_whole(autojump_clock: object) -> None:
    worker = Worker()
    instance = worker.start()
    for piece in ("é".encode()[:1], "é".encode()[1:] + b"!", b"\xff", "€".encode()[:2]):
        stream = await instance.call("wasi:cli/stdout.get-stdout")
        await instance.call(WRITE, stream, piece)
        instance.drop(stream, "output-stream")
    errors = await instance.call("wasi:cli/stderr.get-stderr")
    await instance.call(WRITE, errors, "€".encode()[2:])
    assert worker.lines == [("stdout", "", "é!"), ("stdout", "", "\N{REPLACEMENT CHARACTER}"), ("stderr", "", "\ufffd")]


class Lines:
    def __init__(self) -> None:
        self.text = ""

    def log(self, level: str, context: str, message: str) -> None:
        assert message
        self.text += message


@given(st.lists(st.binary(max_size=8)))
def test_however_output_is_cut_the_text_is_that_of_the_whole(pieces: list[bytes]) -> None:
    lines = Lines()
    stream = StandardOutput(lines, "stdout", OutputDecoders().stdout)  # type: ignore[arg-type]
    for piece in [*pieces, b"\n"]:
        stream.write(piece)
    assert lines.text == (b"".join(pieces) + b"\n").decode("utf-8", "replace")


async def test_a_write_is_no_larger_than_an_entry_holds(autojump_clock: object) -> None:
    instance = Worker().start()
    stream = await instance.call("wasi:cli/stdout.get-stdout")
    assert await instance.call("wasi:io/streams.[method]output-stream.check-write", stream) == ("ok", OUTPUT_BYTES_MAX)
    with pytest.raises(GuestTrapped):
        await instance.call("wasi:io/streams.[method]output-stream.write", stream, bytes(OUTPUT_BYTES_MAX + 1))


async def test_standard_input_opens_is_ready_and_refuses_to_be_read(autojump_clock: object) -> None:
    instance = Worker().start()
    stdin = await instance.call("wasi:cli/stdin.get-stdin")
    pollable = await instance.call("wasi:io/streams.[method]input-stream.subscribe", stdin)
    assert await instance.call("wasi:io/poll.poll", [pollable]) == [0]
    for function in ("read", "blocking-read", "skip", "blocking-skip"):
        with pytest.raises(GuestTrapped, match="standard input"):
            await instance.call(f"wasi:io/streams.[method]input-stream.{function}", stdin, 1)


@pytest.mark.parametrize(
    ("function", "status", "code"),
    [("exit", ("ok", None), 0), ("exit", ("err", None), 1), ("exit-with-code", 0, 0), ("exit-with-code", 42, 42)],
)
async def test_exit(autojump_clock: object, function: str, status: object, code: int) -> None:
    with pytest.raises(GuestExited) as caught:
        await Worker().start().call(f"wasi:cli/exit.{function}", status)
    assert caught.value.status == code


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
async def test_there_is_no_terminal(autojump_clock: object, stream: str) -> None:
    assert await Worker().start().call(f"wasi:cli/terminal-{stream}.get-terminal-{stream}") is None


async def test_log_lines(autojump_clock: object) -> None:
    worker = Worker()
    for _ in range(2):
        instance = worker.start()
        await instance.call("wasi:logging/logging.log", "warn", "shop", "out of tea")
        await instance.call("wasi:logging/logging.log", "info", "", "")
        await instance.call("wasi:clocks/wall-clock.now")
    assert worker.lines == [("warn", "shop", "out of tea"), ("info", "", "")]


async def test_long_messages_are_divided_and_long_contexts_cut(autojump_clock: object) -> None:
    worker = Worker()
    message = "abc" * MESSAGE_CHARACTERS_MAX
    await worker.start().call("wasi:logging/logging.log", "info", "c" * 5000, message)
    assert [len(line) for _, _, line in worker.lines] == [MESSAGE_CHARACTERS_MAX] * 3
    assert "".join(line for _, _, line in worker.lines) == message
    assert {context for _, context, _ in worker.lines} == {"c" * CONTEXT_CHARACTERS_MAX}
