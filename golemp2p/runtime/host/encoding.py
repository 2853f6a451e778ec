"""How host calls stand in the journal: requests as hashes, responses as CBOR.

    function       interface without version, ``::``, component-model name     ``wasi:clocks/wall-clock::now``
    request hash   BLAKE2b, 16 bytes, over the CBOR array of the arguments     resource handles are their numbers
    response       CBOR of the result (values of ``golemp2p.model.wit``)       tuples come back as lists

The version is left out on purpose: a component rebuilt against another 0.2.x replays the journal of its predecessor.
Replay depends on this encoding: changing it is a change of the journal's format.
"""

from __future__ import annotations

import hashlib
from typing import Any

import cbor2

from golemp2p.errors import DataDamaged

HASH_BYTES = 16

_blake2b = hashlib.blake2b
_encode = cbor2.dumps
_decode = cbor2.loads

EMPTY_REQUEST = _blake2b(_encode(()), digest_size=HASH_BYTES).digest()


def journal_name(interface: str, function: str) -> str:
    """``interface`` with or without version."""
    return f"{interface.partition('@')[0]}::{function}"


def request_hash(arguments: tuple[Any, ...]) -> bytes:
    if not arguments:
        return EMPTY_REQUEST
    return _blake2b(_encode(arguments), digest_size=HASH_BYTES).digest()


def encode_response(value: Any) -> bytes:
    data: bytes = _encode(value)
    return data


def decode_response(function: str, data: bytes) -> Any:
    """Raises ``DataDamaged`` when the journal holds something that is no CBOR."""
    try:
        return _decode(data)
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise DataDamaged("journal", f"the recorded response of {function} cannot be read") from error
