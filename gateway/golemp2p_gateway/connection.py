"""One HTTP connection: Hypercorn's classes for trio, with the costly parts of their way through a request replaced.

    Connection (TCPServer)          reads with a deadline instead of starting and cancelling an idle task per request
      └─ Protocols (ProtocolWrapper)  chooses between HTTP/1.1 and HTTP/2
           └─ H1Protocol (H11Protocol)  sends a response's head together with its first body bytes
                ├─ H1Stream (HTTPStream)  runs the app in the connection's own task when the request is complete
                └─ H1WebSocket (WSStream)  stops pinging when it is closed

Written against Hypercorn 0.18 (``tests/unit/gateway/test_gateway_hypercorn.py`` fails when what is replaced has changed)
in a form that could go upstream: subclasses, no patching. Measured gains are in ``benchmarks/http_edge.py``.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterable
from time import time
from typing import Any, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.typing import TaskGroup as AnyTaskGroup
from hypercorn.utils import parse_socket_addr

from golemp2p.errors import MalformedRequest
from golemp2p_gateway.errors_table import error_response

RECEIVE_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024  # sent under one write deadline
LINGER_S = 1.0  # after our end of stream: how long we let the client finish sending, lest it lose our answer to a reset
LINGER_BYTES_MAX = 4 << 20
DEPARTURE = "golemp2p.departure"


class HeadTooLarge(MalformedRequest):
    code = "head-too-large"


class EdgeConfig(Config):
    """Hypercorn's configuration, plus our time limits. The ``date`` header is made once per second."""

    header_timeout: float = 20.0
    body_timeout: float = 60.0
    write_timeout: float = 30.0
    _headers: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        second = int(time())
        if self._headers[0] != second:
            self._headers = (second, super().response_headers(protocol))
        return self._headers[1]


class Departure:
    """Of a client, while its request is served. Who serves it and wants to know puts a callback into ``on``; it is found among the
    extensions of the ASGI scope, under ``DEPARTURE``."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on: Callable[[], None] | None = None

    def happened(self) -> None:
        if self.on is not None:
            self.on()


class _NotYet(TaskGroup):
    """Stands in for the task group while ``HTTPStream`` takes in a request's head, so that no task is started for it."""

    async def spawn_app(self, app: AppWrapper, config: Config, scope: Any, send: Any) -> Any:
        return None


_NOT_YET = _NotYet()


class H1Stream(HTTPStream):
    """A request whose body has arrived whole is served in the task that read it: no spawn, no channel, no switches.

    While the app runs nobody reads, so a client's leaving is noticed when the answer is written, or by who looks after long
    requests (``cancel_left``). A request that is still arriving when the socket runs dry is handed to a task of its own (``spawn``),
    as Hypercorn always does.
    """

    app_put: Any

    def __init__(self, task_group: AnyTaskGroup, *args: Any) -> None:
        super().__init__(*args)
        self._tasks = task_group
        self._early: list[bytes] | None = []
        self._over = trio.Event()
        self.is_waiting = True
        """No task serves the request yet; its body is collected."""
        self.departure = Departure()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed):
            self._over.set()
        if not self.is_waiting or self.closed or self._early is None or isinstance(event, Request):
            await super().handle(event)
            if isinstance(event, Request):
                self.scope["extensions"][DEPARTURE] = self.departure  # type: ignore[assignment]  # ours alone
        elif isinstance(event, Body):
            self._early.append(bytes(event.data))
        elif isinstance(event, EndBody):
            self.is_waiting = False
            await self._run()
        elif isinstance(event, StreamClosed):
            self.closed = True

    async def spawn(self) -> None:
        self.is_waiting = False
        early, self._early = self._early or [], None
        self.app_put = await self._tasks.spawn_app(self.app, self.config, self.scope, self.app_send)
        for data in early:
            await self.app_put({"type": "http.request", "body": data, "more_body": True})

    async def _run(self) -> None:
        try:
            await self.app(self.scope, self._receive, self.app_send, trio.to_thread.run_sync, trio.from_thread.run)
        except Exception:  # noqa: BLE001 - as Hypercorn: the app's failure ends its request, not the connection's task
            await self.config.log.exception("Error in ASGI Framework")
        await self.app_send(None)

    async def app_send(self, message: Any) -> None:
        if message is None and trio.current_effective_deadline() == -math.inf:
            return  # cut off at shutdown: the connection closes without an answer, rather than with one the app never gave
        await super().app_send(message)

    async def _receive(self) -> Any:
        if self._early is not None:
            body, self._early = b"".join(self._early), None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}


