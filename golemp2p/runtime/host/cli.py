"""wasi:cli: environment, exit, the three standard streams, terminals (there are none). ``wasi:cli/run`` is an export.

Standard output and error go to the worker's log as text: one entry per write, bytes that are not UTF-8 as U+FFFD, a
character split over two writes whole in the second. Standard input exists but may not be read: a worker has no one who
types, and an input that is different after every restart cannot be durable.
"""

from __future__ import annotations

import codecs
from typing import Any

from golemp2p.errors import GuestExited, GuestTrapped
from golemp2p.ports import WorkerHost
from golemp2p.runtime.host.declare import READ_LOCAL, HostContext, HostInterface
from golemp2p.runtime.host.streams import InputStream, OutputStream

ENVIRONMENT = HostInterface("wasi:cli/environment")
EXIT = HostInterface("wasi:cli/exit")
STDIN = HostInterface("wasi:cli/stdin")
STDOUT = HostInterface("wasi:cli/stdout")
STDERR = HostInterface("wasi:cli/stderr")
TERMINAL_INPUT = HostInterface("wasi:cli/terminal-input")
TERMINAL_OUTPUT = HostInterface("wasi:cli/terminal-output")
TERMINAL_STDIN = HostInterface("wasi:cli/terminal-stdin")
TERMINAL_STDOUT = HostInterface("wasi:cli/terminal-stdout")
TERMINAL_STDERR = HostInterface("wasi:cli/terminal-stderr")
INTERFACES = (
    ENVIRONMENT,
    EXIT,
    STDIN,
    STDOUT,
    STDERR,
    TERMINAL_INPUT,
    TERMINAL_OUTPUT,
    TERMINAL_STDIN,
    TERMINAL_STDOUT,
    TERMINAL_STDERR,
)

OUTPUT_BYTES_MAX = 64 << 10
"""One write is one oplog entry, and this is what an entry may hold inline."""

TERMINAL_INPUT.resource("terminal-input")
TERMINAL_OUTPUT.resource("terminal-output")


# ---------------------------------------------------------------------------------------------------- environment, exit


@ENVIRONMENT.function("get-environment", READ_LOCAL)
def get_environment(ctx: HostContext) -> list[tuple[str, str]]:
    return list(ctx.host.env)


@ENVIRONMENT.function("get-arguments", READ_LOCAL)
def get_arguments(ctx: HostContext) -> list[str]:
    return list(ctx.host.args)


@ENVIRONMENT.function("initial-cwd", READ_LOCAL)
def initial_cwd(ctx: HostContext) -> str | None:
    return "/"


@EXIT.function("exit")
def exit_with_result(ctx: HostContext, status: tuple[str, Any]) -> None:
    raise GuestExited(0 if status[0] == "ok" else 1)


@EXIT.function("exit-with-code")
def exit_with_code(ctx: HostContext, status_code: int) -> None:
    raise GuestExited(status_code)


# ----------------------------------------------------------------------------------------------------- standard streams


class StandardInput(InputStream):
    """Always ready, so that a guest which waits for input meets the refusal instead of waiting forever."""

    def read(self, count: int) -> bytes:
        raise GuestTrapped("reading standard input is refused: a worker has none; pass data as arguments of a function")


class StandardOutput(OutputStream):
    """Writes become log lines of level ``stdout`` or ``stderr``."""

    def __init__(self, host: WorkerHost, level: str, decoder: codecs.IncrementalDecoder) -> None:
        self._host, self._level, self._decoder = host, level, decoder

    def check_write(self) -> int:
        return OUTPUT_BYTES_MAX

    def write(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        if text:
            self._host.log(self._level, "", text)


class OutputDecoders:
    """Characters begun but not ended, one decoder per level: all handles to one standard stream share it."""

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self.stdout, self.stderr = make("replace"), make("replace")


@STDIN.function("get-stdin")
def get_stdin(ctx: HostContext) -> int:
    return ctx.resources.push(StandardInput())


@STDOUT.function("get-stdout")
def get_stdout(ctx: HostContext) -> int:
    return ctx.resources.push(StandardOutput(ctx.host, "stdout", ctx.state(OutputDecoders).stdout))


@STDERR.function("get-stderr")
def get_stderr(ctx: HostContext) -> int:
    return ctx.resources.push(StandardOutput(ctx.host, "stderr", ctx.state(OutputDecoders).stderr))


@TERMINAL_STDIN.function("get-terminal-stdin")
def get_terminal_stdin(ctx: HostContext) -> int | None:
    return None


@TERMINAL_STDOUT.function("get-terminal-stdout")
def get_terminal_stdout(ctx: HostContext) -> int | None:
    return None


@TERMINAL_STDERR.function("get-terminal-stderr")
def get_terminal_stderr(ctx: HostContext) -> int | None:
    return None
