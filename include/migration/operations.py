"""What a statement does to a schema, in the words of the rules. Pure; knows PostgreSQL's grammar of DDL.

What it does not understand is ``unknown``, never harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from include.migration.sqltext import Reader, Statement, Token, has, words


@dataclass(frozen=True)
class Operation:
    """One thing that a statement does.

    :param kind: ``drop-column``, ``create-index`` …, or ``harmless``, or ``unknown``
    :param table: the table (or other object) it is about, "" when there is none
    :param object: column, constraint, new name …
    :param flags: what makes it better or worse: ``concurrently``, ``not-valid``, ``rewrite`` …
    """

    kind: str
    table: str = ""
    object: str = ""
    flags: frozenset[str] = frozenset()


# Functions that give the same value for all rows of one statement: a default with them rewrites nothing
# (PostgreSQL manual, ALTER TABLE, notes).
_STABLE: Final = frozenset(
    {
        *("NOW", "STATEMENT_TIMESTAMP", "TRANSACTION_TIMESTAMP", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP"),
        *("CURRENT_DATE", "CURRENT_TIME", "CURRENT_USER", "SESSION_USER", "TO_DATE", "TO_TIMESTAMP"),
    }
)
_TYPE_WORDS: Final = frozenset(
    {
        *("VARCHAR", "CHARACTER", "VARYING", "CHAR", "NUMERIC", "DECIMAL", "FLOAT", "BIT"),
        *("TIMESTAMP", "TIME", "INTERVAL", "CAST"),
    }
)
_SERIAL: Final = frozenset({"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL2", "SERIAL4", "SERIAL8"})
_CONSTRAINTS: Final = ("CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE")
_HARMLESS: Final = frozenset(
    {"COMMENT", "GRANT", "INSERT", "SELECT", "SET", "RESET", "ANALYZE", "SHOW", "NOTIFY", "WITH", "VALUES"}
)
_TRANSACTION: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "START", "END", "SAVEPOINT", "RELEASE"})


def operations(statement: Statement) -> tuple[Operation, ...]:
    """Everything that a statement does."""
    verb = statement.verb
    if verb in _TRANSACTION:
        return (Operation("transaction", object=verb),)
    if reader := _READERS.get(verb):
        return reader(Reader(statement.tokens[1:]))
    if verb in _HARMLESS and not (verb == "WITH" and _changes(statement.tokens)):
        return (Operation("harmless"),)
    return (Operation("unknown", object=verb),)


def _changes(tokens: tuple[Token, ...]) -> bool:
    return any(one.kind == "word" and one.text in ("UPDATE", "DELETE") for one in tokens)


def _alter(reader: Reader) -> tuple[Operation, ...]:
    what = reader.take_any("TABLE", "TYPE", "INDEX", "SEQUENCE", "VIEW", "SCHEMA", "SYSTEM", "DATABASE", "DOMAIN")
    if what == "TABLE":
        return _alter_table(reader)
    if what == "SYSTEM":
        return (Operation("outside-transaction", object="ALTER SYSTEM"),)
    reader.take("IF", "EXISTS")
    name = reader.name()
    if what == "TYPE" and reader.take("ADD", "VALUE"):
        return (Operation("enum-value", name),)
    if has(reader.rest, "RENAME") or has(reader.rest, "SET", "SCHEMA"):
        # The planner knows an index by its place: nobody names one.
        return (Operation("harmless" if what == "INDEX" else "rename", name),)
    if what in ("INDEX", "SEQUENCE", "DATABASE"):
        return (Operation("harmless"),)
    return (Operation("unknown", name, f"ALTER {what}".strip()),)


def _alter_table(reader: Reader) -> tuple[Operation, ...]:
    reader.take("IF", "EXISTS")
    reader.take("ONLY")
    table = reader.name()
    reader.take("*")
    return tuple(_action(table, Reader(clause)) for clause in reader.clauses())


def _action(table: str, reader: Reader) -> Operation:
    verb = reader.take_any("ADD", "DROP", "ALTER", "RENAME", "SET", "VALIDATE", "ATTACH", "DETACH")
    if verb == "ADD":
        return _add(table, reader)
    if verb == "DROP":
        constraint = reader.take("CONSTRAINT")
        reader.take("COLUMN")
        reader.take("IF", "EXISTS")
        return Operation("drop-constraint" if constraint else "drop-column", table, reader.name())
    if verb == "ALTER":
        return _alter_column(table, reader)
    if verb == "RENAME":
        what = reader.take_any("TO", "CONSTRAINT", "COLUMN")
        return Operation("harmless" if what == "CONSTRAINT" else "rename", table, reader.name())
    if verb == "SET":
        return _set(table, reader)
    if verb == "DETACH":
        return Operation("drop-table", table, "partition")
    if verb in ("VALIDATE", "ATTACH"):
        return Operation("harmless", table)
    harmless = reader.take_any("ENABLE", "OWNER", "REPLICA", "CLUSTER", "RESET", "DISABLE")
    return Operation("harmless" if harmless else "unknown", table, "ALTER TABLE")


def _set(table: str, reader: Reader) -> Operation:
    if reader.take("SCHEMA"):
        return Operation("rename", table, reader.name())
    if reader.take_any("LOGGED", "UNLOGGED", "TABLESPACE", "ACCESS"):
        return Operation("rewrite", table)
    return Operation("harmless", table)


def _add(table: str, reader: Reader) -> Operation:
    first = reader.rest[0] if reader.rest else None
    if first is not None and first.kind == "word" and first.text in _CONSTRAINTS:
        return _add_constraint(table, reader)
    reader.take("COLUMN")
    reader.take("IF", "NOT", "EXISTS")
    return Operation("add-column", table, reader.name(), _column_flags(reader.rest))


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
    if generated or serial or _volatile(default):
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


def _volatile(tokens: tuple[Token, ...]) -> bool:
    """Whether it calls a function that is not known to be stable."""
    return any(
        after.text == "(" and one.kind in ("word", "name") and one.text not in _STABLE | _TYPE_WORDS
        for one, after in pairwise(tokens)
    )


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
    ):
        if reader.take(*phrase):
            return Operation(kind, table, column)
    harmless = reader.take_any("SET", "ADD", "DROP", "RESET", "RESTART")
    return Operation("harmless" if harmless else "unknown", table, column)


def _create(reader: Reader) -> tuple[Operation, ...]:
    replace = reader.take("OR", "REPLACE")
    if reader.take("DATABASE") or reader.take("TABLESPACE"):
        return (Operation("outside-transaction", object="CREATE DATABASE"),)
    unique = reader.take("UNIQUE")
    if reader.take("INDEX"):
        return (_create_index(reader, unique=unique),)
    while reader.take_any(
        "GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "UNLOGGED", "FOREIGN", "CONSTRAINT", "RECURSIVE"
    ):
        pass
    if reader.take("TABLE") or reader.take("MATERIALIZED", "VIEW"):
        reader.take("IF", "NOT", "EXISTS")
        return (Operation("create-table", reader.name()),)
    if reader.take("TRIGGER"):
        tokens = reader.rest
        at = words(tokens).index("ON") + 1 if "ON" in words(tokens) else len(tokens)
        return (Operation("create-trigger", Reader(tokens[at:]).name()),)
    what = reader.rest[0].shown if reader.rest else ""
    return (Operation("replace", object=what) if replace else Operation("harmless", object=what),)


def _create_index(reader: Reader, *, unique: bool) -> Operation:
    flags = {"unique"} if unique else set()
    if reader.take("CONCURRENTLY"):
        flags.add("concurrently")
    if reader.take("IF", "NOT", "EXISTS"):
        flags.add("if-not-exists")
    name = "" if reader.take("ON") else reader.name()
    reader.take("ON")
    reader.take("ONLY")
    return Operation("create-index", reader.name(), name, frozenset(flags))


def _drop(reader: Reader) -> tuple[Operation, ...]:
    what = reader.take_any("TABLE", "INDEX", "DATABASE", "FUNCTION", "TRIGGER", "MATERIALIZED")
    reader.take("VIEW")
    concurrently = frozenset({"concurrently"}) if reader.take("CONCURRENTLY") else frozenset()
    if what == "DATABASE":
        return (Operation("outside-transaction", object="DROP DATABASE"),)
    if what in ("TABLE", "INDEX"):
        reader.take("IF", "EXISTS")
        kind = f"drop-{what.lower()}"
        return tuple(Operation(kind, Reader(one).name(), flags=concurrently) for one in reader.clauses())
    return (Operation("drop-other", object=" ".join(one.shown for one in reader.rest)[:80]),)


def _truncate(reader: Reader) -> tuple[Operation, ...]:
    reader.take("TABLE")
    reader.take("ONLY")
    return tuple(Operation("empty-table", Reader(one).name()) for one in reader.clauses())


def _delete(reader: Reader) -> tuple[Operation, ...]:
    reader.take("FROM")
    reader.take("ONLY")
    return (Operation("delete-rows", reader.name()),)


def _update(reader: Reader) -> tuple[Operation, ...]:
    reader.take("ONLY")
    table = reader.name()
    return (Operation("update-rows", table, flags=frozenset(() if has(reader.rest, "WHERE") else ("all",))),)


def _vacuum(reader: Reader) -> tuple[Operation, ...]:
    full = has(reader.rest, "FULL")
    return (Operation("outside-transaction", object="VACUUM", flags=frozenset(("rewrite",) if full else ())),)


def _cluster(reader: Reader) -> tuple[Operation, ...]:
    return (Operation("rewrite", reader.name()),)


def _lock(reader: Reader) -> tuple[Operation, ...]:
    reader.take("TABLE")
    reader.take("ONLY")
    return (Operation("lock-table", reader.name()),)


def _reindex(reader: Reader) -> tuple[Operation, ...]:
    return (Operation("reindex", flags=_concurrent(reader)),)


def _refresh(reader: Reader) -> tuple[Operation, ...]:
    return (Operation("refresh", flags=_concurrent(reader)),)


def _concurrent(reader: Reader) -> frozenset[str]:
    return frozenset({"concurrently"}) if has(reader.rest, "CONCURRENTLY") else frozenset()


def _revoke(reader: Reader) -> tuple[Operation, ...]:
    return (Operation("revoke", object=" ".join(one.shown for one in reader.rest)[:80]),)


_READERS = {
    "ALTER": _alter,
    "CREATE": _create,
    "DROP": _drop,
    "TRUNCATE": _truncate,
    "DELETE": _delete,
    "UPDATE": _update,
    "VACUUM": _vacuum,
    "CLUSTER": _cluster,
    "LOCK": _lock,
    "REINDEX": _reindex,
    "REFRESH": _refresh,
    "REVOKE": _revoke,
}
