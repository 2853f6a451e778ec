"""A replay gives the guest the same answers, and leaves the same files with the same times."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filesystem_fakes import Guest, Worker

from golemp2p.errors import Divergence
from golemp2p.runtime.host.filesystem_tree import FileTree

NOW = ("now", None)
KEEP = ("no-change", None)


def at(seconds: int, nanoseconds: int = 0) -> tuple[str, tuple[int, int]]:
    return ("timestamp", (seconds, nanoseconds))


def times_of(root: Path, *names: str) -> list[tuple[int, int]]:
    return [(info.st_atime_ns, info.st_mtime_ns) for info in (os.lstat(root / name) for name in names)]


def run_twice(worker: Worker, program: Callable[[Guest], Any]) -> tuple[Any, Any]:
    first = program(worker.start())
    calls = len(worker.entries)
    replayed = worker.start()
    second = program(replayed)
    assert len(worker.entries) == calls
    assert not replayed.host.journal.replaying, "the replay asked less than the first run"
    return first, second


def test_times_told_by_stat_are_the_same_after_replay_and_on_the_files(worker: Worker) -> None:
    told: list[list[tuple[int, int]]] = []

    def program(guest: Guest) -> list[Any]:
        guest.mkdir("d")
        guest.put("d/f", b"content")
        guest.link("d/f", "l")
        seen = [guest("stat-at", guest.root, (), path) for path in ("d", "d/f", "l")]
        f = guest.open("d/f", "", "read write")
        assert guest("set-times", f, at(5, 7), NOW) == ("ok", None)
        seen.append(guest("stat", f))
        seen.append(guest("stat-at", guest.root, ("symlink-follow",), "l"))
        seen.append(guest("stat-at", guest.root, (), "d"))
        seen.append(guest("stat-at", guest.root, (), "l"))  # once more, since following a link is an access
        seen.append(guest("stat", guest.root))
        told.append(times_of(worker.root, "d/f", "l", "d", "."))
        return seen

    first, second = run_twice(worker, program)
    assert first == second
    assert told[0] == told[1]
    assert first[3][1][3] == (5, 7)
    assert all(type(answer[1][3]) is tuple for answer in second), "tuples, though the journal holds lists"


def test_a_stat_that_failed_is_not_journalled(worker: Worker) -> None:
    first, second = run_twice(worker, lambda guest: guest("stat-at", guest.root, (), "none"))
    assert first == second == ("err", "no-entry")
    assert worker.entries == []


def test_only_stat_is_journalled(worker: Worker) -> None:
    def program(guest: Guest) -> Any:
        guest.mkdir("d")
        guest.put("f", b"x")
        f = guest.open("f", "", "read write")
        guest("set-times", f, NOW, NOW)
        guest("set-times-at", guest.root, (), "d", NOW, at(3))
        guest("sync", f), guest("sync-data", f), guest("advise", f, 0, 0, "normal")
        return (
            guest.names(), guest("metadata-hash", f), guest("get-flags", f), guest("get-type", f), guest.get("f"),
            guest("is-same-object", f, guest.root),
        )  # fmt: skip

    first, second = run_twice(worker, program)
    assert first == second
    assert worker.entries == []


def test_files_that_differ_from_the_first_run_are_a_divergence(worker: Worker) -> None:
    guest = worker.start()
    guest.put("f", b"four")
    guest("stat-at", guest.root, (), "f")
    guest = worker.start()
    guest.put("f", b"three")
    with pytest.raises(Divergence):
        guest("stat-at", guest.root, (), "f")


def test_metadata_hash_follows_the_file_not_the_inode(worker: Worker) -> None:
    """Inode numbers of removed files come back at once on most file systems, and not the same way twice."""

    def hashes(guest: Guest) -> list[Any]:
        seen = []
        for round_ in range(20):
            guest.put(f"f{round_ % 3}", b"x")
            seen.append(guest("metadata-hash-at", guest.root, (), f"f{round_ % 3}"))
            if round_ % 2:
                assert guest("unlink-file-at", guest.root, f"f{round_ % 3}") == ("ok", None)
        guest.mkdir("d")
        d = guest.open("d", "directory")
        seen.append(guest("metadata-hash", d))
        guest("remove-directory-at", guest.root, "d")
        guest.mkdir("e")
        seen.append(guest("metadata-hash-at", guest.root, (), "e"))
        seen.append(guest("metadata-hash", d))
        guest.drop(d)
        return seen

    outside = worker.root.parent / "taken"
    worker.root.parent.mkdir(parents=True, exist_ok=True)
    first = hashes(worker.start())
    for i in range(7):
        (outside.parent / f"taken{i}").write_bytes(b"")  # so that the second run gets other inodes
    second = hashes(worker.start())
    assert first == second
    assert first[-1] == first[-3] != first[-2]


def test_an_inode_number_that_comes_back_is_another_file() -> None:
    """Told to the tree directly, since which numbers come back is the machine's own business."""
    tree = FileTree()
    info = os.stat_result((stat.S_IFREG | 0o600, 77, 1, 1, 0, 0, 0, 0, 0, 0))
    first = tree.number((1, 77))
    assert tree.number((1, 77)) == first
    tree.entry_made()
    tree.entry_removed(info)
    assert tree.number((1, 77)) == first + 1


