"""Quotas: bytes, names, open files, depth, listings. All answered by an error the guest can handle, all counted exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from filesystem_fakes import Guest, Worker

from golemp2p.errors import LimitExceeded
from golemp2p.runtime.host import filesystem_entries, filesystem_tree
from golemp2p.runtime.host.filesystem_tree import FileTree

QUOTA = ("err", "quota")
OK = ("ok", None)


@pytest.fixture
def small(tmp_path: Path) -> Guest:
    return Worker(tmp_path / "files", files_bytes_max=100).start()


def used(guest: Guest) -> int:
    return guest.context.state(FileTree).bytes_used


def test_writes_are_charged_for_growth_only(small: Guest) -> None:
    f = small.open("f", "create", "read write")
    assert small("write", f, b"x" * 100, 0) == ("ok", 100)
    assert small("write", f, b"y" * 100, 0) == ("ok", 100)
    assert small("write", f, b"z", 100) == QUOTA
    assert small("stat", f)[1][2] == 100
    assert small("set-size", f, 40) == OK
    assert small("write", f, b"z" * 60, 40) == ("ok", 60)
    assert small.try_open("g", "create", "read write")[0] == "ok"
    assert used(small) == 100


def test_holes_count(small: Guest) -> None:
    f = small.open("f", "create", "read write")
    assert small("set-size", f, 101) == QUOTA
    assert small("write", f, b"x", 100) == QUOTA
    assert small("write", f, b"x", 99) == ("ok", 1)
    assert used(small) == 100
    assert small("read", f, 100, 0) == ("ok", (b"\0" * 99 + b"x", True))


@pytest.mark.parametrize("huge", [(1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 62])
def test_huge_numbers(small: Guest, huge: int) -> None:
    f = small.open("f", "create", "read write")
    assert small("write", f, b"abc", 0) == ("ok", 3)
    too_large = QUOTA if huge < (1 << 63) - 1 else ("err", "file-too-large")
    assert small("write", f, b"x", huge) == too_large
    assert small("write", f, b"", huge) == ("ok", 0)
    assert small("set-size", f, huge) == (QUOTA if huge < 1 << 63 else ("err", "file-too-large"))
    assert small("read", f, huge, 1) == ("ok", (b"bc", True))
    assert small("read", f, huge, huge) == ("ok", (b"", True))
    assert small("advise", f, huge, huge, "will-need") == OK
    stream = small("read-via-stream", f, huge)[1]
    assert small.stream("input-stream.read", stream, huge) == ("err", ("closed", None))
    assert used(small) == 3


def test_bytes_come_back_with_the_last_name_and_the_last_descriptor(small: Guest) -> None:
    small.put("f", b"x" * 60)
    small("link-at", small.root, (), "f", small.root, "g")
    assert used(small) == 60
    small("unlink-file-at", small.root, "f")
    assert used(small) == 60
    g = small.open("g")
    twin = small.open("g")
    stream = small("read-via-stream", g, 0)[1]
    small("unlink-file-at", small.root, "g")
    small.drop(g)
    small.drop(twin)
    assert used(small) == 60
    assert small.try_open("h", "create", "write")[0] == "ok"
    assert small.stream("input-stream.read", stream, 100) == ("ok", b"x" * 60)
    small.drop(stream, "input-stream")
    assert used(small) == 0


def test_bytes_come_back_by_truncation_and_replacement(small: Guest) -> None:
    small.put("f", b"x" * 60)
    small.drop(small.open("f", "truncate", "write"))
    assert used(small) == 0
    small.put("f", b"x" * 60)
    small.put("g", b"x" * 30)
    assert small("rename-at", small.root, "g", small.root, "f") == OK
    assert used(small) == 30
    small("link-at", small.root, (), "f", small.root, "twin")
    assert small("rename-at", small.root, "f", small.root, "twin") == OK, "two names of one file: nothing happens"
    assert used(small) == 30
    assert small.names() == [("regular-file", "f"), ("regular-file", "twin")]


def test_a_stream_over_quota_fails_once_then_is_closed(small: Guest) -> None:
    f = small.open("f", "create", "write")
    stream = small("append-via-stream", f)[1]
    assert small.stream("output-stream.check-write", stream)[1] > 100
    assert small.stream("output-stream.write", stream, b"x" * 90) == OK
    verdict, (case, error) = small.stream("output-stream.write", stream, b"x" * 11)
    assert (verdict, case) == ("err", "last-operation-failed")
    assert small.any("wasi:filesystem/types.filesystem-error-code", error) == "quota"
    assert "quota" in small.any("wasi:io/error.[method]error.to-debug-string", error)
    assert small.stream("output-stream.write", stream, b"x") == ("err", ("closed", None))
    assert small.stream("output-stream.check-write", stream) == ("err", ("closed", None))
    assert used(small) == 90


def test_what_was_laid_in_counts(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "files", files_bytes_max=100)
    guest = worker.start()
    (worker.root / "d").mkdir(parents=True)
    (worker.root / "d" / "big").write_bytes(b"x" * 70)
    (worker.root / "twin").hardlink_to(worker.root / "d" / "big")
    f = guest.open("f", "create", "write")
    assert guest("write", f, b"x" * 31, 0) == QUOTA
    assert guest("write", f, b"x" * 30, 0) == ("ok", 30)
    assert guest.context.state(FileTree).entries == 4


def test_what_was_laid_in_read_only_stays_as_it_is(worker: Worker) -> None:
    guest = worker.start()
    worker.root.mkdir(parents=True)
    (worker.root / "fixed").write_bytes(b"content")
    (worker.root / "fixed").chmod(0o400)
    guest.put("other")
    refused = ("err", "not-permitted")
    now = ("now", None)
    assert guest.get("fixed") == b"content"
    assert guest.try_open("fixed", "", "write") == refused
    assert guest.try_open("fixed", "truncate", "read") == refused
    assert guest("unlink-file-at", guest.root, "fixed") == refused
    assert guest("rename-at", guest.root, "fixed", guest.root, "x") == refused
    assert guest("rename-at", guest.root, "other", guest.root, "fixed") == refused
    assert guest("link-at", guest.root, (), "fixed", guest.root, "x") == refused
    assert guest("set-times", guest.open("fixed"), now, now) == refused
    assert guest("set-times-at", guest.root, (), "fixed", now, now) == refused


def test_names_are_limited(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_tree, "ENTRIES_MAX", 4)
    guest.mkdir("d")
    guest.put("f")
    guest.link("f", "l")
    assert guest("link-at", guest.root, (), "f", guest.root, "g") == OK
    assert guest.try_open("new", "create", "write") == QUOTA
    assert guest("create-directory-at", guest.root, "new") == QUOTA
    assert guest("symlink-at", guest.root, "f", "new") == QUOTA
    assert guest("link-at", guest.root, (), "f", guest.root, "new") == QUOTA
    assert guest("rename-at", guest.root, "f", guest.root, "moved") == OK
    assert guest("rename-at", guest.root, "moved", guest.root, "l") == OK
    guest.put("new")
    assert guest("remove-directory-at", guest.root, "d") == OK
    assert guest("unlink-file-at", guest.root, "new") == OK
    guest.mkdir("d")
    guest.put("again")
    assert guest.context.state(FileTree).entries == 4


def test_open_files_are_limited(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_tree, "OPEN_MAX", 3)
    handles = [guest.open("f", "create", "read write") for _ in range(3)]
    assert guest.try_open("f") == QUOTA
    assert guest.try_open("new", "create", "write") == QUOTA
    assert guest.try_open(".", "directory") == QUOTA
    stream = guest("read-via-stream", handles[0], 0)[1]
    guest.drop(handles.pop(0))
    assert guest.try_open("f") == QUOTA, "the stream holds it still"
    guest.drop(stream, "input-stream")
    assert guest.try_open("f")[0] == "ok"


def test_handles_are_limited_and_what_got_none_is_closed(tmp_path: Path) -> None:
    guest = Worker(tmp_path / "files", resources_max=3).start()
    guest.open("f", "create", "read")
    for attempt in (
        lambda: guest.try_open("f"),
        lambda: guest("read-directory", guest.root),
        lambda: guest("read-via-stream", 3, 0),
    ):
        with pytest.raises(LimitExceeded):
            attempt()
    tree = guest.context.state(FileTree)
    assert (tree.open_files, tree.listed) == (1, 0)
    guest.drop(3)
    assert tree.open_files == 0, "the stream that got no handle holds nothing"


def test_listings_are_limited(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_tree, "LISTED_MAX", 5)
    guest.put("f")
    guest.put("g")
    first = guest("read-directory", guest.root)[1]
    assert guest("read-directory", guest.root)[0] == "ok"
    assert guest("read-directory", guest.root) == QUOTA
    guest.drop(first, "directory-entry-stream")
    assert guest("read-directory", guest.root)[0] == "ok"


def test_depth_is_limited_however_it_is_reached(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_entries, "DEPTH_MAX", 6)
    too_deep = ("err", "name-too-long")
    guest.mkdir("a")
    here = guest.open("a", "directory")
    for _ in range(5):
        assert guest("create-directory-at", here, "x") == OK
        here = guest.open("x", "directory", base=here)
    assert guest("create-directory-at", here, "x") == too_deep
    assert guest.try_open("f", "create", "write", base=here)[0] == "ok", "files lie one below"
    for name in ("b", "b/b", "c"):
        guest.mkdir(name)
    a = guest.open("a/x", "directory")
    assert guest("rename-at", guest.root, "a", guest.root, "c/a") == too_deep
    assert guest("rename-at", guest.root, "a/x/x", guest.root, "c/x") == OK, "no deeper than before"
    assert guest("rename-at", guest.root, "b", a, "b") == OK
    assert guest("rename-at", guest.root, "c", a, "b/b/c") == too_deep


def test_a_move_that_cannot_be_judged_cheaply_is_refused(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_entries, "DEPTH_MAX", 4)
    monkeypatch.setattr(filesystem_entries, "MOVED_DIRECTORIES_MAX", 3)
    for name in ("many", "many/1", "many/2", "few", "few/1", "to"):
        guest.mkdir(name)
    assert guest("rename-at", guest.root, "many", guest.root, "to/many") == OK, "nothing was ever deep: no need to look"
    assert guest("rename-at", guest.root, "to/many", guest.root, "many") == OK
    for name in ("a", "a/a", "a/a/a", "a/a/a/a", "many/3"):
        guest.mkdir(name)
    assert guest("rename-at", guest.root, "few", guest.root, "to/few") == OK
    assert guest("rename-at", guest.root, "many", guest.root, "to/many") == ("err", "name-too-long")


def test_depth_of_what_was_laid_in_counts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_entries, "DEPTH_MAX", 4)
    guest = worker.start()
    (worker.root / "a" / "b" / "c").mkdir(parents=True)
    guest.mkdir("to")
    guest.mkdir("to/to")
    assert guest("rename-at", guest.root, "a", guest.root, "to/a") == OK
    assert guest("rename-at", guest.root, "to/a", guest.root, "to/to/a") == ("err", "name-too-long")


def test_a_path_deeper_than_paths_can_say(guest: Guest) -> None:
    here = guest.root
    for _ in range(filesystem_tree.DEPTH_MAX):
        assert guest("create-directory-at", here, "x" * 200) == OK
        below = guest.open("x" * 200, "directory", base=here)
        if here != guest.root:
            guest.drop(here)
        here = below
    assert guest("create-directory-at", here, "x") == ("err", "name-too-long")
