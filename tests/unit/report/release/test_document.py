"""The report as Markdown and HTML: what the ledger says, and nothing that somebody wrote is interpreted."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.report.html import page as html_page
from include.report.release.document import documents, markdown
from include.report.release.draft import release_report
from tests.unit.report.postmortem.records import Story, at, release_run
from tests.unit.report.postmortem.test_document import HOSTILE, Page, assert_harmless, rows
from tests.unit.report.release.stories import Release, as_planned, planned_run


def markdown_of(story: Story) -> str:
    return markdown(release_report(story.entries), stem="bericht")


def written(story: Story) -> dict[str, str]:
    return documents(release_report(story.entries), stem="bericht")


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return written(as_planned())


def test_the_report_begins_with_what_somebody_has_to_know_who_was_not_there() -> None:
    text = markdown_of(as_planned())
    head = text.partition("## Plan und Wirklichkeit")[0]
    assert head.startswith("# Release-Bericht: 3.0.0 \u2013 VALEO-NeuroERP 3.0\n\n**Erfolgreich ausgeliefert**\n")
    for sentence in (
        "- Release 3.0.0 sollte 2.9.0 ablösen, geplant für den 01.07.2026; ",
        "- Go gesagt haben tina (technical-lead), bert (business-owner).",
        "- Der Verkehr ging am 01.07.2026 um 12:00:00 Uhr auf die neue Version.",
        "- Über die Umschaltungen hinweg gingen 0 von 75 Anfragen des unabhängigen Prüfers verloren.",
        "- Datenbank in production: Migration angewandt.",
        "- Vom Plan wich der Ablauf in 2 Punkten ab",
    ):
        assert sentence in head


def test_every_part_has_what_the_ledger_holds_with_its_entry() -> None:
    story = as_planned()
    text = markdown_of(story)
    for line in (
        "| Umschaltung | 01.07.2026 12:00:00 | 01.07.2026 12:00:00 | wie geplant |  | 40 |",
        "| Go/No-Go | 01.07.2026 11:00:00 | 01.07.2026 11:50:01 (fertig) | **später** | 50 min 01 s | 36 |",
        "| Später als geplant | Go/No-Go: 50 min 01 s später | 36 |",
        "| 01.07.2026 11:50:00 | Go/No-Go für das Release | tina | technical-lead | Go | sieht gut aus |",
        "| Sicherung geprüft | safety-1; SHA-256 bbbbbbbbbbbb; 1.234.567 Bytes; Stufe restored; ",
        "| 01.07.2026 12:00:00 | Umschaltung | production | 0 von 75 Anfragen des unabhängigen Prüfers |",
        "| Ankündigung | E-Mail | 28.06.2026 17:00:00 | **nicht gesendet** |",
        "| 28.06.2026 11:00:00 | staging | Lasttest gemessen |",
        "| Beobachtung | 59 min 56 s |",
    ):
        assert line in text
    assert f"Ledger-Kopf: `{len(story.entries)}:{story.entries[-1].hash}`" in text


def test_the_same_entries_give_the_same_bytes(files: dict[str, str]) -> None:
    assert written(as_planned()) == files


def test_the_page_holds_its_pictures_and_loads_nothing(files: dict[str, str]) -> None:
    assert set(files) == {"bericht.md", "bericht.html", "bericht-tag.svg", "bericht-beobachtung-1.svg"}
    page = Page(files["bericht.html"])
    assert_harmless_page(page)
    for name in ("bericht-tag.svg", "bericht-beobachtung-1.svg"):
        assert files[name] in files["bericht.html"]
        assert f"]({name})" in files["bericht.md"]
    named = [value for _, name, value in page.attributes if name == "id" and value.endswith("-titel")]
    assert len(named) == len(set(named)) == 2, "pictures of one page are told apart"


def test_the_picture_of_the_day_has_each_step_at_both_times_and_says_so_in_words(files: dict[str, str]) -> None:
    picture = ET.fromstring(files["bericht-tag.svg"])
    told = "".join(picture.find("{http://www.w3.org/2000/svg}desc").itertext())  # type: ignore[union-attr]
    assert "Go/No-Go: geplant 11:00, tatsächlich 11:50:01." in told
    shown = {"".join(node.itertext()).strip() for node in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Umschaltung", "Go/No-Go", "geplant", "tatsächlich", "12:00"} <= shown


def test_a_release_on_another_day_has_no_picture_of_it() -> None:
    story = Release(release_run("manual__production"))
    story.planned(-4000).until_cutover()
    assert "bericht-tag.svg" not in written(story)


def test_a_ledger_without_a_plan_says_so() -> None:
    text = markdown_of(Story().until_cutover())
    assert "| Umschaltung | \u2013 | 01.07.2026 12:00:00 | ohne Plan im Ledger |" in text
    assert "Alle Zeiten in Europe/Berlin." in text


def test_a_ledger_that_tells_of_no_step_says_that_too() -> None:
    text = markdown_of(Story().note(0, "preflight.preview", {"markdown": "x"}))
    assert "Das Ledger hält weder einen Plan noch einen seiner Schritte fest." in text
    assert "**Nicht abgeschlossen, letzter Schritt: Vorschau der Änderungen festgehalten**" in text
    for part in ("Keine festgehalten.", "Der Verkehr wurde nicht bewegt.", "Keine.", "Keine, soweit das Ledger"):
        assert part in text


def test_times_are_those_of_the_releases_zone() -> None:
    story = Release(planned_run(timezone="America/New_York"))
    text = markdown_of(story.planned(-10).until_cutover())  # type: ignore[arg-type]
    assert "Alle Zeiten in America/New_York." in text
    assert "| Umschaltung | 01.07.2026 12:00:00 | 01.07.2026 06:00:00 |" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    tables = list(rows(markdown_of(as_planned())))
    assert len(tables) == 8
    for table in tables:
        assert len({row.count("|") for row in table}) == 1, table


def hostile_story(hostile: str) -> Story:
    """Somebody's text wherever a person or a program can put one."""
    story = Release(planned_run(title=hostile))
    story.planned(-3000).until_cutover().watching()
    story.told(100, hostile.replace("\n", " ").replace(":message:", "") or "x", fails=True)
    story.answered(30, "watch.extended", hostile, hostile, hostile, minutes=5, overruled=[hostile])
    story.note(40, "checklist.ticked", {"checklist": hostile, "points": [hostile], "comment": hostile})
    story.note(41, "lease.taken-over", {"from": hostile, "because": "override", "reason": hostile})
    story.note(42, "uat.answered", {"user": hostile, "cases": {hostile: hostile}, "findings": [{"text": hostile}]})
    story.note(43, "backup.verified", {"backup": hostile, "level": hostile, "sha256": hostile})
    story.note(44, "verify.passed", {"checks": [hostile]}, number=2)
    story.note(
        45, "staging.load-measured", {"result": hostile, "figures": {hostile: hostile}, "reasons": [hostile]}
    )
    story.note(46, "gate.silence", {"role": hostile, "comment": hostile, "phase": hostile})
    story.note(47, hostile or "x", {"sentence": hostile, "reason": [hostile]})
    return story


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_somebody_wrote_is_interpreted(hostile: str) -> None:
    files = written(hostile_story(hostile))
    page = Page(files["bericht.html"])
    assert page.open == []
    assert_harmless_page(page)
    assert " ".join(hostile.split()) in page.text
    for table in rows(files["bericht.md"]):
        assert len({row.count("|") for row in table}) == 1, table


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60))
def test_any_text_stays_text(text: str) -> None:
    told = markdown_of(hostile_story(f"x{text}"))
    page = Page(html_page(told, title="Release-Bericht"))
    assert_harmless_page(page)
    assert " ".join(f"x{text}".split()) in page.text
    assert all(len({row.count("|") for row in table}) == 1 for table in rows(told))


def test_a_hostile_version_is_a_name_and_nothing_else() -> None:
    from include.ledger.entry import NewEntry

    story = Story()
    version = "<b>3</b>`|](javascript:x)"
    story.written.append(NewEntry("deploy.done", version, "<i>prod", "run", "a", {"slot": "green"}, at=at(0)))
    page = Page(written(story)["bericht.html"])
    assert_harmless_page(page)
    assert version in page.text


def assert_harmless_page(page: Page) -> None:
    page.tags.discard("code")
    assert_harmless(page)
