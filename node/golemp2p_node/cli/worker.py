"""``golemp2p worker``: create, call, watch and mend workers."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import Group, env_option
from golemp2p_node.cli.invoke import invoke
from golemp2p_node.cli.oplog import oplog
from golemp2p_node.cli.output import facts, say, show, size_text, table
from golemp2p_node.cli.target import WORKER, Target
from golemp2p_node.cli.watch import connect

PAGE_COUNT = 200  # workers per request; a page of them is some 100 KiB of JSON

target_argument = click.argument("target", metavar="COMPONENT/WORKER", type=WORKER, shell_complete=worker_names)


@click.group("worker", cls=Group)
def group() -> None:
    """Create, call, watch and mend workers.

    A worker is a named instance of a component, with its own memory and files. It is made by its first invocation, or by
    `new` when it should have arguments or an environment. In a mesh any node may be asked; which one runs the worker follows
    from its name, and `get` tells. COMPONENT is a component's name or id.
    """


@group.command(
    "new",
    examples="""
        $ golemp2p worker new counter/mine
        $ golemp2p worker new report/nightly 2026 --env LEVEL=debug
    """,
)
@target_argument
@click.argument("args", nargs=-1)
@env_option("Environment variable of this worker; repeatable.")
def new(target: Target, args: tuple[str, ...], env: dict[str, str]) -> None:
    """Create a worker, with command-line ARGS and environment if it should have some."""
    from golemp2p_node.cli.api import Node

    with Node() as node:
        body = {"name": target.worker, "args": list(args), "env": env}
        answer = node.json("POST", node.workers_path(target.component), json=body)
    show(answer, lambda: say(f"created {target} (component version {answer['componentVersion']})"))


group.add_command(invoke)


@group.command("get", examples="$ golemp2p worker get counter/mine")
@target_argument
def get(target: Target) -> None:
    """Show what is known of a worker: status, version, queue, memory, last error, and at which node it runs."""
    from golemp2p_node.cli.api import PRIMARY, Node, decoded

    with Node() as node:
        response = node.send("GET", node.worker_path(target.pair))
    answer = decoded(response)

    def text() -> None:
        facts(
            {
                "worker": target,
                "status": answer["status"],
                "runs at": response.headers.get(PRIMARY),
                "last error": answer.get("lastError"),
                "component version": answer["componentVersion"],
                "created": answer["createdAt"],
                "pending": answer["pendingInvocationCount"],
                "retries": answer["retryCount"] or None,
                "memory": size_text(answer["totalLinearMemorySize"]),
                "arguments": " ".join(answer["args"]) or None,
                "environment": "\n".join(f"{key}={value}" for key, value in answer["env"].items()) or None,
                "resources": len(answer.get("ownedResources") or ()) or None,
            }
        )

    show(answer, text)


@group.command(
    "list",
    examples="""
        $ golemp2p worker list counter
        $ golemp2p worker list counter --filter "status = Failed"
        $ golemp2p worker list orders --filter "name like eu-" --filter "createdAt >= 2026-11-01T00:00:00Z"
    """,
)
@click.argument("component")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FILTER",
    help='"FIELD OPERATOR VALUE", all of which must hold; repeatable. Fields: name, version, status, createdAt, env.KEY.'
    " Operators: = != > >= < <= like notlike.",
)
@click.option("--count", type=click.IntRange(min=1), help="At most this many. Default: all.")
def list_workers(component: str, filters: tuple[str, ...], count: int | None) -> None:
    """List the workers of COMPONENT."""
    from golemp2p_node.cli.api import Node

    with Node() as node:
        found = all_workers(node, component, filters, count)
    columns = ("NAME", "STATUS", "VERSION", "PENDING", "MEMORY", "CREATED")
    rows = (
        (
            worker["workerId"]["workerName"],
            worker["status"],
            worker["componentVersion"],
            worker["pendingInvocationCount"],
            size_text(worker["totalLinearMemorySize"]),
            worker["createdAt"][:19].replace("T", " "),
        )
        for worker in found
    )
    none = "no worker fits" if filters else f"no workers yet; invoke one: golemp2p worker invoke {component}/NAME FUNCTION"
    show({"workers": found}, lambda: table(columns, rows, empty=none))


def all_workers(node: Any, component: str, filters: tuple[str, ...], count: int | None) -> list[Any]:
    """Page after page, until there are no more or ``count`` are found."""
    found: list[Any] = []
    cursor: dict[str, Any] | None = None
    path = node.workers_path(component)
    while count is None or len(found) < count:
        query: list[tuple[str, str]] = [("filter", text) for text in filters]
        query.append(("count", str(PAGE_COUNT if count is None else min(PAGE_COUNT, count - len(found)))))
        if cursor is not None:
            query.append(("cursor", f"{cursor['layer']}/{cursor['cursor']}"))
        page = node.json("GET", path, params=query)
        found += page["workers"]
        cursor = page.get("cursor")
        if cursor is None:
            break
    return found[:count]


group.add_command(connect)
group.add_command(oplog)


@group.command("delete", examples="$ golemp2p worker delete counter/mine")
@target_argument
def delete(target: Target) -> None:
    """Delete a worker with all it holds. Its name can be used again, from nothing."""
    command(target, "DELETE", "", {}, f"deleted {target}")


@group.command("interrupt", examples="$ golemp2p worker interrupt counter/mine")
@target_argument
def interrupt(target: Target) -> None:
    """Stop a worker where it is. `resume`, or any new invocation, lets it go on."""
    command(target, "POST", "/interrupt", {}, f"interrupted {target}")


@group.command("resume", examples="$ golemp2p worker resume counter/mine")
@target_argument
def resume(target: Target) -> None:
    """Let an interrupted or suspended worker go on."""
    command(target, "POST", "/resume", {}, f"resumed {target}")


@group.command("simulate-crash", examples="$ golemp2p worker simulate-crash counter/mine")
@target_argument
def simulate_crash(target: Target) -> None:
    """Drop a worker's memory and let it recover from its journal. Callers that wait notice nothing but the delay."""
    command(target, "POST", "/interrupt", {"recovery-immediately": "true"}, f"crashed {target}; it recovers by itself")


