"""Matching a raw path to a hot route: one dictionary look-up per segment, and no percent-decoding before the match."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from golemp2p_gateway.edge import Route
from golemp2p_gateway.http import decode_segment

_ANY = "{}"  # no literal segment looks so
_END = "/"  # no segment contains a slash


class Router:
    """A tree of segments. Literal segments win over parameters; there is no backtracking, so siblings must not need it."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root: dict[str, Any] = {}
        for route in routes:
            node = self._root
            names = []
            for segment in route.template[1:].split("/"):
                is_parameter = segment.startswith("{")
                if is_parameter:
                    names.append(segment[1:-1])
                node = node.setdefault(_ANY if is_parameter else segment, {})
            node.setdefault(_END, {})[route.method] = (route, tuple(names))

    def match(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]] | None:
        """The route and its decoded parameters. Raises ``MalformedRequest`` when a matched segment is not UTF-8."""
        values = []
        node = self._root
        for segment in raw_path[1:].decode("latin-1").split("/"):
            following = node.get(segment)
            if following is None:
                following = node.get(_ANY)
                if following is None or not segment:
                    return None
                values.append(segment)
            node = following
        found = node.get(_END, {}).get(method)
        if found is None:
            return None
        route, names = found
        return route, dict(zip(names, map(decode_segment, values), strict=True))
