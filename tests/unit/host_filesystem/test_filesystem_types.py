"""What each function of wasi:filesystem/types answers, beyond what the model test draws."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from filesystem_fakes import INTERFACES, Guest

from golemp2p.errors import GuestTrapped
from golemp2p.runtime.host import filesystem, filesystem_content
from golemp2p.runtime.host.filesystem_tree import Descriptor
from golemp2p.runtime.host.streams import READ_BYTES_MAX, IoError

OK = ("ok", None)
WIT = Path(__file__).parents[3] / "wit" / "deps" / "wasi-filesystem.wit"


def err(code: str) -> tuple[str, str]:
    return ("err", code)


def read_only(guest: Guest, rep: int) -> int:
    """A handle for the directory behind ``rep`` through which nothing may change."""
    directory = guest.context.resources.get(rep, Descriptor)
    return guest.context.resources.push(Descriptor(directory.tree, directory.file, ("read",), is_directory=True))


def test_the_declarations_are_those_of_the_wit() -> None:
    text = re.sub(r"//.*", "", WIT.read_text())
    found: dict[str, dict[str, int]] = {"preopens": {}, "types": {}}
    interface, resource = "", ""
    for match in re.finditer(r"interface (\S+)|resource (\S+) \{|\n  (\})|%?([a-z-]+): func\(([^)]*)\)", text):
        if match[1]:
            interface, resource = match[1], ""
        elif match[2]:
            resource = match[2]
        elif match[3]:
            resource = ""
        elif match[4]:
            name = f"[method]{resource}.{match[4]}" if resource else match[4]
            found[interface][name] = match[5].count(":") + bool(resource)
    assert len(found["types"]) == 29
    for declared in filesystem.INTERFACES:
        expected = found[declared.name.removeprefix("wasi:filesystem/")]
        counts = {name: len(inspect.signature(function.body).parameters) - 1 for name, function in declared.functions.items()}
        assert counts == expected
    assert set(filesystem.TYPES.resources) == {"descriptor", "directory-entry-stream"}


@pytest.mark.parametrize(
    ("how", "flags", "code"),
    [
        ("", "read", "no-entry"),
        ("truncate", "write", "no-entry"),
        ("exclusive", "read", "no-entry"),
        ("directory", "read", "no-entry"),
        ("create directory", "read", "invalid"),
        ("directory truncate", "read", "invalid"),
        ("directory exclusive", "read", "invalid"),
    ],
)
def test_opening_what_is_not_there(guest: Guest, how: str, flags: str, code: str) -> None:
    assert guest.try_open("none", how, flags) == err(code)
    assert guest.names() == []


@pytest.mark.parametrize(
    ("path", "how", "flags", "code"),
    [
        ("f", "create exclusive", "read", "exist"),
        ("d", "create exclusive", "read", "exist"),
        ("dangling", "create exclusive", "read", "exist"),
        ("f", "directory", "read", "not-directory"),
        ("f/", "", "read", "not-directory"),
        ("f/x", "", "read", "not-directory"),
        ("f/x", "create", "write", "not-directory"),
        ("new/", "create", "write", "is-directory"),
        ("d", "", "write", "is-directory"),
        ("d", "create", "read", "is-directory"),
        ("d", "truncate", "read", "is-directory"),
        (".", "create", "read", "is-directory"),
        ("none/x", "create", "write", "no-entry"),
    ],
)
def test_opens_refused(guest: Guest, path: str, how: str, flags: str, code: str) -> None:
    guest.put("f", b"1")
    guest.mkdir("d")
    guest.link("nowhere", "dangling")
    before = guest.names()
    assert guest.try_open(path, how, flags) == err(code)
    assert guest.names() == before
    assert guest.get("f") == b"1"


def test_links_on_the_way_in(guest: Guest) -> None:
    guest.mkdir("d")
    guest.link("d", "l")
    guest.link("d/f", "file")
    assert guest.try_open("file", follow=False) == err("loop")
    guest.put("file", b"made through the link")
    assert guest.get("d/f") == guest.get("l/f") == b"made through the link"
    assert guest.try_open("l", "directory", follow=False) == err("loop")
    assert guest.try_open("l/", "directory", follow=False)[0] == "ok"
    assert guest("stat-at", guest.root, (), "l/")[1][0] == "directory"
    assert guest("stat-at", guest.root, (), "l")[1][0] == "symbolic-link"
    assert guest("remove-directory-at", guest.root, "l/") == err("not-directory")
    assert guest("unlink-file-at", guest.root, "l") == OK
    assert guest.get("d/f")


def test_a_slash_goes_on_through_links(guest: Guest) -> None:
    guest.put("f")
    guest.mkdir("d")
    guest.link("f", "to-file")
    guest.link("f/", "to-file-slash")
    guest.link("d/", "to-directory")
    guest.link("new/", "to-new")
    for path in ("to-file/", "to-file-slash", "to-file-slash/"):
        assert guest.try_open(path) == err("not-directory")
        assert guest("stat-at", guest.root, ("symlink-follow",), path) == err("not-directory")
    assert guest.try_open("to-directory", "directory")[0] == "ok"
    assert guest.try_open("to-new", "create", "write") == err("is-directory")


def test_flags_are_those_asked_for_in_order(guest: Guest) -> None:
    f = guest.open("f", "create", "mutate-directory requested-write-sync write read")
    assert guest("get-flags", f) == ("ok", ("read", "write", "requested-write-sync"))
    assert guest("get-flags", guest.root) == ("ok", ("read", "mutate-directory"))
    guest.mkdir("d")
    assert guest("get-flags", guest.open("d", "directory")) == ("ok", ("read", "mutate-directory"))
    assert guest("get-flags", guest.open("f", "", "")) == ("ok", ())


def test_content_needs_the_flag(guest: Guest) -> None:
    guest.put("f", b"content")
    reader, writer, neither = guest.open("f"), guest.open("f", "", "write"), guest.open("f", "", "")
    bad = err("bad-descriptor")
    for handle in (reader, neither):
        assert guest("write", handle, b"x", 0) == bad
        assert guest("set-size", handle, 0) == bad
        assert guest("write-via-stream", handle, 0) == bad
        assert guest("append-via-stream", handle) == bad
    for handle in (writer, neither):
        assert guest("read", handle, 1, 0) == bad
        assert guest("read-via-stream", handle, 0) == bad
    assert guest("stat", neither)[1][:3] == ("regular-file", 1, 7)
    assert guest("set-size", writer, 3) == OK
    assert guest("read", reader, 10, 0) == ("ok", (b"con", True))


def test_a_directory_has_no_content_and_a_file_no_entries(guest: Guest) -> None:
    guest.put("f")
    guest.mkdir("d")
    f, d = guest.open("f", "", "read write"), guest.open("d", "directory")
    for directory in (d, guest.root):
        assert guest("read", directory, 1, 0) == err("is-directory")
        assert guest("write", directory, b"", 0) == err("is-directory")
        assert guest("set-size", directory, 0) == err("is-directory")
        assert guest("read-via-stream", directory, 0) == err("is-directory")
        assert guest("advise", directory, 0, 0, "random") == err("bad-descriptor")
        assert guest("sync", directory) == OK
        assert guest("get-type", directory) == ("ok", "directory")
    no = err("not-directory")
    assert guest("get-type", f) == ("ok", "regular-file")
    assert guest("read-directory", f) == no
    assert guest("create-directory-at", f, "x") == no
    assert guest("stat-at", f, (), "x") == no
    assert guest("open-at", f, (), "x", ("create",), ("read",)) == no
    assert guest("rename-at", guest.root, "d", f, "x") == no
    assert guest("link-at", f, (), "x", guest.root, "y") == no


def test_a_read_only_directory(guest: Guest) -> None:
    guest.put("f", b"1")
    guest.mkdir("d")
    root = read_only(guest, guest.root)
    no, now = err("read-only"), ("now", None)
    for how, flags in (("create", "read"), ("truncate", "read"), ("", "write"), ("", "mutate-directory")):
        assert guest.try_open("f", how, flags, base=root) == no
    assert guest("create-directory-at", root, "x") == no
    assert guest("symlink-at", root, "f", "x") == no
    assert guest("link-at", root, (), "f", guest.root, "x") == no
    assert guest("link-at", guest.root, (), "f", root, "x") == no
    assert guest("rename-at", root, "f", guest.root, "x") == no
    assert guest("rename-at", guest.root, "f", root, "x") == no
    assert guest("unlink-file-at", root, "f") == no
    assert guest("remove-directory-at", root, "d") == no
    assert guest("set-times", root, now, now) == no
    assert guest("set-times-at", root, (), "f", now, now) == no
    d = guest.open("d", "directory", base=root)
    assert guest("create-directory-at", d, "x") == no, "what is opened through it is no more"
    assert guest("stat-at", root, (), "f")[0] == "ok"
    assert guest.open("f", base=root)
    assert guest.names(root) == [("directory", "d"), ("regular-file", "f")]


def test_listings_are_sorted_and_of_one_moment(guest: Guest) -> None:
    for name in ("b", "ä", "a", "😀", "B", "z", "a.b", "aa"):
        guest.put(name)
    guest.mkdir("dir")
    guest.link("a", "link")
    listing = guest("read-directory", guest.root)[1]
    guest("unlink-file-at", guest.root, "a")
    guest.put("after")
    step = "wasi:filesystem/types.[method]directory-entry-stream.read-directory-entry"
    seen = [guest.any(step, listing)[1] for _ in range(10)]
    assert [name for _, name in seen] == ["B", "a", "a.b", "aa", "b", "dir", "link", "z", "ä", "😀"]
    assert [kind for kind, _ in seen if kind != "regular-file"] == ["directory", "symbolic-link"]
    assert guest.any(step, listing) == guest.any(step, listing) == ("ok", None)
    assert ("regular-file", "after") in guest.names()
    assert guest.names() == guest.names(guest.open(".", "directory"))


def test_names_that_are_no_text(guest: Guest) -> None:
    guest.put("f")
    root = Path(guest.host.files_root)
    (root / "g").symlink_to(b"\xff".decode(errors="surrogateescape"))
    Path(str(root) + "/" + b"\xfe".decode(errors="surrogateescape")).touch()
    assert guest("readlink-at", guest.root, "g") == err("illegal-byte-sequence")
    listing = guest("read-directory", guest.root)[1]
    step = "wasi:filesystem/types.[method]directory-entry-stream.read-directory-entry"
    assert [guest.any(step, listing) for _ in range(4)][2:] == [err("illegal-byte-sequence"), ("ok", None)]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("create-directory-at", "d", "exist"),
        ("create-directory-at", ".", "exist"),
        ("create-directory-at", "d/..", "exist"),
        ("create-directory-at", "f/x", "not-directory"),
        ("create-directory-at", "none/x", "no-entry"),
        ("create-directory-at", "dangling", "exist"),
        ("remove-directory-at", "f", "not-directory"),
        ("remove-directory-at", "l", "not-directory"),
        ("remove-directory-at", "full", "not-empty"),
        ("remove-directory-at", ".", "invalid"),
        ("remove-directory-at", "full/..", "invalid"),
        ("remove-directory-at", "d/.", "invalid"),
        ("remove-directory-at", "none", "no-entry"),
        ("unlink-file-at", "d", "is-directory"),
        ("unlink-file-at", "d/", "is-directory"),
        ("unlink-file-at", "f/", "not-directory"),
        ("unlink-file-at", ".", "is-directory"),
        ("unlink-file-at", "none", "no-entry"),
        ("readlink-at", "f", "invalid"),
        ("readlink-at", "d", "invalid"),
        ("readlink-at", ".", "invalid"),
        ("readlink-at", "none", "no-entry"),
    ],
)
def test_refusals(guest: Guest, method: str, path: str, code: str) -> None:
    _furnish(guest)
    before = guest.names()
    assert guest(method, guest.root, path) == err(code)
    assert guest.names() == before


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("f", "d", "is-directory"),
        ("d", "f", "not-directory"),
        ("d", "l", "not-directory"),
        ("d", "full", "not-empty"),
        ("f", "new/", "not-directory"),
        ("f", "none/x", "no-entry"),
        ("f", "f/x", "not-directory"),
        ("none", "x", "no-entry"),
        (".", "x", "invalid"),
        ("d", ".", "invalid"),
        ("full", "full/new", "invalid"),
        ("full", "full/e/new", "invalid"),
        ("full/x", "full", "is-directory"),
        ("full/e", "full", "not-empty"),
    ],
)
def test_renames_refused(guest: Guest, old: str, new: str, code: str) -> None:
    _furnish(guest)
    before = guest.names()
    assert guest("rename-at", guest.root, old, guest.root, new) == err(code)
    assert guest.names() == before


def _furnish(guest: Guest) -> None:
    guest.put("f")
    for name in ("d", "full", "full/e"):
        guest.mkdir(name)
    guest.put("full/x")
    guest.link("d", "l")
    guest.link("nowhere", "dangling")


def test_links_refused(guest: Guest) -> None:
    _furnish(guest)
    root = guest.root
    assert guest("link-at", root, (), "d", root, "x") == err("not-permitted")
    assert guest("link-at", root, ("symlink-follow",), "l", root, "x") == err("not-permitted")
    assert guest("link-at", root, (), "f", root, "d") == err("exist")
    assert guest("link-at", root, (), "f", root, "x/") == err("no-entry")
    assert guest("link-at", root, (), "none", root, "x") == err("no-entry")
    assert guest("link-at", root, ("symlink-follow",), "dangling", root, "x") == err("no-entry")
    assert guest("symlink-at", root, "f", "d") == err("exist")
    assert guest("symlink-at", root, "", "x") == err("no-entry")
    assert guest("symlink-at", root, "a\0b", "x") == err("invalid")
    assert guest("symlink-at", root, "a/" * 600, "x") == err("name-too-long")
    assert guest("symlink-at", root, "f", "x/") == err("no-entry")
    assert guest("symlink-at", root, "ä/" + "a" * 255, "x") == OK
    assert guest("readlink-at", root, "x") == ("ok", "ä/" + "a" * 255)


def test_a_directory_may_be_renamed_with_a_slash(guest: Guest) -> None:
    guest.mkdir("d")
    assert guest("rename-at", guest.root, "d/", guest.root, "e/") == OK
    assert guest("remove-directory-at", guest.root, "e/") == OK
    assert guest("create-directory-at", guest.root, "e/") == OK


def test_names_move_between_descriptors(guest: Guest) -> None:
    guest.mkdir("a")
    guest.mkdir("b")
    guest.put("a/f", b"1")
    a, b = guest.open("a", "directory"), guest.open("b", "directory")
    assert guest("link-at", a, (), "f", b, "twin") == OK
    assert guest("rename-at", a, "f", b, "f") == OK
    assert guest.names(a) == []
    assert guest.names(b) == [("regular-file", "f"), ("regular-file", "twin")]
    assert guest("is-same-object", guest.open("b/f"), guest.open("b/twin")) is True
    assert guest("is-same-object", a, b) is False
    assert guest("is-same-object", guest.root, guest.open(".", "directory")) is True
    assert guest("is-same-object", guest.root, guest.open("a/..", "directory")) is True


def test_streams(guest: Guest) -> None:
    f = guest.open("f", "create", "read write")
    writing, appending, reading = (
        guest("write-via-stream", f, 2)[1], guest("append-via-stream", f)[1], guest("read-via-stream", f, 1)[1],
    )  # fmt: skip
    assert guest.stream("input-stream.read", reading, 10) == ("err", ("closed", None))
    assert guest.stream("output-stream.write", writing, b"abc") == OK
    assert guest.stream("output-stream.write", appending, b"XY") == OK
    assert guest.stream("output-stream.write", writing, b"def") == OK
    assert guest.stream("output-stream.write", appending, b"Z") == OK
    assert guest.stream("output-stream.blocking-flush", writing) == OK
    guest.drop(f)
    assert guest.stream("input-stream.read", reading, 0) == ("ok", b"")
    assert guest.stream("input-stream.skip", reading, 2) == ("ok", 2)
    assert guest.stream("input-stream.blocking-read", reading, 4) == ("ok", b"bcde")
    other = guest("append-via-stream", guest.open("g", "create", "write"))[1]
    assert guest.stream("output-stream.splice", other, reading, 100) == ("ok", 2)
    assert guest.stream("input-stream.blocking-read", reading, 4) == ("err", ("closed", None))
    assert guest.get("g") == b"fZ"
    pollable = guest.stream("input-stream.subscribe", reading)
    guest.drop(reading, "input-stream")
    assert guest.any("wasi:io/poll.[method]pollable.ready", pollable) is True
    assert guest.get("f") == b"\0\0abcdefZ"


def test_one_call_reads_and_writes_a_bounded_piece(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_content, "WRITE_BYTES_MAX", 1000)
    f = guest.open("f", "create", "read write")
    assert guest("write", f, b"x" * 1001, 0) == ("ok", 1000)
    assert guest("set-size", f, READ_BYTES_MAX + 1) == OK
    data, end = guest("read", f, 1 << 40, 0)[1]
    assert (len(data), end) == (READ_BYTES_MAX, False)
    assert guest("read", f, 1 << 40, READ_BYTES_MAX) == ("ok", (b"\0", True))
    assert guest("read", f, 0, 0) == ("ok", (b"", False))


def test_errors_of_other_streams_have_no_code(guest: Guest) -> None:
    other = guest.context.resources.push(IoError("something else"))
    assert guest.any("wasi:filesystem/types.filesystem-error-code", other) is None


@pytest.mark.parametrize("method", ["stat", "get-flags", "read-directory", "sync"])
def test_handles_of_another_kind_trap(guest: Guest, method: str) -> None:
    other: Any = guest.context.resources.push(IoError("no descriptor"))
    for handle in (other, 4711):
        with pytest.raises(GuestTrapped):
            guest(method, handle)


def test_only_these_interfaces_are_declared() -> None:
    assert [face.name for face in INTERFACES[:2]] == ["wasi:filesystem/types", "wasi:filesystem/preopens"]
