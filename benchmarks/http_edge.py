"""What the HTTP edge costs: stock Hypercorn under trio (the control) against our server, and our invoke route.

    stock-hello    bare ASGI "hello" on hypercorn.trio.serve
    edge-hello     the same app on our server
    edge-invoke    POST .../workers/{client}/invoke-and-await over a client that only adds two numbers
    edge-version   GET /version: the way through Quart

Every server runs in a process of its own, the load in another; rounds are interleaved, so that ratios hold on a busy machine.

    python benchmarks/http_edge.py [--seconds 1] [--rounds 2] [--clients 1 8 32 64]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as stock_serve

from golemp2p.testing.client import FakeClient
from golemp2p_gateway import GatewaySettings, serve, serve_app

HERE = Path(__file__).parent

VARIANTS = ("stock-hello", "edge-hello", "edge-invoke", "edge-version")


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":  # Hypercorn insists
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello", "more_body": False})


async def serve_variant(variant: str) -> None:
    """Prints ``{"port", "path"}`` once listening; runs until killed."""

    async def tell(start: Any, path: str) -> None:
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(start)
            print(json.dumps({"port": int(addresses[0].rpartition(":")[2]), "path": path}), flush=True)

    if variant == "stock-hello":
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        config.keep_alive_max_requests = sys.maxsize
        await tell(lambda task_status: stock_serve(hello, config, mode="asgi", task_status=task_status), "/")
        return

    settings = GatewaySettings(binds=("127.0.0.1:0",))
    if variant == "edge-hello":
        await tell(lambda task_status: serve_app(hello, settings, task_status=task_status), "/")
        return
    fake = FakeClient()
    fake.calls = Forgetful()
    info = await fake.add_component("adder", b"\0asm")
    invoke = f"/v1/components/{info.component}/workers/w{{client}}/invoke-and-await?function=demo:adder/api@1.0.0.%7Badd%7D"
    path = "/version" if variant == "edge-version" else invoke
    await tell(lambda task_status: serve(fake, settings, task_status=task_status), path)


class Forgetful(list[Any]):
    """The fake's list of calls, kept empty: a benchmark makes millions."""

    def append(self, item: Any) -> None:
        pass


def measure(variant: str, server: subprocess.Popen[str], where: dict[str, Any], clients: int, seconds: float) -> dict[str, Any]:
    command = [
        sys.executable, str(HERE / "loadgen.py"), "--port", str(where["port"]), "--path", where["path"],
        "--clients", str(clients), "--seconds", str(seconds), "--pid", str(server.pid),
    ]  # fmt: skip
    if variant == "edge-invoke":
        command += ["--method", "POST", "--header", "Content-Type: application/json", "--body", '{"params":[40,2]}']
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert result["errors"] == 0, (variant, result)
    assert result["connections_lost"] == 0, (variant, result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32, 64])
    parser.add_argument("--only", choices=VARIANTS, nargs="*", default=list(VARIANTS))
    args = parser.parse_args()
    if args.serve:
        trio.run(serve_variant, args.serve)
        return
    servers: dict[str, tuple[subprocess.Popen[str], dict[str, Any]]] = {}
    try:
        for variant in args.only:
            server = subprocess.Popen([sys.executable, __file__, "--serve", variant], stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            servers[variant] = server, json.loads(server.stdout.readline())
        print(f"{'variant':14}{'clients':>8}{'requests/s':>12}{'of stock':>10}{'cpu us/req':>12}{'p50 ms':>8}{'p99 ms':>8}")
        for clients in args.clients:
            best: dict[str, dict[str, Any]] = {}
            for _ in range(args.rounds):
                for variant, (server, where) in servers.items():
                    result = measure(variant, server, where, clients, args.seconds)
                    if variant not in best or result["requests_per_s"] > best[variant]["requests_per_s"]:
                        best[variant] = result
            control = best.get("stock-hello", {}).get("requests_per_s")
            for variant, result in best.items():
                ratio = f"{result['requests_per_s'] / control:.2f}" if control else "-"
                print(
                    f"{variant:14}{clients:8}{result['requests_per_s']:12.0f}{ratio:>10}"
                    f"{result['cpu_us_per_request']:12.0f}{result['p50_ms']:8.2f}{result['p99_ms']:8.2f}"
                )
    finally:
        for server, _ in servers.values():
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
