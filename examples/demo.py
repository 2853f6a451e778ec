#!/usr/bin/env python3
"""The demonstration behind ``make demo``: three nodes, one mesh, and a worker that outlives the node it runs on.

Three nodes are started on loopback, joined by one invite, and given a shopping cart. The node that runs a customer's cart is killed with
SIGKILL in the middle of a checkout; the callers, who wait at the other two, get their answer all the same, once. The dead node comes
back and catches up. Everything is checked; the exit status is 0 only when all was as it should be. Each step shows the same with
curl and with the command line, to be typed by hand.

Needs nothing but a built cart (``python examples/build.py cart-python``) and the installed ``golemp2p`` command. Touches no process
but those it started, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

BUILD = Path(__file__).resolve().parent / "build"
GOLEMP2P = Path(sysconfig.get_path("scripts")) / "golemp2p"

READY_WITHIN_S = 30
SHARED_WITHIN_S = 90
COMPILED_WITHIN_S = 150  # 15 CPU-seconds for a Python guest on the machine this was written on
ANSWERED_WITHIN_S = 60
CAUGHT_UP_WITHIN_S = 60
STOPPED_WITHIN_S = 20
KILL_AFTER_S = 2.5  # the second of three steps of 1.5 s
STEPS = ("reserving the goods", "charging the card", "booking the courier")
CUSTOMERS = (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "laura", "mallory", "niaj", "olivia",
    "peggy", "quentin", "rupert", "sybil", "trent", "ursula", "victor", "walter", "xenia", "yves", "zoe",
)  # fmt: skip
VOTERS = 3
PRIMARY = "x-golemp2p-primary"


class DemoFailed(Exception):
    """Something was not as it should be."""


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


# ----------------------------------------------------------------------------------------------------------- what is said


def say(text: str = "") -> None:
    print(text, flush=True)


def explain(text: str) -> None:
    """A paragraph, one line of output per line."""
    for line in text.strip().splitlines():
        say(f"    {line.strip()}")


def by_hand(*commands: str) -> None:
    for command in commands:
        say(f"      $ {command}")


def good(text: str) -> None:
    say(f"    ok: {text}")


class Steps:
    """Numbers the steps, and says when each began."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._numbers = itertools.count(1)

    def title(self, text: str) -> None:
        say(f"\n[{next(self._numbers)}] {text}  ({self.passed_s:.0f} s)")

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self.began


# -------------------------------------------------------------------------------------------------------------- the nodes


@dataclass(eq=False)
class Node:
    """A node process of our own. ``log`` is its output, of all its lives."""

    number: int
    data_dir: Path
    port: int
    mesh_port: int
    process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"node {self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir.with_suffix(".log")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self, *more: str) -> list[str]:
        addresses = ["--http", f"127.0.0.1:{self.port}", "--mesh", f"127.0.0.1:{self.mesh_port}"]
        return [str(GOLEMP2P), "node", "run", "--data-dir", str(self.data_dir), *addresses, *more]

    def by_hand(self, *more: str) -> None:
        by_hand(shlex.join(["golemp2p", *self.command(*more)[1:]]))

    def start(self, *more: str) -> None:
        # Nothing of the caller's settings may leak in: the demonstration is of nodes as they come.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLEMP2P_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*more), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def wait_ready(self) -> None:
        assert self.process is not None
        for _ in patiently(READY_WITHIN_S, f"{self} did not answer"):
            check(self.process.poll() is None, f"{self} ended with status {self.process.returncode} while starting")
            try:
                if request(self, "GET", "/healthcheck", timeout_s=2).status == 200:
                    return
            except OSError:
                continue

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed, nobody says goodbye."""
        assert self.process is not None
        self.process.kill()
        status = self.process.wait(timeout=10)
        check(status == -signal.SIGKILL, f"{self} was already gone, with status {status}")

    def ensure_gone(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


def patiently(seconds: float, otherwise: str, pause_s: float = 0.1) -> Iterator[float]:
    """Yields the seconds that have passed, again and again. Raises ``DemoFailed`` when there were too many."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        yield passed
        time.sleep(pause_s)
    raise DemoFailed(f"{otherwise} within {seconds} s")


