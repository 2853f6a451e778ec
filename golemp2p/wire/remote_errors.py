"""Errors that travel: what a primary refuses is raised where it was asked for, as the same class with the same facts.

    [code, text, retry after ms or null, [fact, ...], recorded]     facts: texts and numbers that the class is made of

``code`` is the stable name of the class (``golemp2p.errors``). Who does not know it, as a neighbour one release behind, raises
``RequestFailed`` with it. ``recorded``: a failure read back from a log, which has the code of a class and not its facts. Causes and
tracebacks stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from golemp2p import errors
from golemp2p.errors import Golemp2pError
from golemp2p.wire import schema as s

TEXT_BYTES_MAX = 64 << 10
"""Of one text or fact: error texts in the log have 16 Ki characters; longer ones, as backtraces may be, are cut."""

ERROR_BYTES_MAX = 5 * TEXT_BYTES_MAX
CODE_BYTES_MAX = 64
FACTS_MAX = 4
RETRY_MS_MAX = 24 * 3600 * 1_000

Fact = str | int


class _Making(NamedTuple):
    """How a class is taken apart and made again. ``facts``: their kinds; the arguments of ``make`` after (text, retry after s)."""

    facts: tuple[type, ...]
    take: Callable[[Any], tuple[Fact, ...]]
    make: Callable[..., Golemp2pError]


_PLAIN: dict[type[Golemp2pError], _Making] = {
    Golemp2pError: _Making((), lambda error: (), lambda kind, text, after_s: kind(text)),
    errors.WorldError: _Making((), lambda error: (), lambda kind, text, after_s: kind(text, after_s)),
    errors.ValueMismatch: _Making(
        (str, str, str),
        lambda error: (error.path, error.expected, error.got),
        lambda kind, text, after_s, path, expected, got: kind(path, expected, got),
    ),
    errors.GuestTrapped: _Making(
        (str,), lambda error: (error.backtrace,), lambda kind, text, after_s, backtrace: kind(text, backtrace)
    ),
    errors.LimitExceeded: _Making((str,), lambda error: (error.limit,), lambda kind, text, after_s, limit: kind(limit, text)),
    errors.GuestExited: _Making((int,), lambda error: (error.status,), lambda kind, text, after_s, status: kind(status)),
    errors.Divergence: _Making(
        (int, str, str),
        lambda error: (error.index, error.expected, error.got),
        lambda kind, text, after_s, index, expected, got: kind(index, expected, got),
    ),
    errors.RequestFailed: _Making(
        (str, str),
        lambda error: (error.remote_code, str(error).removeprefix(f"{error.remote_code}: ")),
        lambda kind, text, after_s, code, told: kind(code, told, after_s),
    ),
    errors.DataDamaged: _Making(
        (str, str), lambda error: (error.log, error.reason), lambda kind, text, after_s, log, reason: kind(log, reason)
    ),
}
"""Class -> how; a class without a row is made as the nearest one above it."""

CLASSES: dict[str, type[Golemp2pError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Golemp2pError) and kind is not errors.RecordedFailure
}
"""Code -> class, of every error there is."""


def _making(kind: type[Golemp2pError]) -> _Making:
    return next(_PLAIN[base] for base in kind.__mro__ if base in _PLAIN)


def _write(error: Golemp2pError) -> list[Any]:
    kind = CLASSES.get(error.code)
    is_known = kind is not None and isinstance(error, kind)
    facts = [_short(fact) for fact in _making(kind).take(error)] if kind is not None and is_known else []
    after_s = error.retry_after_s if isinstance(error, errors.WorldError) else None
    after_ms = None if after_s is None else max(0, min(round(after_s * 1_000), RETRY_MS_MAX))
    return [s.short(error.code, CODE_BYTES_MAX), _short(str(error)), after_ms, facts, isinstance(error, errors.RecordedFailure)]


def _short(fact: Fact) -> Fact:
    return s.short(fact, TEXT_BYTES_MAX) if isinstance(fact, str) else fact


def _read(row: tuple[Any, ...]) -> Golemp2pError:
    code, text, after_ms, facts, is_recorded = row
    after_s = None if after_ms is None else after_ms / 1_000
    kind = CLASSES.get(code)
    if is_recorded:
        return errors.RecordedFailure(code, text)
    if kind is None:
        return errors.RequestFailed(code, text, after_s)
    making = _making(kind)
    if tuple(fact.__class__ for fact in facts) != making.facts:
        raise ValueError(f"{code} has other facts")
    return making.make(kind, text, after_s, *facts)


_FACT = s.either(s.short_text(TEXT_BYTES_MAX), s.natural(s.INT_MAX, -s.INT_MAX))
ERROR = s.converted(
    s.row(
        s.short_text(CODE_BYTES_MAX), s.short_text(TEXT_BYTES_MAX), s.optional(s.natural(RETRY_MS_MAX)),
        s.array(_FACT, FACTS_MAX), s.flag(),
    ),
    _write,
    _read,
)  # fmt: skip
"""The shape of an error inside of other messages."""


def encode_error(error: Golemp2pError) -> bytes:
    return s.encode(ERROR, error, bytes_max=ERROR_BYTES_MAX)


def decode_error(data: bytes) -> Golemp2pError:
    """Raises ``DataDamaged``."""
    error: Golemp2pError = s.decode(ERROR, data, what="error", bytes_max=ERROR_BYTES_MAX)
    return error


def named(failed: errors.RequestFailed) -> Golemp2pError:
    """What a call (``ports.Mesh.request``, ``fetch``) failed with, as the class that the other raised; the same, if that takes facts
    which calls do not carry."""
    kind = CLASSES.get(failed.remote_code)
    if kind is None or _making(kind).facts or issubclass(kind, errors.RemoteError):
        return failed
    text = str(failed).removeprefix(f"{failed.remote_code}: ")
    error = _making(kind).make(kind, text, failed.retry_after_s)
    error.__cause__ = failed
    return error
