"""SQL as words: what looks like a keyword and is none, and where statements end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.migration.sqltext import Reader, has, statements, without_strings


def test_statements_end_at_semicolons_that_are_not_inside_something() -> None:
    sql = """
        -- DROP TABLE a;
        SELECT 'x;''y', E'\\';', $$ ; $$, $tag$ ; $$ ; $tag$, "a;""b"; /* DROP; /* nested; */ ; */
        CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;
        COMMIT
    """
    assert [one.verb for one in statements(sql, 7)] == ["SELECT", "CREATE", "COMMIT"]
    assert {one.line for one in statements(sql, 7)} == {7}


def test_names_keep_what_quotes_protect() -> None:
    (one,) = statements('ALTER TABLE public."Größe; in ""m""" DROP COLUMN straße')
    reader = Reader(one.tokens)
    assert reader.take("ALTER", "TABLE")
    assert reader.name() == 'Größe; in "m"'
    assert reader.take("DROP", "COLUMN")
    assert reader.name() == "straße"


def test_a_quoted_name_or_a_string_is_never_a_keyword() -> None:
    (one,) = statements("""INSERT INTO "DROP" VALUES ('CONCURRENTLY')""")
    assert not has(one.tokens, "DROP")
    assert not has(one.tokens, "CONCURRENTLY")


def test_strings_are_not_shown() -> None:
    (one,) = statements("ALTER ROLE erp PASSWORD 'hunter2'")
    assert one.shown == "ALTER ROLE erp PASSWORD '…'"


@given(
    st.sampled_from(
        ("UPDATE t SET a = '{}' WHERE b", "SELECT E'\\'{}'", "DO $x$ {} $x$", "SELECT 1; SELECT N'{}'")
    ),
    st.integers(0, 60),
)
def test_a_string_that_was_cut_off_is_not_shown_either(sql: str, length: int) -> None:
    said = sql.format("geheim ''geheim'' geheim")[:length]
    assert "geh" not in without_strings(said)


def test_what_is_shown_is_one_line_without_comments() -> None:
    assert without_strings("SELECT 1 -- 'x'\n;\nUPDATE t /* y */ SET a = 'z'") == "SELECT 1; UPDATE t SET a = '…'"
    assert without_strings("") == ""


def test_clauses_are_split_at_the_outermost_commas() -> None:
    (one,) = statements("ALTER TABLE t ADD a numeric(1,2), ADD CHECK (x IN (1,2)), DROP b")
    reader = Reader(one.tokens)
    assert reader.take("ALTER", "TABLE")
    assert reader.name() == "t"
    assert [clause[0].text for clause in reader.clauses()] == ["ADD", "ADD", "DROP"]


@given(st.text(max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    again = statements(" ; ".join(one.shown for one in statements(text) if "…" not in one.shown))
    assert all(one.tokens for one in again)


@given(st.text(max_size=40))
def test_what_is_quoted_hides_nothing_and_adds_nothing(text: str) -> None:
    literal = "'" + text.replace("'", "''") + "'"
    name = '"' + text.replace('"', '""') + '"'
    found = statements(f"SELECT {literal} AS {name}; DROP TABLE t")
    assert [one.verb for one in found] == ["SELECT", "DROP"]
    assert found[0].tokens[-1].identifier == text
