"""Ten thousand sleeping workers in one node: what they cost asleep, how fast they start, how late they wake, and who suffers.

    python -m benchmarks.sleepers [--count 10000] [--states parked unloaded] [--quick] [--json FILE]

    parked      the node is told to keep sleepers in memory: each holds an instance, suspended on its fiber
    unloaded    the default for sleeps over ten seconds: the instance is dropped, the oplog's head remembers when to wake it

Each worker is started with one fire-and-forget invocation of ``sleep-lateness``, timed so that all are due within ten seconds,
after a time in which all sleep. It reads the clock, sleeps, reads the clock, and answers how late it was; a sample of the answers
is fetched at the end. All the while a process of its own asks the node for its health every 20 ms.

Memory is resident memory of the node's process by the kernel, raw: nothing is trimmed before it is read.
"""

from __future__ import annotations

import argparse
import http.client
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import loadgen
from benchmarks.node import metrics, resident_bytes, running_node, wasm
from benchmarks.report import Report, parser_of, percentile
from golemp2p.testing.node_process import NodeProcess

FUNCTION = "test:bench/api@1.0.0.%7Bsleep-lateness%7D"
CLIENTS = 16
STARTS_PER_S_MIN = 300  # how slow starting may be before the first sleepers wake
WAKE_WITHIN_S = 10.0
IDLE_S = 5.0
PROBE_EVERY_S = 0.02
WAIT_S_MAX = 120.0
SAMPLES = 1000

SETTINGS = {
    "parked": {"workers_suspend_after_s": "3600", "workers_active_max": "20000", "memory_budget_bytes": "64GiB"},
    "unloaded": {},
}
"""Sleepers are unloaded early when four fifths of the workers or of the memory are in use; and the linear memory of a guest, 1.1 MiB,
counts in full though nearly nothing of it is touched."""


