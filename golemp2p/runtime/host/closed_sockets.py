"""wasi:sockets tcp and udp: declared in full so that guests link; creating a socket is refused with ``access-denied``.

An open socket is state of the world that no journal can bring back, so a durable worker talks through interfaces whose
every answer is journalled. The methods below need a socket to be called on, and none can exist.
"""

from __future__ import annotations

from typing import Any, NoReturn

from golemp2p.errors import GuestTrapped
from golemp2p.runtime.host.declare import HostContext, HostInterface

TCP = HostInterface("wasi:sockets/tcp")
TCP_CREATE = HostInterface("wasi:sockets/tcp-create-socket")
UDP = HostInterface("wasi:sockets/udp")
UDP_CREATE = HostInterface("wasi:sockets/udp-create-socket")
CLOSED_INTERFACES = (TCP, TCP_CREATE, UDP, UDP_CREATE)

TCP_SOCKET_METHODS = (
    "start-bind", "finish-bind", "start-connect", "finish-connect", "start-listen", "finish-listen", "accept",
    "local-address", "remote-address", "is-listening", "address-family", "set-listen-backlog-size",
    "keep-alive-enabled", "set-keep-alive-enabled", "keep-alive-idle-time", "set-keep-alive-idle-time",
    "keep-alive-interval", "set-keep-alive-interval", "keep-alive-count", "set-keep-alive-count",
    "hop-limit", "set-hop-limit", "receive-buffer-size", "set-receive-buffer-size",
    "send-buffer-size", "set-send-buffer-size", "subscribe", "shutdown",
)  # fmt: skip

UDP_SOCKET_METHODS = (
    "start-bind", "finish-bind", "stream", "local-address", "remote-address", "address-family",
    "unicast-hop-limit", "set-unicast-hop-limit", "receive-buffer-size", "set-receive-buffer-size",
    "send-buffer-size", "set-send-buffer-size", "subscribe",
)  # fmt: skip

RESOURCES = (
    (TCP, "tcp-socket", TCP_SOCKET_METHODS),
    (UDP, "udp-socket", UDP_SOCKET_METHODS),
    (UDP, "incoming-datagram-stream", ("receive", "subscribe")),
    (UDP, "outgoing-datagram-stream", ("check-send", "send", "subscribe")),
)


def _no_socket(ctx: HostContext, *args: Any) -> NoReturn:
    raise GuestTrapped("a socket method was called, but this host gives out no sockets")


for _interface, _resource, _methods in RESOURCES:
    _interface.resource(_resource)
    for _method in _methods:
        _interface.function(f"[method]{_resource}.{_method}")(_no_socket)


@TCP_CREATE.function("create-tcp-socket")
def create_tcp_socket(ctx: HostContext, address_family: str) -> tuple[str, str]:
    return ("err", "access-denied")


@UDP_CREATE.function("create-udp-socket")
def create_udp_socket(ctx: HostContext, address_family: str) -> tuple[str, str]:
    return ("err", "access-denied")
