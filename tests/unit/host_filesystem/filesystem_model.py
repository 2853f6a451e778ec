"""A deliberately stupid file system: objects in memory, no limits but the quota, one function per call.

Paths are walked by recursion over lists of names; a directory is a dict; usage is counted anew each time by looking at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class No(Exception):
    pass


@dataclass(eq=False)
class File:
    data: bytes = b""


@dataclass(eq=False)
class Link:
    target: str


@dataclass(eq=False)
class Directory:
    entries: dict[str, Node] = field(default_factory=dict)


Node = File | Link | Directory


@dataclass
class Spot:
    """``name`` in ``parent``; or, without name, ``parent`` itself."""

    parent: Directory
    name: str | None
    slash: bool

    @property
    def node(self) -> Node | None:
        return self.parent if self.name is None else self.parent.entries.get(self.name)

    def entry(self) -> str:
        if self.name is None:
            raise No("invalid")
        return self.name

    def there(self) -> Node:
        if self.node is None:
            raise No("no-entry")
        return self.node


class Model:
    def __init__(self, quota: int) -> None:
        self.root = Directory()
        self.quota = quota
        self.held: list[Node] = []  # behind open handles

    # -------------------------------------------------------------------------------------------------------- walking

    def spot(self, base: Directory, path: str, follow: bool, entry: bool = False) -> Spot:
        self.links = 0
        return self.walk([base], path, follow, entry)

    def walk(self, stack: list[Directory], path: str, follow: bool, entry: bool) -> Spot:
        if path == "":
            raise No("no-entry")
        if path[0] == "/":
            raise No("not-permitted")
        names = [name for name in path.split("/") if name]
        slash = path[-1] == "/"
        while names:
            name, *names = names
            here = stack[-1]
            if name == ".":
                continue
            if name == "..":
                if len(stack) == 1:
                    raise No("not-permitted")
                stack = stack[:-1]
                continue
            node = here.entries.get(name)
            last = not names
            if isinstance(node, Link) and (not last or follow or (slash and not entry)):
                self.links += 1
                if self.links > 40:
                    raise No("loop")
                spliced = "/".join([node.target.rstrip("/"), *names]) + self.end(slash, node, last)
                return self.walk(stack, spliced, follow, entry)
            if last:
                if slash and node is not None and not isinstance(node, Directory):
                    raise No("not-directory")
                return Spot(here, name, slash)
            if node is None:
                raise No("no-entry")
            if not isinstance(node, Directory):
                raise No("not-directory")
            stack = [*stack, node]
        return Spot(stack[-1], None, True)

    @staticmethod
    def end(slash: bool, link: Link, last: bool) -> str:
        return "/" if slash or (last and link.target.endswith("/")) else ""

    # ---------------------------------------------------------------------------------------------------------- quota

    def everything(self) -> set[Node]:
        found: set[Node] = set()
        unseen: list[Node] = [self.root, *self.held]
        while unseen:
            node = unseen.pop()
            found.add(node)
            if isinstance(node, Directory):
                unseen.extend(node.entries.values())
        return found

    def used(self) -> int:
        return sum(len(node.data) for node in self.everything() if isinstance(node, File))

    def links_of(self, wanted: Node) -> int:
        """Names of ``wanted`` in all directories that are part of the tree."""
        count, unseen = 0, [self.root]
        while unseen:
            for node in unseen.pop().entries.values():
                count += node is wanted
                if isinstance(node, Directory):
                    unseen.append(node)
        return count

    def resize(self, file: File, data: bytes) -> None:
        if len(data) > len(file.data) and self.used() - len(file.data) + len(data) > self.quota:
            raise No("quota")
        file.data = data

    # ---------------------------------------------------------------------------------------------------------- calls

    def inside(self, directory: Directory, inner: Directory) -> bool:
        """Whether ``inner`` is ``directory`` or lies below it."""
        unseen: list[Node] = [directory]
        while unseen:
            node = unseen.pop()
            if node is inner:
                return True
            if isinstance(node, Directory):
                unseen.extend(node.entries.values())
        return False

    def place(self, spot: Spot, node: Node) -> None:
        """Give ``node`` a name; in a directory that is itself gone, nothing can be made."""
        if not self.inside(self.root, spot.parent):
            raise No("no-entry")
        spot.parent.entries[spot.entry()] = node

    def mkdir(self, base: Directory, path: str) -> None:
        spot = self.spot(base, path, False, True)
        if spot.node is not None:
            raise No("exist")
        self.place(spot, Directory())

    def symlink(self, base: Directory, target: str, path: str) -> None:
        if not target:
            raise No("no-entry")
        if target[0] == "/":
            raise No("not-permitted")
        spot = self.spot(base, path, False, True)
        self.free(spot)
        self.place(spot, Link(target))

    def free(self, spot: Spot) -> None:
        if spot.node is not None:
            raise No("exist")
        if spot.slash:
            raise No("no-entry")

    def link(self, base: Directory, old: str, new_base: Directory, new: str, follow: bool) -> None:
        source = self.spot(base, old, follow)
        target = self.spot(new_base, new, False, True)
        node = source.there()
        if isinstance(node, Directory):
            raise No("not-permitted")
        self.free(target)
        self.place(target, node)

    def rename(self, base: Directory, old: str, new_base: Directory, new: str) -> None:
        source = self.spot(base, old, False, True)
        target = self.spot(new_base, new, False, True)
        node = source.there()
        source.entry(), target.entry()
        if node is target.node:
            return
        if isinstance(target.node, Directory) and not isinstance(node, Directory):
            raise No("is-directory")
        if isinstance(node, Directory):
            if target.node is not None and not isinstance(target.node, Directory):
                raise No("not-directory")
            if self.inside(node, target.parent):
                raise No("invalid")
        elif target.slash:
            raise No("not-directory")
        if isinstance(target.node, Directory) and target.node.entries:
            raise No("not-empty")
        self.place(target, node)
        del source.parent.entries[source.entry()]

    def rmdir(self, base: Directory, path: str) -> None:
        spot = self.spot(base, path, False, True)
        node = spot.there()
        name = spot.entry()
        if not isinstance(node, Directory):
            raise No("not-directory")
        if node.entries:
            raise No("not-empty")
        del spot.parent.entries[name]

    def unlink(self, base: Directory, path: str) -> None:
        spot = self.spot(base, path, False, True)
        if isinstance(spot.there(), Directory):
            raise No("is-directory")
        del spot.parent.entries[spot.entry()]

    def readlink(self, base: Directory, path: str) -> str:
        node = self.spot(base, path, False).there()
        if not isinstance(node, Link):
            raise No("invalid")
        return node.target

    def open(self, base: Directory, path: str, follow: bool, how: tuple[str, ...]) -> Node:
        """Always for reading and writing, unless as a directory."""
        exclusive = "create" in how and "exclusive" in how
        spot = self.spot(base, path, follow and not exclusive)
        node = spot.node
        if node is None:
            if "create" not in how:
                raise No("no-entry")
            if spot.slash:
                raise No("is-directory")
            node = File()
            self.place(spot, node)
        elif exclusive:
            raise No("exist")
        elif isinstance(node, Link):
            raise No("loop")
        elif isinstance(node, Directory):
            if how != ("directory",):
                raise No("is-directory")
        elif "directory" in how:
            raise No("not-directory")
        elif "truncate" in how:
            node.data = b""
        self.held.append(node)
        return node

    def write(self, file: File, data: bytes, offset: int) -> int:
        if data:
            padded = file.data.ljust(offset, b"\0")
            self.resize(file, padded[:offset] + data + padded[offset + len(data) :])
        return len(data)

    def set_size(self, file: File, size: int) -> None:
        self.resize(file, file.data[:size].ljust(size, b"\0"))

    def stat(self, node: Node) -> tuple[str, int, int]:
        match node:
            case Directory():
                return ("directory", 1, 0)
            case Link():
                return ("symbolic-link", self.links_of(node), len(node.target.encode()))
            case File():
                return ("regular-file", self.links_of(node), len(node.data))

    def names(self, directory: Directory) -> list[tuple[str, str]]:
        return [(self.stat(node)[0], name) for name, node in sorted(directory.entries.items())]
