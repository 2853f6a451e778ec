"""Nodes of one mesh find each other on the local network: multicast DNS (RFC 6762, 6763), by the ``zeroconf`` package.

    announced   service _golemp2p._tcp, TXT  mesh = hash of the mesh id    key = public key, hex    at = HOST:PORT,...
    found       the same of others, if their mesh is ours ──> ``found(public key, addresses)``

It only finds addresses. Whoever is dialled there still has to prove the mesh key and its own: a liar on the network costs a dial in
vain. What is announced holds no secrets, but tells everybody near that there is a node; so it is off unless asked for. ``zeroconf``
runs in threads of its own; what it finds comes back through trio's door for other threads.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import trio
from zeroconf import Error, InterfaceChoice, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from golemp2p.model.ids import NodeId
from golemp2p.model.membership import ADDRESSES_MAX, PUBLIC_KEY_BYTES
from golemp2p.wire.invite import Contact, is_address

logger = logging.getLogger(__name__)

SERVICE = "_golemp2p._tcp.local."
FOUND_MAX = 256
"""Nodes that this one listens to; more than a local network has are made up."""
TEXT_BYTES_MAX = 255
"""One string of a TXT record, its name included."""
ASK_MS = 3_000
CLOSE_S = 3.0
"""The goodbye is repeated over a second or two; nobody waits longer for a process to end."""

Found = Callable[[bytes, tuple[str, ...]], None]


def mesh_tag(mesh_id: bytes) -> str:
    """Names the mesh to who knows it, and to nobody else: 16 hex digits."""
    return blake2b(mesh_id, digest_size=8, person=b"golemp2p/mdns").hexdigest()


def announcement(mesh_id: bytes, own: Contact) -> ServiceInfo:
    """What this node says. Addresses that do not fit are left out."""
    tag, node = mesh_tag(mesh_id), NodeId.of(own.public_key).digest.hex()[:16]
    hosts = [address.rpartition(":")[0].removeprefix("[").removesuffix("]") for address in own.addresses]
    return ServiceInfo(
        SERVICE,
        f"{tag[:8]}-{node}.{SERVICE}",
        port=int(own.addresses[0].rpartition(":")[2]),
        properties={"mesh": tag, "key": own.public_key.hex(), "at": _joined(own.addresses)},
        server=f"golemp2p-{node}.local.",
        parsed_addresses=[host for host in hosts if _is_ip(host)],
    )


def read_announcement(properties: Any, mesh_id: bytes) -> Contact | None:
    """The node that says this, if it is of our mesh and makes sense; anybody can say anything."""
    try:
        said = {name: properties[name].decode("ascii") for name in (b"mesh", b"key", b"at")}
        key = bytes.fromhex(said[b"key"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    addresses = tuple(dict.fromkeys(said[b"at"].split(",")))
    fits = 1 <= len(addresses) <= ADDRESSES_MAX and all(map(is_address, addresses))
    if said[b"mesh"] != mesh_tag(mesh_id) or len(key) != PUBLIC_KEY_BYTES or not fits:
        return None
    return Contact(key, addresses)


async def discover(mesh_id: bytes, own: Contact, found: Found, *, interfaces: Sequence[str] | None = None) -> None:
    """Announce ``own`` and listen, until cancelled. ``found`` is called on the loop, with hints: try them after what is known already.
    ``interfaces``: addresses of this machine to do it on; ``None``: all. Where it cannot be done, it says so in the log and returns."""
    listener = _Listener(mesh_id, own.public_key, found, trio.lowlevel.current_trio_token())
    zeroconf: Zeroconf | None = None
    try:
        zeroconf = await trio.to_thread.run_sync(_open, interfaces)
        ServiceBrowser(zeroconf, SERVICE, handlers=[listener.changed])
        if own.addresses:
            announced = announcement(mesh_id, own)
            await trio.to_thread.run_sync(lambda: zeroconf.register_service(announced, cooperating_responders=True))
        logger.info("discovery_started", extra={"interfaces": list(interfaces or ())})
        await trio.sleep_forever()
    except (OSError, Error) as error:
        logger.warning("discovery_failed", extra={"error": str(error)})
    finally:
        listener.is_over = True
        if zeroconf is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                await trio.to_thread.run_sync(zeroconf.close, abandon_on_cancel=True)


def _open(interfaces: Sequence[str] | None) -> Zeroconf:
    return Zeroconf(interfaces=InterfaceChoice.All if interfaces is None else list(interfaces))


class _Listener:
    """Called in a thread of zeroconf's; tells the loop what is new."""

    def __init__(self, mesh_id: bytes, own: bytes, found: Found, token: trio.lowlevel.TrioToken) -> None:
        self._mesh_id, self._own, self._found, self._token = mesh_id, own, found, token
        self._known: dict[bytes, tuple[str, ...]] = {}
        self.is_over = False

    def changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """The names of the parameters are zeroconf's."""
        if self.is_over or state_change is ServiceStateChange.Removed:
            return
        info = zeroconf.get_service_info(service_type, name, timeout=ASK_MS)
        contact = None if info is None else read_announcement(info.properties, self._mesh_id)
        if contact is None or contact.public_key == self._own or self._known.get(contact.public_key) == contact.addresses:
            return
        if contact.public_key in self._known or len(self._known) < FOUND_MAX:
            self._known[contact.public_key] = contact.addresses
            self._token.run_sync_soon(self._tell, contact)

    def _tell(self, contact: Contact) -> None:
        if not self.is_over:
            logger.info(
                "node_discovered", extra={"peer": str(NodeId.of(contact.public_key)), "addresses": list(contact.addresses)}
            )
            self._found(contact.public_key, contact.addresses)


def _joined(addresses: Sequence[str]) -> str:
    text = ""
    for address in addresses:
        longer = f"{text},{address}" if text else address
        if len(longer) <= TEXT_BYTES_MAX - len("at="):
            text = longer
    return text


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
