"""Errors as HTTP answers: the one table of the HTTP edge, and the one JSON shape.

Every error body holds ``code`` (stable, for programs) and ``message`` (for people). Beside them stands what Golem's clients
look for: ``errors`` (400), ``error`` (other statuses), ``golemError`` (500). Facts an error knows about itself are added under
their own names (``path``, ``expected``, ``got``, ``limit``, ``retryAfterSeconds``, ...).

Where we differ from Golem 1.2: an unknown function is 404, not 400; a world that refuses is 503 (507 when the disk is full)
with ``Retry-After``, not 500. A full queue of one worker is 503 too, as everything ``Overloaded`` is: to the caller it is the
same advice. Canceling an unknown invocation stays 400.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

from golemp2p import errors
from golemp2p_gateway.callers import ForeignOrigin, MisdirectedRequest, NotLocal
from golemp2p_gateway.http import JSON_TYPE, Response, UnsupportedMediaType, json_bytes

logger = logging.getLogger(__name__)

RETRY_AFTER_DEFAULT_S = 1.0  # when the error does not know better: long enough to drain a burst, short enough to be worth it


class Rule(NamedTuple):
    """``golem_type``: the ``GolemError`` variant for status 500. ``facts``: attribute -> JSON name."""

    status: int
    golem_type: str = ""
    facts: tuple[tuple[str, str], ...] = ()


class UnknownRoute(errors.NotFound):
    code = "unknown-route"


class MethodNotAllowed(errors.UsageError):
    """``allowed`` are the methods that this path has."""

    code = "method-not-allowed"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} has no method {method}; it has {', '.join(allowed)}")
        self.allowed = allowed


class NotSupported(errors.UsageError):
    """A feature of Golem's API that this version does not have."""

    code = "not-supported"


_BACKTRACE = (("backtrace", "backtrace"),)

TABLE: dict[type[BaseException], Rule] = {
    errors.UsageError: Rule(400),
    errors.NotFound: Rule(404),
    errors.InvocationNotFound: Rule(400),
    errors.AlreadyExists: Rule(409),
    errors.InvalidState: Rule(409),
    errors.ValueMismatch: Rule(400, facts=(("path", "path"), ("expected", "expected"), ("got", "got"))),
    errors.PayloadTooLarge: Rule(413),
    UnsupportedMediaType: Rule(415),
    MethodNotAllowed: Rule(405),
    NotSupported: Rule(501),
    MisdirectedRequest: Rule(421),
    ForeignOrigin: Rule(403),
    NotLocal: Rule(403),
    errors.WorkerFailure: Rule(500, "RuntimeError"),
    errors.GuestTrapped: Rule(500, "RuntimeError", _BACKTRACE),
    errors.LimitExceeded: Rule(500, "RuntimeError", (("limit", "limit"), *_BACKTRACE)),
    errors.GuestExited: Rule(500, "RuntimeError", (("status", "exitStatus"),)),
    errors.PreviousInvocationFailed: Rule(500, "PreviousInvocationFailed"),
    errors.PreviousInvocationExited: Rule(500, "PreviousInvocationExited"),
    errors.WorkerInterrupted: Rule(500, "Interrupted"),
    errors.InvocationCanceled: Rule(409),
    errors.Divergence: Rule(500, "UnexpectedOplogEntry", (("index", "oplogIndex"), ("expected", "expected"), ("got", "got"))),
    errors.WorldError: Rule(503),
    errors.StorageFull: Rule(507),
    errors.DataDamaged: Rule(500, "Unknown", (("log", "log"), ("reason", "reason"))),
    errors.Golemp2pError: Rule(500, "Unknown"),
    Exception: Rule(500, "Unknown"),
}


def rule_for(error: type[BaseException]) -> Rule:
    """The rule of the nearest class in the error's line of descent."""
    return next(TABLE[base] for base in error.__mro__ if base in TABLE)


def _golem_error(rule: Rule, error: BaseException, message: str) -> dict[str, Any]:
    body: dict[str, Any] = {"type": rule.golem_type}
    match error:
        case errors.Divergence():
            body.update(expected=error.expected, got=error.got)
        case errors.WorkerInterrupted():
            body.update(recoverImmediately=False)
        case errors.PreviousInvocationExited():
            pass
        case _:
            body.update(details=message)
    return body


def error_response(error: BaseException) -> Response:
    """The answer for any error. One that is not ours is logged with its traceback and told without details."""
    rule = rule_for(type(error))
    if isinstance(error, errors.Golemp2pError):
        code, message = error.code, str(error) or error.code.replace("-", " ")
    else:
        logger.error("request_failed", exc_info=error)
        code, message = "internal", "an error inside the node; its log says more"
    body: dict[str, Any] = {"code": code, "message": message}
    if rule.status == 400:
        body["errors"] = [message]
    elif rule.golem_type:
        body["golemError"] = _golem_error(rule, error, message)
    else:
        body["error"] = message
    for attribute, name in rule.facts:
        if (value := getattr(error, attribute)) != "":
            body[name] = value
    headers = [JSON_TYPE]
    if isinstance(error, errors.WorldError):
        retry_after_s = RETRY_AFTER_DEFAULT_S if error.retry_after_s is None else max(0.0, error.retry_after_s)
        body["retryAfterSeconds"] = retry_after_s
        headers.append((b"retry-after", str(math.ceil(retry_after_s)).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return Response(rule.status, json_bytes(body), headers)
