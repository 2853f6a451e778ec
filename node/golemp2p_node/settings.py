"""What a node may be told: frozen values, checked when built. Reading flags, environment and files is for ``sources``.

    Settings
    ├── data_dir, http, mesh, ...   the node itself, and its place in the mesh
    ├── log        LogSettings      how it speaks
    ├── requests   RequestSettings  what HTTP callers may send
    ├── workers    WorkerSettings   how many workers, how long they stay in memory
    ├── limits     GuestLimits      what one worker may use (golemp2p.ports)
    └── retry      RetrySettings    how failed invocations are tried again, unless a worker chose otherwise

Units stand in the names: ``_bytes``, ``_s`` (seconds), ``_count``; ``_max`` is inclusive. A setting ``workers.active_max``
is ``GOLEMP2P_WORKERS_ACTIVE_MAX`` in the environment and ``active_max`` under ``[workers]`` in the file. ``setting_docs``
says what each means.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from golemp2p.errors import MalformedInvite
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.membership import ADDRESS_BYTES_MAX, ADDRESSES_MAX, DOMAIN_BYTES_MAX, WEIGHT_MAX
from golemp2p.ports import GuestLimits
from golemp2p.wire.invite import Invite, decode_invite

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


class InvalidSetting(ValueError):
    """A value that cannot be; ``key`` names the setting, the text says what would be accepted."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. ``port`` 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT`` (all addresses of this machine). Raises ``ValueError``."""
        host, colon, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif ":" in host:
            raise ValueError("write an IPv6 address in brackets: [::1]:9881")
        if not colon or not port.isascii() or not port.isdigit():
            raise ValueError(f"expected HOST:PORT, for example 127.0.0.1:9881, got {text!r}")
        if int(port) > 65535:
            raise ValueError(f"ports go from 0 to 65535, got {port:.20}")
        return cls(host or "0.0.0.0", int(port))  # noqa: S104 - the user's explicit choice, refused elsewhere unless insisted on

    @property
    def is_wildcard(self) -> bool:
        """All addresses of this machine, none of which it names."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is shown to nobody: printing it tells only whether there is one."""

    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        return "given" if self.text else "none"


