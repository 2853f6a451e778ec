"""All interfaces the host provides, found by name. A new interface is a module with ``INTERFACES``, listed below."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from golemp2p.runtime.host.declare import HostFunction, HostInterface

MODULES = ("io", "clocks", "random", "cli", "logging", "sockets", "filesystem", "golem_api")
"""Modules of this package; each exposes ``INTERFACES: tuple[HostInterface, ...]``."""


def host_interfaces(modules: Iterable[str] = MODULES) -> tuple[HostInterface, ...]:
    """The interfaces of the given modules of this package. Imported on first use: they pull in much."""
    found: list[HostInterface] = []
    for module in modules:
        found.extend(importlib.import_module(f"golemp2p.runtime.host.{module}").INTERFACES)
    return tuple(found)


class Registry:
    """Lookup by the name a guest imports, whose version is ignored: one declaration serves every compatible version."""

    def __init__(self, interfaces: Iterable[HostInterface]) -> None:
        self._interfaces: dict[str, HostInterface] = {}
        for interface in interfaces:
            assert interface.name not in self._interfaces, f"interface {interface.name} is declared twice"
            self._interfaces[interface.name] = interface

    def interface(self, name: str) -> HostInterface | None:
        return self._interfaces.get(name.partition("@")[0])

    def function(self, interface: str, name: str) -> HostFunction | None:
        declared = self.interface(interface)
        return None if declared is None else declared.functions.get(name)
