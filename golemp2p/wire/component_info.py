"""Versions of components between nodes, as CBOR arrays.

    info       [component id, name, version, sha256, size, ephemeral, [[name, value] ...] of the environment, created, type, memory]
    question   ["component-versions", component id, how many versions the asker knows]
    answer     [how many there are, [info of the next ones ...], null]  or  [0, [], [error code, text]]

An answer holds as many infos as ``ANSWER_BYTES_MAX`` allows, one at least where there is one more; the asker goes on from there.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.model.ids import COMPONENT_NAME_BYTES_MAX, ComponentId
from golemp2p.model.worker import ComponentInfo
from golemp2p.values.cbor_types import dump_type, load_type
from golemp2p.wire import schema as s

ENVIRONMENT_BYTES_MAX = 128 << 10
"""Names and values together; as many may be one name or value."""

TYPE_BYTES_MAX = 256 << 10
"""Of one component, as ``values.cbor_types`` writes it; those with more are refused when they are added. All of WASI has some 20 KB."""

INFO_BYTES_MAX = TYPE_BYTES_MAX + 2 * ENVIRONMENT_BYTES_MAX + 1024
"""The frames of an environment of very short texts take as much as the texts."""

ANSWER_BYTES_MAX = INFO_BYTES_MAX + 1024

VERSIONS_MAX = 1 << 20
"""Of one component; some hundred infos are in an answer."""

CODE_BYTES_MAX, TEXT_BYTES_MAX = 64, 1024

_ENTRIES_MAX = ENVIRONMENT_BYTES_MAX // 2
_QUESTION = "component-versions"
_TEXT = s.short_text(ENVIRONMENT_BYTES_MAX)

_INFO = s.row(
    s.exact_bytes(16),
    s.short_text(COMPONENT_NAME_BYTES_MAX),
    s.natural(VERSIONS_MAX),
    s.exact_bytes(32),
    s.natural(),
    s.flag(),
    s.array(s.row(_TEXT, _TEXT), _ENTRIES_MAX),
    s.natural(),
    s.short_bytes(TYPE_BYTES_MAX),
    s.natural(),
)
_ASKED = s.row(s.short_text(len(_QUESTION)), s.exact_bytes(16), s.natural(VERSIONS_MAX))
_ANSWER = s.row(
    s.natural(VERSIONS_MAX),
    s.array(s.short_bytes(INFO_BYTES_MAX), VERSIONS_MAX),
    s.optional(s.row(s.short_text(CODE_BYTES_MAX), s.short_text(TEXT_BYTES_MAX))),
)


class VersionsQuestion(NamedTuple):
    """Which versions ``component`` has beside its first ``known``."""

    component: ComponentId
    known: int


class VersionsAnswer(NamedTuple):
    """``total``: how many versions there are, 0 for no such component. ``infos``: the next ones after those that the asker knows.
    ``failure``: code and text of the error that the primary met instead."""

    total: int
    infos: tuple[ComponentInfo, ...]
    failure: tuple[str, str] | None = None


def encode_component_info(info: ComponentInfo) -> bytes:
    """Raises ``PayloadTooLarge``."""
    row = (
        info.component.uuid.bytes, info.name, info.version, info.sha256, info.size_bytes, info.ephemeral, info.env, info.created_ns,
        dump_type(info.type), info.memory_initial,
    )  # fmt: skip
    return s.encode(_INFO, row, bytes_max=INFO_BYTES_MAX)


def decode_component_info(data: bytes) -> ComponentInfo:
    """Raises ``DataDamaged``. That name and id belong together is for who knows the mesh key to check."""
    row = s.decode(_INFO, data, what="component", bytes_max=INFO_BYTES_MAX)
    identity, name, version, sha256, size, ephemeral, env, created_ns, type_, memory = row
    if sum(len(text.encode()) for pair in env for text in pair) > ENVIRONMENT_BYTES_MAX:
        raise DataDamaged("component", f"its environment takes more than {ENVIRONMENT_BYTES_MAX} bytes")
    component = ComponentId(uuid.UUID(bytes=identity))
    return ComponentInfo(component, name, version, sha256, size, ephemeral, env, created_ns, load_type(type_), memory)


def encode_question(question: VersionsQuestion) -> bytes:
    return s.encode(_ASKED, (_QUESTION, question.component.uuid.bytes, question.known), bytes_max=TEXT_BYTES_MAX)


def is_question(payload: bytes) -> bool:
    """Whether a request to a shard's primary is one about versions, and not one of another kind."""
    return payload.startswith(_QUESTION_BEGIN)


def decode_question(payload: bytes) -> VersionsQuestion:
    """Raises ``MalformedRequest``."""
    try:
        kind, identity, known = s.decode(_ASKED, payload, what="question for versions", bytes_max=TEXT_BYTES_MAX)
    except DataDamaged as error:
        raise MalformedRequest(str(error)) from error
    if kind != _QUESTION:
        raise MalformedRequest("not a question for versions")
    return VersionsQuestion(ComponentId(uuid.UUID(bytes=identity)), known)


def encode_answer(total: int, infos: Sequence[ComponentInfo]) -> bytes:
    """As many of ``infos``, the first ones, as one answer takes. Raises ``PayloadTooLarge`` when the first does not fit."""
    encoded: list[bytes] = []
    size = 0
    for info in infos:
        data = encode_component_info(info)
        size += len(data) + 8
        if encoded and size > INFO_BYTES_MAX:
            break
        encoded.append(data)
    return s.encode(_ANSWER, (total, encoded, None), bytes_max=ANSWER_BYTES_MAX)


def encode_failure(code: str, text: str) -> bytes:
    return s.encode(_ANSWER, (0, (), (_cut(code, CODE_BYTES_MAX), _cut(text, TEXT_BYTES_MAX))), bytes_max=ANSWER_BYTES_MAX)


def decode_answer(data: bytes) -> VersionsAnswer:
    """Raises ``DataDamaged``."""
    total, encoded, failure = s.decode(_ANSWER, data, what="answer about versions", bytes_max=ANSWER_BYTES_MAX)
    return VersionsAnswer(total, tuple([decode_component_info(info) for info in encoded]), failure)


def _cut(text: str, bytes_max: int) -> str:
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


def _question_begin() -> bytes:
    """What every question begins with, and no other request: an array of three whose first item is that text."""
    encoded = encode_question(VersionsQuestion(ComponentId(uuid.UUID(int=0)), 0))
    return encoded[: encoded.index(_QUESTION.encode()) + len(_QUESTION)]


_QUESTION_BEGIN = _question_begin()
