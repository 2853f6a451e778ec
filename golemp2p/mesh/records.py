"""Sealed records: what one side flushed, in order, or an error.

    record   length (2 bytes, masked) | box of: kind (1 byte), payload (up to 65,517 bytes)         at most 64 KiB in all
    box      XSalsa20-Poly1305 under the direction's key; nonce: the record's number, from 0
    mask     BLAKE2b of the number under a key derived from the direction's
    kinds    0 data     1 the end: no payload, nothing follows

As the box stream of the Scuttlebutt Protocol Guide ("Box stream"), with these differences: the length is masked rather than boxed, as
chacha20-poly1305@openssh.com does it, which saves a box per record (whoever changes a length only makes the box fail); nonces count
records from 0, since no key is ever used twice; the end is a kind of record.

A record that was changed, repeated, left out or made by somebody else fails, and everything after it. A stream that ends without
the end was cut. Nothing is allocated for a length before it is checked; at most one record is held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from nacl import bindings
from nacl.exceptions import CryptoError

from golemp2p.errors import ConnectionLost, RecordForged

RECORD_BYTES_MAX = 64 << 10
_HEADER_BYTES = 2
_BOX_EXTRA_BYTES = 16 + 1  # authenticator, kind
OVERHEAD_BYTES = _HEADER_BYTES + _BOX_EXTRA_BYTES
PAYLOAD_BYTES_MAX = RECORD_BYTES_MAX - OVERHEAD_BYTES

_DATA, _END = b"\0", b"\1"


class _Direction:
    """Keys and number of the next record. A number is never used twice."""

    __slots__ = ("_body_key", "_header_key", "number")

    def __init__(self, key: bytes) -> None:
        self._body_key = blake2b(key=key, person=b"golemp2p/body/1", digest_size=32).digest()
        self._header_key = blake2b(key=key, person=b"golemp2p/head/1", digest_size=32).digest()
        self.number = 0

    def mask(self) -> int:
        number = self.number.to_bytes(8, "little")
        return int.from_bytes(blake2b(number, key=self._header_key, digest_size=_HEADER_BYTES).digest(), "big")

    def seal(self, content: bytes) -> bytes:
        return bindings.crypto_secretbox(content, self.number.to_bytes(24, "little"), self._body_key)

    def open(self, box: bytes) -> bytes:
        return bindings.crypto_secretbox_open(box, self.number.to_bytes(24, "little"), self._body_key)


class Sealer:
    """The sending half. ``key``: 32 bytes, used for nothing else."""

    def __init__(self, key: bytes) -> None:
        self._direction = _Direction(key)
        self._ended = False
        self.records_count = 0

    def seal(self, parts: Sequence[bytes]) -> bytes:
        """Records that carry ``parts`` joined: one, unless they are longer than ``PAYLOAD_BYTES_MAX``; none for nothing."""
        payload = b"".join((_DATA, *parts))
        if len(payload) <= PAYLOAD_BYTES_MAX + 1:
            return self._record(payload) if len(payload) > 1 else b""
        starts = range(1, len(payload), PAYLOAD_BYTES_MAX)
        return b"".join([self._record(_DATA + payload[start : start + PAYLOAD_BYTES_MAX]) for start in starts])

    def end(self) -> bytes:
        """The record after which nothing follows."""
        record = self._record(_END)
        self._ended = True
        return record

    def _record(self, content: bytes) -> bytes:
        assert not self._ended, "nothing follows the end"
        box = self._direction.seal(content)
        header = (len(box) ^ self._direction.mask()).to_bytes(_HEADER_BYTES, "big")
        self._direction.number += 1
        self.records_count += 1
        return header + box


class Opener:
    """The receiving half. After an error it has no more to say. ``ended``: the peer's end has come."""

    def __init__(self, key: bytes) -> None:
        self._direction = _Direction(key)
        self._buffer = bytearray()
        self._box_bytes = 0  # of the record that is being waited for; 0: its header is not there yet
        self._error: RecordForged | None = None
        self.ended = False
        self.records_count = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Bytes as they come; the payloads of all records that are whole now. Raises ``RecordForged``, from then on always."""
        if self._error is None:
            self._buffer += data
            try:
                return self._take()
            except RecordForged as error:
                self._error = error
                self._buffer.clear()
        raise self._error

    def end_of_stream(self) -> ConnectionLost | None:
        """What to raise when no more bytes come; ``None`` if the peer had said so."""
        if self.ended:
            return None
        where = "in the middle of a record" if self._buffer else "without saying that it is the end"
        return ConnectionLost(f"the connection was cut {where}")

    def _take(self) -> list[bytes]:
        buffer, payloads, at = self._buffer, [], 0
        while True:
            if self.ended and len(buffer) > at:
                raise RecordForged("bytes after the end")
            if self._box_bytes == 0:
                if len(buffer) - at < _HEADER_BYTES:
                    break
                self._box_bytes = self._length(buffer[at : at + _HEADER_BYTES])
                at += _HEADER_BYTES
            if len(buffer) - at < self._box_bytes:
                break
            content = self._open(bytes(memoryview(buffer)[at : at + self._box_bytes]))
            at += self._box_bytes
            self._box_bytes = 0
            if content[0] == _DATA[0]:
                payloads.append(content[1:])
            elif content == _END:
                self.ended = True
            else:
                raise RecordForged("a record of no known kind")
        del buffer[:at]
        return payloads

    def _length(self, header: bytearray) -> int:
        length = int.from_bytes(header, "big") ^ self._direction.mask()
        if not _BOX_EXTRA_BYTES <= length <= RECORD_BYTES_MAX - _HEADER_BYTES:
            raise RecordForged(f"record {self._direction.number} has a length that no record has")
        return length

    def _open(self, box: bytes) -> bytes:
        try:
            content = self._direction.open(box)
        except CryptoError:
            raise RecordForged(f"record {self._direction.number} is damaged, forged, or not the next one") from None
        self._direction.number += 1
        self.records_count += 1
        return content
