"""A hostile guest inside its directory. Outside lies a secret; no path may reach it, and nothing outside may change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filesystem_fakes import Guest, Worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golemp2p.errors import Overloaded, StorageFailed, StorageFull
from golemp2p.runtime.host import filesystem_walk

SECRET = b"the host's own"


@pytest.fixture
def secret(worker: Worker) -> Path:
    """A file beside the worker's directory."""
    worker.root.parent.mkdir(parents=True, exist_ok=True)
    path = worker.root.parent / "secret"
    path.write_bytes(SECRET)
    return path


def err(code: str) -> tuple[str, str]:
    return ("err", code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("..", "not-permitted"),
        ("../secret", "not-permitted"),
        ("../files/inside", "not-permitted"),
        ("d/../../secret", "not-permitted"),
        ("./.././secret", "not-permitted"),
        ("d/..//../secret", "not-permitted"),
        ("/", "not-permitted"),
        ("/etc/passwd", "not-permitted"),
        ("//etc/passwd", "not-permitted"),
        ("", "no-entry"),
        ("inside\0/../../secret", "invalid"),
        ("x" * 256, "name-too-long"),
        ("ü" * 128, "name-too-long"),
        ("d/" * 2048, "name-too-long"),
        ("d/../" * 600 + "inside", "name-too-long"),
        ("inside/../inside", "not-directory"),
        ("inside/.", "not-directory"),
        ("inside/", "not-directory"),
        ("nowhere/../inside", "no-entry"),
    ],
)
def test_paths_that_lead_nowhere_good(guest: Guest, secret: Path, path: str, code: str) -> None:
    guest.mkdir("d")
    guest.put("inside", b"1")
    follow = ("symlink-follow",)
    assert guest("open-at", guest.root, follow, path, (), ("read",)) == err(code)
    assert guest("stat-at", guest.root, follow, path) == err(code)
    assert guest("metadata-hash-at", guest.root, (), path) == err(code)
    assert guest("readlink-at", guest.root, path) == err(code)
    now = ("now", None)
    assert guest("set-times-at", guest.root, follow, path, now, now) == err(code)


@pytest.mark.parametrize("path", ["..", "../new", "d/../../new", "/new", "up/new", "top/new", "deep/new"])
def test_nothing_is_made_removed_or_moved_outside(guest: Guest, worker: Worker, secret: Path, path: str) -> None:
    guest.mkdir("d")
    guest.put("inside", b"1")
    guest.link("..", "up")
    guest.link("d/../..", "deep")
    os.symlink("/", worker.root / "top")  # as if laid in: a guest cannot make an absolute one
    before = sorted(worker.root.parent.iterdir())
    refused = err("not-permitted")
    root = guest.root
    assert guest("open-at", root, (), path, ("create",), ("read", "write")) == refused
    assert guest("create-directory-at", root, path) == refused
    assert guest("symlink-at", root, "inside", path) == refused
    assert guest("link-at", root, (), "inside", root, path) == refused
    assert guest("link-at", root, (), path, root, "stolen") == refused
    assert guest("rename-at", root, "inside", root, path) == refused
    assert guest("rename-at", root, path, root, "stolen") == refused
    assert guest("unlink-file-at", root, path) == refused
    assert guest("remove-directory-at", root, path) == refused
    assert sorted(worker.root.parent.iterdir()) == before
    assert secret.read_bytes() == SECRET


