"""The one path of every host call: durability class -> what is journalled, taken from the journal, committed, run.

                 replaying                       live
    PURE         body                            body
    WRITE_LOCAL  body                            body
    READ_*       take, body not run              body, record
    WRITE_REMOTE take, body not run              commit, body, record, commit

``dispatcher`` turns a declared function into ``dispatch(context, values) -> value | Waiting``, chosen once at link time.
A body that is a coroutine is started at once, inside the host call; most of the time (all of the time in a replay) it ends
there too and the guest goes on without ever having been parked. Only when it really waits is a ``Waiting`` returned, which the
task that runs the guest carries on: same task, same cancel scopes, so trio sees one coroutine that awaits another.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from golemp2p.errors import UnknownImport
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.host.declare import (
    PURE,
    READ_LOCAL,
    READ_REMOTE,
    WRITE_LOCAL,
    WRITE_REMOTE,
    Body,
    HostFunction,
)
from golemp2p.runtime.host.encoding import decode_response, encode_response, journal_name, request_hash

Dispatch = Callable[[Context, tuple[Any, ...]], Any]


class Waiting:
    """A host call under way that asked trio for something. Must be finished exactly once, or closed."""

    __slots__ = ("_body", "_message")

    def __init__(self, body: Coroutine[Any, Any, Any], message: Any) -> None:
        self._body, self._message = body, message

    @types.coroutine
    def finish(self) -> Generator[Any, Any, Any]:
        """Carry the call on to its end, in the task in which it was started."""
        body, message = self._body, self._message
        try:
            while True:
                try:
                    answer = yield message
                except BaseException as error:  # noqa: BLE001  # whatever the runner throws belongs to the body
                    message = body.throw(error)
                else:
                    message = body.send(answer)
        except StopIteration as end:
            return end.value

    def close(self) -> None:
        self._body.close()


def _start(context: Context, body: Coroutine[Any, Any, Any]) -> Any:
    """The result of ``body`` if it gets there without waiting, else a ``Waiting``."""
    try:
        message = body.send(None)
    except StopIteration as end:
        return end.value
    journal = context.host.journal
    if not journal.replaying:
        journal.flush_nowait()  # the guest waits anyway: let what it did so far become durable meanwhile
    return Waiting(body, message)


def dispatcher(function: HostFunction) -> Dispatch:
    """How calls of ``function`` are carried out."""
    name, body = journal_name(function.interface, function.name), function.body
    waits = inspect.iscoroutinefunction(body)
    match function.durability:
        case durability if durability in (PURE, WRITE_LOCAL):
            return _unjournalled_waiting(body) if waits else _unjournalled(body)
        case durability if durability in (READ_LOCAL, READ_REMOTE):
            return _read_waiting(name, durability, body) if waits else _read(name, durability, body)
        case durability if durability == WRITE_REMOTE:
            return _write_remote(name, body, waits=waits)
        case durability:
            raise AssertionError(f"{name}: no such durability class: {durability}")


def _unjournalled(body: Body) -> Dispatch:
    return lambda context, values: body(context, *values)


def _unjournalled_waiting(body: Body) -> Dispatch:
    return lambda context, values: _start(context, body(context, *values))


def _read(name: str, durability: str, body: Body) -> Dispatch:
    def dispatch(context: Context, values: tuple[Any, ...]) -> Any:
        journal, request = context.host.journal, request_hash(values)
        if journal.replaying:
            return decode_response(name, journal.take(name, request))
        value = body(context, *values)
        journal.record(name, durability, request, encode_response(value))
        return value

    return dispatch


def _read_waiting(name: str, durability: str, body: Body) -> Dispatch:
    async def live(context: Context, values: tuple[Any, ...], request: bytes) -> Any:
        value = await body(context, *values)
        context.host.journal.record(name, durability, request, encode_response(value))
        return value

    def dispatch(context: Context, values: tuple[Any, ...]) -> Any:
        journal, request = context.host.journal, request_hash(values)
        if journal.replaying:
            return decode_response(name, journal.take(name, request))
        return _start(context, live(context, values, request))

    return dispatch


def _write_remote(name: str, body: Body, *, waits: bool) -> Dispatch:
    async def live(context: Context, values: tuple[Any, ...], request: bytes) -> Any:
        journal = context.host.journal
        await journal.commit()  # S6: nothing leaves before all it depends on is durable
        value = await body(context, *values) if waits else body(context, *values)
        journal.record(name, WRITE_REMOTE, request, encode_response(value))
        await journal.commit()
        return value

    def dispatch(context: Context, values: tuple[Any, ...]) -> Any:
        journal, request = context.host.journal, request_hash(values)
        if journal.replaying:
            return decode_response(name, journal.take(name, request))
        return _start(context, live(context, values, request))

    return dispatch


def unknown_import(interface: str, function: str) -> Dispatch:
    """For imports that nobody provides: the component loads, and only calling this one fails."""
    where = f"{interface}.{{{function}}}" if interface else function
    message = (
        f"the component called {where}, which this host does not provide: "
        "build it against an interface that is provided, or avoid the call"
    )

    def dispatch(context: Context, values: tuple[Any, ...]) -> Any:
        raise UnknownImport(message)

    return dispatch