class H1WebSocket(WSStream):
    """Hypercorn's pings sleep on after the stream is closed: a slot and a draining node would wait for the next one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pings = trio.CancelScope()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed):
            self._pings.cancel()
        await super().handle(event)

    async def _send_pings(self) -> None:
        with self._pings:
            await super()._send_pings()


class H1Protocol(H11Protocol):
    """HTTP/1.1 with ``H1Stream``, JSON errors, and heads that travel with their body."""

    _held = b""  # a response's head that waits for the first bytes of its body
    _has_two_lengths = False
    """The request told its length twice over, as requests that are smuggled past a proxy do: it is this connection's last."""

    async def _handle_events(self) -> None:
        await super()._handle_events()
        stream = self.stream
        if isinstance(stream, H1Stream) and stream.is_waiting:
            await stream.spawn()

    async def _create_stream(self, request: h11.Request) -> None:
        self._has_two_lengths = {b"content-length", b"transfer-encoding"}.issubset(name for name, _ in request.headers)
        if _asks_for_websocket(request):
            self.stream = H1WebSocket(
                self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server, self.stream_send,
                STREAM_ID,
            )  # fmt: skip
            self.connection = H11WSConnection(cast("h11.Connection", self.connection))
        else:
            self.stream = H1Stream(
                self.task_group, self.app, self.config, self.context, _NOT_YET, self.ssl, self.client, self.server,
                self.stream_send, STREAM_ID,
            )  # fmt: skip
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def _check_protocol(self, event: h11.Request) -> None:
        for name, _ in event.headers:
            if name == b"upgrade":
                break
        else:
            if event.method != b"PRI":
                return
        await super()._check_protocol(event)

    async def _send_h11_event(self, event: Any) -> None:
        if type(event) is h11.Response and self._is_last():
            event = h11.Response(status_code=event.status_code, headers=[*event.headers, (b"connection", b"close")])
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        # without a length the response is a stream: its head must not wait
        if type(event) is h11.Response and any(name == b"content-length" for name, _ in event.headers):
            self._held = data
            return
        if self._held:
            data, self._held = self._held + data, b""
        if data:
            await self.send(RawData(data=data))

    def _is_last(self) -> bool:
        """No request can follow on this connection: we are shutting down, or answer before the request has been read, or
        cannot know where it ended for others (RFC 9112, 6.1)."""
        return self.context.terminated.is_set() or self.connection.their_state is h11.SEND_BODY or self._has_two_lengths

    async def _send_error_response(self, status_code: int) -> None:
        """The answer to bytes that are not HTTP. ``status_code`` is h11's hint."""
        if status_code == 431:
            error: MalformedRequest = HeadTooLarge(
                f"the head of a request has at most {self.config.h11_max_incomplete_size} bytes"
            )
        else:
            error = MalformedRequest("not an HTTP request")
        response = error_response(error)
        headers = [*response.all_headers(), (b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=response.body))
        await self._send_h11_event(h11.EndOfMessage())


def _asks_for_websocket(request: h11.Request) -> bool:
    """Other upgrades are ignored, as RFC 9110 allows."""
    upgrade = b""
    tokens: list[bytes] = []
    for name, value in request.headers:
        if name == b"upgrade":
            upgrade = value
        elif name == b"connection":
            tokens += value.lower().split(b",")
    if not upgrade:
        return False
    upgrading = any(token.strip() == b"upgrade" for token in tokens)
    return upgrading and upgrade.strip().lower() == b"websocket" and request.method == b"GET"


class Protocols(ProtocolWrapper):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if type(self.protocol) is H11Protocol:
            self.protocol = H1Protocol(
                self.app, self.config, self.context, self.task_group, self.state, self.ssl, self.client, self.server,
                self.send,
            )  # fmt: skip