LEAVES = (Address, Secret)
"""Dataclasses that are values of settings, not sections of them."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        one_of("log.level", self.level, ("debug", "info", "warning", "error"))
        one_of("log.format", self.format, ("text", "json"))


@dataclass(frozen=True, slots=True)
class RequestSettings:
    payload_bytes_max: int = 8 * MIB
    component_bytes_max: int = 256 * MIB
    connections_max: int = 4096
    header_timeout_s: float = 20.0
    read_timeout_s: float = 60.0
    keep_alive_timeout_s: float = 75.0

    def __post_init__(self) -> None:
        positive("requests", self)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    active_max: int = 10_000
    queue_length_max: int = 1_000
    idle_ttl_s: float = 600.0
    suspend_after_s: float = 10.0
    suspend_after_pressed_s: float = 0.2
    resume_concurrency: int = 64

    def __post_init__(self) -> None:
        positive("workers", self)
        if self.suspend_after_pressed_s > self.suspend_after_s:
            raise InvalidSetting(
                "workers.suspend_after_pressed_s",
                "must not be longer than workers.suspend_after_s: short of memory, unload sooner",
            )


@dataclass(frozen=True, slots=True)
class RetrySettings:
    attempts_max: int = 3
    delay_min_s: float = 0.1
    delay_max_s: float = 1.0
    multiplier: float = 3.0
    jitter: float = 0.15

    def __post_init__(self) -> None:
        for name in ("attempts_max", "delay_min_s", "jitter"):
            if getattr(self, name) < 0:
                raise InvalidSetting(f"retry.{name}", f"must not be negative, got {getattr(self, name)}")
        if self.delay_max_s < self.delay_min_s:
            raise InvalidSetting("retry.delay_max_s", "must be at least retry.delay_min_s")
        if self.multiplier < 1:
            raise InvalidSetting("retry.multiplier", f"must be at least 1, got {self.multiplier:g}")
        if self.jitter > 1:
            raise InvalidSetting("retry.jitter", f"is a fraction from 0 to 1, got {self.jitter:g}")

    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            attempts_max=self.attempts_max,
            delay_min_s=self.delay_min_s,
            delay_max_s=self.delay_max_s,
            multiplier=self.multiplier,
            jitter=self.jitter or None,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one node is told. ``data_dir`` and ``memory_budget_bytes`` depend on home directory and machine."""

    data_dir: Path
    memory_budget_bytes: int
    http: Address = Address("127.0.0.1", 9881)
    mesh: Address | None = Address("127.0.0.1", 9882)
    mesh_advertise: tuple[str, ...] = ()
    join: Secret = Secret()
    domain: str = ""
    weight: int = 100
    mdns: bool = False
    insecure_listen: bool = False
    http_hosts: tuple[str, ...] = ()
    shards_count: int = 1024
    drain_timeout_s: float = 10.0
    log: LogSettings = field(default_factory=LogSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    limits: GuestLimits = field(default_factory=GuestLimits)
    retry: RetrySettings = field(default_factory=RetrySettings)

    def __post_init__(self) -> None:
        if not self.data_dir.is_absolute():
            raise InvalidSetting("data_dir", f"must be an absolute path, got {self.data_dir}")
        if self.memory_budget_bytes < 64 * MIB:
            raise InvalidSetting("memory_budget_bytes", f"must be at least 64 MiB, got {self.memory_budget_bytes}")
        if not 1 <= self.shards_count <= 1 << 16 or self.shards_count & (self.shards_count - 1):
            raise InvalidSetting("shards_count", f"must be a power of two from 1 to 65536, got {self.shards_count}")
        if self.drain_timeout_s < 0 or not math.isfinite(self.drain_timeout_s):
            raise InvalidSetting("drain_timeout_s", f"must be zero or more seconds, got {self.drain_timeout_s:g}")
        self._check_mesh()
        for name in self.http_hosts:
            if not HOST_NAME.fullmatch(name):
                raise InvalidSetting("http_hosts", f"must be host names without scheme and port, got {name!r}")
        positive("limits", self.limits)
        if not self.http.is_loopback and not self.insecure_listen:
            raise InvalidSetting(
                "http",
                f"{self.http} can be reached from other machines, and whoever reaches it may do anything: this node"
                " has no authority configured. Listen on 127.0.0.1, or insist with --insecure-listen",
            )

    def _check_mesh(self) -> None:
        if self.http == self.mesh and self.http.port:
            raise InvalidSetting("mesh", f"must differ from http, both are {self.http}")
        if len(self.mesh_advertise) > ADDRESSES_MAX:
            raise InvalidSetting("mesh_advertise", f"has room for {ADDRESSES_MAX} addresses, got {len(self.mesh_advertise)}")
        for text in self.mesh_advertise:
            check_advertised(text)
        if self.mesh is None and self.mesh_advertise:
            raise InvalidSetting("mesh_advertise", "tells others where to dial a node that listens nowhere: mesh is off")
        if self.mesh is not None and self.mesh.is_wildcard and not self.mesh_advertise:
            raise InvalidSetting(
                "mesh_advertise",
                f"must say which addresses others dial, since mesh listens on all of this machine ({self.mesh})",
            )
        if len(self.domain.encode()) > DOMAIN_BYTES_MAX or not (
            self.domain.isprintable() and self.domain == self.domain.strip()
        ):
            raise InvalidSetting(
                "domain", f"must be at most {DOMAIN_BYTES_MAX} bytes of printable text, got {self.domain!r:.80}"
            )
        _ = self.invite  # refused now, if it is none
        if not 1 <= self.weight <= WEIGHT_MAX:
            raise InvalidSetting("weight", f"must be a number from 1 to {WEIGHT_MAX}, got {self.weight}")
        if self.mdns and self.mesh is None:
            raise InvalidSetting("mdns", "announces where others dial a node that listens nowhere: mesh is off")

    @property
    def invite(self) -> Invite | None:
        """What ``join`` holds. Raises ``InvalidSetting``."""
        if not self.join.text:
            return None
        try:
            return decode_invite(self.join.text)
        except MalformedInvite as error:
            raise InvalidSetting("join", str(error)) from None

    def advertised(self, listening: Sequence[str]) -> tuple[str, ...]:
        """What others are told to dial, best first. ``listening``: the addresses that ``mesh`` led to, port 0 being decided."""
        if not self.mesh_advertise:
            return tuple(listening)[:ADDRESSES_MAX]
        port = listening[0].rpartition(":")[2] if listening else "0"
        return tuple(text if has_port(text) else f"{text}:{port}" for text in self.mesh_advertise)

    def advertised_http(self, url: str) -> str:
        """What others are told of this node's HTTP; "" where nobody but this machine can know. ``url``: where it is served."""
        address = Address.parse(url.partition("://")[2])
        if not address.is_wildcard:
            return url
        named = next((text for text in self.mesh_advertise), "")
        host = named.rpartition(":")[0] if has_port(named) else named
        return f"http://{host}:{address.port}" if host else ""


def has_port(advertised: str) -> bool:
    """``host:port`` or ``[IPv6]:port``; else it is a host alone, an IPv6 address in brackets."""
    return ":" in advertised.rpartition("]")[2]


def check_advertised(text: str) -> None:
    """Raises ``InvalidSetting`` unless others can dial it: ``HOST:PORT``, or ``HOST`` alone for the port that ``mesh`` has."""
    try:
        address = Address.parse(text if has_port(text) else f"{text}:1")
    except ValueError as error:
        raise InvalidSetting("mesh_advertise", str(error)) from error
    is_name = HOST_NAME.fullmatch(address.host) is not None or ":" in address.host
    if not is_name or address.port == 0 or address.is_wildcard or len(text) > ADDRESS_BYTES_MAX - len(":65535"):
        raise InvalidSetting(
            "mesh_advertise", f"must be HOST:PORT that others can dial, such as 10.0.0.1:9882, got {text!r:.80}"
        )


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidSetting(key, f"must be one of {', '.join(choices)}, got {value!r}")


def positive(section: str, values: Any) -> None:
    for item in fields(values):
        value = getattr(values, item.name)
        if value <= 0 or not math.isfinite(value):
            raise InvalidSetting(f"{section}.{item.name}", f"must be a positive number, got {value}")


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """``{"http": ..., "log.level": ...}``: every setting by its key, in the order of declaration."""
    flat: dict[str, Any] = {}
    for item in fields(values):
        value = getattr(values, item.name)
        if is_dataclass(value) and not isinstance(value, LEAVES):
            flat.update(flatten(value, f"{item.name}."))
        else:
            flat[prefix + item.name] = value
    return flat


def build(flat: dict[str, Any]) -> Settings:
    """The inverse of ``flatten``; keys left out keep their defaults. Raises ``InvalidSetting``."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    top: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.rpartition(".")
        if dot:
            sections[section][name] = value
        else:
            top[name] = value
    return Settings(**top, **{name: SECTIONS[name](**values) for name, values in sections.items()})


SECTIONS: dict[str, type[Any]] = {
    "log": LogSettings,
    "requests": RequestSettings,
    "workers": WorkerSettings,
    "limits": GuestLimits,
    "retry": RetrySettings,
}
