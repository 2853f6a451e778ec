"""Names and numbers of the mesh. All are frozen; each prints with a prefix that tells what it is."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import NewType

from golemp2p.errors import InvalidName

OplogIndex = NewType("OplogIndex", int)
"""Position in an oplog: the first entry has index 1; 0 means "before everything"."""

ComponentVersion = NewType("ComponentVersion", int)
"""Versions of a component count from 0."""

IdempotencyKey = NewType("IdempotencyKey", str)

KEY_BYTES = 20
WORKER_NAME_BYTES_MAX = 512
COMPONENT_NAME_BYTES_MAX = 256
IDEMPOTENCY_KEY_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """160-bit address of a log: BLAKE2b-160 over kind and identity (ARCHITECTURE 3)."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != KEY_BYTES:
            raise InvalidName(f"a key has {KEY_BYTES} bytes, got {len(self.digest)}")

    @classmethod
    def of(cls, kind: str, identity: str) -> Key:
        """Kinds in use: ``worker`` (identity ``component-id/worker-name``), ``component`` (identity: the component's id as text)."""
        hasher = hashlib.blake2b(digest_size=KEY_BYTES)
        hasher.update(len(kind).to_bytes(1, "big") + kind.encode() + identity.encode())
        return cls(hasher.digest())

    def shard(self, shards_count: int) -> int:
        """The shard that holds this log: the leading bits of the key. ``shards_count`` is a power of two."""
        return int.from_bytes(self.digest[:4], "big") >> (32 - (shards_count.bit_length() - 1))

    def __str__(self) -> str:
        return f"key:{self.digest.hex()}"


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """Address of a node: BLAKE2b-160 of its Ed25519 public key."""

    digest: bytes

    @classmethod
    def of(cls, public_key: bytes) -> NodeId:
        return cls(hashlib.blake2b(public_key, digest_size=KEY_BYTES).digest())

    def __str__(self) -> str:
        return f"node:{self.digest.hex()}"


@dataclass(frozen=True, slots=True, order=True)
class ComponentId:
    """A component's UUID. Computed from mesh and name, so that a name has one id on every node."""

    uuid: uuid.UUID

    @classmethod
    def of(cls, mesh: bytes, name: str) -> ComponentId:
        """``mesh`` is the 32-byte mesh key."""
        return cls(uuid.uuid5(uuid.UUID(bytes=hashlib.blake2b(mesh, digest_size=16).digest()), name))

    @classmethod
    def parse(cls, text: str) -> ComponentId:
        try:
            return cls(uuid.UUID(text))
        except ValueError as error:
            raise InvalidName(f"{text!r} is not a component id (a UUID)") from error

    def __str__(self) -> str:
        return str(self.uuid)


def check_component_name(name: str) -> None:
    """Raises ``InvalidName``."""
    encoded = name.encode("utf-8", "surrogatepass")
    if not 1 <= len(encoded) <= COMPONENT_NAME_BYTES_MAX:
        raise InvalidName(f"a component name has 1 to {COMPONENT_NAME_BYTES_MAX} bytes, got {len(encoded)}")
    if name.startswith("-") or "/" in name or " " in name or not name.isprintable():  # no other whitespace is printable
        raise InvalidName(f"component name {name!r}: no whitespace, no control characters, no '/', no leading '-'")


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """A worker: a named instance of a component."""

    component: ComponentId
    name: str

    def __post_init__(self) -> None:
        name = self.name
        encoded = name.encode("utf-8", "surrogatepass")
        if not 1 <= len(encoded) <= WORKER_NAME_BYTES_MAX:
            raise InvalidName(f"a worker name has 1 to {WORKER_NAME_BYTES_MAX} bytes, got {len(encoded)}")
        if name.startswith("-") or "/" in name or " " in name or not name.isprintable():  # no other whitespace is printable
            raise InvalidName(f"worker name {name!r}: no whitespace, no control characters, no '/', no leading '-'")

    @property
    def key(self) -> Key:
        return Key.of("worker", f"{self.component}/{self.name}")

    def __str__(self) -> str:
        return f"{self.component}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class PromiseId:
    worker: WorkerId
    oplog_index: int
