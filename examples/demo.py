#!/usr/bin/env python3
"""The demonstration behind ``make demo``: a worker outlives its node.

A node is started on loopback, gets a shopping cart, and is killed with SIGKILL in the middle of a checkout. Started again, it
finishes that checkout, exactly once. Everything is checked; the exit status is 0 only when all was as it should be. Each step
shows the same with curl and with the command line, to be typed by hand.

Needs nothing but a built cart (``python examples/build.py cart-python``) and the installed ``golemp2p`` command.
"""

from __future__ import annotations

import argparse
import http.client
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUILD = Path(__file__).resolve().parent / "build"
GOLEMP2P = Path(sysconfig.get_path("scripts")) / "golemp2p"

READY_WITHIN_S = 30
COMPILED_WITHIN_S = 150  # 15 CPU-seconds for a Python guest on the machine this was written on
ANSWERED_WITHIN_S = 30
STOPPED_WITHIN_S = 20
KILL_AFTER_S = 2.5  # the second of three steps of 1.5 s
STEPS = ("reserving the goods", "charging the card", "booking the courier")


class DemoFailed(Exception):
    """Something was not as it should be."""


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


# ----------------------------------------------------------------------------------------------------------- what is said


def say(text: str = "") -> None:
    print(text, flush=True)


def title(number: int, text: str) -> None:
    say(f"\n[{number}] {text}")


def by_hand(*commands: str) -> None:
    for command in commands:
        say(f"      $ {command}")


def good(text: str) -> None:
    say(f"    ok: {text}")


# --------------------------------------------------------------------------------------------------------------- the node


