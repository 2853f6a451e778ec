"""The compiler, as a program of its own: ``python -m golemp2p.runtime.compile IN OUT SHA256``.

Reads the component in file IN, checks its hash, and writes OUT (machine code) and OUT.json (what is known about it). It runs in
a child process of low priority: compiling takes seconds of all cores and hundreds of megabytes, and a compiler that fails on
a hostile input takes only the child along.

    exit status 0    done            2    not a component we can run; standard error says why, for people
                3    the input file is damaged                            4    the disk is full
                5    the disk refuses otherwise                           anything else    the compiler broke
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from pathlib import Path

import wasmtime
from wasmtime import component as wc

from golemp2p.errors import DataDamaged, InvalidComponent, StorageFailed, StorageFull
from golemp2p.runtime.additions import append
from golemp2p.runtime.engine import Engines, new_engines
from golemp2p.runtime.reflect import reflect
from golemp2p.runtime.wasm import check_preamble, initial_memory_bytes

EXIT_INVALID, EXIT_DAMAGED, EXIT_FULL, EXIT_REFUSED = 2, 3, 4, 5
NICE = 10


def compile_component(data: bytes, engine: wasmtime.Engine) -> bytes:
    """Machine code, ready to be deserialized by an engine of the same configuration. Raises ``InvalidComponent``."""
    check_preamble(data)
    component = _compile_with_additions(data, [], engine) or _compile(data, engine)
    exported = reflect(component, engine).exported_resources
    if exported:
        # Which resources there are is known only now; guests that export resources are compiled twice.
        component = _compile_with_additions(data, exported, engine) or component
    return bytes(component.serialize())


def _compile_with_additions(data: bytes, exported: list[tuple[str, str]], engine: wasmtime.Engine) -> wc.Component | None:
    """``None`` when that does not work: the component may still be good, written in a form that ``additions`` does not know.
    It then runs all the same, its memory measured as when it began and its resources forgotten instead of dropped."""
    for sizers in (True, False):  # a 64-bit memory, for one, cannot be measured
        try:
            return _compile(append(data, exported, sizers=sizers), engine)
        except InvalidComponent:
            continue
    return None


def _compile(data: bytes, engine: wasmtime.Engine) -> wc.Component:
    try:
        return wc.Component(engine, data)
    except wasmtime.WasmtimeError as error:
        causes = [line.strip() for line in str(error).splitlines()]
        said = "; ".join(line for line in causes if line and line != "Caused by:")
        raise InvalidComponent(f"the component does not compile: {said}") from error


def compile_for_first(data: bytes, engines: Engines) -> tuple[bytes, bool]:
    """Machine code for the plain engine, or else for the concurrent one; and whether it is for that."""
    try:
        return compile_component(data, engines.plain), False
    except InvalidComponent:
        return compile_component(data, engines.concurrent), True


def write_compiled(source: Path, target: Path, sha256: bytes, engines: Engines) -> None:
    """Compile ``source`` to ``target``. After a crash either file may be there alone: whoever loads checks both. Raises
    ``InvalidComponent``, ``DataDamaged``, ``StorageFailed``."""
    data = source.read_bytes()
    if hashlib.sha256(data).digest() != sha256:
        raise DataDamaged(source.name, "the component's bytes do not match its hash")
    code, concurrent = compile_for_first(data, engines)
    description = {
        "size": len(code),
        "blake2b": hashlib.blake2b(code, digest_size=32).hexdigest(),
        "concurrent": concurrent,
        "memory_initial": initial_memory_bytes(data),
    }
    write_durably(target, code)
    write_durably(description_path(target), json.dumps(description).encode())


def description_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def write_durably(path: Path, data: bytes) -> None:
    """Whole or not at all, readable by this user alone. Raises ``StorageFailed``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise refused_by_disk(path, error) from error


def refused_by_disk(path: Path, error: OSError) -> StorageFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("no room on the disk for the compiled component")
    return StorageFailed(f"{path}: compiled code cannot be written: {error.strerror}")


def main(arguments: list[str]) -> int:
    source, target, sha256 = arguments
    os.nice(NICE)
    try:
        write_compiled(Path(source), Path(target), bytes.fromhex(sha256), new_engines(parallel_compilation=True))
    except InvalidComponent as error:
        sys.stderr.write(str(error))
        return EXIT_INVALID
    except DataDamaged as error:
        sys.stderr.write(error.reason)
        return EXIT_DAMAGED
    except StorageFailed as error:
        sys.stderr.write(str(error))
        return EXIT_FULL if isinstance(error, StorageFull) else EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
