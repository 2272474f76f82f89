"""What a statement does to a schema, in the words of the rules. Pure; knows PostgreSQL's grammar of DDL.

What it does not understand is ``unknown``, never harmless.
"""

from __future__ import annotations

from typing import Final

from include.migration import rows
from include.migration.alter_table import alter_table
from include.migration.operation import ONCE, Operation, cascade, if_exists, if_not_exists
from include.migration.outside import outside
from include.migration.sqltext import Reader, Statement, has, words

_HARMLESS: Final = frozenset({"COMMENT", "GRANT", "ANALYZE", "SHOW", "NOTIFY"})
_QUERIES: Final = frozenset({"SELECT", "WITH", "VALUES"})
# Without CASCADE no column of such a type can be dropped with it.
_WITHOUT_DATA: Final = frozenset(
    {
        *(
            "AGGREGATE",
            "CAST",
            "COLLATION",
            "CONVERSION",
            "DOMAIN",
            "EVENT",
            "FUNCTION",
            "MATERIALIZED",
            "OPERATOR",
        ),
        *("POLICY", "PROCEDURE", "ROUTINE", "RULE", "STATISTICS", "TEXT", "TRIGGER", "TYPE", "VIEW"),
    }
)
_TRANSACTION: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "START", "END", "SAVEPOINT", "RELEASE"})


def operations(statement: Statement) -> tuple[Operation, ...]:
    """Everything that a statement does."""
    verb = statement.verb
    if what := outside(statement):
        return (Operation("outside-database", object=what),)
    if verb in _TRANSACTION:
        return (Operation("transaction", object=verb),)
    if reader := _READERS.get(verb):
        return reader(Reader(statement.tokens[1:]))
    if verb in _QUERIES:
        return rows.query(statement.tokens)
    if verb in _HARMLESS:
        return (Operation("harmless"),)
    return (Operation("unknown", object=verb),)


def _alter(reader: Reader) -> tuple[Operation, ...]:
    what = reader.take_any("TABLE", "TYPE", "INDEX", "SEQUENCE", "VIEW", "SCHEMA", "DOMAIN", "POLICY")
    if what == "TABLE":
        return alter_table(reader)
    if what == "POLICY":
        return (Operation("row-security", _after("ON", reader)),)
    reader.take("IF", "EXISTS")
    name = reader.name()
    if what == "TYPE" and reader.take("ADD", "VALUE"):
        return (Operation("enum-value", name, flags=if_not_exists(reader)),)
    if has(reader.rest, "RENAME") or has(reader.rest, "SET", "SCHEMA"):
        # The planner knows an index by its place: nobody names one.
        return (Operation("harmless" if what == "INDEX" else "rename", name, flags=ONCE),)
    if has(reader.rest, "OWNER", "TO"):
        return (Operation("owner", name),)
    if what == "INDEX" and has(reader.rest, "SET", "TABLESPACE"):
        return (Operation("rewrite", name),)
    if what in ("INDEX", "SEQUENCE"):
        return (Operation("harmless"),)
    return (Operation("unknown", name, f"ALTER {what}".strip()),)


def _create(reader: Reader) -> tuple[Operation, ...]:
    replace = reader.take("OR", "REPLACE")
    unique = reader.take("UNIQUE")
    if reader.take("INDEX"):
        return (_create_index(reader, unique=unique),)
    foreign = frozenset({"foreign"} if reader.take("FOREIGN") else ())
    while reader.take_any("GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "UNLOGGED", "CONSTRAINT", "RECURSIVE"):
        pass
    if reader.take("TABLE") or reader.take("MATERIALIZED", "VIEW"):
        flags = if_not_exists(reader) | foreign
        name = reader.name()
        of = reader.name() if reader.take("PARTITION", "OF") else ""
        return (Operation("create-table", name, of, flags), *rows.made_by(reader.rest))
    if reader.take("TRIGGER"):
        return (Operation("create-trigger", _after("ON", reader)),)
    if reader.take("RULE"):
        return (Operation("create-rule", _after("TO", reader)),)
    if reader.take("POLICY"):
        return (Operation("row-security", _after("ON", reader)),)
    what = reader.rest[0].shown if reader.rest else ""
    maybe = frozenset({"if-not-exists"} if has(reader.rest, "IF", "NOT", "EXISTS") else ())
    return (Operation("replace" if replace else "create-other", object=what, flags=maybe),)


def _after(word: str, reader: Reader) -> str:
    """The table behind a keyword."""
    text = words(reader.rest)
    return Reader(reader.rest[text.index(word) + 1 :]).name() if word in text else ""


def _create_index(reader: Reader, *, unique: bool) -> Operation:
    flags = frozenset({"unique"} if unique else ())
    flags |= _concurrently(reader)
    flags |= if_not_exists(reader)
    name = "" if reader.take("ON") else reader.name()
    reader.take("ON")
    reader.take("ONLY")
    return Operation("create-index", reader.name(), name, flags)


def _drop(reader: Reader) -> tuple[Operation, ...]:
    flags = cascade(reader.rest)
    shown = " ".join(one.shown for one in reader.rest)[:80]
    what = reader.rest[0].text if reader.rest else ""
    if reader.take("TABLE") or reader.take("INDEX"):
        flags |= _concurrently(reader)
        flags |= if_exists(reader)
        kind = f"drop-{what.lower()}"
        return tuple(Operation(kind, Reader(one).name(), flags=flags) for one in reader.clauses())
    flags |= {"if-exists"} if has(reader.rest, "IF", "EXISTS") else frozenset()
    return (Operation("drop-other", object=shown, flags=flags if what in _WITHOUT_DATA else flags | {"data"}),)


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


def _concurrently(reader: Reader) -> frozenset[str]:
    return frozenset({"concurrently"}) if reader.take("CONCURRENTLY") else frozenset()


def _setting(reader: Reader) -> tuple[Operation, ...]:
    whose = ("SESSION", "AUTHORIZATION")
    whole = reader.take(*whose) or (reader.take_any("SESSION", "LOCAL") != "" and reader.take(*whose))
    name = "session_authorization" if whole else reader.name()
    if name == "role" and reader.take("NONE"):
        return (Operation("harmless"),)
    return (Operation("setting", object=name),)


def _reset(reader: Reader) -> tuple[Operation, ...]:
    (found,) = _setting(reader)
    # Who migrates is again who was asked to.
    own = found.object in ("role", "session_authorization")
    return (Operation("harmless"),) if own else (found,)


def _revoke(reader: Reader) -> tuple[Operation, ...]:
    return (Operation("revoke", object=" ".join(one.shown for one in reader.rest)[:80]),)


_READERS = {
    "ALTER": _alter,
    "CREATE": _create,
    "DROP": _drop,
    "TRUNCATE": rows.truncate,
    "DELETE": rows.delete,
    "UPDATE": rows.update,
    "INSERT": rows.insert,
    "VACUUM": _vacuum,
    "CLUSTER": _cluster,
    "LOCK": _lock,
    "REINDEX": _reindex,
    "REFRESH": _refresh,
    "REVOKE": _revoke,
    "SET": _setting,
    "RESET": _reset,
}
