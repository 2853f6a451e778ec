"""``golemp2p worker oplog``: read or search a worker's history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import Command
from golemp2p_node.cli.output import print_json, say
from golemp2p_node.cli.target import WORKER, Target

PAGE_COUNT = 200  # entries per request
DETAIL_LENGTH_MAX = 160  # characters of an entry on its line; --format json has all of it


@click.command(
    "oplog",
    cls=Command,
    examples="""
        $ golemp2p worker oplog counter/mine
        $ golemp2p worker oplog counter/mine --from 100 --count 20
        $ golemp2p worker oplog orders/42 --query 'log AND NOT "heart beat"'
        $ golemp2p --format json worker oplog counter/mine | jq '.[].entry.type'
    """,
)
@click.argument("target", metavar="COMPONENT/WORKER", type=WORKER, shell_complete=worker_names)
@click.option("--query", metavar="Q", help='Only entries that fit: words, "phrases", field:value, AND, OR, NOT, ( ).')
@click.option("--from", "first", type=click.IntRange(min=1), help="First oplog index. Default: 1.")
@click.option("--count", type=click.IntRange(min=1), help="At most this many entries. Default: all.")
def oplog(target: Target, query: str | None, first: int | None, count: int | None) -> None:
    """Print a worker's oplog: everything it was asked, and everything it learned from outside."""
    if query is not None and first is not None:
        raise click.UsageError("--query searches the whole oplog; leave out --from", ctx=click.get_current_context())
    from golemp2p_node.cli.api import Node
    from golemp2p_node.cli.framework import wants_json

    with Node() as node:
        entries = pages(node, f"{node.worker_path(target.pair)}/oplog", query, first, count)
        if wants_json():
            print_json(list(entries))
            return
        nothing = True
        for item in entries:
            nothing = False
            say(line(item["oplogIndex"], item["entry"]))
    if nothing:
        say("no entry fits" if query else "no entries there")


def pages(node: Any, path: str, query: str | None, first: int | None, count: int | None) -> Iterator[Any]:
    """Entries, as many requests as it takes."""
    ask: dict[str, str] = {"from": str(first or 1)} if query is None else {"query": query}
    left = count
    while left is None or left > 0:
        page = node.json("GET", path, params={**ask, "count": str(min(PAGE_COUNT, left or PAGE_COUNT))})
        yield from page["entries"] if left is None else page["entries"][:left]
        left = None if left is None else left - len(page["entries"])
        follow = page.get("next")
        if not follow:
            return
        if query is None:
            ask = {"from": str(follow["nextOplogIndex"])}
        else:
            ask = {"query": query, "cursor": f"{follow['nextOplogIndex']}-{follow['currentComponentVersion']}"}


def line(index: int, entry: Any) -> str:
    """``    17  2026-11-22 10:00:00.123  ImportedFunctionInvoked  wasi:clocks/wall-clock.now {...}``"""
    time = str(entry.get("timestamp", ""))[:23].replace("T", " ")
    detail = " ".join(details(entry).split())
    if len(detail) > DETAIL_LENGTH_MAX:
        detail = detail[: DETAIL_LENGTH_MAX - 1] + "…"
    return f"{index:>6}  {time:<23}  {entry['type']:<25}  {detail}".rstrip()


def details(entry: Any) -> str:
    """What tells this entry from others of its type."""
    match entry:
        case {"type": "Log", "level": level, "message": message}:
            return f"{level} {entry.get('context') or ''} {message}"
        case {"functionName": function}:
            request = entry.get("request")
            arguments = compact(value_of(request)) if isinstance(request, list) else ""  # of host calls only a hash is kept
            return f"{function} {arguments} {arrow(entry)}"
        case {"response": response}:
            return f"-> {compact(value_of(response))}"
        case {
            "type": "PendingWorkerInvocation",
            "invocation": {"fullFunctionName": function, "idempotencyKey": key} as invocation,
        }:
            return f"{function} {compact(value_of(invocation.get('functionInput') or []))} (key {key})"
        case {"type": "Create"}:
            told = {name: entry.get(name) for name in ("args", "env") if entry.get(name)}
            return f"version {entry.get('componentVersion')} {compact(told or None)}"
        case {"error": error}:
            return error if isinstance(error, str) else compact(error)
    rest = {name: value for name, value in entry.items() if name not in ("type", "timestamp")}
    return compact(rest) if rest else ""


def arrow(entry: Any) -> str:
    return f"-> {compact(value_of(entry['response']))}" if "response" in entry else ""


def value_of(typed: Any) -> Any:
    """The value of a ``{typ, value}`` pair, of each in a list."""
    if isinstance(typed, list):
        return [value_of(item) for item in typed]
    return typed["value"] if isinstance(typed, dict) and "value" in typed else typed


def compact(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
