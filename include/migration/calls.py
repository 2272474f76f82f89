"""Functions that a query calls: those whose effect is known, and those that may do anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from include.migration.sqltext import Token, words

# Functions that give the same value for all rows of one statement: a default with them rewrites nothing
# (PostgreSQL manual, ALTER TABLE, notes).
_STABLE: Final = frozenset(
    {
        *("now", "statement_timestamp", "transaction_timestamp", "current_timestamp", "localtimestamp"),
        *("current_date", "current_time", "current_user", "session_user", "to_date", "to_timestamp"),
    }
)
_TYPES: Final = frozenset(
    {
        *("varchar", "character", "varying", "char", "numeric", "decimal", "float", "bit"),
        *("timestamp", "time", "interval", "cast"),
    }
)
_TAKE_NOTHING: Final = frozenset(
    {
        *("abs", "array_agg", "array_length", "avg", "bool_and", "bool_or", "cardinality", "ceil", "coalesce"),
        *("concat", "count", "current_database", "current_schema", "current_setting", "currval", "date_part"),
        *("date_trunc", "exists", "extract", "floor", "format", "gen_random_uuid", "generate_series", "greatest"),
        *(
            "has_schema_privilege",
            "has_table_privilege",
            "json_build_object",
            "jsonb_build_object",
            "jsonb_typeof",
        ),
        *("lastval", "least", "length", "lower", "max", "md5", "min", "nextval", "nullif", "obj_description"),
        *("pg_advisory_lock", "pg_advisory_xact_lock", "pg_get_serial_sequence", "pg_relation_size", "pg_sleep"),
        *("pg_table_size", "pg_total_relation_size", "pg_try_advisory_lock", "pg_try_advisory_xact_lock"),
        *("position", "quote_ident", "quote_literal", "random", "replace", "round", "row_number", "set_config"),
        *(
            "setval",
            "split_part",
            "string_agg",
            "substring",
            "sum",
            "to_char",
            "to_regclass",
            "trim",
            "unnest",
            "upper",
        ),
        *("age", "array_append", "array_cat", "array_position", "array_prepend", "array_remove"),
        *("array_replace", "array_to_string", "ascii", "btrim", "char_length", "chr", "clock_timestamp"),
        *("concat_ws", "convert_from", "convert_to", "date", "daterange", "decode", "dense_rank", "div"),
        *("encode", "exp", "first_value", "initcap", "isfinite", "json_agg", "json_array_elements"),
        *("json_array_length", "json_object_agg", "jsonb_agg", "jsonb_array_elements"),
        *("jsonb_array_elements_text", "jsonb_array_length", "jsonb_build_array", "jsonb_each"),
        *("jsonb_each_text", "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_insert", "jsonb_object"),
        *("jsonb_object_agg", "jsonb_object_keys", "jsonb_set", "jsonb_strip_nulls", "lag", "last_value"),
        *("lead", "left", "ln", "log", "lpad", "ltrim", "make_date", "make_interval", "make_timestamp", "mod"),
        *("ntile", "octet_length", "overlay", "power", "rank", "regexp_match", "regexp_matches"),
        *("regexp_replace", "regexp_split_to_array", "repeat", "reverse", "right", "row_to_json", "rpad"),
        *("rtrim", "sha256", "sign", "sqrt", "starts_with", "string_to_array", "strpos", "substr", "timezone"),
        *("to_json", "to_jsonb", "to_number", "to_tsvector", "translate", "trunc", "tsrange", "tstzrange"),
        "version",
    }
)
_WORDS: Final = frozenset(
    {
        *("all", "and", "any", "array", "as", "between", "by", "case", "conflict", "cube", "distinct"),
        *("else", "except", "fetch", "filter", "from", "group", "having", "ilike", "in", "intersect", "is"),
        *("join", "lateral", "like", "limit", "materialized", "not", "offset", "on", "or", "over"),
        *("returning", "rollup", "row", "select", "set", "sets", "similar", "some", "then", "to", "union"),
        *("using", "values", "when", "where", "with", "within"),
    }
)

_LISTS: Final = (("AS",), ("INTO",), ("RECURSIVE",), ("WITH",))


def volatile(tokens: Sequence[Token]) -> bool:
    """Whether an expression calls a function that is not known to be stable."""
    return any(name not in _STABLE | _TYPES for name in _called(tokens))


def acting(tokens: Sequence[Token]) -> str:
    """The first function that a statement calls and that may change something; "" when there is none."""
    return next((name for name in _called(tokens) if name not in _STABLE | _TYPES | _TAKE_NOTHING | _WORDS), "")


def _called(tokens: Sequence[Token]) -> list[str]:
    """Names before brackets, one of another schema with it; behind ``AS``, ``INTO`` … they list columns."""
    found = []
    for at, (one, after) in enumerate(pairwise(tokens)):
        if after.text != "(" or one.kind not in ("word", "name"):
            continue
        qualified = at > 1 and tokens[at - 1].text == "."
        begins = at - 2 if qualified else at
        if words(tokens[begins - 1 : begins])[:1] in _LISTS:
            continue
        schema = tokens[begins].identifier if qualified else "pg_catalog"
        found.append(one.identifier if schema == "pg_catalog" else f"{schema}.{one.identifier}")
    return found