def test_metadata_hash_tells_files_apart_and_links_together(guest: Guest) -> None:
    guest.put("a", b"1")
    guest.put("b", b"1")
    guest("link-at", guest.root, (), "a", guest.root, "twin")
    guest.link("a", "soft")
    digest = {name: guest("metadata-hash-at", guest.root, (), name)[1] for name in ("a", "b", "twin", "soft", ".")}
    assert digest["a"] == digest["twin"]
    assert len({*digest.values()}) == 4
    assert guest("metadata-hash-at", guest.root, ("symlink-follow",), "soft")[1] == digest["a"]
    assert guest("metadata-hash", guest.root)[1] == digest["."]
    f = guest.open("b", "", "read write")
    guest("write", f, b"changed", 0)
    assert guest("metadata-hash", f)[1] == digest["b"]
    guest("rename-at", guest.root, "b", guest.root, "c")
    assert guest("metadata-hash-at", guest.root, (), "c")[1] == digest["b"]
    guest.put("b")
    assert guest("metadata-hash-at", guest.root, (), "b")[1] != digest["b"]


def test_a_file_replaced_by_rename_has_its_own_hash(guest: Guest) -> None:
    guest.put("old")
    guest.put("new")
    old, new = (guest("metadata-hash-at", guest.root, (), name) for name in ("old", "new"))
    assert guest("rename-at", guest.root, "new", guest.root, "old") == ("ok", None)
    assert guest("metadata-hash-at", guest.root, (), "old") == new != old


@pytest.mark.parametrize("path", ["f", "d", "l"])
def test_set_times_at(guest: Guest, path: str) -> None:
    guest.put("f")
    guest.mkdir("d")
    guest.link("f", "l")
    target = guest("stat-at", guest.root, (), "f")
    assert guest("set-times-at", guest.root, (), path, at(1, 2), at(3, 4)) == ("ok", None)
    assert guest("stat-at", guest.root, (), path)[1][3:] == ((1, 2), (3, 4), None)
    assert guest("set-times-at", guest.root, (), path, KEEP, at(9)) == ("ok", None)
    assert guest("stat-at", guest.root, (), path)[1][3:5] == ((1, 2), (9, 0))
    assert guest("set-times-at", guest.root, (), path, KEEP, KEEP) == ("ok", None)
    assert guest("stat-at", guest.root, (), path)[1][3:5] == ((1, 2), (9, 0))
    assert guest("set-times-at", guest.root, (), path, NOW, KEEP) == ("ok", None)
    access, modification = guest("stat-at", guest.root, (), path)[1][3:5]
    assert access[0] > 1_000_000_000
    assert modification == (9, 0)
    if path == "l":
        assert guest("stat-at", guest.root, (), "f") == target, "the link's times, not those of what it points to"


@pytest.mark.parametrize("when", [at(1 << 63), at((1 << 64) - 1), at(0, 1_000_000_000)])
def test_times_that_are_none(guest: Guest, when: Any) -> None:
    guest.put("f")
    f = guest.open("f")
    assert guest("set-times", f, when, KEEP) == ("err", "invalid")
    assert guest("set-times-at", guest.root, (), "f", KEEP, when) == ("err", "invalid")
    assert guest("set-times", f, at((1 << 63) - 1), at(0)) == ("ok", None), "the kernel clips it"


def test_directories_look_the_same_on_every_file_system(guest: Guest) -> None:
    guest.mkdir("d")
    for i in range(50):
        guest.mkdir(f"d/{i}")
    assert guest("stat-at", guest.root, (), "d")[1][:3] == ("directory", 1, 0)
    assert guest("stat", guest.root)[1][:3] == ("directory", 1, 0)
    guest.link("d", "l")
    assert guest("stat-at", guest.root, (), "l")[1][:3] == ("symbolic-link", 1, 1)
    guest.put("f", b"123")
    f = guest.open("f")
    guest("link-at", guest.root, (), "f", guest.root, "g")
    assert guest("stat", f)[1][:3] == ("regular-file", 2, 3)
    guest("unlink-file-at", guest.root, "f")
    guest("unlink-file-at", guest.root, "g")
    assert guest("stat", f)[1][:3] == ("regular-file", 0, 3)


def test_the_directory_is_made_when_first_needed_and_for_its_owner_only(worker: Worker) -> None:
    guest = worker.start()
    assert [name for _, name in guest.any("wasi:filesystem/preopens.get-directories")] == ["/", "."]
    assert not worker.root.exists()
    guest.put("f")
    assert worker.root.stat().st_mode & 0o777 == 0o700
    assert (worker.root / "f").stat().st_mode & 0o777 == 0o600


def test_a_parked_worker_holds_no_descriptor_for_its_root(worker: Worker) -> None:
    before = len(os.listdir("/proc/self/fd"))
    guest = worker.start()
    guest.mkdir("d")
    guest.names()
    guest("stat", guest.root)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_instance_that_dies_closes_its_files(worker: Worker) -> None:
    before = len(os.listdir("/proc/self/fd"))
    guest = worker.start()
    f = guest.open("f", "create", "read write")
    guest("append-via-stream", f)
    guest.context.resources.close()
    assert len(os.listdir("/proc/self/fd")) == before
    guest = worker.start()
    guest.open("f", "create", "read write")
    del guest  # nobody dropped anything
    assert len(os.listdir("/proc/self/fd")) == before
