"""A small network inside one machine: every node in a network namespace of its own, all on a bridge; links can be cut or slowed.

    hub: bridge ──veth── namespace 0: 10.77.0.1, nftables drops what comes from those it is cut off from
                ──veth── namespace 1: 10.77.0.2     tc slows what leaves

Linux only, and only for root; ``why_not`` says what is missing. Nothing of the machine's own network is touched: the bridge has a
namespace as well, and all of them are gone after ``close``, or when the machine is started anew.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

CLONE_NEWNET = 0x4000_0000  # linux/sched.h
COMMAND_TIMEOUT_S = 20.0
NODES_MAX = 200
DROPS = """
table inet fire {
  set cut { type ipv4_addr; }
  chain input { type filter hook input priority 0; ip saddr @cut drop; }
}
"""
SLOW = (
    ("netem", "delay {delay_ms}ms {jitter_ms}ms"),
    ("tbf", "rate 400kbit burst 4kb latency {queue_ms}ms"),
)
"""Ways to slow a link, best first; kernels often come without the first one. The second is a thin line: what is much waits."""

_libc = ctypes.CDLL(None, use_errno=True)


class NotPermitted(Exception):
    """This machine does not let us have a network of our own; the text says why."""


class Namespace:
    """A ``node_process.Place``."""

    def __init__(self, name: str, host: str) -> None:
        self.name, self.host = name, host

    def command(self, command: list[str]) -> list[str]:
        return [_program("ip"), "netns", "exec", self.name, *command]

    def connect(self, port: int, timeout_s: float) -> socket.socket:
        """A socket belongs to the namespace in which it was made: this thread goes there for a moment."""
        own, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _enter(there)
            try:
                made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                _enter(own)
        finally:
            os.close(own)
            os.close(there)
        try:
            made.settimeout(timeout_s)
            made.connect(("127.0.0.1", port))
        except BaseException:
            made.close()
            raise
        return made


class Namespaces:
    """``places``: one per node. Raises ``NotPermitted`` when made."""

    def __init__(self, count: int) -> None:
        if not 1 <= count <= NODES_MAX:
            raise ValueError(f"from 1 to {NODES_MAX} nodes, got {count}")
        reason = why_not()
        if reason:
            raise NotPermitted(reason)
        self._prefix = f"golemp2p-{os.getpid()}-"
        self._hub = f"{self._prefix}hub"
        self.places = [Namespace(f"{self._prefix}{number}", f"10.77.0.{number + 1}") for number in range(count)]
        self._cuts: Counter[tuple[int, int]] = Counter()
        self.slowing = ""
        """How links are slowed here: a queueing discipline of the kernel; empty when it has none."""
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        _run("ip", "netns", "add", self._hub)
        _run("ip", "-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self._hub, "link", "set", "bridge", "up")
        for number, place in enumerate(self.places):
            _run("ip", "netns", "add", place.name)
            _run("ip", "-n", place.name, "link", "set", "lo", "up")
            port = f"port{number}"
            _run("ip", "-n", self._hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", place.name)
            _run("ip", "-n", self._hub, "link", "set", port, "master", "bridge", "up")
            _run("ip", "-n", place.name, "address", "add", f"{place.host}/24", "dev", "eth0")
            _run("ip", "-n", place.name, "link", "set", "eth0", "up")
            _run("ip", "netns", "exec", place.name, _program("nft"), "-f", "-", text=DROPS)
        self.slowing = self._find_slowing()

    def _find_slowing(self) -> str:
        for kind, _ in SLOW:
            with suppress(NotPermitted):
                self._slow(0, kind, 1)
                self.hurry(0)
                return kind
        return ""

    def close(self) -> None:
        """Again is fine."""
        for name in (*(place.name for place in self.places), self._hub):
            if Path(f"/run/netns/{name}").exists():
                _run("ip", "netns", "delete", name)

    # -- trouble

    def cut(self, sender: int, receiver: int) -> None:
        """What ``sender`` sends to ``receiver`` is lost; the other way round it still arrives. What was cut twice is mended twice."""
        self._cuts[sender, receiver] += 1
        if self._cuts[sender, receiver] == 1:
            self._drop(receiver, f"add element inet fire cut {{ {self.places[sender].host} }}")

    def mend(self, sender: int, receiver: int) -> None:
        """Undoes ``cut``."""
        self._cuts[sender, receiver] -= 1
        if self._cuts[sender, receiver] == 0:
            self._drop(receiver, f"delete element inet fire cut {{ {self.places[sender].host} }}")

    def _drop(self, number: int, rule: str) -> None:
        _run("ip", "netns", "exec", self.places[number].name, _program("nft"), "-f", "-", text=rule)

    def slow(self, number: int, delay_ms: int) -> None:
        """Everything that node sends takes longer, about ``delay_ms``. Needs ``slowing``."""
        self._slow(number, self.slowing, delay_ms)

    def _slow(self, number: int, kind: str, delay_ms: int) -> None:
        options = dict(SLOW)[kind].format(delay_ms=delay_ms, jitter_ms=delay_ms // 2, queue_ms=delay_ms * 4)
        _run("tc", "-n", self.places[number].name, "qdisc", "replace", "dev", "eth0", "root", kind, *options.split())

    def hurry(self, number: int) -> None:
        """Undoes ``slow``."""
        _run("tc", "-n", self.places[number].name, "qdisc", "delete", "dev", "eth0", "root")


def why_not() -> str:
    """Why this machine gives us no network of our own; empty when it does."""
    if not sys.platform.startswith("linux"):
        return "network namespaces exist on Linux only"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")):
        if not _program(program):
            return f"the program {program} is missing (Debian package {package})"
    probe = f"golemp2p-{os.getpid()}-probe"
    try:
        _run("ip", "netns", "add", probe)
        try:
            _run("ip", "netns", "exec", probe, _program("nft"), "-f", "-", text=DROPS)
        finally:
            _run("ip", "netns", "delete", probe)
    except NotPermitted as refused:
        return str(refused)
    return ""


def _program(name: str) -> str:
    """Its path, empty when it is not installed: administrators' programs are not on everybody's search path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or ""


def _run(program: str, *arguments: str, text: str = "") -> None:
    command = [_program(program), *arguments]
    done = subprocess.run(  # noqa: S603  # programs of the system, arguments of our own
        command, input=text, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode:
        said: Sequence[str] = done.stderr.strip().splitlines() or ["no reason given"]
        raise NotPermitted(f"`{program} {' '.join(arguments)}` is refused here: {said[0]}")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")
