"""What the host's file system answers, sorted by who must act.

    the guest asked for what cannot be   Refused(code)              -> ("err", code): the same on every replay
    the disk or this node refused        StorageFull, StorageFailed, Overloaded -> the instance stops and is retried

The second kind never becomes an error code. A guest that had seen "no space" on one machine would take another path than its
replay on the next; so what the machine cannot do looks to the guest as if it had not happened yet.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from typing import Any

from golemp2p.errors import Overloaded, StorageFailed, StorageFull, WorldError
from golemp2p.runtime.host.streams import IoError

CODES = {
    errno.EEXIST: "exist",
    errno.EINVAL: "invalid",
    errno.EISDIR: "is-directory",
    errno.ELOOP: "loop",
    errno.EMLINK: "too-many-links",
    errno.ENAMETOOLONG: "name-too-long",
    errno.ENOENT: "no-entry",
    errno.ENOTDIR: "not-directory",
    errno.ENOTEMPTY: "not-empty",
    errno.EPERM: "not-permitted",
}
"""Errors of the operating system that depend on nothing but the tree and the call, so that replay meets them again."""


class Refused(Exception):
    """The call cannot be done, by no fault of this machine. ``code`` is a case of wasi:filesystem's error-code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class FilesystemError(IoError):
    """A stream's failure with its error-code, for ``filesystem-error-code``."""

    def __init__(self, code: str) -> None:
        super().__init__(f"file system error: {code}")
        self.code = code


def code_of(error: OSError) -> str:
    """The error-code of an error the guest brought about; raises ``WorldError`` for all others."""
    code = CODES.get(error.errno or 0)
    if code is None:
        raise world_error(error) from error
    return code


def world_error(error: OSError) -> WorldError:
    """The machine's trouble in our terms. The text is for operators and names no path."""
    reason = os.strerror(error.errno or 0)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StorageFull(f"no room for the files of a worker: {reason}")
        case errno.EMFILE | errno.ENFILE | errno.ENOMEM:
            return Overloaded(f"this node cannot open another file: {reason}")
        case _:
            return StorageFailed(f"the files of a worker cannot be used: {reason}")


def answering(body: Callable[..., Any]) -> Callable[..., Any]:
    """Make ``body``, which returns a value or raises ``Refused`` or ``OSError``, answer with a WIT result."""

    @functools.wraps(body)
    def answer(*args: Any) -> tuple[str, Any]:
        try:
            return ("ok", body(*args))
        except Refused as refused:
            return ("err", refused.code)
        except OSError as error:
            return ("err", code_of(error))

    return answer
