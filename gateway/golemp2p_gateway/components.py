"""Handlers of the component calls (GOLEM 1.2 ``component-service``)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import trio

from golemp2p.errors import DataDamaged, MalformedRequest, NotFound
from golemp2p.model.ids import ComponentId, check_component_name
from golemp2p.values.wit_text import wit_text
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.errors_table import NotSupported
from golemp2p_gateway.http import Request, Response, json_response, natural, parse_json
from golemp2p_gateway.multipart import read_parts
from golemp2p_gateway.shapes import component_json

OCTETS = (b"content-type", b"application/octet-stream")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
FILE_CHUNK_BYTES = 1 << 20
SEARCHES_MAX = 256  # names in one search
KNOWN_PARTS = frozenset({"name", "component", "componentType", "env", "files", "filesPermissions", "dynamicLinking"})


def component_id(request: Request) -> ComponentId:
    return ComponentId.parse(request.params["component_id"])


def version_number(text: str) -> int:
    return natural(text, "a component version")


def component_kind(text: str | None) -> bool | None:
    """Whether ephemeral; ``None`` when not told."""
    match text:
        case None | "":
            return None
        case "Durable" | '"Durable"':
            return False
        case "Ephemeral" | '"Ephemeral"':
            return True
        case _:
            raise MalformedRequest(f"componentType must be Durable or Ephemeral, got {text[:40]!r}")


async def list_components(edge: Edge, request: Request) -> Response:
    found = await edge.client.components(request.one("component-name"))
    return json_response([component_json(info) for info in found])


async def add_component(edge: Edge, request: Request) -> Response:
    parts = await read_parts(request, edge.settings.component_bytes_max)
    name = _text(parts, "name") or ""
    check_component_name(name)
    wasm, ephemeral, env = _upload(parts, edge.settings.json_depth_max)
    info = await edge.client.add_component(name, wasm, ephemeral=bool(ephemeral), env=env or {})
    return json_response(component_json(info))


async def update_component(edge: Edge, request: Request) -> Response:
    component = component_id(request)
    await edge.client.component(component)  # an unknown one is refused before the bytes travel
    parts = await read_parts(request, edge.settings.component_bytes_max)
    wasm, ephemeral, env = _upload(parts, edge.settings.json_depth_max)
    info = await edge.client.update_component(component, wasm, ephemeral=ephemeral, env=env)
    return json_response(component_json(info))


async def upload_component(edge: Edge, request: Request) -> Response:
    component = component_id(request)
    ephemeral = component_kind(request.one("component_type"))
    await edge.client.component(component)
    wasm = await request.body(edge.settings.component_bytes_max)
    info = await edge.client.update_component(component, wasm, ephemeral=ephemeral)
    return json_response(component_json(info))


async def component_versions(edge: Edge, request: Request) -> Response:
    found = await edge.client.component_versions(component_id(request))
    return json_response([component_json(info) for info in found])


async def component_version(edge: Edge, request: Request) -> Response:
    version = version_number(request.params["version"])
    return json_response(component_json(await edge.client.component(component_id(request), version)))


async def component_latest(edge: Edge, request: Request) -> Response:
    return json_response(component_json(await edge.client.component(component_id(request))))


async def download_component(edge: Edge, request: Request) -> Response:
    component, version = component_id(request), request.integer("version")
    info = await edge.client.component(component, version)
    path = await edge.client.component_file(component, info.version)
    return Response(headers=[OCTETS], stream=FileChunks(path, info.size_bytes), length=info.size_bytes)


async def component_wit(edge: Edge, request: Request) -> Response:
    """The exports as WIT text; ``imports=true`` adds what the component asks of its host."""
    info = await edge.client.component(component_id(request), version_number(request.params["version"]))
    return Response(200, wit_text(info.type, imports=request.flag("imports")).encode(), [TEXT])


async def component_file_contents(edge: Edge, request: Request) -> Response:
    version = version_number(request.params["version"])
    await edge.client.component(component_id(request), version)
    raise NotFound(f"this component version has no initial file {request.params['key']!r}")


async def search_components(edge: Edge, request: Request) -> Response:
    body = await request.json(edge.settings.body_bytes_max, edge.settings.json_depth_max)
    wanted = body.get("components") if isinstance(body, dict) else None
    if not isinstance(wanted, list) or len(wanted) > SEARCHES_MAX:
        raise MalformedRequest(f"components: expected a list of at most {SEARCHES_MAX}")
    found: list[Any] = []
    for index, item in enumerate(wanted):
        name, version = (item.get("name"), item.get("version")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or type(version) not in {int, type(None)}:
            raise MalformedRequest(f"components[{index}]: expected {{name, version?}}")
        versions = await edge.client.components(name)
        if version is None:
            versions = versions[-1:]
        found += [component_json(info) for info in versions if version in {None, info.version}]
    return json_response(found)


def _text(parts: Mapping[str, bytes], name: str) -> str | None:
    data = parts.get(name)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"part {name!r} is not UTF-8") from error


def _upload(parts: Mapping[str, bytes], depth_max: int) -> tuple[bytes, bool | None, dict[str, str] | None]:
    """(wasm, ephemeral or not told, environment or not told) of an upload."""
    if unknown := parts.keys() - KNOWN_PARTS:
        raise MalformedRequest(f"unknown part {min(unknown)[:80]!r}; known are {', '.join(sorted(KNOWN_PARTS))}")
    for name in ("files", "filesPermissions", "dynamicLinking"):
        if not re.fullmatch(rb'\s*|\s*\{\s*("\w+"\s*:\s*(\{\s*\}|\[\s*\]|null)\s*)?\}\s*', parts.get(name, b"")):
            raise NotSupported(f"part {name!r} is not supported yet")
    if "component" not in parts:
        raise MalformedRequest("part 'component' with the WebAssembly bytes is required")
    env: dict[str, str] | None = None
    if "env" in parts:
        body = parse_json(parts["env"], depth_max)
        env = environment(body.get("keyValues") if isinstance(body, dict) else None, "env.keyValues")
    return parts["component"], component_kind(_text(parts, "componentType")), env


def environment(value: Any, path: str) -> dict[str, str]:
    """An environment as JSON, checked: no empty names, no ``=`` in names, no NUL anywhere."""
    if not isinstance(value, dict):
        raise MalformedRequest(f"{path}: expected an object of texts")
    for name, text in value.items():
        if not isinstance(text, str):
            raise MalformedRequest(f"{path}.{name[:80]}: expected a text")
        if not name or "=" in name or "\0" in name + text:
            raise MalformedRequest(f"{path}: {name[:80]!r} cannot be an environment variable")
        if any("\ud800" <= character <= "\udfff" for character in name + text):
            raise MalformedRequest(f"{path}.{name[:80]!r}: a lone surrogate is not text")
    return value


class FileChunks:
    """A file's bytes, read off the event loop. The file is content-addressed and never changes, so one that is shorter than
    it should be is damaged. Opened anew for each chunk: a download that is abandoned leaves nothing to close."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size, self._position = path, size, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._position >= self._size:
            raise StopAsyncIteration
        chunk = await trio.to_thread.run_sync(self._read)
        if not chunk:
            raise DataDamaged(self._path.name, f"the file ends after {self._position} of {self._size} bytes")
        self._position += len(chunk)
        return chunk

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._position)
            return file.read(min(FILE_CHUNK_BYTES, self._size - self._position))
