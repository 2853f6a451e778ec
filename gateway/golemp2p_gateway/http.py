"""Requests and responses as handlers see them, whichever server layer carried them.

    hot path (bare ASGI) ─┐
                          ├─> Request ─> handler ─> Response
    Quart view ───────────┘

Names in the path arrive percent-decoded, each segment by itself, so ``%2F`` never splits a segment.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from golemp2p.errors import MalformedRequest, PayloadTooLarge
from golemp2p.model.ids import WorkerId

JSON_TYPE = (b"content-type", b"application/json; charset=utf-8")
QUERY_FIELDS_MAX = 256  # far more filters than anybody writes; keeps parsing linear

QUERY_KEPT_BYTES_MAX, QUERIES_KEPT_MAX = 512, 1024  # half a megabyte of queries whose parse is kept

Chunks = AsyncIterator[bytes]


class UnsupportedMediaType(MalformedRequest):
    code = "unsupported-media-type"


@dataclass(slots=True)
class Request:
    """One request. ``headers`` have lower-case names; ``chunks`` may be called once. ``client``: address of who sent it, ``None`` where
    it has none, as behind a socket file, and on the hot path, which does not look. ``worker``: whom it is about, set by its handler
    as soon as that is known."""

    method: str
    params: Mapping[str, str]
    query_string: bytes
    headers: Sequence[tuple[bytes, bytes]]
    chunks: Callable[[], Chunks]
    client: str | None = None
    worker: WorkerId | None = None
    _query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        for key, value in self.headers:
            if key == name:
                return decode_utf8(value, f"header {name.decode()}")
        return None

    @property
    def query(self) -> dict[str, list[str]]:
        if self._query is None:
            query = self.query_string
            self._query = (_parse_again if len(query) <= QUERY_KEPT_BYTES_MAX else parse_query)(query) if query else {}
        return self._query

    def one(self, name: str) -> str | None:
        """The query parameter ``name``; given twice it is refused rather than guessed at."""
        values = self.query.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise MalformedRequest(f"query parameter {name!r} is given {len(values)} times")
        return values[0]

    def required(self, name: str) -> str:
        value = self.one(name)
        if not value:
            raise MalformedRequest(f"query parameter {name!r} is required")
        return value

    def integer(self, name: str) -> int | None:
        """A decimal number from 0 up."""
        value = self.one(name)
        return None if value is None else natural(value, f"query parameter {name!r}")

    def flag(self, name: str) -> bool:
        value = self.one(name)
        if value not in {None, "true", "false"}:
            raise MalformedRequest(f"query parameter {name!r} must be true or false, got {value!r}")
        return value == "true"

    async def body(self, bytes_max: int) -> bytes:
        """The whole body. Raises ``PayloadTooLarge``: before reading when Content-Length says so, else once passed."""
        check_content_length(self.headers, bytes_max)
        pieces: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > bytes_max:
                raise PayloadTooLarge(f"the request body is larger than {bytes_max} bytes")
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def json(self, bytes_max: int, depth_max: int) -> Any:
        """The body as JSON: strict UTF-8, no NaN, no duplicate keys, at most ``depth_max`` deep."""
        content_type = self.header(b"content-type")
        if content_type is not None:
            media = content_type.partition(";")[0].strip().lower()
            if media != "application/json" and not media.endswith("+json"):
                raise UnsupportedMediaType(f"expected Content-Type application/json, got {content_type!r}")
        return parse_json(await self.body(bytes_max), depth_max)


@dataclass(slots=True)
class Response:
    """``stream`` replaces ``body`` when given; it is closed by whoever sends it. ``length`` is then its size if known."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: [JSON_TYPE])
    stream: Chunks | None = None
    length: int | None = None

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        size = len(self.body) if self.stream is None else self.length
        return self.headers if size is None else [*self.headers, (b"content-length", str(size).encode())]


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8. A lone surrogate (the environment of a damaged caller) is replaced, never a crash."""
    return _encode(value).encode("utf-8", "replace")


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, json_bytes(value))


def decode_utf8(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from error


def decode_segment(segment: str) -> str:
    """One percent-decoded path segment."""
    return segment if "%" not in segment else decode_utf8(unquote_to_bytes(segment), "the path")


def parse_query(query: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:  # UnicodeDecodeError is one
        raise MalformedRequest(f"the query string cannot be read: {error}") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


@lru_cache(QUERIES_KEPT_MAX)
def _parse_again(query: bytes) -> dict[str, list[str]]:
    """The same few queries, ``function=...``, come again and again. What this returns is shared: never change it."""
    return parse_query(query)


def natural(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise MalformedRequest(f"{what} must be a number from 0 up, got {text[:40]!r}")
    return int(text)


def check_content_length(headers: Sequence[tuple[bytes, bytes]], bytes_max: int) -> None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > bytes_max):
            raise PayloadTooLarge(f"the request body has {value.decode()[:24]} bytes, the limit is {bytes_max}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedRequest(f"malformed JSON: key {name[:80]!r} appears twice in one object")
            seen.add(name)
    return result


def _no_constants(text: str) -> Any:
    raise MalformedRequest(f"malformed JSON: {text} is not JSON")


_NOT_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[^"\[\]{}]+', re.DOTALL)
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
_decode = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constants)


def parse_json(data: bytes, depth_max: int) -> Any:
    """Strict JSON. Raises ``MalformedRequest`` with the place of the fault."""
    text = decode_utf8(data, "the request body")
    # only texts with enough brackets to be deep pay for measuring it
    if text.count("[") + text.count("{") > depth_max and is_deeper(text, depth_max):
        raise MalformedRequest(f"malformed JSON: nested deeper than {depth_max} levels")
    try:
        return _decode.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"malformed JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except ValueError as error:  # an integer with more digits than Python converts
        raise MalformedRequest(f"malformed JSON: {error}") from error


def is_deeper(text: str, depth_max: int) -> bool:
    """Whether brackets outside strings open deeper than ``depth_max``; the text need not be well formed."""
    return max(accumulate(map(_STEP.__getitem__, _NOT_BRACKETS.sub("", text))), default=0) > depth_max
