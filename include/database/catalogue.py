"""Reads what a database holds from PostgreSQL's catalogues: one query for each kind of thing.

System schemas, temporary ones and what belongs to an extension are left out: no archive holds them.
The queries and what they leave out follow ``pg_dump`` (src/bin/pg_dump/pg_dump.c). What it leaves out and a
migration may make or leave behind is read as well, and says so.
"""

# ruff: noqa: S608 - the queries are put together from constants of this module
from __future__ import annotations

from typing import Any, Final

from include.database.inventory import Inventory, Thing, schema_of
from include.database.schema import Schema
from include.database.session import Session


def _ours(catalogue: str, alias: str) -> str:
    """The object belongs to no extension."""
    return (
        "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.deptype = 'e' AND "
        f"e.classid = '{catalogue}'::regclass AND e.objid = {alias}.oid)"
    )


_USERS: Final = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
_RELATION: Final = f"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {_USERS}"
_OUR_RELATION: Final = _ours("pg_class", "c")
_NAME: Final = "format('%I.%I', n.nspname, c.relname)"
_CLASS: Final = "'pg_class'::regclass::oid::bigint"

_TYPE: Final = "pg_get_userbyid(t.typowner), NULL, 'pg_type'::regclass::oid::bigint, t.oid::bigint"
_OWNER: Final = "pg_get_userbyid(c.relowner)"
_INDEX: Final = f"""
    SELECT {_NAME}, concat_ws('; ', pg_get_indexdef(c.oid), CASE WHEN i.indisclustered THEN 'clustered' END,
               CASE WHEN i.indisreplident THEN 'replica identity' END,
               CASE WHEN NOT i.indisvalid THEN 'invalid' END),
           NULL, format('%I.%I', n.nspname, r.relname),
           CASE WHEN NOT EXISTS (SELECT 1 FROM pg_constraint k
                                 WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
                THEN {_CLASS} END, c.oid::bigint
    {_RELATION} JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class r ON r.oid = i.indrelid
    WHERE {_ours("pg_class", "r")} AND """
_WHOLE: Final = "((i.indisvalid OR r.relkind = 'p') AND i.indisready)"
_EXTENSION: Final = """
    SELECT quote_ident(x.extname), 'version ' || x.extversion, NULL, NULL, 'pg_extension'::regclass::oid::bigint,
           x.oid::bigint
    FROM pg_extension x WHERE """

