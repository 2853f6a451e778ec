"""``golemp2p component``: give a node components, and look at what it has."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from golemp2p_node.cli.complete import component_names
from golemp2p_node.cli.framework import Group, env_option, fail
from golemp2p_node.cli.output import facts, say, show, size_text, table

WASM = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.group("component", cls=Group)
def group() -> None:
    """Add components, and look at what there is.

    A component is a compiled WebAssembly component. Its name has versions, counted from 0; workers keep the version they
    were created with. What is added at one node of a mesh runs on all. COMPONENT is a name or an id.
    """


@group.command(
    "add",
    examples="""
        $ golemp2p component add counter counter.wasm
        $ golemp2p component add resize resize.wasm --ephemeral --env QUALITY=80
    """,
)
@click.argument("name")
@click.argument("file", type=WASM)
@click.option("--ephemeral", is_flag=True, help="A fresh instance for every invocation; nothing is kept between them.")
@env_option("Environment variable of all its workers; repeatable.")
def add(name: str, file: Path, ephemeral: bool, env: dict[str, str]) -> None:
    """Upload FILE.wasm as a new component called NAME.

    Returns when it is durable and a node has compiled it; large components (interpreted languages) take some seconds. Other
    nodes compile it when they run their first worker of it.
    """
    from golemp2p_node.cli.api import Node
    from golemp2p_node.cli.progress import upload_component

    fields = {"name": name, "componentType": "Ephemeral" if ephemeral else "Durable"}
    if env:
        fields["env"] = json.dumps({"keyValues": env})
    with Node() as node:
        answer, elapsed_s = upload_component(node, "/v1/components", file, fields)
    show(answer, lambda: added(answer, elapsed_s))


@group.command(
    "update",
    examples="""
        $ golemp2p component update counter counter-v2.wasm
        $ golemp2p component update counter counter.wasm --env LEVEL=debug
    """,
)
@click.argument("component", shell_complete=component_names)
@click.argument("file", type=WASM)
@click.option("--ephemeral/--durable", default=None, help="Change the kind of its workers. Default: as before.")
@env_option("Environment of its workers from this version on, replacing the former; repeatable. Default: as before.")
def update(component: str, file: Path, ephemeral: bool | None, env: dict[str, str]) -> None:
    """Upload FILE.wasm as the next version of COMPONENT.

    New workers get the new version; those that exist keep theirs.
    """
    from golemp2p_node.cli.api import Node
    from golemp2p_node.cli.progress import upload_component

    fields: dict[str, str] = {}
    if ephemeral is not None:
        fields["componentType"] = "Ephemeral" if ephemeral else "Durable"
    if env:
        fields["env"] = json.dumps({"keyValues": env})
    with Node() as node:
        path = f"/v1/components/{node.component_id(component)}/updates"
        answer, elapsed_s = upload_component(node, path, file, fields)
    show(answer, lambda: added(answer, elapsed_s))


@group.command(
    "list",
    examples="""
        $ golemp2p component list
        $ golemp2p component list counter          all versions of one
    """,
)
@click.argument("name", required=False, shell_complete=component_names)
def list_components(name: str | None) -> None:
    """List all components, or all versions of the one called NAME."""
    from golemp2p_node.cli.api import Node

    with Node() as node:
        components = node.json("GET", "/v1/components", params={"component-name": name} if name else {})
    chosen = components if name else latest(components)
    empty = f"no component is called {name!r}" if name else "no components yet; add one: golemp2p component add NAME FILE.wasm"
    columns = ("NAME", "VERSION", "KIND", "SIZE", "CREATED", "ID")
    show(components, lambda: table(columns, map(row, chosen), empty=empty))


@group.command(
    "get",
    examples="""
        $ golemp2p component get counter
        $ golemp2p component get counter --wit      the functions it exports, as WIT text
        $ golemp2p component get counter --version 0
    """,
)
@click.argument("component", shell_complete=component_names)
@click.option("--version", type=click.IntRange(min=0), help="Default: the latest.")
@click.option("--wit", is_flag=True, help="Print the WIT text of the exports.")
def get(component: str, version: int | None, wit: bool) -> None:
    """Show one version of COMPONENT: its facts and the functions it exports."""
    from golemp2p_node.cli.api import Node
    from golemp2p_node.cli.signatures import functions

    with Node() as node:
        identifier = node.component_id(component)
        which = "latest" if version is None else f"versions/{version}"
        answer = node.json("GET", f"/v1/components/{identifier}/{which}")
        if wit:
            number = answer["versionedComponentId"]["version"]
            text = node.send("GET", f"/v1/mesh/components/{identifier}/versions/{number}/wit").text
            show({"wit": text}, lambda: say(text.rstrip("\n")))
            return

    def text_form() -> None:
        name, number, kind, size, created, _ = row(answer)
        facts({"name": name, "version": number, "kind": kind, "size": size, "created": created, "id": identifier})
        env = answer.get("env") or {}
        facts({"environment": "\n".join(f"{key}={value}" for key, value in env.items()) or None})
        say("\nfunctions")
        for line in functions(answer["metadata"]["exports"]):
            say(f"  {line}")

    show(answer, text_form)


@group.command(
    "download",
    examples="""
        $ golemp2p component download counter -o counter.wasm
        $ golemp2p component download counter --version 0 -o - | wasm-tools print
    """,
)
@click.argument("component", shell_complete=component_names)
@click.option("--version", type=click.IntRange(min=0), help="Default: the latest.")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; - is standard output. Default: COMPONENT.wasm here.")
def download(component: str, version: int | None, output: str | None) -> None:
    """Download the bytes of COMPONENT, exactly as they were uploaded."""
    from golemp2p_node.cli.api import Node

    with Node() as node:
        path = f"/v1/components/{node.component_id(component)}/download"
        data = node.send("GET", path, params={} if version is None else {"version": str(version)}).content
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    target = Path(output or f"{component.replace('/', '_').replace(':', '_')}.wasm")
    write_whole(target, data)
    show({"file": str(target), "size": len(data)}, lambda: say(f"wrote {target} ({size_text(len(data))})"))


def write_whole(target: Path, data: bytes) -> None:
    """All of ``data`` or nothing, replacing what was there."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        fail(f"cannot write {target}: {error.strerror}", "choose another place with -o FILE", code="cannot-write")
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def added(answer: Any, elapsed_s: float) -> None:
    name, version, kind, size, _created, identifier = row(answer)
    say(f"{name} version {version} is ready ({kind}, {size}, {elapsed_s:.1f} s)")
    facts({"id": identifier, "next": f"golemp2p component get {name} --wit"})


def row(component: Any) -> tuple[str, int, str, str, str, str]:
    """Name, version, kind, size, created, id of a component as the node tells it."""
    identity = component["versionedComponentId"]
    return (
        str(component["componentName"]),
        int(identity["version"]),
        str(component["componentType"]).lower(),
        size_text(int(component["componentSize"])),
        str(component.get("createdAt") or "")[:19].replace("T", " "),
        str(identity["componentId"]),
    )


def latest(components: list[Any]) -> list[Any]:
    """The newest version of each, in order of name."""
    newest: dict[str, Any] = {}
    for component in sorted(components, key=lambda item: int(item["versionedComponentId"]["version"])):
        newest[component["componentName"]] = component
    return [newest[name] for name in sorted(newest)]
