"""What ``ALTER TABLE`` does to a schema, in the words of the rules. Pure."""

from __future__ import annotations

from typing import Final

from include.migration.calls import acting, volatile
from include.migration.operation import ONCE, Operation, cascade, if_exists, if_not_exists
from include.migration.sqltext import Reader, Token, has, words

_SERIAL: Final = frozenset({"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL2", "SERIAL4", "SERIAL8"})
_CONSTRAINTS: Final = ("CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE")


def alter_table(reader: Reader) -> tuple[Operation, ...]:
    """What its actions do, from the table's name on."""
    reader.take("IF", "EXISTS")
    reader.take("ONLY")
    table = reader.name()
    reader.take("*")
    return tuple(one for clause in reader.clauses() for one in (_action(table, Reader(clause)), *_called(clause)))


def _called(clause: tuple[Token, ...]) -> tuple[Operation, ...]:
    """What a function does that is called for every row: by a default of a new column, or by ``USING``."""
    text = words(clause)
    values = clause[text.index("USING") + 1 :] if "USING" in text else ()
    if text[:1] == ("ADD",):
        values = _default(clause)
    name = acting(values)
    return (Operation("unknown", object=f"{name}()"),) if name else ()


def _action(table: str, reader: Reader) -> Operation:
    verb = reader.take_any("ADD", "DROP", "ALTER", "RENAME", "SET", "ATTACH", "DETACH")
    if verb == "ADD":
        return _add(table, reader)
    if verb == "DROP":
        constraint = reader.take("CONSTRAINT")
        reader.take("COLUMN")
        flags = if_exists(reader) | cascade(reader.rest)
        return Operation("drop-constraint" if constraint else "drop-column", table, reader.name(), flags)
    if verb == "ALTER":
        return _alter_column(table, reader)
    if verb == "RENAME":
        what = reader.take_any("TO", "CONSTRAINT", "COLUMN")
        if what == "TO":
            return _moved(table, table.rpartition(".")[0], reader.name())
        return Operation("harmless" if what == "CONSTRAINT" else "rename", table, reader.name(), ONCE)
    if verb == "SET":
        return _set(table, reader)
    if verb == "DETACH":
        return Operation("drop-table", table, "partition")
    if verb == "ATTACH":
        reader.take("PARTITION")
        return Operation("attach-partition", table, reader.name())
    return _switch(table, reader)


def _switch(table: str, reader: Reader) -> Operation:
    """What is said of the table as a whole."""
    if has(reader.rest, "ROW", "LEVEL", "SECURITY"):
        return Operation("row-security", table)
    if reader.take("OWNER"):
        return Operation("owner", table)
    if reader.take_any("ENABLE", "DISABLE"):
        return Operation("switch-trigger", table)
    harmless = reader.take_any("VALIDATE", "REPLICA", "CLUSTER", "RESET")
    return Operation("harmless" if harmless else "unknown", table, "ALTER TABLE")


def _moved(table: str, schema: str, name: str) -> Operation:
    there = name if schema in ("", "public") else f"{schema}.{name}"
    return Operation("rename", table, there, frozenset({"table"}))


def _set(table: str, reader: Reader) -> Operation:
    if reader.take("SCHEMA"):
        return _moved(table, reader.name(), table.rpartition(".")[2])
    if reader.take_any("LOGGED", "UNLOGGED", "TABLESPACE", "ACCESS"):
        return Operation("rewrite", table)
    return Operation("harmless", table)


def _add(table: str, reader: Reader) -> Operation:
    first = reader.rest[0] if reader.rest else None
    if first is not None and first.kind == "word" and first.text in _CONSTRAINTS:
        return _add_constraint(table, reader)
    reader.take("COLUMN")
    maybe = if_not_exists(reader)
    return Operation("add-column", table, reader.name(), maybe | _column_flags(reader.rest))


def _column_flags(tokens: tuple[Token, ...]) -> frozenset[str]:
    outer = _outside_brackets(tokens)
    flags = set()
    generated = has(outer, "GENERATED")
    serial = any(word in _SERIAL for word in words(tokens[:1]))
    default = _default(tokens)
    if has(outer, "NOT", "NULL") or has(outer, "PRIMARY", "KEY"):
        flags.add("not-null")
    if (default and not has(default, "NULL")) or generated or serial:
        flags.add("default")
    if generated or serial or volatile(default):
        flags.add("rewrite")
    if has(outer, "REFERENCES") or has(outer, "CHECK"):
        flags.add("checked")
    if has(outer, "UNIQUE") or has(outer, "PRIMARY", "KEY"):
        flags.add("unique")
    return frozenset(flags)


def _default(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    text = words(tokens)
    if "DEFAULT" not in text:
        return ()
    start = text.index("DEFAULT") + 1
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        ends = text[at] in (*_CONSTRAINTS, "REFERENCES", "COLLATE", "NOT") or (text[at] == "NULL" and at > start)
        if depth == 0 and ends:
            return tokens[start:at]
    return tokens[start:]


def _outside_brackets(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    found, depth = [], 0
    for token in tokens:
        if token.kind == "symbol" and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif depth == 0:
            found.append(token)
    return tuple(found)


def _add_constraint(table: str, reader: Reader) -> Operation:
    name = reader.name() if reader.take("CONSTRAINT") else ""
    kind = reader.take_any("CHECK", "FOREIGN", "UNIQUE", "PRIMARY", "EXCLUDE", "NOT")
    flags = {"index"} if kind in ("UNIQUE", "PRIMARY", "EXCLUDE") else {"checked"}
    if has(reader.rest, "NOT", "VALID"):
        flags.add("not-valid")
    if has(reader.rest, "USING", "INDEX"):
        flags.add("using-index")
    return Operation("add-constraint", table, name, frozenset(flags))


def _alter_column(table: str, reader: Reader) -> Operation:
    if reader.take("CONSTRAINT"):
        return Operation("harmless", table)
    reader.take("COLUMN")
    column = reader.name()
    if reader.take("TYPE") or reader.take("SET", "DATA", "TYPE"):
        return Operation("type-change", table, column)
    for phrase, kind in (
        (("SET", "NOT", "NULL"), "set-not-null"),
        (("DROP", "DEFAULT"), "drop-default"),
        (("DROP", "IDENTITY"), "drop-default"),
        (("DROP", "EXPRESSION"), "drop-default"),
        (("SET", "EXPRESSION"), "rewrite"),
        (("SET", "GENERATED", "ALWAYS"), "generated-always"),
        (("ADD", "GENERATED", "ALWAYS"), "generated-always"),
    ):
        if reader.take(*phrase):
            return Operation(kind, table, column)
    harmless = reader.take_any("SET", "ADD", "DROP", "RESET", "RESTART")
    return Operation(
        "harmless" if harmless else "unknown", table, column, ONCE if harmless == "ADD" else frozenset()
    )
