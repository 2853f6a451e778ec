"""Reading ``multipart/form-data`` (RFC 7578) piece by piece, with limits. The parser is werkzeug's sans-IO one."""

from __future__ import annotations

from email.message import Message

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from golemp2p.errors import MalformedRequest, PayloadTooLarge
from golemp2p_gateway.http import Request, UnsupportedMediaType, check_content_length

PARTS_MAX = 32  # the API knows seven
OVERHEAD_BYTES_MAX = 1 << 20  # boundaries, part headers and small fields beside the one large part
BOUNDARY_BYTES_MAX = 70  # RFC 2046 5.1.1


def boundary_of(content_type: str | None) -> bytes:
    """Raises ``UnsupportedMediaType`` unless this is multipart/form-data with a boundary."""
    message = Message()
    message["content-type"] = content_type or ""
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise UnsupportedMediaType(f"expected Content-Type multipart/form-data with a boundary, got {content_type!r}")
    if len(boundary) > BOUNDARY_BYTES_MAX or not boundary.isascii():
        raise MalformedRequest(f"a multipart boundary has at most {BOUNDARY_BYTES_MAX} ASCII characters")
    return boundary.encode("ascii")


async def read_parts(request: Request, bytes_max: int) -> dict[str, bytes]:
    """All parts by name. ``bytes_max`` bounds their sum. Raises ``MalformedRequest``, ``PayloadTooLarge``."""
    limit = bytes_max + OVERHEAD_BYTES_MAX
    check_content_length(request.headers, limit)
    decoder = MultipartDecoder(boundary_of(request.header(b"content-type")), max_parts=PARTS_MAX)
    parts: dict[str, bytearray] = {}
    current = bytearray()
    size = 0
    async for chunk in request.chunks():
        size += len(chunk)
        if size > limit:
            raise PayloadTooLarge(f"the request body is larger than {limit} bytes")
        try:
            decoder.receive_data(chunk)
            while not isinstance(event := decoder.next_event(), NeedData):
                if isinstance(event, Field | File):
                    if not event.name:
                        raise MalformedRequest("a part of the multipart body has no name")
                    if event.name in parts:
                        raise MalformedRequest(f"part {event.name!r} is given twice")
                    current = parts[event.name] = bytearray()
                elif isinstance(event, Data):
                    current += event.data
        except RequestEntityTooLarge as error:
            raise MalformedRequest(f"a multipart body has at most {PARTS_MAX} parts, with short headers") from error
        except (ValueError, KeyError) as error:
            raise MalformedRequest(f"malformed multipart body: {error}") from error
    if not _finished(decoder):
        raise MalformedRequest("the multipart body ends before its closing boundary")
    return {name: bytes(data) for name, data in parts.items()}


def _finished(decoder: MultipartDecoder) -> bool:
    """The epilogue is only known to be over when told that nothing more comes."""
    decoder.receive_data(None)
    try:
        return isinstance(decoder.next_event(), Epilogue)
    except ValueError:
        return False
