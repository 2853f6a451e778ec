"""Searching an oplog: a small Lucene-like language over the public JSON of entries.

    query   = disjunction
    disjunction = conjunction { ["OR" | "||"] conjunction }      terms side by side mean OR, as in Lucene
    conjunction = negation { ("AND" | "&&") negation }
    negation    = ("NOT" | "!" | "-") negation | "+" negation | "(" query ")" | term
    term        = [field ":"] (word | '"' phrase '"')

A word or phrase is found, whatever its case, inside any value of an entry; after ``field:`` only inside values below a key of
that name (``a.b`` asks for key b somewhere below a). ``field:*`` asks whether there is one. A text with a colon is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from golemp2p.errors import MalformedRequest

QUERY_CHARACTERS_MAX = 1024
QUERY_DEPTH_MAX = 32  # parentheses and negations; the parser recurses

Leaf: TypeAlias = tuple[tuple[str, ...], str]  # (keys from the outside in, lower-cased value), all lower case
Predicate: TypeAlias = Callable[[list[Leaf]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<operator> \( | \) | && | \|\| | !(?=\S) | -(?=\S) | \+(?=\S) )
    | (?P<field> [\w.-]+ ) : (?: " (?P<field_phrase> (?:[^"\\]|\\.)* ) " | (?P<field_word> [^\s()"]+ ) )
    | " (?P<phrase> (?:[^"\\]|\\.)* ) "
    | (?P<word> [^\s()":]+ )
    )""",
    re.VERBOSE,
)


def parse_query(text: str) -> Predicate:
    """A predicate over ``leaves``. Raises ``MalformedRequest`` with the place of the fault."""
    if len(text) > QUERY_CHARACTERS_MAX:
        raise MalformedRequest(f"a query has at most {QUERY_CHARACTERS_MAX} characters")
    return _Parser(text).parse()


def leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every value in a JSON tree with the keys that lead to it; elements of a list count as the list."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*keys, key.lower()))
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, keys)
    elif isinstance(value, bool):
        yield keys, "true" if value else "false"
    else:
        yield keys, "null" if value is None else str(value).lower()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._tokens = list(self._scan())
        self._next = 0

    def _scan(self) -> Iterator[re.Match[str]]:
        end = len(self._text.rstrip())
        while self._position < end:
            match = _TOKEN.match(self._text, self._position)
            if match is None:
                raise self._fault(self._position, "a stray quote or colon (put texts that hold them in quotes)")
            yield match
            self._position = match.end()

    def _fault(self, position: int, what: str) -> MalformedRequest:
        return MalformedRequest(f"malformed query at character {position + 1}: {what}")

    def parse(self) -> Predicate:
        if not self._tokens:
            raise MalformedRequest("the query is empty")
        predicate = self._disjunction(0)
        if self._next < len(self._tokens):
            raise self._fault(self._tokens[self._next].start(), "a ')' without its '('")
        return predicate

    def _peek(self) -> str:
        """The operator that comes next, ``""`` for a term, ``"end"`` at the end."""
        if self._next == len(self._tokens):
            return "end"
        match = self._tokens[self._next]
        if match["word"] in {"AND", "OR", "NOT"}:
            return str(match["word"])
        return {"&&": "AND", "||": "OR", "!": "NOT", "-": "NOT"}.get(match["operator"], match["operator"] or "")

    def _disjunction(self, depth: int) -> Predicate:
        parts = [self._conjunction(depth)]
        while (ahead := self._peek()) not in {"end", ")"}:
            if ahead == "OR":
                self._next += 1
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else lambda found: any(part(found) for part in parts)

    def _conjunction(self, depth: int) -> Predicate:
        parts = [self._negation(depth)]
        while self._peek() == "AND":
            self._next += 1
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else lambda found: all(part(found) for part in parts)

    def _negation(self, depth: int) -> Predicate:
        ahead = self._peek()
        if ahead == "end":
            raise self._fault(len(self._text), "something is missing at the end")
        match = self._tokens[self._next]
        if depth > QUERY_DEPTH_MAX:
            raise self._fault(match.start(), f"nested deeper than {QUERY_DEPTH_MAX}")
        self._next += 1
        if ahead == "NOT":
            negated = self._negation(depth + 1)
            return lambda found: not negated(found)
        if ahead == "+":
            return self._negation(depth + 1)
        if ahead == "(":
            inner = self._disjunction(depth + 1)
            if self._peek() != ")":
                raise self._fault(match.start(), "a '(' without its ')'")
            self._next += 1
            return inner
        if ahead:
            raise self._fault(match.start(), f"{ahead!r} needs a term before it")
        return _term(match)


def _term(match: re.Match[str]) -> Predicate:
    phrase = match["phrase"] if match["field"] is None else match["field_phrase"]
    text = (match["word"] or match["field_word"]) if phrase is None else re.sub(r"\\(.)", r"\1", phrase)
    wanted = text.lower()
    if match["field"] is None:
        return lambda found: any(wanted in value for _, value in found)
    path = match["field"].lower().split(".")
    if wanted == "*" and phrase is None:
        return lambda found: any(_below(keys, path) for keys, _ in found)
    return lambda found: any(wanted in value and _below(keys, path) for keys, value in found)


def _below(keys: tuple[str, ...], path: list[str]) -> bool:
    """Whether ``path`` occurs in ``keys`` in this order, not necessarily side by side."""
    position = iter(keys)
    return all(part in position for part in path)