# --------------------------------------------------------------------------------------------------------------- its HTTP


class Answer(NamedTuple):
    """``primary``: where the node that runs the worker serves HTTP, in answers about a worker."""

    status: int
    body: bytes
    primary: str | None


def request(
    node: Node,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout_s: float = ANSWERED_WITHIN_S,
) -> Answer:
    """Raises ``OSError`` (also for a connection that breaks in the middle of an answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=timeout_s)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.getheader(PRIMARY))
    except http.client.HTTPException as broken:
        raise ConnectionError(f"the connection broke: {broken!r}") from broken
    finally:
        connection.close()


def succeeded(answer: Answer, what: str) -> Any:
    check(answer.status == 200, f"{what} was answered with {answer.status}: {answer.body[:500].decode(errors='replace')}")
    return json.loads(answer.body)


def request_json(node: Node, method: str, path: str, **arguments: Any) -> Any:
    return succeeded(request(node, method, path, **arguments), f"{method} {path} at {node}")


@dataclass(frozen=True)
class Cart:
    """A worker of the component, asked through any node."""

    component: str
    worker: str

    @property
    def path(self) -> str:
        return f"/v1/components/{self.component}/workers/{self.worker}"

    def call(self, node: Node, function: str, *params: Any, key: str | None = None) -> tuple[Any, str | None]:
        """The function's result as JSON, and where the node that computed it serves HTTP."""
        query = urllib.parse.urlencode({"function": function})
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        body = json.dumps({"params": params}).encode()
        answer = request(node, "POST", f"{self.path}/invoke-and-await?{query}", body, headers, timeout_s=COMPILED_WITHIN_S)
        return succeeded(answer, f"{function} of {self.worker} at {node}")["result"]["value"][0], answer.primary

    def invoke(self, node: Node, function: str, *params: Any, key: str | None = None) -> Any:
        return self.call(node, function, *params, key=key)[0]

    def by_hand(self, node: Node, function: str, *params: Any, key: str | None = None) -> None:
        """Prints the call as curl and as a command line."""
        url = f"{node.url}{self.path}/invoke-and-await?function={function}"
        header = f" -H 'Idempotency-Key: {key}'" if key else ""
        arguments = " ".join(shlex.quote(json.dumps(param)) for param in params)
        option = f" --idempotency-key {key}" if key else ""
        by_hand(
            f"curl '{url}'{header} --json {shlex.quote(json.dumps({'params': params}))}",
            f"GOLEMP2P_URL={node.url} golemp2p worker invoke cart/{self.worker} {function} {arguments}".rstrip() + option,
        )

    def oplog(self, node: Node) -> list[dict[str, Any]]:
        """All entries: each has ``type``, and a line of the log ``message``."""
        entries: list[dict[str, Any]] = []
        while True:
            page = request_json(node, "GET", f"{self.path}/oplog?from={len(entries) + 1}&count=200")
            entries += [item["entry"] for item in page["entries"]]
            if not page["entries"] or len(entries) >= page["lastIndex"]:
                return entries

    def log_lines(self, node: Node) -> list[str]:
        return [entry["message"].strip() for entry in self.oplog(node) if entry["type"] == "Log"]