def test_links_that_point_outside_are_never_followed(guest: Guest, worker: Worker, secret: Path) -> None:
    assert guest("symlink-at", guest.root, "/etc/passwd", "absolute") == err("not-permitted")
    guest.put("inside", b"1")
    os.symlink("/etc/passwd", worker.root / "absolute")
    os.symlink(secret, worker.root / "laid")
    guest.link("../secret", "relative")
    guest.link("relative", "chain")
    guest.mkdir("d")
    guest.link("../../secret", "d/deeper")
    for name in ("absolute", "laid", "relative", "chain", "d/deeper"):
        assert guest.try_open(name) == err("not-permitted")
        assert guest.try_open(name, "create truncate", "read write") == err("not-permitted")
        assert guest("stat-at", guest.root, ("symlink-follow",), name) == err("not-permitted")
        assert guest("link-at", guest.root, ("symlink-follow",), name, guest.root, "stolen") == err("not-permitted")
        assert guest("stat-at", guest.root, (), name)[1][0] == "symbolic-link"
    assert guest("readlink-at", guest.root, "absolute") == err("not-permitted")
    assert guest("readlink-at", guest.root, "relative") == ("ok", "../secret")


def test_a_hard_link_to_a_link_is_a_link(guest: Guest, secret: Path) -> None:
    guest.link("../secret", "relative")
    assert guest("link-at", guest.root, (), "relative", guest.root, "twin") == ("ok", None)
    assert guest("stat-at", guest.root, (), "twin")[1][0] == "symbolic-link"
    assert guest.try_open("twin") == err("not-permitted")


def test_a_descriptor_is_a_sandbox_of_its_own(guest: Guest) -> None:
    guest.mkdir("a")
    guest.mkdir("a/b")
    guest.put("a/f", b"1")
    b = guest.open("a/b", "directory")
    guest.link("../f", "a/b/up")
    assert guest.try_open("../f", base=b) == err("not-permitted")
    assert guest.try_open("up", base=b) == err("not-permitted")
    assert guest.get("a/b/up") == b"1"


def test_a_directory_that_moved_opens_no_way_out(guest: Guest, worker: Worker, secret: Path) -> None:
    guest.mkdir("a")
    guest.mkdir("a/b")
    guest.mkdir("a/b/c")
    c = guest.open("a/b/c", "directory")
    assert guest("rename-at", guest.root, "a/b/c", guest.root, "c") == ("ok", None)
    for path in ("../secret", "../../secret", "../../../secret", "..", "../.."):
        assert guest.try_open(path, base=c) == err("not-permitted")
    # what a link means is decided where it lies now: two levels up was the root, and is outside now
    guest.link("../../x", "a/b/link")
    guest.put("x", b"1")
    assert guest.get("a/b/link") == b"1"
    assert guest("rename-at", guest.root, "a/b/link", guest.root, "link") == ("ok", None)
    assert guest.try_open("link") == err("not-permitted")


def test_a_directory_moved_under_itself_is_refused(guest: Guest) -> None:
    guest.mkdir("a")
    guest.mkdir("a/b")
    assert guest("rename-at", guest.root, "a", guest.root, "a/b/a") == err("invalid")
    a = guest.open("a", "directory")
    assert guest("rename-at", guest.root, "a", a, "b/a") == err("invalid")
    assert guest.names() == [("directory", "a")]


def test_a_removed_directory_leads_nowhere(guest: Guest) -> None:
    guest.mkdir("a")
    a = guest.open("a", "directory")
    assert guest("remove-directory-at", guest.root, "a") == ("ok", None)
    assert guest.try_open("f", "create", "write", base=a) == err("no-entry")
    assert guest("create-directory-at", a, "d") == err("no-entry")
    assert guest("stat", a)[1][0] == "directory"
    assert guest.names(a) == []


def test_loops_end(guest: Guest) -> None:
    guest.link("b", "a")
    guest.link("a", "b")
    guest.link("self/x", "self")
    guest.mkdir("d")
    guest.link("d/back/d/back", "d/back")
    for name in ("a", "self", "a/x", "self/x"):
        assert guest.try_open(name) == err("loop")
    guest.link(".", "here")
    assert guest.try_open("here/" * 40 + "d", "directory")[0] == "ok"
    assert guest.try_open("here/" * 41 + "d", "directory") == err("loop")


