"""A small HTTP/1.1 load generator: closed loop, keep-alive, raw sockets. Meant to cost less than what it measures.

    python benchmarks/loadgen.py --host H --port P ... --clients 32 --seconds 3 [--method POST] [--path /x ...]
                                 [--body-file F | --body TEXT] [--header "Name: value" ...] [--pid PID ...]
                                 [--requests N] [--until-closed]

Each client sends its next request when the last answer is complete, walking through the given paths, starting at a place of
its own; ``{client}`` and ``{n}`` in a path become the client's and the request's number, ``{all}`` the number of the request among
those of all clients. Client i is connected to the i-th port, beginning again after the last. It ends after ``--seconds``, after
``--requests``, or with ``--until-closed`` when its standard input ends, whatever comes first. Prints one JSON object: requests/s,
latency percentiles in ms, answers that were not 2xx, and with ``--pid`` the CPU microseconds per request of these processes.
The answer's length must be told by Content-Length; anything else counts as an error and ends that client.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import selectors
import socket
import sys
import time
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)\r\n", re.IGNORECASE)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes, all threads included."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


class Client:
    """One connection with one request under way."""

    def __init__(self, number: int, args: argparse.Namespace, body: bytes) -> None:
        self.number, self.count, self.errors = number, 0, 0
        self.paths: list[str] = args.path
        headers = "".join(f"{header}\r\n" for header in args.header)
        self.method = args.method
        self.tail = f" HTTP/1.1\r\nHost: {args.host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.port: int = args.port[number % len(args.port)]
        self.socket = socket.create_connection((args.host, self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.expected = -1
        self.started = 0.0

    def send(self, number: int = 0) -> None:
        """``number``: of the request among those of all clients."""
        path = self.paths[(self.number + self.count) % len(self.paths)]
        if "{" in path:
            path = path.replace("{client}", str(self.number)).replace("{n}", str(self.count)).replace("{all}", str(number))
        self.started = time.perf_counter()
        self.socket.sendall(f"{self.method} {path}".encode() + self.tail)

    def receive(self) -> bool:
        """True when an answer is complete. Raises ``OSError`` when the connection is lost or cannot be followed."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("closed by the server")
        self.buffer = self.buffer + data if self.buffer else data
        if self.expected < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self.buffer, 0, end + 2)
            if length is None:
                raise OSError("an answer without Content-Length")
            self.expected = end + 4 + int(length[1])
        if len(self.buffer) < self.expected:
            return False
        self.errors += self.buffer[9:10] != b"2"
        self.buffer, self.expected = b"", -1
        self.count += 1
        return True


def run(args: argparse.Namespace) -> dict[str, object]:
    body = Path(args.body_file).read_bytes() if args.body_file else args.body.encode()
    clients = [Client(number, args, body) for number in range(args.clients)]
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    lost = 0
    numbers = itertools.count() if args.requests is None else iter(range(args.requests))
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    if args.until_closed:
        selector.register(sys.stdin, selectors.EVENT_READ, None)
    cpu_before, begin = cpu_s(args.pid), time.perf_counter()
    end = begin + args.seconds

    def send(client: Client) -> None:
        number = next(numbers, None)
        if number is None:
            selector.unregister(client.socket)
        else:
            client.send(number)

    for client in clients:
        send(client)
    while (now := time.perf_counter()) < end and any(key.data for key in selector.get_map().values()):
        for key, _ in selector.select(end - now):
            client = key.data
            if client is None:
                end = 0.0
                continue
            try:
                if client.receive():
                    latencies.append(time.perf_counter() - client.started)
                    send(client)
            except OSError:
                lost += 1
                selector.unregister(client.socket)
    elapsed = time.perf_counter() - begin
    cpu = cpu_s(args.pid) - cpu_before
    latencies.sort()
    count = len(latencies)

    def percentile(q: float) -> float:
        return round(latencies[min(count - 1, int(q * count))] * 1000, 3) if count else 0.0

    return {
        "clients": args.clients,
        "requests": count,
        "requests_per_s": round(count / elapsed, 1),
        "p50_ms": percentile(0.5),
        "p99_ms": percentile(0.99),
        "max_ms": percentile(1.0),
        "errors": sum(client.errors for client in clients),
        "connections_lost": lost,
        "cpu_us_per_request": round(cpu / count * 1e6, 1) if args.pid and count else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, action="append", required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--requests", type=int, default=None)
    parser.add_argument("--until-closed", action="store_true")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--path", action="append", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", default="")
    parser.add_argument("--body-file")
    parser.add_argument("--pid", type=int, action="append", default=[])
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
