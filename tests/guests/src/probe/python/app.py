"""Asks the host for everything; what the functions are for stands in probe.wit."""

import encodings.idna  # noqa: F401 - what getaddrinfo would import later, when there is no library any more
import errno
import os
import random
import secrets
import socket
import stat
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.api import FileStat
from wit_world.imports import host, logging, types

T = TypeVar("T")

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}

count = [0]
hoard: list[bytearray] = []


def errors_named(body: Callable[..., T]) -> Callable[..., T]:
    """An ``OSError`` becomes the error side of the result: errno's name."""

    def wrapped(*arguments: object) -> T:
        try:
            return body(*arguments)
        except OSError as error:
            raise Err(errno.errorcode.get(error.errno or 0, str(error))) from error

    return wrapped


class Api(exports.Api):
    def add(self, n: int) -> int:
        count[0] += n
        return count[0]

    def get(self) -> int:
        return count[0]

    def environment(self) -> list[tuple[str, str]]:
        return list(os.environ.items())

    def arguments(self) -> list[str]:
        return sys.argv

    def working_directory(self) -> str:
        return os.getcwd()

    def print(self, text: str) -> None:
        print(text, flush=True)

    def print_error(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @errors_named
    def read_stdin(self) -> str:
        return sys.stdin.readline()

    def exit(self, code: int) -> None:
        # sys.exit would only raise: it is for a program's main, and this is none.
        os._exit(code)

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_ms(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def sleep_in_steps(self, ms: int) -> list[int]:
        times = []
        for line in ("before", "between", "after"):
            print(line, flush=True)
            times.append(time.time_ns())
            if line != "after":
                time.sleep(ms / 1000)
        return times

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def random_float(self) -> float:
        return random.Random(secrets.randbits(64)).random()

    @errors_named
    def write_file(self, path: str, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data)

    @errors_named
    def append_file(self, path: str, data: bytes) -> None:
        with open(path, "ab") as file:
            file.write(data)

    @errors_named
    def write_at(self, path: str, offset: int, data: bytes) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    @errors_named
    def truncate(self, path: str, size: int) -> None:
        with open(path, "r+b") as file:
            file.truncate(size)

    @errors_named
    def read_file(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    @errors_named
    def list_directory(self, path: str) -> list[str]:
        return os.listdir(path)

    @errors_named
    def make_directory(self, path: str) -> None:
        os.mkdir(path)

    @errors_named
    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    @errors_named
    def remove_file(self, path: str) -> None:
        os.remove(path)

    @errors_named
    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    @errors_named
    def make_link(self, target: str, path: str) -> None:
        os.link(target, path)

    @errors_named
    def make_symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    @errors_named
    def read_symlink(self, path: str) -> str:
        return os.readlink(path)

    @errors_named
    def stat(self, path: str) -> FileStat:
        seen = os.lstat(path)
        return FileStat(KINDS.get(stat.S_IFMT(seen.st_mode), "other"), seen.st_size, seen.st_mtime_ns, seen.st_atime_ns)

    @errors_named
    def set_times(self, path: str, accessed_ns: int, modified_ns: int) -> None:
        os.utime(path, ns=(accessed_ns, modified_ns))

    def log(self, level: str, context: str, message: str) -> None:
        logging.log(logging.Level[level.upper()], context, message)

    @errors_named
    def connect(self, address: str, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.connect((address, port))

    @errors_named
    def resolve(self, name: str) -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, None)]

    def create_promise(self) -> host.PromiseId:
        return host.create_promise()

    def await_promise(self, id: host.PromiseId) -> bytes:
        return host.await_promise(id)

    def poll_promise(self, id: host.PromiseId) -> bytes | None:
        return host.poll_promise(id)

    def complete_promise(self, id: host.PromiseId, data: bytes) -> bool:
        return host.complete_promise(id, data)

    def delete_promise(self, id: host.PromiseId) -> None:
        host.delete_promise(id)

    def promise_and_wait(self) -> bytes:
        promise = host.create_promise()
        print(promise.oplog_idx, flush=True)
        return host.await_promise(promise)

    def oplog_index(self) -> int:
        return host.get_oplog_index()

    def oplog_commit(self, replicas: int) -> None:
        host.oplog_commit(replicas)

    def idempotency_key(self) -> types.Uuid:
        return host.generate_idempotency_key()

    def self_metadata(self) -> host.WorkerMetadata:
        return host.get_self_metadata()

    def get_retry_policy(self) -> host.RetryPolicy:
        return host.get_retry_policy()

    def set_retry_policy(self, policy: host.RetryPolicy) -> None:
        host.set_retry_policy(policy)

    def crash(self, message: str) -> None:
        raise RuntimeError(message)

    def crash_after_host_call(self) -> None:
        raise RuntimeError(f"crashed at {time.time_ns()}")

    def spin_forever(self) -> None:
        while True:
            pass

    def allocate(self, bytes: int) -> int:
        hoard.append(bytearray(bytes))
        return sum(len(held) for held in hoard)