# Every query gives name, definition, owner, relation, and the numbers of catalogue and object of an archive's
# entry; NULL where there is none.
QUERIES: Final[dict[str, str]] = {
    "schema": f"""
        SELECT quote_ident(n.nspname), NULL, pg_get_userbyid(n.nspowner), NULL,
               CASE WHEN n.nspname <> 'public' THEN 'pg_namespace'::regclass::oid::bigint END, n.oid::bigint
        FROM pg_namespace n WHERE {_USERS} AND {_ours("pg_namespace", "n")}""",
    "table": f"""
        SELECT {_NAME},
               concat_ws('; ', 'persistence ' || c.relpersistence::text,
                   CASE WHEN c.relkind = 'f' THEN 'foreign' END,
                   'partitioned by ' || pg_get_partkeydef(c.oid), array_to_string(c.reloptions, ', '),
                   CASE WHEN c.relrowsecurity THEN 'row security' END,
                   CASE WHEN c.relforcerowsecurity THEN 'forced on the owner' END,
                   (SELECT 'inherits ' || string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                    FROM pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition)),
               {_OWNER}, {_NAME}, {_CLASS}, c.oid::bigint
        {_RELATION} WHERE c.relkind IN ('r', 'p', 'f') AND {_OUR_RELATION}""",
    "partition": f"""
        SELECT {_NAME}, format('of %s %s', i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid)),
               NULL, {_NAME}, NULL, NULL
        {_RELATION} JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND {_OUR_RELATION}""",
    "view": f"""
        SELECT {_NAME}, concat_ws('; ', CASE WHEN c.relkind = 'm' THEN 'materialised' END,
                   array_to_string(c.reloptions, ', '), pg_get_viewdef(c.oid)),
               {_OWNER}, {_NAME}, {_CLASS}, c.oid::bigint
        {_RELATION} WHERE c.relkind IN ('v', 'm') AND {_OUR_RELATION}""",
    "column": f"""
        SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname),
               concat_ws('; ', 'number ' || row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
                   format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                   CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
                   'default ' || pg_get_expr(d.adbin, d.adrelid),
                   CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity' END,
                   CASE WHEN a.attcollation <> t.typcollation
                        THEN 'collation ' || a.attcollation::regcollation::text END),
               NULL, {_NAME}, NULL, NULL
        {_RELATION} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND {_OUR_RELATION}""",
    "constraint": f"""
        SELECT format('%s.%I', {_NAME}, k.conname),
               concat_ws('; ', pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN 'not validated' END),
               NULL, {_NAME}, CASE WHEN k.contype IN ('p', 'u', 'x', 'f') AND k.conparentid = 0
                    THEN 'pg_constraint'::regclass::oid::bigint END, k.oid::bigint
        {_RELATION} JOIN pg_constraint k ON k.conrelid = c.oid
        WHERE (k.contype IN ('p', 'u', 'x', 'c') OR k.contype = 'f' AND k.conparentid = 0) AND {_OUR_RELATION}""",
    "index": _INDEX + _WHOLE,
    "sequence": f"""
        SELECT {_NAME},
               format('%s; start %s; increment %s; minimum %s; maximum %s; cache %s; cycle %s; of %s',
                   format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
                   s.seqcycle,
                   (SELECT format('%s.%I', d.refobjid::regclass, a.attname) FROM pg_depend d
                    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i'))),
               {_OWNER}, {_NAME}, {_CLASS}, c.oid::bigint
        {_RELATION} JOIN pg_sequence s ON s.seqrelid = c.oid WHERE {_OUR_RELATION}""",
    "enum": f"""
        SELECT t.oid::regtype::text, (SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
                                      FROM pg_enum l WHERE l.enumtypid = t.oid),
               {_TYPE}
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS}
        WHERE t.typtype = 'e' AND {_ours("pg_type", "t")}""",
    "domain": f"""
        SELECT t.oid::regtype::text,
               concat_ws('; ', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'not null' END,
                   'default ' || t.typdefault,
                   (SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname)
                    FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c')),
               {_TYPE}
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS}
        WHERE t.typtype = 'd' AND {_ours("pg_type", "t")}""",
    # The parts of a composite type are its columns.
    "type": f"""
        SELECT t.oid::regtype::text,
               coalesce((SELECT format('range of %s; operators %s; canonical %s; difference %s',
                             format_type(r.rngsubtype, NULL), o.opcname, r.rngcanonical, r.rngsubdiff)
                         FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = t.oid),
                   'composite'),
               {_TYPE}
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS}
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE (t.typtype = 'r' OR t.typtype = 'c' AND c.relkind = 'c') AND {_ours("pg_type", "t")}""",
    "function": f"""
        SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
               CASE WHEN p.prokind = 'a'
                    THEN format('aggregate of %s; state %s; initially %s; finally %s; gives %s', a.aggtransfn,
                        format_type(a.aggtranstype, NULL), a.agginitval, a.aggfinalfn,
                        pg_get_function_result(p.oid))
                    ELSE pg_get_functiondef(p.oid) END,
               pg_get_userbyid(p.proowner), NULL, 'pg_proc'::regclass::oid::bigint, p.oid::bigint
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {_USERS}
        LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
        WHERE {_ours("pg_proc", "p")}
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                          AND d.objid = p.oid AND d.deptype = 'i')""",
    "trigger": f"""
        SELECT format('%s.%I', {_NAME}, g.tgname),
               pg_get_triggerdef(g.oid) || '; enabled ' || g.tgenabled::text,
               NULL, {_NAME}, 'pg_trigger'::regclass::oid::bigint, g.oid::bigint
        {_RELATION} JOIN pg_trigger g ON g.tgrelid = c.oid
        WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND {_OUR_RELATION}""",
    "policy": f"""
        SELECT format('%s.%I', {_NAME}, p.polname),
               format('for %s; permissive %s; to %s; using %s; check %s', p.polcmd, p.polpermissive,
                   (SELECT string_agg(r::regrole::text, ', ' ORDER BY r::regrole::text) FROM unnest(p.polroles) r),
                   pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
               NULL, {_NAME}, 'pg_policy'::regclass::oid::bigint, p.oid::bigint
        {_RELATION} JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OUR_RELATION}""",
    "extension": _EXTENSION + "x.extname <> 'plpgsql'",
    # An owner has MAINTAIN on every server that knows it (since PostgreSQL 17), wherever the table came from.
    "privileges": f"""
        SELECT {_NAME},
               (SELECT string_agg(concat(x.privilege_type, CASE WHEN x.is_grantable THEN ' with grant option' END,
                           ' to ', CASE WHEN x.grantee = 0 THEN 'public' ELSE pg_get_userbyid(x.grantee) END), ', '
                           ORDER BY pg_get_userbyid(x.grantee), x.privilege_type)
                FROM aclexplode(coalesce(c.relacl,
                     acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) x
                WHERE x.privilege_type <> 'MAINTAIN' OR x.grantee <> c.relowner),
               NULL, {_NAME}, NULL, NULL
        {_RELATION} WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND {_OUR_RELATION}""",
}
"""Kind of thing → the query that finds all of that kind which ``pg_dump`` takes."""