def probe(port: int) -> None:
    """Prints ``[time, seconds]`` for every healthcheck, until the input ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    while not selector.select(PROBE_EVERY_S):
        begin = time.monotonic()
        connection.request("GET", "/healthcheck")
        connection.getresponse().read()
        print(json.dumps([begin, time.monotonic() - begin]))


@contextmanager
def probing(port: int) -> Iterator[list[tuple[float, float]]]:
    """The list has its items when the block has ended."""
    found: list[tuple[float, float]] = []
    command = [sys.executable, "-m", "benchmarks.sleepers", "--probe", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield found
        output, _ = process.communicate(timeout=60)
        found += [(begin, seconds) for begin, seconds in map(json.loads, output.splitlines())]
    finally:
        process.kill()
        process.wait()


def start_all(node: NodeProcess, component: str, count: int, wake_s: float) -> None:
    """Invoke every worker once; worker i is to wake ``wake_s + i / count * WAKE_WITHIN_S`` from now."""
    arguments = argparse.Namespace(
        path=[f"/v1/components/{component}/workers/PLACE/invoke?function={FUNCTION}"],
        header=["Content-Type: application/json"], method="POST", host="127.0.0.1", port=[node.port],
    )  # fmt: skip
    begin = time.monotonic()
    remaining = iter(range(count))
    selector = selectors.DefaultSelector()

    def send(client: loadgen.Client) -> bool:
        number = next(remaining, None)
        if number is None:
            return False
        due = wake_s + number / count * WAKE_WITHIN_S - (time.monotonic() - begin)
        body = b'{"params":[%d]}' % max(0, due * 1000)
        head = f"Idempotency-Key: key-{number}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.paths = [arguments.path[0].replace("PLACE", f"s{number}")]
        client.tail = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + head.encode() + body
        client.send()
        return True

    for number in range(CLIENTS):
        client = loadgen.Client(number, arguments, b"")
        selector.register(client.socket, selectors.EVENT_READ, client)
        send(client)
    while selector.get_map():
        for key, _ in selector.select():
            client = key.data
            if not client.receive():
                continue
            if client.errors:
                raise SystemExit("a worker could not be started")
            if not send(client):
                selector.unregister(client.socket)
                client.socket.close()


def wait_until(node: NodeProcess, name: str, least: float) -> float:
    """The time at which this metric was seen to have reached ``least``."""
    deadline = time.monotonic() + WAIT_S_MAX
    while metrics(node)[name] < least:
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} is {metrics(node)[name]:g}, not {least:g}, after {WAIT_S_MAX:g} s")
        time.sleep(0.2)
    return time.monotonic()


def cpu_share(pid: int) -> float:
    """Of one core, over ``IDLE_S`` from now. The healthchecks are in it, with and without sleepers."""
    before = loadgen.cpu_s([pid])
    time.sleep(IDLE_S)
    return (loadgen.cpu_s([pid]) - before) / IDLE_S


def lateness_ms(node: NodeProcess, component: str, count: int) -> list[float]:
    """Of a sample, ascending."""
    found = []
    for number in range(0, count, max(1, count // SAMPLES)):
        late_ns = node.invoke(component, f"s{number}", "test:bench/api@1.0.0.{sleep-lateness}", 0, key=f"key-{number}")
        found.append(late_ns / 1e6)
    return sorted(found)


def measure(state: str, count: int, report: Report) -> tuple[list[Any], list[list[Any]]]:
    with running_node(**SETTINGS[state]) as node:
        component = node.add_component("bench", wasm("bench"))
        node.invoke(component, "warm", "test:bench/api@1.0.0.{sleep-lateness}", 1)
        before = metrics(node)
        if state == "parked":
            count = min(count, int(before["instances_max"] * 0.8) - 1)  # the kernel's limit of mappings, see SETTINGS
        memory = resident_bytes(node.pid)
        wake_s = max(15.0, count / STARTS_PER_S_MIN)
        with probing(node.port) as probes:
            cpu_before = cpu_share(node.pid)
            begin = time.monotonic()
            start_all(node, component, count, wake_s)
            asleep = wait_until(node, "instances_total", before["instances_total"] + count)
            time.sleep(1.0)  # what was garbage may go
            memory_each = (resident_bytes(node.pid) - memory) / count / 1024
            report.note(f"{state}: all asleep after {asleep - begin:.1f} s, {memory_each:.1f} KiB each")
            idle_from = time.monotonic()
            cpu = cpu_share(node.pid)
            wakes = begin + wake_s
            if time.monotonic() > wakes:
                raise SystemExit("starting took so long that sleepers woke before all slept")
            time.sleep(wakes - time.monotonic())
            done = wait_until(node, "invocations_completed_total", before["invocations_completed_total"] + count)
        late = lateness_ms(node, component, count)
    row = [
        f"{count:,} {state}", count / (asleep - begin), memory_each, cpu_before * 100, cpu * 100,
        percentile(late, 0.5), percentile(late, 0.99), late[-1], done - wakes,
    ]  # fmt: skip
    phases = {"starting": (begin, asleep), "asleep": (idle_from, wakes), "waking": (wakes, done)}
    health = []
    for phase, (start, end) in phases.items():
        ordered = sorted(seconds * 1e3 for at, seconds in probes if start <= at < end)
        health.append([f"{state}, {phase}", len(ordered), percentile(ordered, 0.5), percentile(ordered, 0.99), ordered[-1]])
    return row, health


def main() -> None:
    if sys.argv[1:2] == ["--probe"]:
        probe(int(sys.argv[2]))
        return
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--states", choices=list(SETTINGS), nargs="*", default=list(SETTINGS))
    args = parser.parse_args()
    report = Report("sleepers", args.json)
    rows, health = [], []
    for state in args.states:
        row, of_state = measure(state, args.count // 10 if args.quick else args.count, report)
        rows.append(row)
        health += of_state
    columns = (
        "workers", "starts/s", "KiB each", "CPU % before", "CPU % asleep",
        "late p50 ms", "late p99 ms", "late max ms", "all awake in s",
    )  # fmt: skip
    report.table("Sleeping workers; aims: 32 KiB parked, 4 KiB unloaded, waking within ten seconds", columns, rows)
    report.table("Healthchecks meanwhile", ("phase", "probes", "p50 ms", "p99 ms", "max ms"), health)
    report.save()


if __name__ == "__main__":
    main()
