"""PostgreSQL's SQL as words, as far as a linter needs it: statements, quoted names, strings, dollar quotes.

Source of the lexical rules: PostgreSQL manual, "Lexical Structure".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal

Kind = Literal["word", "name", "string", "number", "symbol"]

_TOKENS: Final = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<escape>[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z))
    | (?P<string>(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*(?:'|\Z))
    | (?P<name>(?:[uU]&)?"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<symbol>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)


_LOWER: Final = {ord(upper): lower for upper, lower in zip(ascii_uppercase, ascii_lowercase, strict=True)}


@dataclass(frozen=True)
class Token:
    """One word of SQL.

    :param kind: ``word`` is a keyword or an unquoted name; ``name`` is a quoted one
    :param text: words in upper case; names without their quotes; everything else as written
    :param shown: as written; of a dollar quote its delimiter
    """

    kind: Kind
    text: str
    shown: str

    @property
    def identifier(self) -> str:
        """As a name in the catalog: unquoted ones are lower case, which PostgreSQL does for ASCII only."""
        return self.shown.translate(_LOWER) if self.kind == "word" else self.text


@dataclass(frozen=True)
class Statement:
    """One statement of a revision.

    :param line: of the revision's file, 0 when unknown
    """

    tokens: tuple[Token, ...]
    line: int = 0

    @property
    def shown(self) -> str:
        """In one line, without comments; strings are left out, they may hold data."""
        return " ".join("'…'" if one.kind == "string" else one.shown for one in self.tokens)

    @property
    def without_values(self) -> str:
        """In one line, without comments, strings and numbers; bodies in dollar quotes stay."""
        return " ".join(map(_without_value, self.tokens))

    @property
    def verb(self) -> str:
        """The first word."""
        return self.tokens[0].text if self.tokens else ""


def _without_value(token: Token) -> str:
    if token.kind == "string" and token.text.startswith("$"):
        return token.text
    return "…" if token.kind in ("string", "number") else token.shown


def statements(sql: str, line: int = 0) -> tuple[Statement, ...]:
    """Split SQL at its semicolons; bodies of SQL-standard functions (``BEGIN ATOMIC … END``) stay whole."""
    found: list[Statement] = []
    tokens: list[Token] = []
    depth = 0
    for token in _tokens(sql):
        if token.kind == "symbol" and token.text == ";" and depth == 0:
            if tokens:
                found.append(Statement(tuple(tokens), line))
            tokens = []
            continue
        depth += _nesting(tokens, token, depth)
        tokens.append(token)
    if tokens:
        found.append(Statement(tuple(tokens), line))
    return tuple(found)


def without_strings(sql: str) -> str:
    """SQL for humans, in one line: see :attr:`Statement.shown`. Where it was cut off, a string ends with it."""
    return "; ".join(one.shown for one in statements(sql))


class Reader:
    """Reads the words of a statement from left to right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)
        self._at = 0

    def take(self, *words: str) -> bool:
        """Step over the words when all of them come next, in this order."""
        following = self._tokens[self._at : self._at + len(words)]
        if len(following) < len(words):
            return False
        if any(one.kind == "name" or one.text != word for one, word in zip(following, words, strict=True)):
            return False
        self._at += len(words)
        return True

    def take_any(self, *words: str) -> str:
        """Step over one of the words; "" when none comes next."""
        return next((word for word in words if self.take(word)), "")

    def name(self) -> str:
        """Step over a name, schema included; "" when none comes next. ``public`` is left out."""
        parts: list[str] = []
        while self._at < len(self._tokens) and self._tokens[self._at].kind in ("word", "name"):
            parts.append(self._tokens[self._at].identifier)
            self._at += 1
            if not self.take("."):
                break
        return ".".join(parts[1:] if len(parts) > 1 and parts[0] == "public" else parts)

    @property
    def rest(self) -> tuple[Token, ...]:
        """What was not read yet."""
        return self._tokens[self._at :]

    def clauses(self) -> list[tuple[Token, ...]]:
        """The rest, split at its outermost commas."""
        found: list[list[Token]] = [[]]
        depth = 0
        for token in self.rest:
            if token.kind == "symbol":
                depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
            if depth == 0 and token.kind == "symbol" and token.text == ",":
                found.append([])
            else:
                found[-1].append(token)
        return [tuple(one) for one in found]


def words(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Keywords and symbols as text, for searching; names and strings cannot be mistaken for them."""
    return tuple(one.text if one.kind in ("word", "symbol") else f"<{one.kind}>" for one in tokens)


def has(tokens: Sequence[Token], *sequence: str) -> bool:
    """Whether the words stand one after the other somewhere."""
    text = words(tokens)
    return any(text[at : at + len(sequence)] == sequence for at in range(len(text) - len(sequence) + 1))


def _tokens(sql: str) -> Iterator[Token]:
    at = 0
    while at < len(sql):
        match = _TOKENS.match(sql, at)
        assert match is not None, "the last alternative matches anything"
        kind, shown = match.lastgroup, match.group()
        at = match.end()
        if kind == "comment":
            at = _comment_end(sql, at)
        elif kind == "dollar":
            end = sql.find(shown, at)
            at = len(sql) if end < 0 else end + len(shown)
            yield Token("string", sql[match.start() : at], shown)
        elif kind in ("string", "escape"):
            yield Token("string", shown, shown)
        elif kind == "name":
            yield Token("name", shown[shown.index('"') + 1 : -1].replace('""', '"'), shown)
        elif kind == "word":
            yield Token("word", shown.upper(), shown)
        elif kind == "number":
            yield Token("number", shown, shown)
        elif kind == "symbol":
            yield Token("symbol", shown, shown)


def _comment_end(sql: str, at: int) -> int:
    depth = 1  # they nest in PostgreSQL
    while depth and at < len(sql):
        if sql.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif sql.startswith("*/", at):
            depth, at = depth - 1, at + 2
        else:
            at += 1
    return at


def _nesting(before: Sequence[Token], token: Token, depth: int) -> int:
    if token.kind != "word":
        return 0
    if token.text == "ATOMIC" and before and before[-1].text == "BEGIN":
        return 1
    if depth and token.text == "CASE":
        return 1
    return -1 if depth and token.text == "END" else 0
