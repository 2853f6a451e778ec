"""Who may call: the addresses a request may be meant for, and the web pages it may come from.

A node on loopback trusts whoever reaches it, and a browser on the same machine reaches it on behalf of every page it shows:

    rebinding   a page makes its own name point to 127.0.0.1 and calls "itself"     the Host header tells: 421
    forgery     a page sends a form, or an upload, which needs nobody's consent     the Origin header tells: 403
    hijacking   a page opens a WebSocket, which no same-origin rule restrains       the Origin header tells: 403

An address in numbers cannot be rebound, so all of those pass; names pass when they are ``localhost``, the one we listen on, or
in ``settings.hosts``. A page passes when the node itself served it. Programs that are not browsers send no Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from golemp2p.errors import UsageError
from golemp2p_gateway.http import Request
from golemp2p_gateway.settings import GatewaySettings

KNOWN_MAX = 64  # Host headers whose check is remembered: a node has a handful of names


class MisdirectedRequest(UsageError):
    """The request was meant for a host of another name (RFC 9110, 15.5.20)."""

    code = "misdirected-request"


class ForeignOrigin(UsageError):
    """A web page that this node did not serve sent the request."""

    code = "foreign-origin"


class NotLocal(UsageError):
    """What only callers on the node's own machine may ask for."""

    code = "not-local"


def check_local(request: Request) -> None:
    """Orders about the mesh, and the key to it, are for who sits at the machine, also on a node that listens elsewhere
    (``insecure_listen``). Raises ``NotLocal``."""
    client = request.client
    if client is not None and not (is_address(client) and ipaddress.ip_address(client).is_loopback):
        raise NotLocal("this may be asked only from the node's own machine: run the command there")


class Callers:
    """Checks the head of every request; cheap for those seen before."""

    def __init__(self, settings: GatewaySettings) -> None:
        tcp = [bind for bind in settings.binds if not bind.startswith("unix:")]
        self._names = {"localhost", *(host_of(bind) for bind in tcp), *(name.lower() for name in settings.hosts)}
        self._checks_hosts = bool(tcp)  # no browser reaches a socket file, and its callers name any host
        self._known: set[bytes] = set()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises ``MisdirectedRequest`` or ``ForeignOrigin``. A request without Host (HTTP/1.0) comes from no browser."""
        host = origin = None
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if host is not None and host not in self._known:
            self._check_host(host)
        if origin is not None and origin.lower().partition(b"://")[2] != (host or b"").lower():
            raise ForeignOrigin(f"a web page of {shown(origin)} may not call this node: it answers programs, and its own pages")

    def _check_host(self, header: bytes) -> None:
        host = host_of(header.decode("latin-1"))
        if self._checks_hosts and not (host in self._names or host.endswith(".localhost") or is_address(host)):
            raise MisdirectedRequest(
                f"this node does not answer to the name {shown(host.encode('latin-1'))}; call it by its address, or add the name"
                " to its setting http_hosts"
            )
        if len(self._known) < KNOWN_MAX:
            self._known.add(header)


def host_of(authority: str) -> str:
    """``example.org`` of ``Example.org.:9881``; of ``[::1]:9881`` it is ``::1``."""
    text = authority.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def shown(value: bytes) -> str:
    return repr(value[:80].decode("ascii", "replace"))