def test_links_cannot_multiply_work(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each link brings 200 names; 40 of them would be 8,000 steps. Nor do the directories passed stay open."""
    guest.mkdir("d")
    guest.link("d/../" * 200, "long")
    assert guest.try_open("long/long/d", "directory")[0] == "ok"
    assert guest.try_open("long/" * 10 + "d", "directory") == err("name-too-long")
    opened = len(os.listdir("/proc/self/fd"))
    seen = 0
    real = os.open

    def counting(*args: object, **kwargs: object) -> int:
        nonlocal seen
        fd = real(*args, **kwargs)  # type: ignore[arg-type]
        seen = max(seen, fd)
        return fd

    monkeypatch.setattr(filesystem_walk.os, "open", counting)
    assert guest.try_open("d/../" * 400 + "d", "directory")[0] == "ok"
    assert seen <= opened + 8


def test_no_descriptor_is_lost_on_any_way_out(guest: Guest) -> None:
    guest.mkdir("d")
    guest.link("d/nowhere/x", "dangling")
    guest.link("loop", "loop")
    before = sorted(os.listdir("/proc/self/fd"))
    for path in ("d/x", "d/../..", "dangling", "loop", "d/x/y", "d/.", "d\0", "d/../d/../.."):
        for follow in ((), ("symlink-follow",)):
            guest("stat-at", guest.root, follow, path)
            guest("readlink-at", guest.root, path)
            guest("rename-at", guest.root, path, guest.root, "d/../../x")
            guest("create-directory-at", guest.root, path + "/..")
            guest("open-at", guest.root, follow, path, ("truncate",), ("read",))
    guest.drop(guest.open("d", "directory"))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_other_kinds_of_files_are_not_opened(guest: Guest, worker: Worker) -> None:
    guest.put("f")
    os.mkfifo(worker.root / "fifo")
    assert guest.try_open("fifo") == err("unsupported")
    assert guest("stat-at", guest.root, (), "fifo")[1][0] == "unknown"
    assert ("unknown", "fifo") in guest.names()


@pytest.mark.parametrize(
    ("number", "kind"), [(28, StorageFull), (122, StorageFull), (24, Overloaded), (5, StorageFailed), (13, StorageFailed)]
)
def test_trouble_of_the_machine_is_no_answer(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    f = guest.open("f", "create", "read write")
    stream = guest("write-via-stream", f, 0)[1]

    def broken(*args: object) -> int:
        raise OSError(number, "broken", "/a/path/of/this/machine")

    monkeypatch.setattr(os, "pwrite", broken)
    for attempt in (lambda: guest("write", f, b"x", 0), lambda: guest.stream("output-stream.write", stream, b"x")):
        with pytest.raises(kind) as caught:
            attempt()
        assert "/a/path" not in str(caught.value)


def test_a_root_that_is_gone_is_no_answer(guest: Guest, worker: Worker) -> None:
    guest.put("f")
    worker.root.rename(worker.root.parent / "elsewhere")
    with pytest.raises(StorageFailed):
        guest("stat-at", guest.root, (), "f")
    worker.root.write_bytes(b"a file where the directory should be")
    with pytest.raises(StorageFailed):
        Guest(worker)("stat", 1)


NAMES = st.sampled_from(["a", "b", "c", "..", ".", "", "l", "m"])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(links=st.lists(st.tuples(PATHS, PATHS), max_size=6), path=PATHS)
def test_whatever_is_reached_lies_inside(worker: Worker, secret: Path, links: list[tuple[str, str]], path: str) -> None:
    guest = worker.start()
    for directory in ("a", "a/b", "a/b/c", "b"):
        guest.mkdir(directory)
    for target, name in links:
        guest("symlink-at", guest.root, target, name)
    verdict, handle = guest.try_open(path, "directory")
    expected = os.path.realpath(worker.root / path) if path and not path.startswith("/") else ""
    if verdict == "ok":
        descriptor = guest.context.resources.get(handle, object)
        fd = descriptor.file.fd  # type: ignore[attr-defined]
        reached = os.readlink(f"/proc/self/fd/{fd}")
        assert reached == expected
        assert Path(reached).is_relative_to(worker.root)
        guest.drop(handle)
