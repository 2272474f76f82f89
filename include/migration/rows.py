"""What statements about rows do to them: deleted, overwritten, or whatever a function does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.migration.calls import acting
from include.migration.operation import Operation, cascade
from include.migration.sqltext import Reader, Token, has, words


def truncate(reader: Reader) -> tuple[Operation, ...]:
    """``TRUNCATE``; with ``CASCADE`` it empties tables that it does not name."""
    reader.take("TABLE")
    flags = cascade(reader.rest)
    return tuple(Operation("empty-table", _only(one).name(), flags=flags) for one in reader.clauses())


def delete(reader: Reader) -> tuple[Operation, ...]:
    """``DELETE``."""
    reader.take("FROM")
    reader.take("ONLY")
    table = reader.name()
    return (Operation("delete-rows", table), *_done_beside(reader.rest))


def update(reader: Reader) -> tuple[Operation, ...]:
    """``UPDATE``: one operation for each column that is set."""
    reader.take("ONLY")
    table = reader.name()
    tokens = reader.rest
    at = words(tokens).index("SET") + 1 if has(tokens, "SET") else len(tokens)
    return (*_set(table, tokens[at:], every_row=not has(tokens, "WHERE")), *_done_beside(tokens))


def insert(reader: Reader) -> tuple[Operation, ...]:
    """``INSERT``, which overwrites rows where it says ``ON CONFLICT DO UPDATE``."""
    reader.take("INTO")
    table = reader.name()
    tokens = reader.rest
    beside = _done_beside(tokens)
    conflict = frozenset({"on-conflict"} if has(tokens, "ON", "CONFLICT") else ())
    if not has(tokens, "DO", "UPDATE"):
        return (Operation("insert-rows", table, flags=conflict), *beside)
    text = words(tokens)
    at = next(at for at in range(len(text)) if text[at : at + 2] == ("DO", "UPDATE"))
    added = Operation("insert-rows", table, flags=conflict)
    return (added, *_set(table, tokens[at + 3 :], every_row=False), *beside)


def query(tokens: Sequence[Token]) -> tuple[Operation, ...]:
    """``SELECT``, ``WITH``, ``VALUES``: harmless, unless it changes rows or calls who knows what."""
    if has(tokens, "WITH") and any(has(tokens, verb) for verb in ("UPDATE", "DELETE", "MERGE")):
        return (Operation("unknown", object="WITH"),)
    text = words(tokens)
    into = [at + 2 for at in range(len(text)) if text[at : at + 2] == ("INSERT", "INTO")]
    rows = [Operation("insert-rows", Reader(tokens[at:]).name()) for at in into]
    return (*rows, *_done_beside(tokens)) or (Operation("harmless"),)


def made_by(tokens: Sequence[Token]) -> tuple[Operation, ...]:
    """What is done beside making a table ``AS`` a query, by that query; ``tokens`` follow the table's name."""
    depth = 0
    for at, token in enumerate(tokens):
        if token.kind == "symbol":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        elif depth == 0 and words((token,)) == ("AS",):
            asked = tokens[at + 1 :]
            if words(asked[:1]) == ("EXECUTE",):
                return (Operation("unknown", object="EXECUTE"),)
            return tuple(one for one in query(asked) if one.kind != "harmless")
    return ()


def _done_beside(tokens: Sequence[Token]) -> tuple[Operation, ...]:
    """What the functions do that a statement calls, whatever else it does."""
    name = acting(tokens)
    return (Operation("unknown", object=f"{name}()"),) if name else tuple(_settings(tokens))


def _settings(tokens: Sequence[Token]) -> Iterator[Operation]:
    """What ``set_config`` sets, which is unknown where it is not written there."""
    for name, bracket, argument, comma in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if name.identifier == "set_config" and bracket.text == "(":
            written = argument.kind == "string" and argument.text.startswith("'") and comma.text == ","
            text = argument.text.strip("'").lower()
            yield Operation("setting", object=text) if written else Operation("unknown", object="set_config()")


def _only(clause: Sequence[Token]) -> Reader:
    reader = Reader(clause)
    reader.take("ONLY")
    return reader


def _set(table: str, tokens: Sequence[Token], *, every_row: bool) -> tuple[Operation, ...]:
    """The columns behind ``SET``; none named means any of them."""
    columns = [column for clause in Reader(_assignments(tokens)).clauses() for column in _columns(clause)]
    flags = frozenset({"all"} if every_row else ())
    found = [Operation("update-rows", table, column, flags) for column in dict.fromkeys(columns)]
    return tuple(found) or (Operation("update-rows", table, "", flags),)


def _assignments(tokens: Sequence[Token]) -> Sequence[Token]:
    depth = 0
    for at, token in enumerate(tokens):
        if token.kind == "symbol":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        compared = token.text == "FROM" and words(tokens[at - 1 : at]) == ("DISTINCT",)
        ends = token.kind == "word" and token.text in ("FROM", "WHERE", "RETURNING") and not compared
        if depth == 0 and ends:
            return tokens[:at]
    return tokens


def _columns(clause: Sequence[Token]) -> list[str]:
    if words(clause[:1]) != ("(",):
        # A part of a composite column stands behind a point.
        return [name.partition(".")[0] for name in (Reader(clause).name(),) if name]
    end = words(clause).index(")") if ")" in words(clause) else len(clause)
    return [one.identifier for one in clause[1:end] if one.kind in ("word", "name")]
