"""Reads the schema of a database as an inventory: every object of all schemas with its definition."""

from __future__ import annotations

from typing import Any

import psycopg

from include.migration.state import Inventory


def inventory(opened: psycopg.Connection[Any]) -> Inventory:
    """Read it in one snapshot.

    :param opened: with an empty ``search_path``, so that definitions name every schema (``observe.connection``)
    """
    with opened.transaction():
        opened.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        objects = {f"{kind} {name}": str(definition) for kind, name, definition in opened.execute(_OBJECTS)}
        return Inventory(objects, tuple(str(name) for (name,) in opened.execute(_INVALID)))


# One row an object: kind, quoted name, definition. Objects of extensions belong to these, and are left out; so are
# version tables, which the revision set is about, and owners and privileges, which differ between a database and
# its restored copy without the schema being another.
_OBJECTS = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), foreign_objects AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS shown
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE NOT EXISTS (
        SELECT 1 FROM foreign_objects f WHERE f.classid = 'pg_class'::regclass AND f.objid = c.oid)
      AND NOT EXISTS (
        SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relkind = 'r' HAVING count(*) = 1 AND min(a.attname::text) = 'version_num')
)
SELECT 'schema', quote_ident(nspname), '' FROM spaces
UNION ALL
SELECT 'extension', quote_ident(extname), extversion FROM pg_extension
UNION ALL
SELECT CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
       ELSE 'table' END, r.shown,
       concat_ws(' ', r.relpersistence, pg_get_partkeydef(r.oid), pg_get_expr(r.relpartbound, r.oid),
           (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i
            WHERE i.inhrelid = r.oid),
           CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
           CASE WHEN r.relrowsecurity THEN 'row security' END)
FROM relations r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'column', r.shown || '.' || quote_ident(a.attname),
       concat_ws(' ', row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum),
           format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attnotnull THEN 'not null' END, 'identity=' || nullif(a.attidentity::text, ''),
           'generated=' || nullif(a.attgenerated::text, ''), pg_get_expr(d.adbin, d.adrelid),
           CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END)
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'constraint', r.shown || '.' || quote_ident(k.conname),
       concat_ws(' ', pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN 'not validated' END)
FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'index', r.shown, concat_ws(' ', pg_get_indexdef(r.oid),
       CASE WHEN NOT i.indisvalid THEN 'invalid' END)
FROM relations r JOIN pg_index i ON i.indexrelid = r.oid JOIN relations t ON t.oid = i.indrelid
UNION ALL
SELECT 'sequence', r.shown, concat_ws(' ', format_type(q.seqtypid, NULL), q.seqstart, q.seqincrement, q.seqmin,
       q.seqmax, q.seqcycle)
FROM relations r JOIN pg_sequence q ON q.seqrelid = r.oid
UNION ALL
SELECT 'trigger', r.shown || '.' || quote_ident(g.tgname), concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled)
FROM relations r JOIN pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'policy', r.shown || '.' || quote_ident(p.polname),
       concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, r.oid), pg_get_expr(p.polwithcheck, r.oid))
FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT 'function', format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       CASE WHEN p.prokind = 'a' THEN pg_get_function_result(p.oid) ELSE pg_get_functiondef(p.oid) END
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
WHERE NOT EXISTS (SELECT 1 FROM foreign_objects f WHERE f.classid = 'pg_proc'::regclass AND f.objid = p.oid)
UNION ALL
SELECT 'type', format('%I.%I', s.nspname, t.typname),
       concat_ws(' ', t.typtype, format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typdefault,
           CASE WHEN t.typnotnull THEN 'not null' END,
           (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e
            WHERE e.enumtypid = t.oid),
           (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.conname) FROM pg_constraint k
            WHERE k.contypid = t.oid),
           (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ','
               ORDER BY a.attnum) FROM pg_attribute a
            WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
  AND NOT EXISTS (SELECT 1 FROM foreign_objects f WHERE f.classid = 'pg_type'::regclass AND f.objid = t.oid)
"""

# Invalid, and nobody is building it at this moment.
_INVALID = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1
"""
