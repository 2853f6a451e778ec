#!/usr/bin/env python3
"""The demonstration behind ``make demo``: three nodes, one mesh, and a worker that outlives the node it runs on.

Three nodes are started on loopback, joined by one invite, and given a shopping cart. The node that runs a customer's cart is killed
with SIGKILL in the middle of a checkout; the callers, who wait at the other two, get their answer all the same, once. The dead node
comes back and catches up. Everything is checked; the exit status is 0 only when all was as it should be. Each step shows the same
with curl and with the command line, to be typed by hand.

Needs nothing but a built cart (``python examples/build.py cart-python``) and the installed ``golemp2p`` command. Touches no process
but those it started, and leaves nothing behind, the compiled cart in ~/.cache/golemp2p excepted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo_nodes import (
    ANSWERED_WITHIN_S,
    GOLEMP2P,
    PRIMARY,
    Call,
    Cart,
    DemoFailed,
    Node,
    check,
    make_nodes,
    patiently,
    request,
    request_json,
    stop,
    timed,
    upload,
)

BUILD = Path(__file__).resolve().parent / "build"

NODES = 3
SHARED_WITHIN_S = 90
ALIKE_WITHIN_S = 60
VERIFIED_WITHIN_S = 120
STEPS = ("reserving the goods", "charging the card", "booking the courier")
STEP_S = 1.5
KILL_AFTER_S = 2.5  # in the second step
CUSTOMERS = (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "laura", "mallory", "niaj", "olivia",
    "peggy", "quentin", "rupert", "sybil", "trent", "ursula", "victor", "walter", "xenia", "yves", "zoe",
)  # fmt: skip
APPLES, PEARS = {"name": "apple", "quantity": 3}, {"name": "pear", "quantity": 2}
RECEIPT = {"number": 1, "items": [APPLES, PEARS], "pieces": 5}


# ----------------------------------------------------------------------------------------------------------- what is said


def say(text: str = "") -> None:
    print(text, flush=True)


def explain(text: str) -> None:
    for line in text.strip().splitlines():
        say(f"    {line.strip()}")


def by_hand(*commands: str) -> None:
    for command in commands:
        say(f"      $ {command}")


def good(text: str) -> None:
    say(f"    ok: {text}")


def cap(node: Node) -> str:
    """At the beginning of a sentence."""
    return f"Node {node.number}"


# -------------------------------------------------------------------------------------------------------------- the story


class Story:
    """The steps in order. ``owner`` runs the cart that is checked out, and dies of it; ``callers`` are the other two."""

    def __init__(self, nodes: Sequence[Node], language: str) -> None:
        self.nodes = nodes
        self.language = language
        self.began_at = time.monotonic()
        self.killed_at = 0.0
        self._numbers = itertools.count(1)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began_at

    def title(self, text: str) -> None:
        say(f"\n[{next(self._numbers)}] {text}   ({self.seconds:.0f} s)")

    def tell(self) -> None:
        self.found()
        component = self.add_component()
        self.invite()
        self.share()
        cart, owner = self.fill_carts(component)
        callers = [node for node in self.nodes if node is not owner]
        key = f"checkout-{uuid.uuid4().hex[:8]}"
        calls, left_s = self.check_out(cart, key, owner, callers)
        self.kill(owner, callers)
        heir = self.watch_takeover(cart, owner, calls, left_s)
        self.explain_takeover(cart, owner, heir)
        self.check_once(cart, key, callers)
        self.restart(owner)
        self.check_agreement(cart)
        self.verify(cart, owner)
        self.stop_all()

    def node_at(self, url: str | None) -> Node:
        found = [node for node in self.nodes if node.url == url]
        check(bool(found), f"the header {PRIMARY} names no node of ours: {url}")
        return found[0]

    # -- a mesh

    def found(self) -> None:
        self.title("Start a node. It needs a directory and two ports, no database and no other service.")
        first = self.nodes[0]
        by_hand(first.as_typed())
        with timed() as took:
            first.start()
            first.wait_ready()
        good(f"node 1 is ready after {took}, process {first.pid}: a mesh of one")

    def add_component(self) -> str:
        file = f"cart-{self.language}.wasm"
        wasm = (BUILD / file).read_bytes()
        size = f"{len(wasm) / 1e6:.1f} MB" if len(wasm) > 1e5 else f"{len(wasm) / 1e3:.0f} kB"
        self.title(f"Give it a component: a shopping cart written in {self.language}, {size} of WebAssembly.")
        node = self.nodes[0]
        by_hand(
            f"curl {node.url}/v1/components -F name=cart -F component=@examples/build/{file}",
            f"GOLEMP2P_URL={node.url} golemp2p component add cart examples/build/{file}",
        )
        with timed() as took:
            component = upload(node, "cart", wasm)
        good(f"component {component} after {took}: durable, and compiled to machine code")
        return component

    def invite(self) -> None:
        self.title("Invite two more. An invite is one line of text: the key to this mesh, and whom to call first.")
        first, *joining = self.nodes
        file = first.data_dir.with_name("invite.txt")
        by_hand(
            f"curl -X POST {first.url}/v1/mesh/invite",
            f"GOLEMP2P_URL={first.url} golemp2p mesh invite > {file}",
            *(node.as_typed("--join", f"@{file}") for node in joining),
        )
        made = request_json(first, "POST", "/v1/mesh/invite")
        file.touch(mode=0o600)
        file.write_text(made["invite"])
        with timed() as took:
            for node in joining:
                node.start("--join", f"@{file}")
            for node in joining:
                node.wait_ready()
        good(f"nodes 2 and 3 are ready after {took}, processes {joining[0].pid} and {joining[1].pid}")

    def share(self) -> None:
        self.title("Let them share the work. From here on no node is special; the first one is not, either.")
        explain(
            """
            Workers and components are cut into 1,024 shards by their names. A shard has three voters, here one per node; one of them
            leads it: only there do the shard's workers run. What it writes counts when two of the three have it on disk.
            """
        )
        url = self.nodes[0].url
        by_hand(f"curl {url}/v1/mesh/ring", f"GOLEMP2P_URL={url} golemp2p mesh ring")
        with timed() as took:
            ring = self.wait_shared(self.nodes[0])
        for node, one in zip(self.nodes, self.in_ring(ring), strict=True):
            say(f"    {node} votes on {one['voting']} shards and leads {one['leading']}")
        good(f"shared after {took}; any one of the three may fail now")

    def wait_shared(self, asked: Node) -> Any:
        """The ring, when every shard has its voters, every node leads its part, and nothing is being handed over any more."""
        before = None
        for _ in patiently(SHARED_WITHIN_S, "the nodes did not share their shards", self.nodes, 1.0):
            ring = request_json(asked, "GET", "/v1/mesh/ring")
            count = ring["shardsCount"]
            ours = self.in_ring(ring)
            has_voters = len(ours) == NODES and all(one["voting"] == count for one in ours)
            is_fair = not ring["unled"] and all(one["leading"] > count / 2 / NODES for one in ours)
            if has_voters and is_fair and ring == before:
                return ring
            before = ring
        raise AssertionError

    def in_ring(self, ring: Any) -> list[Any]:
        """What the ring says of our nodes, in their order; fewer if it does not know all of them."""
        told = {one["node"]: one for one in ring["nodes"]}
        names = [request_json(node, "GET", "/v1/mesh/node")["node"] for node in self.nodes]
        return [told[name] for name in names if name in told]

    # -- work

    def fill_carts(self, component: str) -> tuple[Cart, Node]:
        """Carts until every node runs one. Returns one that does not run on the founder, and the node it runs on."""
        self.title("Fill carts, each customer's through another node. Nobody says where a cart lives: its name decides.")
        explain(
            f"""
            Whoever is asked passes the call on to the node that leads the cart's shard; the answer's header {PRIMARY} names
            it. A node that runs its first cart gets the component from the others, and compiles it as well: that takes its time.
            """
        )
        by_hand(*Cart(component, CUSTOMERS[0]).as_typed(self.nodes[0], "add-item", "apple", 3))
        owners: dict[Node, list[Cart]] = {node: [] for node in self.nodes}
        for customer, asked in zip(CUSTOMERS, itertools.cycle(self.nodes), strict=False):
            cart = Cart(component, customer)
            with timed() as took:
                answer, primary = cart.call(asked, "add-item", "apple", 3)
            check(answer == {"ok": 3}, f"add-item answered {answer}")
            owner = self.node_at(primary)
            owners[owner].append(cart)
            say(f"    {customer:8} asked for at {asked}, runs on {owner}   {took}")
            if all(owners.values()):
                break
        owner, carts = next((node, carts) for node, carts in owners.items() if carts and node is not self.nodes[0])
        cart = carts[0]
        check(cart.invoke(self.nodes[0], "add-item", "pear", 2) == {"ok": 2}, "add-item failed")
        for node in self.nodes:
            contents = cart.invoke(node, "contents")
            check(contents == [APPLES, PEARS], f"{node} says that the cart holds {contents}")
        good(f"two pears more for {cart.worker}, whose cart runs on {owner}: all three nodes answer for it alike")
        return cart, owner

    def check_out(self, cart: Cart, key: str, owner: Node, callers: Sequence[Node]) -> tuple[list[Call], float]:
        """Returns in the middle of it: the calls, and how many seconds of work are left."""
        self.title(f"Check {cart.worker} out: three steps of {STEP_S} s. {cap(owner)} does it; the callers wait elsewhere.")
        explain(
            f"""
            One waits at {callers[0]}, one at {callers[1]}: who will have to take over is not known, and one of them is to be a third.
            Both give the same Idempotency-Key. It names this one checkout, however often and wherever it is asked for.
            """
        )
        for node in callers:
            by_hand(*cart.as_typed(node, "checkout", key=key))
        calls = [Call(cart, node, "checkout", key) for node in callers]
        shown = 0
        for passed in patiently(ANSWERED_WITHIN_S, "the checkout did not get to its second step", self.nodes):
            lines = cart.log_lines(callers[0])
            for line in lines[shown:]:
                say(f"    {passed:4.1f} s   {line}")
            shown = len(lines)
            for call in calls:
                call.check_answered()
                check(not call.is_over, f"the checkout was over before its node could be killed: {call.answer}")
            if passed >= KILL_AFTER_S and shown == len(STEPS) - 1:
                return calls, len(STEPS) * STEP_S - passed
        raise AssertionError

    # -- the fall

    def kill(self, owner: Node, callers: Sequence[Node]) -> None:
        self.title(f"In the middle of it: kill -9 of {owner}.")
        by_hand(f"kill -9 {owner.pid}")
        owner.kill()
        self.killed_at = time.monotonic()
        good(f"{owner} is gone in mid-sentence; nobody tells {callers[0]} and {callers[1]}")

    def watch_takeover(self, cart: Cart, owner: Node, calls: Sequence[Call], left_s: float) -> Node:
        """Returns the node that took over."""
        self.title("Wait. Nothing is started, nobody asks again.")
        seen = False
        for _ in patiently(ANSWERED_WITHIN_S, "no answer came after the kill", [call.node for call in calls], 0.02):
            seen = seen or self.look_for_heir(cart, owner, calls[0].node)
            if all(call.is_over for call in calls):
                break
        for call in calls:
            call.check_answered()
            self.since_kill(call.over_at, f"the caller at {call.node} has the answer: {json.dumps(call.answer)}")
            check(call.answer == {"ok": RECEIPT}, f"that is not the receipt {RECEIPT}")
        heirs = {self.node_at(call.primary) for call in calls}
        check(len(heirs) == 1 and owner not in heirs, f"the answers are said to come from {', '.join(map(str, heirs))}")
        heir = heirs.pop()
        third = next(call for call in calls if call.node is not heir)
        took_s = third.over_at - self.killed_at
        good(
            f"kill to answer: {took_s:.1f} s, from {heir} to the caller at {third.node};"
            f" {max(0.0, left_s):.1f} s of them the checkout would have taken anyway"
        )
        by_hand(f"GOLEMP2P_URL={heir.url} golemp2p mesh peers")
        return heir

    def look_for_heir(self, cart: Cart, owner: Node, asked: Node) -> bool:
        """Whether another node answers for the cart by now."""
        answer = request(asked, "GET", cart.path)
        if answer.status != 200 or answer.primary in (None, owner.url):
            return False
        self.since_kill(time.monotonic(), f"{self.node_at(answer.primary)} answers for {cart.worker}'s cart")
        return True

    def since_kill(self, at: float, text: str) -> None:
        say(f"    {at - self.killed_at:4.1f} s   {text}")

    def explain_takeover(self, cart: Cart, owner: Node, heir: Node) -> None:
        explain(
            f"""
            What happened: {owner} fell silent; the others agreed that it is dead; {heir} stood for election in its shards, under a
            higher term, and got the votes. It ran {cart.worker}'s cart again from its oplog to where it stood, and then went on.
            Why nothing is lost: what the cart did was on two of three disks before anybody could see it. So one of the two that live
            has it, and a node that lacks what a voter has does not get that vote.
            Why nothing happens twice: the oplog says which steps were done. And should {owner} wake up believing that it still leads,
            nobody takes entries of a lower term: it finds no majority, so it can answer nobody.
            """
        )

    def check_once(self, cart: Cart, key: str, callers: Sequence[Node]) -> None:
        self.title("Look closely: it was one checkout, not two and not half of one.")
        lines = cart.log_lines(callers[0])
        for line in lines:
            say(f"             {line}")
        expected = [f"checkout, step {number} of {len(STEPS)}: {what}" for number, what in enumerate(STEPS, start=1)]
        check(lines == expected, f"the log should have the lines {expected}")
        good("three steps, three lines in the cart's log: none lost, none twice")
        for node in callers:
            with timed() as took:
                again = cart.invoke(node, "checkout", key=key)
            check(again == {"ok": RECEIPT}, f"repeated at {node}, checkout answered {again}")
            good(f"asked for once more at {node}, with the same key: the same receipt, after {took}")
        check(cart.invoke(callers[0], "contents") == [], "the cart is not empty")
        last = cart.invoke(callers[1], "last-receipt")
        check(last == RECEIPT, f"the last receipt is {last}")
        good(f"the cart is empty, its last receipt has number {last['number']}")
        url = callers[0].url
        by_hand(
            f"curl '{url}{cart.path}/oplog?from=1&count=100'", f"GOLEMP2P_URL={url} golemp2p worker oplog cart/{cart.worker}"
        )
        entries = cart.oplog(callers[0])
        kinds = Counter(entry["type"] for entry in entries)
        say(f"    The oplog has {len(entries)} entries: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
        check(kinds["ExportedFunctionInvoked"] == kinds["ExportedFunctionCompleted"], f"invoked and completed differ: {kinds}")

    # -- the return

    def restart(self, owner: Node) -> None:
        self.title(f"Start {owner} again, with the same directory. It needs no invite: it remembers whom it knew.")
        by_hand(owner.as_typed())
        with timed() as took:
            owner.start()
            owner.wait_ready()
        good(f"ready after {took}, process {owner.pid}")
        by_hand(f"curl {owner.url}/v1/mesh/shards", f"GOLEMP2P_URL={owner.url} golemp2p mesh shards")
        with timed() as took:
            count = self.wait_alike()
        good(f"caught up after {took} more: each of the {count} shards has the same entries on all three nodes")
        explain(
            "It was given what it had missed, as a follower; what it wrote last and nobody else has, if anything, is cut off."
        )
        with timed() as took:
            self.wait_shared(owner)
        good(f"it leads its part again after {took} more, handed over to it between two invocations of each worker")

    def wait_alike(self) -> int:
        """How many shards there are, when each has the same last entry on all nodes, and that is committed."""
        for _ in patiently(ALIKE_WITHIN_S, "the nodes' shards did not become alike", self.nodes, 0.25):
            told = [request_json(node, "GET", "/v1/mesh/shards")["shards"] for node in self.nodes]
            ends = [{(one["shard"], one["position"], one["commit"]) for one in shards} for shards in told]
            if ends[0] == ends[1] == ends[2] and all(position == commit for _, position, commit in ends[0]):
                return len(ends[0])
        raise AssertionError

    def check_agreement(self, cart: Cart) -> None:
        self.title(f"Ask all three about {cart.worker}'s cart.")
        by_hand(*cart.as_typed(self.nodes[0], "last-receipt"))
        histories = []
        for node in self.nodes:
            history = cart.oplog(node)
            histories.append(history[: len(histories[0]) if histories else None])  # a look at the receipt is history, too
            last, primary = cart.call(node, "last-receipt")
            check(last == RECEIPT, f"{node} says that the last receipt is {last}")
            say(f"    {node}: receipt {last['number']}, {last['pieces']} pieces; told by {self.node_at(primary)}")
        check(histories[0] == histories[1] == histories[2], "the nodes tell different histories")
        self.wait_alike()
        good(f"one answer, and one history of {len(histories[0])} entries")

    def verify(self, cart: Cart, asked: Node) -> None:
        self.title("Believe none of them: take the whole history, and judge it here.")
        explain(
            """
            Every segment is hashed, linked to the one before, and signed by the node that wrote it; each writer must have been elected
            by a majority, and the votes are there to be checked. Then the cart is run again from its journal, on this side of the
            network, and everything it asks and answers must be what is recorded.
            """
        )
        command = ["worker", "verify", f"cart/{cart.worker}"]
        by_hand(f"GOLEMP2P_URL={asked.url} golemp2p {' '.join(command)}")
        with timed() as took:
            told = run_golemp2p(*command, url=asked.url)
        for node in self.nodes:
            told = told.replace(request_json(node, "GET", "/v1/mesh/node")["node"], str(node))
        for line in told.splitlines():
            if line.startswith(("worker log", "elections", "run again", "TERM", " ")):
                say(f"      {line.rstrip()}")
        good(f"{told.splitlines()[-1]}; after {took}")

    def stop_all(self) -> None:
        self.title("Stop them politely, and look at what each of them has on disk.")
        by_hand("kill " + " ".join(str(node.pid) for node in self.nodes))
        with timed() as took:
            stop(self.nodes)
        good(f"they went in peace, after {took}")
        for node in self.nodes:
            command = ["storage", "verify", "--data-dir", str(node.data_dir)]
            by_hand(" ".join(["golemp2p", *command]))
            done = subprocess.run([GOLEMP2P, *command], capture_output=True, text=True, timeout=VERIFIED_WITHIN_S, check=False)
            check(done.returncode == 0, f"{node} has damage on its disk:\n{done.stdout}{done.stderr}")
        good("every hash and every signature holds, on each of the three disks")


def run_golemp2p(*arguments: str, url: str = "") -> str:
    """What the command prints. Raises ``DemoFailed`` unless it exits with 0."""
    environment = {**os.environ, "GOLEMP2P_URL": url}
    done = subprocess.run(
        [GOLEMP2P, *arguments], capture_output=True, text=True, env=environment, timeout=VERIFIED_WITHIN_S, check=False
    )
    check(done.returncode == 0, f"`golemp2p {' '.join(arguments)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Show a worker that outlives its node, in a mesh of three; exit 0 when all went as it should."
    )
    parser.add_argument("--language", choices=["python", "c", "zig", "javascript"], default="python", help="of the cart")
    parser.add_argument("--keep", action="store_true", help="keep the nodes' data directories and say where they are")
    options = parser.parse_args()
    needed = {BUILD / f"cart-{options.language}.wasm": f"python examples/build.py cart-{options.language}", GOLEMP2P: "make"}
    for path, remedy in needed.items():
        if not path.exists():
            print(f"{path} is missing: run `{remedy}` first", file=sys.stderr)
            return 2

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    directory = Path(tempfile.mkdtemp(prefix="golemp2p-demo-"))
    nodes = make_nodes(directory, NODES)
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
            node.end()
        if options.keep:
            say(f"\nThe nodes' data and logs are in {directory}")
        else:
            shutil.rmtree(directory)
    say(f"\nAll was as it should be, in {story.seconds:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