LEFT_OUT: Final[dict[str, str]] = {
    "index": f"{_INDEX} NOT {_WHOLE}",
    "extension": f"{_EXTENSION} x.extname = 'plpgsql'",
}
"""The same for what it does not take: indexes that were not built to their end, and what every database has."""

# Invalid, and nobody is building it at this moment.
_INVALID: Final = f"""
    SELECT {_NAME} {_RELATION} JOIN pg_index i ON i.indexrelid = c.oid
    WHERE NOT i.indisvalid AND c.relkind = 'i'
      AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
    ORDER BY 1"""

_SEQUENCES: Final = f"""
    SELECT {_NAME}, CASE WHEN has_sequence_privilege(c.oid, 'USAGE, SELECT') THEN pg_sequence_last_value(c.oid) END
    {_RELATION} WHERE c.relkind = 'S' AND {_OUR_RELATION}"""
# Rows of an extension's tables are in no archive, and those of a foreign table are elsewhere.
_TABLES: Final = f"""
    SELECT {_NAME}, c.oid::bigint, pg_table_size(c.oid) {_RELATION} WHERE c.relkind = 'r' AND {_OUR_RELATION}
    ORDER BY 3"""


def read_inventory(session: Session) -> Inventory:
    """What the session sees, with no row counted yet (see :mod:`include.database.counting`).

    :raises psycopg.Error: the server does not answer, or an object vanished while it was looked at
    """
    tables = session.execute(_TABLES.encode()).fetchall()
    return Inventory(
        things=_things(session),
        sequences=dict(session.execute(_SEQUENCES.encode()).fetchall()),
        rows={name: None for name, _, _ in tables},
        data=tuple(sorted(number for _, number, _ in tables)),
    )


def read_schema(session: Session) -> Schema:
    """The schema that the session sees; no table is locked for it, only views and what has expressions.

    :raises psycopg.Error: the server does not answer, or an object vanished while it was looked at
    """
    return schema_of(_things(session), (name for (name,) in session.execute(_INVALID.encode())))


def tables_by_size(session: Session) -> tuple[str, ...]:
    """The quoted names of all tables that hold rows of their own, the smallest first."""
    return tuple(name for name, _, _ in session.execute(_TABLES.encode()))


def _things(session: Session) -> tuple[Thing, ...]:
    found = (
        _thing(kind, row, dumped=queries is QUERIES)
        for queries in (QUERIES, LEFT_OUT)
        for kind, query in queries.items()
        for row in session.execute(query.encode())
    )
    return tuple(sorted(found, key=lambda thing: (thing.kind, thing.name)))


def _thing(kind: str, row: tuple[Any, ...], *, dumped: bool) -> Thing:
    name, definition, owner, relation, catalogue, number = row
    return Thing(
        kind=kind,
        name=name,
        definition=definition or "",
        owner=owner or "",
        relation=relation or "",
        entry=(catalogue, number) if dumped and catalogue is not None else None,
        dumped=dumped,
    )