class Connection(TCPServer):
    """Reads until the client leaves, is silent for too long, or we are done with it."""

    config: EdgeConfig
    stream: Any

    def __init__(self, app: AppWrapper, config: EdgeConfig, context: WorkerContext, stream: trio.SocketStream) -> None:
        super().__init__(app, config, context, {}, cast("Any", stream))
        self._idle = True
        self._reading = trio.CancelScope()
        self._head_deadline = trio.current_time() + config.header_timeout
        self._lingering = False
        self._looked_at: H1Stream | None = None
        self._may_write_at_once = False
        """Once per read, so that an app that only sends still lets others run."""

    def _stream(self) -> H1Stream | None:
        """The request under way, if it is one of HTTP/1.1."""
        stream = getattr(getattr(getattr(self, "protocol", None), "protocol", None), "stream", None)
        return stream if isinstance(stream, H1Stream) else None

    def cancel_if_left(self) -> None:
        """Give a request up that was under way at the last look already, if its client has closed its end: who waits for long keeps
        it open. (A client that only says that it will send no more cannot be told from one that is gone.)"""
        stream = self._stream()
        if stream is not None and stream is self._looked_at and _has_hung_up(self.stream.socket):
            stream.departure.happened()
        self._looked_at = stream

    def close_if_idle(self) -> None:
        """At shutdown: a connection without a request has nothing to wait for."""
        if self._idle:
            self._reading.cancel()

    async def run(self) -> None:
        socket = self.stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = Protocols(
                    self.app, self.config, self.context, task_group, ConnectionState(self.state), False, client,
                    server, self.protocol_send, "http/1.1",
                )  # fmt: skip
                await self.protocol.initiate()
                await self._read_data()
        except OSError:
            pass  # gone before it said anything
        finally:
            with trio.CancelScope(shield=True):  # closing a socket does not block
                await trio.aclose_forcefully(self.stream)

    async def _read_data(self) -> None:
        while not self.context.terminated.is_set() or not self._idle:
            data = await self._receive(self._read_deadline())
            if not data or self._lingering:
                break
            requests = self._requests_count()
            self._may_write_at_once = True
            await self.protocol.handle(RawData(data))
            if self._lingering:
                break
            if self._requests_count() != requests:
                self._head_deadline = math.inf
            elif self._idle and self._head_deadline == math.inf:
                self._head_deadline = trio.current_time() + self.config.header_timeout
        if self._lingering:
            await self._linger()
        if (stream := self._stream()) is not None:
            stream.departure.happened()
        await self.protocol.handle(Closed())

    async def _receive(self, deadline: float) -> bytes:
        """``b""`` when the client has left or the deadline has passed."""
        with trio.CancelScope(deadline=deadline) as self._reading:
            try:
                return bytes(await self.stream.receive_some(RECEIVE_BYTES))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                pass
        return b""

    def _requests_count(self) -> int:
        return getattr(self.protocol.protocol, "keep_alive_requests", 0)

    def _read_deadline(self) -> float:
        if self._idle:
            return min(self._head_deadline, trio.current_time() + self.config.keep_alive_timeout)
        connection = getattr(self.protocol.protocol, "connection", None)
        if getattr(connection, "their_state", None) is h11.SEND_BODY:
            return trio.current_time() + self.config.body_timeout
        return math.inf  # the app is at work

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            try:
                self.send_lock.acquire_nowait()
            except trio.WouldBlock:
                await self.send_lock.acquire()
            try:
                data = self._write_at_once(event.data)
                sent = not data or await self._send_all(data)
            finally:
                self.send_lock.release()
            if not sent:
                await self.protocol.handle(Closed())
                await trio.lowlevel.checkpoint()  # a dead stream fails at once: an app that only sends must not spin
        elif isinstance(event, Closed):
            await self._finish()
            await self.protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._idle = event.idle
            if event.idle:
                self._reading.deadline = trio.current_time() + self.config.keep_alive_timeout
                if self.context.terminated.is_set():
                    self._reading.cancel()

    def _write_at_once(self, data: bytes) -> bytes:
        """What the kernel's buffer did not take of ``data``, most often nothing: an answer then costs no deadline, no shield
        and no turn of the event loop. Errors are left for ``_send_all`` to meet."""
        if not self._may_write_at_once or len(data) > SEND_BYTES:
            return data
        self._may_write_at_once = False
        try:
            return data[os.write(self.stream.socket.fileno(), data) :]
        except OSError:
            return data

    async def _send_all(self, data: bytes) -> bool:
        """False when the client is gone, or took nothing for ``write_timeout``. A started write is never left half done:
        the connection may carry other streams."""
        for start in range(0, len(data), SEND_BYTES):
            piece = data if len(data) <= SEND_BYTES else data[start : start + SEND_BYTES]
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self.config.write_timeout) as scope:
                try:
                    await self.stream.send_all(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return False
            if scope.cancelled_caught:
                await trio.aclose_forcefully(self.stream)
                return False
        return True

    async def _finish(self) -> None:
        """Nothing more will be sent. The reader lingers until the client closes too, so that no reset eats our answer."""
        try:
            await self.stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await trio.aclose_forcefully(self.stream)
            return
        self._lingering = True
        self._reading.deadline = trio.current_time() + LINGER_S

    async def _linger(self) -> None:
        deadline = trio.current_time() + LINGER_S
        size = 0
        while size < LINGER_BYTES_MAX and (data := await self._receive(deadline)):
            size += len(data)


def _has_hung_up(connected: trio.socket.SocketType) -> bool:
    """Whether the next thing to be read is the end. What waits to be read first, such as a next request, hides it."""
    with socket.fromfd(connected.fileno(), connected.family, connected.type) as peeking:
        try:
            return peeking.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def cancel_left(connections: Iterable[Connection]) -> None:
    """Called again and again."""
    for connection in connections:
        connection.cancel_if_left()


def close_idle(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.close_if_idle()
