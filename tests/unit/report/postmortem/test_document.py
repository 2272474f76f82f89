"""The draft as Markdown and HTML: it says what the model says, and nothing that somebody wrote is interpreted."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.report.postmortem.document import documents, markdown
from include.report.postmortem.draft import post_mortem
from tests.unit.report.postmortem.records import Story, at, automatic, by_hand

VOID = {"meta", "br", "hr"}
PAGE = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "strong", "ol", "ul", "li"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
PICTURE = {"svg", "title", "desc", "defs", "style", "g", "path", "text", "use", "clippath", "rect", "pattern"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "| a | b |\n|---|---|",
    "`code` **bold** _em_ ~~gone~~",
    "\n\n# Heading\n\n- item",
    "</td></tr></table></main>",
    "--><svg onload=alert(1)>",
    "\\",
    "$x^2$ {{ 7 * 7 }} {% raw %}",
    "<http://evil.example>",
    "]]>",
]


class Page(HTMLParser):
    """Collects tags and text, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def written(story: Story) -> dict[str, str]:
    found = post_mortem(story.entries, now=at(7200), timezone="Europe/Berlin")
    return documents(found, stem="draft", timezone="Europe/Berlin")


def assert_harmless(page: Page) -> None:
    assert page.open == []
    assert page.tags <= PAGE | PICTURE
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert "javascript" not in value
        assert name not in ("src", "href")
        if name == "xlink:href":
            assert value.startswith("#")


def rows(text: str) -> Iterator[list[str]]:
    """The lines of each table."""
    table: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append(line.replace("\\\\", "").replace("\\|", ""))
        elif table:
            yield table
            table = []


def test_the_markdown_tells_what_the_model_knows() -> None:
    text = written(automatic())["draft.md"]
    assert text.startswith(
        "# Post-Mortem (Entwurf): 3.0.0 in production\n\n**Stellwerk hat selbst zurückgeschaltet**"
    )
    assert "| Erstes Anzeichen | 12:00:05,0 | Messreihe |" in text
    assert "| Umschaltung bis Rückschaltung | 8,3 s |" in text
    assert "| davon mit Fehler beantwortet | 48 (13,3 %) |" in text
    assert "| 12:00:08,3 | 8,3 s | Verkehr zurückgeschaltet | stellwerk |" in text
    assert "| E-Mail an die Stakeholder | 15 min 00 s | 16,7 s | rechtzeitig |" in text
    assert "| betroffene Nutzer | nicht bekannt" in text
    assert "](draft.svg)" in text
    assert "| 1 | | | | | |" in text


def test_without_a_series_it_says_that_none_was_recorded() -> None:
    files = written(automatic(series=False))
    assert set(files) == {"draft.md", "draft.html"}
    assert "Es wurde keine Messreihe festgehalten" in files["draft.md"]
    assert "<svg" not in files["draft.html"]


def test_what_is_not_recorded_is_said_and_not_left_out() -> None:
    text = written(by_hand())["draft.md"]
    assert "| Erkennung | nicht festgehalten | | |" in text
    assert "| Slack-Alarm (sofort) | 1 min 00 s | \u2013 | **versäumt** |" in text


def test_times_of_several_days_are_told_with_their_day() -> None:
    story = automatic().note(90_000, "rollback.refused", {"what": "twice"})
    text = written(story)["draft.md"]
    assert "| 02.07. 13:00:00,0 |" in text
    assert "| 01.07. 12:00:08,3 |" in text


def test_the_page_holds_the_picture_and_loads_nothing() -> None:
    files = written(automatic())
    page = Page(files["draft.html"])
    assert_harmless(page)
    assert {"svg", "table", "h1"} <= page.tags
    assert files["draft.svg"] in files["draft.html"]
    assert ET.fromstring(files["draft.svg"]).tag.endswith("svg")
    assert "Umschaltung bis Rückschaltung" in page.text
    policy = {value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")}
    assert any("default-src 'none'" in value for value in policy)


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for text in (written(automatic())["draft.md"], written(by_hand("r|ta", "a|b\nc"))["draft.md"]):
        tables = list(rows(text))
        assert len(tables) >= 6
        for table in tables:
            assert len({row.count("|") for row in table}) == 1, table


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_somebody_wrote_is_interpreted(hostile: str) -> None:
    story = by_hand(user=hostile, reason=hostile)
    story.told(100, hostile.replace("\n", " ").replace(":message:", ""))
    story.reported(20, "problem", hostile, hostile)
    story.answered(30, "watch.extended", hostile, hostile, hostile, minutes=5)
    story.note(140, "deadline.missed", {"duty": hostile, "due": hostile, "why": hostile})
    story.note(150, hostile, {"sentence": hostile, "reason": [hostile]})
    story.note(160, "postmortem.drafted", {"files": hostile})
    files = written(story)
    page = Page(files["draft.html"])
    assert_harmless(page)
    assert " ".join(hostile.split()) in page.text
    for table in rows(files["draft.md"]):
        assert len({row.count("|") for row in table}) == 1, table


def test_a_hostile_run_is_a_name_and_nothing_else() -> None:
    from tests.unit.report.postmortem.records import release_run

    story = automatic(release_run("x`|<b>](javascript:y)"))
    page = Page(written(story)["draft.html"])
    assert_harmless(page)
    assert "x`|<b>](javascript:y)" in page.text


@settings(max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60))
def test_any_text_stays_text(text: str) -> None:
    story = (
        Story()
        .until_cutover()
        .note(5, "switch.back", {"by": f"x{text}", "reason": f"x{text}", "at": at(5).isoformat()})
    )
    found = post_mortem(story.entries, now=at(60), timezone="UTC")
    page = Page(documents(found, stem="draft", timezone="UTC")["draft.html"])
    assert_harmless(page)
    assert " ".join(f"x{text}".split()) in page.text
    assert all(
        len({row.count("|") for row in table}) == 1
        for table in rows(markdown(found, picture=None, timezone="UTC"))
    )
