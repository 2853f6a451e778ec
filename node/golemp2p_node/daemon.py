"""The node as a process: the one place where ports meet their adapters.

    data directory      locked, with the node's key
      SqliteStorage     ports.Storage
        WasmtimeGuests  ports.Guests
          open_service  the client: everything a node does except listening
            serve       HTTP over it

Started from the outside in and stopped the other way round: SIGTERM or SIGINT stops accepting, lets work under way finish
within ``drain_timeout_s``, flushes the logs, closes the rest. A second signal exits at once, which is always safe: what was
acknowledged is durable.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import trio

from golemp2p.drivers.opening import Service, World, open_service
from golemp2p.drivers.settings import MeshSettings, ServiceSettings
from golemp2p.errors import DataDamaged, Golemp2pError, InvalidState, StorageFailed, Unreachable
from golemp2p.mesh.streams import TcpStreams
from golemp2p.runtime.guests import open_guests
from golemp2p.storage.datadir import DataDirectory, store_id
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact
from golemp2p_gateway import GatewaySettings, serve
from golemp2p_node.cli.framework import EXIT_INTERRUPTED, Failure
from golemp2p_node.logging_setup import configure
from golemp2p_node.settings import Address, Settings
from golemp2p_node.sources import Loaded

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that may wait to be accepted: a burst of clients connecting at once
GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""An invocation makes some hundred objects that die without the collector; Python's default of 700 has it look through them for
5 % of the time, and through everything a node holds, hundreds of milliseconds with many workers, every few seconds."""

JOINING_TOLD_S = 5.0
JOINING_TOLD_AGAIN_S = 60.0

DRAIN_MIN_S = 0.001  # the edge wants a positive time; this is "do not wait"


class Listening(NamedTuple):
    """One listener that is ready. ``url`` holds the port really taken; ``node`` is this node's id."""

    name: str
    url: str
    node: str


Announce = Callable[[Listening], None]


class SystemClock:
    """``ports.Clock`` over the machine's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


def run_node(loaded: Loaded, announce: Announce) -> None:
    """Run until told to stop. Raises ``Failure`` when the node cannot start, or had to give up."""
    if not __debug__:
        raise Failure("python -O removes checks that a node relies on", "run without -O and PYTHONOPTIMIZE")
    configure(loaded.settings.log)
    raise_open_files_limit()
    try:
        trio.run(serve_node, loaded.settings, announce, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        error = only_error(group)
        if error is None:
            logger.exception("node_failed")
            raise Failure("the node gave up; its log says why") from group
        raise failure_of(error) from group
    except Golemp2pError as error:
        raise failure_of(error) from error


def only_error(group: BaseExceptionGroup[BaseException]) -> Golemp2pError | None:
    """The one error of ours inside, however deep; ``None`` when there is anything else."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found if isinstance(found, Golemp2pError) else None


def failure_of(error: Golemp2pError) -> Failure:
    match error:
        case DataDamaged():
            hint = "`golemp2p storage verify` lists what is damaged"
        case StorageFailed():
            hint = "see to the disk and its permissions, or choose another directory with --data-dir DIR"
        case Unreachable():
            hint = "choose an address of this machine with --mesh HOST:PORT; port 0 takes a free one"
        case _:
            hint = ""
    return Failure(str(error), hint, code=error.code)


async def serve_node(settings: Settings, announce: Announce) -> None:
    """Everything, from the lock to the last line of the log. Needs the main thread, for signals."""
    check_free(settings.http)
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(watch_signals, stop)
        await run_until(stop, settings, announce)
        nursery.cancel_scope.cancel()


async def run_until(stop: trio.Event, settings: Settings, announce: Announce) -> None:
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(DataDirectory.open(settings.data_dir))
        key = SigningKey(directory.node_seed(secrets.token_bytes))
        storage = await SqliteStorage.open(directory.path)
        stack.push_async_callback(storage.aclose)
        guests = await stack.enter_async_context(
            open_guests(directory.cache, component_bytes_max=settings.requests.component_bytes_max)
        )
        service = await stack.enter_async_context(
            open_service(
                World(
                    storage=storage,
                    guests=guests,
                    streams=TcpStreams(),
                    clock=SystemClock(),
                    random_bytes=secrets.token_bytes,
                    files_dir=directory.workers,
                    scratch_dir=directory.cache,
                    operator=partial(operator_key, directory),
                    make_operator=lambda: SigningKey(directory.make_operator_seed(secrets.token_bytes)).public_key,
                ),
                key,
                await store_id(storage, secrets.token_bytes),
                settings=service_settings(settings, guests.instances_max),
                mesh_settings=mesh_settings(settings),
                version=product_version(),
            )
        )
        gc.freeze()  # code and types stay until the end: nothing to look for there
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        await serve_client(stop, settings, service, announce)
    logger.info("node_stopped")
    if service.reason == "removed":
        raise InvalidState(
            "the operator has removed this node from its mesh, for ever; to join again, start with an empty --data-dir and an invite"
        )


