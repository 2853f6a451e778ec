"""Settings of the HTTP edge: values only; reading flags, files and environment is the daemon's business."""

from __future__ import annotations

from dataclasses import dataclass, fields

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the edge listens and what it accepts. Sizes in bytes, times in seconds.

    ``binds`` are ``host:port``, ``[v6]:port`` or ``unix:PATH``; port 0 takes a free one.
    """

    binds: tuple[str, ...] = ("127.0.0.1:9881",)
    hosts: tuple[str, ...] = ()  # names, beside localhost and those of ``binds``, that callers may give as Host
    version: str = "0.1.0"
    component_bytes_max: int = 64 * MIB  # a CPython component has 18-40 MB
    body_bytes_max: int = 8 * MIB  # every other request body; also bounds what JSON may cost to parse
    json_depth_max: int = 128  # nesting of a JSON body; WIT values nest far less, and Python's parser recurses
    header_bytes_max: int = 32 * 1024  # request line and headers together
    keep_alive_timeout_s: float = 75.0  # longer than the 60 s of common proxies, so that they close first
    header_timeout_s: float = 20.0  # from the first byte of a request to the end of its headers
    read_timeout_s: float = 60.0  # between two pieces of a request body
    write_timeout_s: float = 30.0  # for the client to take 256 KiB
    drain_timeout_s: float = 10.0  # what requests under way get to finish at shutdown
    connections_max: int = 4096  # further ones wait in the listen backlog; below common limits on open files
    backlog: int = 1024
    websocket_ping_s: float = 30.0
    websocket_events_max: int = 1024  # events a slow listener may lag behind before it is dropped
    websocket_message_bytes_max: int = 64 * 1024  # listeners have nothing to say
    oplog_count_max: int = 1000  # entries in one answer
    search_scan_max: int = 10_000  # entries one search request looks at before it hands out a cursor
    workers_count_max: int = 1000  # workers in one answer

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{item.name} must be positive, got {value}")
        if not self.binds:
            raise ValueError("binds must name at least one address")
        for bind in self.binds:
            if not bind.startswith("unix:") and not bind.rpartition(":")[2].isdigit():
                raise ValueError(f"a bind is host:port or unix:PATH, got {bind!r}")