def upload(node: Node, name: str, wasm: bytes) -> str:
    """Adds a component; returns its id."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="component"; filename="{name}.wasm"\r\n'.encode(),
        b"Content-Type: application/wasm\r\n\r\n" + wasm + f"\r\n--{boundary}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = request_json(node, "POST", "/v1/components", body=b"".join(parts), headers=headers, timeout_s=COMPILED_WITHIN_S)
    return str(answer["versionedComponentId"]["componentId"])


@dataclass
class Call:
    """An invocation on a thread of its own: ``answer`` or ``broken`` when it is over, at ``over_at`` of the monotonic clock."""

    cart: Cart
    node: Node
    function: str
    key: str
    answer: Any = None
    primary: str | None = None
    broken: Exception | None = None
    over_at: float = 0.0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.answer, self.primary = self.cart.call(self.node, self.function, key=self.key)
        except Exception as error:  # noqa: BLE001 - looked at by whoever waits for the thread
            self.broken = error
        self.over_at = time.monotonic()

    def check_waiting(self) -> None:
        if self.broken is not None:
            raise DemoFailed(f"the checkout failed for who waits at {self.node}: {self.broken}") from self.broken
        check(self.thread.is_alive(), f"the checkout was over before a node could be killed: {self.answer}")


# -------------------------------------------------------------------------------------------------------------- the story


class Story:
    """The steps in order; each leaves what the next one needs."""

    def __init__(self, nodes: Sequence[Node], language: str) -> None:
        self.nodes = nodes
        self.language = language
        self.steps = Steps()
        self.carts: dict[str, Cart] = {}

    def tell(self) -> None:
        self.found()
        self.invite()
        self.share()
        component = self.add_component()
        cart, owner = self.fill_carts(component)
        callers = [node for node in self.nodes if node is not owner]
        calls, key = self.check_out(cart, owner, callers)
        self.kill(owner, callers)
        receipt = self.watch_takeover(cart, owner, calls)
        self.check_once(cart, key, callers, receipt)
        self.restart(owner)
        self.check_agreement(cart, receipt)
        self.stop()

    def node_at(self, url: str | None) -> Node:
        found = [node for node in self.nodes if node.url == url]
        check(bool(found), f"the header {PRIMARY} names no node of ours: {url}")
        return found[0]

    # -- a mesh

    def found(self) -> None:
        self.steps.title("Start a node. It needs a directory and two ports, no database and no other service.")
        first = self.nodes[0]
        first.by_hand()
        with timed() as took:
            first.start()
            first.wait_ready()
        good(f"node 1 is ready after {took.text}, process {first.pid}: a mesh of one")

    def invite(self) -> None:
        self.steps.title("Invite two more. An invite is one line of text; it holds the mesh key and an address to begin at.")
        first, joining = self.nodes[0], self.nodes[1:]
        file = first.data_dir.parent / "invite.txt"
        by_hand(
            f"curl -X POST {first.url}/v1/mesh/invite",
            f"GOLEMP2P_URL={first.url} golemp2p mesh invite > {file}",
        )
        made = request_json(first, "POST", "/v1/mesh/invite")
        file.touch(mode=0o600)
        file.write_text(made["invite"])
        with timed() as took:
            for node in joining:
                node.by_hand("--join", f"@{file}")
                node.start("--join", f"@{file}")
            for node in joining:
                node.wait_ready()
        good(f"nodes 2 and 3 are ready after {took.text}, processes {joining[0].pid} and {joining[1].pid}")

    def share(self) -> None:
        self.steps.title("Let them share the work. From here on no node is special, the first one neither.")
        explain(
            """
            All workers and components are cut into 1,024 shards. Each shard gets three voters, one per node here, and one of them
            leads: it runs the shard's workers. What the leader writes counts once a majority has it on disk, two of three.
            """
        )
        by_hand(f"curl {self.nodes[0].url}/v1/mesh/ring", f"GOLEMP2P_URL={self.nodes[0].url} golemp2p mesh ring")
        with timed() as took:
            ring = self.wait_shared(self.nodes[0])
        for node, one in zip(self.nodes, self.in_ring(ring), strict=True):
            say(f"    {node} has a vote on {one['voting']} shards and leads {one['leading']}")
        good(f"shared after {took.text}; any one of the three may now fail")

    def wait_shared(self, node: Node) -> Any:
        """The ring, when every shard has its voters and every node leads its part."""
        before = None
        for _ in patiently(SHARED_WITHIN_S, "the nodes did not share their shards", 1.0):
            ring = request_json(node, "GET", "/v1/mesh/ring")
            count = ring["shardsCount"]
            ours = self.in_ring(ring)
            has_voters = len(ours) == VOTERS and all(one["voting"] == count for one in ours)
            is_fair = not ring["unled"] and all(one["leading"] > count / 2 / VOTERS for one in ours)
            if has_voters and is_fair and ring == before:  # nothing is being handed over any more
                return ring
            before = ring
        raise AssertionError

    def in_ring(self, ring: Any) -> list[Any]:
        """What the ring says of our nodes, in their order; fewer if it does not know all of them."""
        told = {one["node"]: one for one in ring["nodes"]}
        names = [request_json(node, "GET", "/v1/mesh/node")["node"] for node in self.nodes]
        return [told[name] for name in names if name in told]

    # -- work

    def add_component(self) -> str:
        wasm = (BUILD / f"cart-{self.language}.wasm").read_bytes()
        size = f"{len(wasm) / 1e6:.2f} MB"
        self.steps.title(f"Give one of them a component: a shopping cart written in {self.language}, {size} of WebAssembly.")
        node = self.nodes[1]
        by_hand(
            f"curl {node.url}/v1/components -F name=cart -F component=@examples/build/cart-{self.language}.wasm",
            f"GOLEMP2P_URL={node.url} golemp2p component add cart examples/build/cart-{self.language}.wasm",
        )
        with timed() as took:
            component = upload(node, "cart", wasm)
        good(f"component {component} after {took.text}; most of it is compiling")
        return component

    def fill_carts(self, component: str) -> tuple[Cart, Node]:
        """Carts until every node runs one. Returns one that does not run on the founder, and the node it runs on."""
        self.steps.title("Fill carts, each customer's through another node. Nobody says where a cart lives: its name decides.")
        explain(
            f"""
            Whoever is asked passes the call on to the node that leads the cart's shard; the header {PRIMARY} names it.
            A node that runs its first cart fetches the component from the others, and compiles it too.
            """
        )
        Cart(component, CUSTOMERS[0]).by_hand(self.nodes[0], "add-item", "apple", 3)
        owners: dict[str, Node] = {}
        for customer, asked in zip(CUSTOMERS, itertools.cycle(self.nodes), strict=False):
            cart = Cart(component, customer)
            with timed() as took:
                answer, primary = cart.call(asked, "add-item", "apple", 3)
            check(answer == {"ok": 3}, f"add-item answered {answer}")
            owners[customer] = self.node_at(primary)
            say(f"    {customer:8} asked at {asked}, runs on {owners[customer]}   {took.text}")
            if len(set(owners.values())) == len(self.nodes):
                break
        chosen = next((name for name, owner in owners.items() if owner is not self.nodes[0]), None)
        check(chosen is not None, "all carts run on the founder")
        assert chosen is not None
        for node in self.nodes:
            check(Cart(component, chosen).invoke(node, "contents") == [{"name": "apple", "quantity": 3}], f"{node} disagrees")
        cart = Cart(component, chosen)
        check(cart.invoke(self.nodes[0], "add-item", "pear", 2) == {"ok": 2}, "add-item failed")
        good(f"{chosen}'s cart runs on {owners[chosen]}, and all three nodes answer for it alike; she adds 2 pears")
        return cart, owners[chosen]

    def check_out(self, cart: Cart, owner: Node, callers: Sequence[Node]) -> tuple[list[Call], str]:
        who = cart.worker
        self.steps.title(f"Check {who} out: three steps, some five seconds. {cap(owner)} does it; the callers wait at the others.")
        explain(
            f"""
            Which of the other two will have to take over is not known yet, so a caller waits at each: {callers[0]} and {callers[1]}.
            Both give the same Idempotency-Key: it names this one checkout, however often it is asked for.
            """
        )
        key = f"checkout-{uuid.uuid4().hex[:8]}"
        for node in callers:
            cart.by_hand(node, "checkout", key=key)
        calls = [Call(cart, node, "checkout", key) for node in callers]
        shown = 0
        for passed in patiently(ANSWERED_WITHIN_S, "the checkout did not get on"):
            for call in calls:
                call.check_waiting()
            lines = cart.log_lines(callers[0])
            for line in lines[shown:]:
                say(f"    {passed:4.1f} s   {line}")
            shown = len(lines)
            if passed >= KILL_AFTER_S and shown == len(STEPS) - 1:
                break
        return calls, key

    # -- the fall

    def kill(self, owner: Node, callers: Sequence[Node]) -> None:
        self.steps.title(f"In the middle of it: kill -9 of {owner}.")
        by_hand(f"kill -9 {owner.pid}")
        owner.kill()
        self.killed_at = time.monotonic()
        good(f"{owner} is gone, in mid-sentence; {callers[0]} and {callers[1]} are not told")

    def watch_takeover(self, cart: Cart, owner: Node, calls: Sequence[Call]) -> Any:
        """The receipt, the same for all callers."""
        self.steps.title("Wait. Nobody does anything, nobody asks again.")
        seen = False
        for _ in patiently(ANSWERED_WITHIN_S, "no answer came after the kill", 0.02):
            if not seen:
                seen = self.look_for_takeover(cart, owner, calls[0].node)
            if not any(call.thread.is_alive() for call in calls):
                break
        for call in calls:
            if call.broken is not None:
                raise DemoFailed(f"who waited at {call.node} got no answer: {call.broken}") from call.broken
            self.since_kill(call.over_at, f"the caller at {call.node} has the answer: {json.dumps(call.answer)}")
        expected = {
            "ok": {"number": 1, "items": [{"name": "apple", "quantity": 3}, {"name": "pear", "quantity": 2}], "pieces": 5}
        }
        for call in calls:
            check(call.answer == expected, f"the checkout answered {call.answer} instead of {expected}")
        heir = self.node_at(calls[0].primary)
        check(heir is not owner, f"the answer is said to come from {owner}, which is dead")
        check(self.node_at(calls[1].primary) is heir, "the callers' answers came from different nodes")
        third = next(call for call in calls if call.node is not heir)
        good(f"kill to answer: {third.over_at - self.killed_at:.1f} s, from {heir} to the caller who waits at {third.node}")
        explain(
            f"""
            What happened: {owner} fell silent, the others agreed that it is dead, and {heir} asked for the votes to lead its shards.
            Why nothing is lost: what {cart.worker} had done was in her oplog at a majority before anybody saw it. One of the two was in
            that majority, and only who has all of it is elected. {cap(heir)} ran her again from the oplog to where she stood, and went on.
            Why nothing happens twice: {heir} leads under a higher term. Should {owner} wake up and go on, no majority would take
            a word of it. So a wrong suspicion costs a moment, never a second checkout.
            """
        )
        return expected["ok"]

    def look_for_takeover(self, cart: Cart, owner: Node, asked: Node) -> bool:
        """Whether another node answers for the worker by now."""
        answer = request(asked, "GET", cart.path)
        if answer.status != 200 or answer.primary in (None, owner.url):
            return False
        self.since_kill(time.monotonic(), f"{self.node_at(answer.primary)} answers for {cart.worker}")
        return True

    def since_kill(self, at: float, text: str) -> None:
        say(f"    {at - self.killed_at:4.1f} s   {text}")

    def check_once(self, cart: Cart, key: str, callers: Sequence[Node], receipt: Any) -> None:
        self.steps.title("Look closely: one checkout, not two and not half of one.")
        lines = cart.log_lines(callers[0])
        expected = [f"checkout, step {number} of {len(STEPS)}: {what}" for number, what in enumerate(STEPS, start=1)]
        check(lines == expected, f"the log has the lines {lines}")
        for line in lines:
            say(f"             {line}")
        good("three steps, three lines in the log: none lost, none twice")
        for node in callers:
            again = cart.invoke(node, "checkout", key=key)
            check(again == {"ok": receipt}, f"repeated at {node}, checkout answered {again}")
        good("asked once more with the same key, at both nodes: the same receipt, at once")
        check(cart.invoke(callers[0], "contents") == [], "the cart is not empty")
        last = cart.invoke(callers[1], "last-receipt")
        check(last == receipt, f"the last receipt is {last}")
        good(f"the cart is empty, the last receipt has number {last['number']}")
        url = f"{callers[0].url}{cart.path}/oplog?from=1&count=100"
        by_hand(f"curl '{url}'", f"GOLEMP2P_URL={callers[0].url} golemp2p worker oplog cart/{cart.worker}")
        entries = cart.oplog(callers[0])
        kinds = Counter(entry["type"] for entry in entries)
        say(f"    The oplog has {len(entries)} entries: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
        check(kinds["ExportedFunctionInvoked"] == kinds["ExportedFunctionCompleted"], f"invoked and completed differ: {kinds}")

    # -- the return

    def restart(self, owner: Node) -> None:
        self.steps.title(f"Start {owner} again, with the same directory. It needs no invite any more: it remembers its peers.")
        owner.by_hand()
        with timed() as took:
            owner.start()
            owner.wait_ready()
        good(f"{owner} is ready after {took.text}, process {owner.pid}")
        by_hand(f"curl {owner.url}/v1/mesh/shards", f"GOLEMP2P_URL={owner.url} golemp2p mesh shards")
        with timed() as took:
            self.wait_shared(owner)
            count = self.wait_level()
        good(f"it has caught up and leads its part again after {took.text}: all {count} shards are alike on all three nodes")

    def wait_level(self) -> int:
        """How many shards there are, when each has the same entries, all committed, on all nodes."""
        for _ in patiently(CAUGHT_UP_WITHIN_S, "the nodes' shards did not become alike", 0.5):
            told = [request_json(node, "GET", "/v1/mesh/shards")["shards"] for node in self.nodes]
            levels = [{(one["shard"], one["position"], one["commit"]) for one in shards} for shards in told]
            if levels[0] == levels[1] == levels[2] and all(position == commit for _, position, commit in levels[0]):
                return len(levels[0])
        raise AssertionError

    def check_agreement(self, cart: Cart, receipt: Any) -> None:
        self.steps.title(f"Ask all three about {cart.worker}.")
        cart.by_hand(self.nodes[0], "last-receipt")
        oplogs = []
        for node in self.nodes:
            last, primary = cart.call(node, "last-receipt")
            check(last == receipt, f"{node} answers {last}")
            oplogs.append(cart.oplog(node)[: len(oplogs[0]) if oplogs else None])
            say(f"    {node}: {json.dumps(last)}, from {self.node_at(primary)}")
        check(oplogs[0] == oplogs[1] == oplogs[2], "the nodes tell different histories")
        good("one history, told alike by all")

    def stop(self) -> None:
        self.steps.title("Stop them politely.")
        by_hand("kill " + " ".join(str(node.pid) for node in self.nodes))
        with timed() as took:
            for node in self.nodes:
                assert node.process is not None
                node.process.terminate()
            for node in self.nodes:
                assert node.process is not None
                status = node.process.wait(timeout=STOPPED_WITHIN_S)
                check(status == 0, f"{node} ended with status {status}")
        good(f"they went in peace, after {took.text}")


def cap(node: Node) -> str:
    """At the beginning of a sentence."""
    return f"Node {node.number}"


@dataclass
class Took:
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return f"{self.seconds:.2f} s" if self.seconds < 1 else f"{self.seconds:.1f} s"


@contextmanager
def timed() -> Iterator[Took]:
    """How long the block took, once it is over."""
    took, began = Took(), time.monotonic()
    yield took
    took.seconds = time.monotonic() - began


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Show a worker that outlives its node in a mesh of three; exit 0 when all went as it should."
    )
    parser.add_argument("--language", choices=["python", "c", "zig", "javascript"], default="python", help="of the cart")
    parser.add_argument("--keep", action="store_true", help="keep the nodes' data directories and say where they are")
    options = parser.parse_args()
    needed = {BUILD / f"cart-{options.language}.wasm": f"python examples/build.py cart-{options.language}", GOLEMP2P: "make"}
    for path, remedy in needed.items():
        if not path.exists():
            print(f"{path} is missing: run `{remedy}` first", file=sys.stderr)
            return 2

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is begun is ended
    directory = Path(tempfile.mkdtemp(prefix="golemp2p-demo-"))
    ports = free_ports(2 * VOTERS)
    nodes = [Node(n + 1, directory / f"node{n + 1}", ports[2 * n], ports[2 * n + 1]) for n in range(VOTERS)]
    story = Story(nodes, options.language)
    try:
        story.tell()
    except (DemoFailed, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as failure:
        say(f"\nNOT AS IT SHOULD BE: {failure or type(failure).__name__}")
        for node in nodes:
            if node.log.exists():
                say(f"The end of the log of {node}:\n" + "\n".join(node.log.read_text(errors="replace").splitlines()[-20:]))
        return 1
    finally:
        for node in nodes:
            node.ensure_gone()
        if options.keep:
            say(f"\nThe nodes' data and logs are in {directory}")
        else:
            shutil.rmtree(directory)
    say(f"\nAll was as it should be, in {story.steps.passed_s:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