@dataclass
class Node:
    """A node process of our own. ``log`` is its output, of all its lives."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data_dir.parent / "node.log"

    @property
    def command(self) -> list[str]:
        return [str(GOLEMP2P), "node", "run", "--data-dir", str(self.data_dir), "--http", f"127.0.0.1:{self.port}"]

    def start(self) -> float:
        """Returns the seconds it took to answer."""
        began = time.monotonic()
        # Nothing of the caller's settings may leak in: the demonstration is of a node as it comes.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLEMP2P_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        while time.monotonic() - began < READY_WITHIN_S:
            check(self.process.poll() is None, f"the node ended with status {self.process.returncode} while starting")
            try:
                if request(self.port, "GET", "/healthcheck", timeout_s=2)[0] == 200:
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.05)
        raise DemoFailed(f"the node did not answer within {READY_WITHIN_S} s")

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed, nobody says goodbye."""
        assert self.process is not None
        self.process.kill()
        status = self.process.wait(timeout=10)
        check(status == -signal.SIGKILL, f"the node was already gone, with status {status}")

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=STOPPED_WITHIN_S)

    def ensure_gone(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


# --------------------------------------------------------------------------------------------------------------- its HTTP


def request(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout_s: float = ANSWERED_WITHIN_S,
) -> tuple[int, bytes]:
    """Status and body. Raises ``OSError`` (also for a connection that breaks in the middle of an answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as broken:
        raise ConnectionError(f"the connection broke: {broken!r}") from broken
    finally:
        connection.close()


def request_json(port: int, method: str, path: str, **arguments: Any) -> Any:
    status, body = request(port, method, path, **arguments)
    check(status == 200, f"{method} {path} was answered with {status}: {body[:500].decode(errors='replace')}")
    return json.loads(body)


@dataclass(frozen=True)
class Cart:
    """The worker ``alice`` of the component, over HTTP."""

    port: int
    component: str
    worker: str = "alice"

    @property
    def path(self) -> str:
        return f"/v1/components/{self.component}/workers/{self.worker}"

    def invoke(self, function: str, *params: Any, key: str | None = None) -> Any:
        """The function's result as JSON."""
        query = urllib.parse.urlencode({"function": function})
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        body = json.dumps({"params": params}).encode()
        answer = request_json(self.port, "POST", f"{self.path}/invoke-and-await?{query}", body=body, headers=headers)
        return answer["result"]["value"][0]

    def by_hand(self, function: str, *params: Any, key: str | None = None) -> None:
        """Prints the call as curl and as a command line."""
        url = f"http://127.0.0.1:{self.port}{self.path}/invoke-and-await?function={function}"
        header = f" -H 'Idempotency-Key: {key}'" if key else ""
        arguments = " ".join(shlex.quote(json.dumps(param)) for param in params)
        option = f" --idempotency-key {key}" if key else ""
        by_hand(
            f"curl '{url}'{header} --json {shlex.quote(json.dumps({'params': params}))}",
            f"golemp2p worker invoke cart/{self.worker} {function} {arguments}".rstrip() + option,
        )

    def oplog(self) -> list[dict[str, Any]]:
        """All entries: each has ``type``, and a line of the log ``message``."""
        entries: list[dict[str, Any]] = []
        while True:
            page = request_json(self.port, "GET", f"{self.path}/oplog?from={len(entries) + 1}&count=200")
            entries += [item["entry"] for item in page["entries"]]
            if not page["entries"] or len(entries) >= page["lastIndex"]:
                return entries

    def log_lines(self) -> list[str]:
        return [entry["message"].strip() for entry in self.oplog() if entry["type"] == "Log"]


def upload(port: int, name: str, wasm: bytes) -> str:
    """Adds a component; returns its id."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="component"; filename="{name}.wasm"\r\n'.encode(),
        b"Content-Type: application/wasm\r\n\r\n" + wasm + f"\r\n--{boundary}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = request_json(port, "POST", "/v1/components", body=b"".join(parts), headers=headers, timeout_s=COMPILED_WITHIN_S)
    return str(answer["versionedComponentId"]["componentId"])


@dataclass
class Call:
    """An invocation on a thread of its own: ``answer`` or ``broken`` when it is over."""

    cart: Cart
    function: str
    key: str
    answer: Any = None
    broken: Exception | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.answer = self.cart.invoke(self.function, key=self.key)
        except Exception as error:  # noqa: BLE001 - looked at by whoever waits for the thread
            self.broken = error


# -------------------------------------------------------------------------------------------------------------- the story


def watch_checkout(cart: Cart, call: Call) -> None:
    """Shows the log lines as they come, until the checkout is in the middle of its work."""
    began, shown = time.monotonic(), 0
    while time.monotonic() - began < KILL_AFTER_S:
        if call.broken is not None:
            raise DemoFailed(f"the checkout failed: {call.broken}") from call.broken
        lines = cart.log_lines()
        for line in lines[shown:]:
            say(f"    {time.monotonic() - began:4.1f} s   {line}")
        shown = len(lines)
        time.sleep(0.1)
    check(call.thread.is_alive(), f"the checkout was over before the node could be killed: {call.answer}")


def watch_recovery(cart: Cart) -> None:
    """Waits for the last step, which nobody asks for now: the node itself has to take up what it left unfinished."""
    began = time.monotonic()
    while len(lines := cart.log_lines()) < len(STEPS):
        check(time.monotonic() - began < ANSWERED_WITHIN_S, f"the checkout did not go on by itself; its log: {lines}")
        time.sleep(0.1)
    say(f"    {time.monotonic() - began:4.1f} s   {lines[-1]}")
    good("the checkout goes on by itself, from where it stood")


def check_oplog(cart: Cart) -> None:
    """Every step must have happened once, as far as the worker's log tells."""
    lines = cart.log_lines()
    expected = [f"checkout, step {number} of {len(STEPS)}: {what}" for number, what in enumerate(STEPS, start=1)]
    check(lines == expected, f"the log has the lines {lines}")
    good("three steps, three lines in the log: none lost, none twice")
    entries = cart.oplog()
    kinds = Counter(entry["type"] for entry in entries)
    say(f"    The oplog has {len(entries)} entries: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    completed = kinds["ExportedFunctionCompleted"]
    check(kinds["ExportedFunctionInvoked"] == completed, f"invoked and completed differ: {dict(kinds)}")


def story(node: Node, language: str) -> None:
    wasm = (BUILD / f"cart-{language}.wasm").read_bytes()
    url = f"http://127.0.0.1:{node.port}"
    bought = [{"name": "apple", "quantity": 3}, {"name": "pear", "quantity": 2}]
    receipt = {"ok": {"number": 1, "items": bought, "pieces": 5}}

    title(1, "Start a node. It needs a directory and a port, no database and no other service.")
    by_hand(shlex.join(["golemp2p", *node.command[1:]]))
    by_hand(f"export GOLEMP2P_URL={url}")
    good(f"ready after {node.start():.1f} s, process {node.process.pid if node.process else '?'}")

    title(2, f"Give it a component: a shopping cart written in {language}, {len(wasm) / 1e6:.2f} MB of WebAssembly.")
    by_hand(
        f"curl {url}/v1/components -F name=cart -F component=@examples/build/cart-{language}.wasm",
        f"golemp2p component add cart examples/build/cart-{language}.wasm",
    )
    say("    Compiling it to machine code; this is done once.")
    began = time.monotonic()
    cart = Cart(node.port, upload(node.port, "cart", wasm))
    good(f"component {cart.component} after {time.monotonic() - began:.1f} s")

    title(3, "Call its functions. The worker `alice` comes into being with the first call.")
    for item in bought:
        cart.by_hand("add-item", item["name"], item["quantity"])
        answer = cart.invoke("add-item", item["name"], item["quantity"])
        check(answer == {"ok": item["quantity"]}, f"add-item answered {answer}")
        good(f"{json.dumps(answer)}")

    title(4, "Check out. That takes about five seconds, in three steps; the Idempotency-Key names this one checkout.")
    key = f"checkout-{uuid.uuid4().hex[:8]}"
    cart.by_hand("checkout", key=key)
    call = Call(cart, "checkout", key)
    watch_checkout(cart, call)

    title(5, "In the middle of it: kill -9.")
    assert node.process is not None
    by_hand(f"kill -9 {node.process.pid}")
    node.kill()
    call.thread.join(timeout=10)
    check(call.broken is not None, f"the caller got an answer from a dead node: {call.answer}")
    good(f"the node is gone; its caller sees: {call.broken}")

    title(6, "Start it again, with the same directory.")
    by_hand(shlex.join(["golemp2p", *node.command[1:]]))
    good(f"ready after {node.start():.1f} s")
    watch_recovery(cart)

    title(7, "Ask for the checkout again, with the same key: it is not a second checkout.")
    cart.by_hand("checkout", key=key)
    began = time.monotonic()
    answer = cart.invoke("checkout", key=key)
    check(answer == receipt, f"checkout answered {answer} instead of {receipt}")
    good(f"after {time.monotonic() - began:.1f} s: {json.dumps(answer)}")
    again = cart.invoke("checkout", key=key)
    check(again == receipt, f"repeated, checkout answered {again}")
    good("and once more: the same receipt, at once")

    title(8, "Look at what is left: an empty cart, one receipt, and a log that tells the whole story.")
    cart.by_hand("last-receipt")
    check(cart.invoke("contents") == [], f"the cart still holds {cart.invoke('contents')}")
    last = cart.invoke("last-receipt")
    check(last == receipt["ok"], f"the last receipt is {last}")
    good(f"the cart is empty, the last receipt has number {last['number']}: one checkout took place")
    by_hand(f"curl '{url}{cart.path}/oplog?from=1&count=100'", "golemp2p worker oplog cart/alice")
    check_oplog(cart)

    title(9, "Stop the node politely.")
    by_hand(f"kill {node.process.pid if node.process else '?'}")
    status = node.stop()
    check(status == 0, f"the node ended with status {status}")
    good("it went in peace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description="Show a worker that outlives its node; exit 0 when all went as it should.")
    parser.add_argument("--language", choices=["python", "c", "zig", "javascript"], default="python", help="of the cart")
    parser.add_argument("--keep", action="store_true", help="keep the node's data directory and say where it is")
    options = parser.parse_args()
    needed = {BUILD / f"cart-{options.language}.wasm": f"python examples/build.py cart-{options.language}", GOLEMP2P: "make"}
    for path, remedy in needed.items():
        if not path.exists():
            print(f"{path} is missing: run `{remedy}` first", file=sys.stderr)
            return 2

    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="golemp2p-demo-"))
    node = Node(directory / "data", free_port())
    try:
        story(node, options.language)
    except (DemoFailed, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as failure:
        say(f"\nNOT AS IT SHOULD BE: {failure or type(failure).__name__}")
        if node.log.exists():
            say("The end of the node's log:\n" + "\n".join(node.log.read_text(errors="replace").splitlines()[-20:]))
        return 1
    finally:
        node.ensure_gone()
        if options.keep:
            say(f"\nThe node's data is in {node.data_dir}, its log in {node.log}")
        else:
            shutil.rmtree(directory)
    say(f"\nAll was as it should be, in {time.monotonic() - began:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
