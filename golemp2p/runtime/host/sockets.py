"""wasi:sockets: network, instance-network, ip-name-lookup; tcp and udp are in ``closed_sockets``.

Looking a name up journals the answer; the stream of addresses is made from the journalled list, so a replayed worker
walks the addresses it got then. The lookup waits inside ``resolve-addresses``, where wasmtime-wasi waits for the first
address of the stream: what a call answers can be journalled, what arrives between two calls cannot.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

import trio

from golemp2p.runtime.host.closed_sockets import CLOSED_INTERFACES
from golemp2p.runtime.host.declare import READ_REMOTE, HostContext, HostInterface
from golemp2p.runtime.host.encoding import journal_name
from golemp2p.runtime.host.poll import Ready

NETWORK = HostInterface("wasi:sockets/network")
INSTANCE_NETWORK = HostInterface("wasi:sockets/instance-network")
LOOKUP = HostInterface("wasi:sockets/ip-name-lookup")
INTERFACES = (NETWORK, INSTANCE_NETWORK, LOOKUP, *CLOSED_INTERFACES)

RESOLVE_ADDRESSES = journal_name(LOOKUP.name, "resolve-addresses")

NAME_CHARACTERS_MAX = 253
"""Longest name the DNS can hold (RFC 1035, 2.3.4)."""

ADDRESSES_MAX = 64
"""A name with more addresses is balancing load; the first ones do."""

ERROR_CODES = {
    socket.EAI_AGAIN: "temporary-resolver-failure",
    socket.EAI_FAIL: "permanent-resolver-failure",
    socket.EAI_MEMORY: "out-of-memory",
    socket.EAI_NONAME: "name-unresolvable",
    socket.EAI_NODATA: "name-unresolvable",
}

Address: TypeAlias = tuple[str, tuple[int, ...]]
"""The variant ip-address: ("ipv4", four bytes) or ("ipv6", eight 16-bit groups)."""

Outcome: TypeAlias = tuple[str, Any]
"""("ok", addresses) or ("err", error code)."""


class Network:
    """The resource ``network``: the right to use the one network there is."""


class ResolvedAddresses:
    """The resource ``resolve-address-stream``: addresses not yet taken, or the error that every call repeats."""

    def __init__(self, outcome: Outcome) -> None:
        self._error = outcome[1] if outcome[0] == "err" else None
        addresses = outcome[1] if outcome[0] == "ok" else ()
        self._addresses = iter([(family, tuple(numbers)) for family, numbers in addresses])

    def take(self) -> Outcome:
        if self._error is not None:
            return ("err", self._error)
        return ("ok", next(self._addresses, None))


NETWORK.resource("network")
LOOKUP.resource("resolve-address-stream")


@NETWORK.function("network-error-code")
def network_error_code(ctx: HostContext, error: int) -> str | None:
    """No stream here reads a socket, so no error of a stream is a network's."""
    return None


@INSTANCE_NETWORK.function("instance-network")
def instance_network(ctx: HostContext) -> int:
    return ctx.resources.push(Network())


@LOOKUP.function("resolve-addresses")
async def resolve_addresses(ctx: HostContext, network: int, name: str) -> Outcome:
    ctx.resources.get(network, Network)
    if not _is_plausible(name):
        return ("err", "invalid-argument")
    outcome = None if ctx.host.journal.replaying else await _lookup(name)
    found = ctx.journalled(RESOLVE_ADDRESSES, READ_REMOTE, (name,), lambda: outcome)
    assert found is not None, "a journal that is replaying answers from its record"
    if tuple(found) == ("err", "invalid-argument"):
        return ("err", "invalid-argument")
    return ("ok", ctx.resources.push(ResolvedAddresses(found)))


@LOOKUP.function("[method]resolve-address-stream.resolve-next-address")
def resolve_next_address(ctx: HostContext, stream: int) -> Outcome:
    return ctx.resources.get(stream, ResolvedAddresses).take()


@LOOKUP.function("[method]resolve-address-stream.subscribe")
def resolve_subscribe(ctx: HostContext, stream: int) -> int:
    ctx.resources.get(stream, ResolvedAddresses)
    return ctx.resources.push(Ready())


def _is_plausible(name: str) -> bool:
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable() and not any(c.isspace() for c in name)


async def _lookup(name: str) -> Outcome:
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        pass  # a name, then
    else:
        return ("ok", [_address(literal)])
    try:
        answers = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return ("err", "invalid-argument")
    except OSError as error:
        return ("err", ERROR_CODES.get(error.errno or 0, "unknown"))
    return ("ok", _addresses([answer[4][0] for answer in answers]))


def _addresses(texts: Sequence[str | int]) -> list[Address]:
    """In the resolver's order, each once. Scopes of link-local addresses are this machine's own and left out."""
    distinct = dict.fromkeys(ipaddress.ip_address(str(text).partition("%")[0]) for text in texts)
    return [_address(address) for address in list(distinct)[:ADDRESSES_MAX]]


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Address:
    packed = address.packed
    if isinstance(address, ipaddress.IPv4Address):
        return ("ipv4", tuple(packed))
    return ("ipv6", tuple(int.from_bytes(packed[i : i + 2], "big") for i in range(0, 16, 2)))