async def serve_client(stop: trio.Event, settings: Settings, service: Service, announce: Announce) -> None:
    """Serve until ``stop``, or until this node is no member of its mesh any more; then drain client and edge side by side: callers of
    what is under way still get answers."""
    client = service.client
    async with trio.open_nursery() as nursery:
        edge_stop = trio.Event()
        try:
            urls = await nursery.start(
                partial(
                    serve,
                    client,
                    gateway_settings(settings),
                    admin=service.admin,
                    primary=client.primary,
                    histories=service.histories,
                    shutdown=edge_stop,
                )
            )
        except OSError as error:
            raise cannot_listen(settings.http, error) from error
        service.http = settings.advertised_http(urls[0])
        node = client.node_info().node
        for address in service.peers.peer.membership.record.addresses:
            announce(Listening("mesh", address, node))
        for url in urls:
            logger.info("node_started", extra={"node": node, "http": url, "data_dir": str(settings.data_dir)})
            announce(Listening("http", url, node))
        if not settings.http.is_loopback:
            logger.warning("insecure_listen", extra={"risk": "whoever reaches this address may do anything"})
        async with trio.open_nursery() as running:
            running.start_soon(stop_when_over, service, stop)
            running.start_soon(tell_while_joining, service)
            if settings.mdns:
                running.start_soon(find_others, service)
            await stop.wait()
            running.cancel_scope.cancel()
        logger.info("node_draining", extra={"timeout_s": settings.drain_timeout_s})
        edge_stop.set()
        await service.local.drain(settings.drain_timeout_s)
        service.client.close_streams()


async def stop_when_over(service: Service, stop: trio.Event) -> None:
    await service.ended.wait()
    stop.set()


async def tell_while_joining(service: Service) -> None:
    """A node whose invite leads nowhere serves nothing, for as long as it takes: its log should say so, and why."""
    await trio.sleep(JOINING_TOLD_S)
    while service.peers.peer.membership.is_joining:
        logger.warning("nobody_answers", extra={"peers": "; ".join(service.peers.troubles()) or "no address is known"})
        await trio.sleep(JOINING_TOLD_AGAIN_S)


async def find_others(service: Service) -> None:
    try:
        from golemp2p_node.discovery import discover  # noqa: PLC0415  # an extra: only who asks for it has it
    except ImportError as error:
        raise Failure(f"mdns needs a package that is not installed: {error.name}", "pip install 'golemp2p[mdns]'") from error
    own = Contact(service.peers.own, service.peers.peer.membership.record.addresses)
    await discover(service.mesh_id, own, service.peers.found)


async def watch_signals(stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                os._exit(EXIT_INTERRUPTED)
            logger.info("signal_received", extra={"signal": signal.Signals(number).name})
            stop.set()


def check_free(address: Address) -> None:
    """Refuse at once, before the data directory is touched, what could not be listened on later. Raises ``Failure``."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        raise cannot_listen(address, error) from error


def cannot_listen(address: Address, error: OSError) -> Failure:
    hints = {
        errno.EADDRINUSE: "stop what uses it, or choose another with --http HOST:PORT (port 0 takes a free one)",
        errno.EACCES: "ports below 1024 are for root; choose another with --http HOST:PORT",
        errno.EADDRNOTAVAIL: "choose an address of this machine, for example --http 127.0.0.1:9881",
    }
    reason = os.strerror(error.errno) if error.errno in hints else error.strerror or str(error)
    why = "the port is in use" if error.errno == errno.EADDRINUSE else reason
    hint = hints.get(error.errno or 0, "choose another address with --http HOST:PORT")
    return Failure(f"cannot listen on {address}: {why}", hint, code="cannot-listen")


def operator_key(directory: DataDirectory) -> SigningKey | None:
    seed = directory.operator_seed()
    return None if seed is None else SigningKey(seed)


def mesh_settings(settings: Settings) -> MeshSettings:
    return MeshSettings(
        listen=() if settings.mesh is None else (str(settings.mesh),),
        advertised=settings.advertised,
        join=settings.invite,
        weight=settings.weight,
        domain=settings.domain,
    )


def service_settings(settings: Settings, instances_max: int) -> ServiceSettings:
    """``instances_max``: how many the engine can hold. More workers than that are not let into memory: the idle among them make
    room for others, which nobody does once the engine itself has to refuse."""
    workers = settings.workers
    return ServiceSettings(
        guest_limits=settings.limits,
        retry_policy=settings.retry.policy(),
        shards_count=settings.shards_count,
        invocation_bytes_max=settings.requests.payload_bytes_max,
        component_bytes_max=settings.requests.component_bytes_max,
        queue_max=workers.queue_length_max,
        workers_active_max=min(workers.active_max, instances_max),
        memory_budget_bytes=settings.memory_budget_bytes,
        idle_ttl_s=workers.idle_ttl_s,
        suspend_after_s=workers.suspend_after_s,
        suspend_after_pressed_s=workers.suspend_after_pressed_s,
        resume_concurrency=workers.resume_concurrency,
    )


def gateway_settings(settings: Settings) -> GatewaySettings:
    requests = settings.requests
    return GatewaySettings(
        binds=(str(settings.http),),
        hosts=settings.http_hosts,
        version=product_version(),
        component_bytes_max=requests.component_bytes_max,
        body_bytes_max=requests.payload_bytes_max,
        header_timeout_s=requests.header_timeout_s,
        read_timeout_s=requests.read_timeout_s,
        keep_alive_timeout_s=requests.keep_alive_timeout_s,
        drain_timeout_s=max(DRAIN_MIN_S, settings.drain_timeout_s),
        connections_max=requests.connections_max,
        backlog=BACKLOG,
    )


def product_version() -> str:
    try:
        return version("golemp2p")
    except PackageNotFoundError:
        return "0+uninstalled"  # a bare checkout


def raise_open_files_limit() -> None:
    """Connections, blobs and worker files all need descriptors: use what the system grants, not the cautious default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