def command(target: Target, method: str, suffix: str, query: dict[str, str], done: str) -> None:
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json(method, node.worker_path(target.pair) + suffix, params=query)
    show(answer, lambda: say(done))


@group.command("cancel", examples="$ golemp2p worker cancel counter/mine 8a0c…")
@target_argument
@click.argument("idempotency_key", metavar="KEY")
def cancel(target: Target, idempotency_key: str) -> None:
    """Cancel a pending invocation by its idempotency key. One that has begun is not stopped."""
    from urllib.parse import quote

    from golemp2p_node.cli.api import Node

    with Node() as node:
        path = f"{node.worker_path(target.pair)}/invocations/{quote(idempotency_key, safe='')}"
        answer = node.json("DELETE", path)
    show(answer, lambda: say("canceled" if answer["canceled"] else "not canceled: it has begun or is done"))


@group.command(
    "complete-promise",
    examples="""
        $ golemp2p worker complete-promise orders/42 17 approved
        $ golemp2p worker complete-promise orders/42 17 AAEC --base64
    """,
)
@target_argument
@click.argument("index", type=click.IntRange(min=0))
@click.argument("data")
@click.option("--base64", "is_base64", is_flag=True, help="DATA is base64 instead of text.")
def complete_promise(target: Target, index: int, data: str, is_base64: bool) -> None:
    """Complete the promise that the worker created at oplog INDEX, with DATA (text, sent as UTF-8)."""
    from golemp2p_node.cli.api import Node

    try:
        payload = base64.b64decode(data, validate=True) if is_base64 else data.encode()
    except (binascii.Error, ValueError) as error:
        raise click.BadParameter(f"not base64: {error}", param_hint="DATA") from error
    with Node() as node:
        body = {"oplogIdx": index, "data": list(payload)}
        answer = node.json("POST", f"{node.worker_path(target.pair)}/complete", json=body)
    show(answer, lambda: say("completed" if answer else "not completed: it was completed before"))
