"""Whatever people write into names, comments and plans: it is shown, never interpreted, and fits."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from include.messages import compose
from include.messages.announcement import announcement
from include.messages.compose import Rollback
from include.messages.limits import LONGEST_POST, LONGEST_SUBJECT, cut, shortened
from include.messages.mail import mail_of
from include.messages.model import Message
from include.messages.rehearsal import Evidence, Finding, RehearsalOutcome
from include.messages.render import render
from include.plan.communication import KnownIssue, Language
from tests.unit.messages.test_announcement import AUDIENCES, OCCASION, RELEASE

T = datetime(2026, 7, 1, 10, 0, 5, tzinfo=UTC)
LANGUAGES: st.SearchStrategy[Language] = st.sampled_from(["de", "en"])
MARKUP = st.sampled_from(
    ["<!channel>", "<@U1>", "<https://evil|x>", "</p><script>", "```", "**", "[a](javascript:b)", "![i](http://x)",
     "&amp;", "&#x3c;b>", "\\", "\n\n# h", "\r\nBcc: x@y", "\u202e", "\x00", "\ufffe", "\ud800",
     "- ", "| ", "===", "---"]
)  # fmt: skip
HOSTILE = st.lists(MARKUP | st.text(max_size=12), max_size=12).map("".join)
URLS = st.one_of(HOSTILE, HOSTILE.map(lambda text: f"https://x.example/{text}"))


def body_of(message: Message) -> ET.Element:
    """The mail's page as a mail program gets it, parsed as XML."""
    mail = message_from_bytes(mail_of(message, T).as_bytes(), policy=policy.default)
    page = mail.get_body(("html",)).get_content()  # type: ignore[attr-defined]
    return ET.fromstring(page)


def names(element: ET.Element) -> set[str]:
    return {one.tag.rpartition("}")[2] for one in element.iter()}


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


ELEMENTS = {"html", "head", "meta", "title", "body", "p", "br", "h2", "ul", "li", "a"}


@given(HOSTILE, HOSTILE, LANGUAGES)
def test_a_post_mentions_nobody_and_forges_no_link(what: str, seen: str, language: Language) -> None:
    occasion = replace(OCCASION, language=language)
    text = compose.human_needed(occasion, what=what, seen=seen, remedy="decide", at=T).text
    assert not re.search(r"[<>]", text)
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    assert "```" not in text
    assert shortened(what).replace("```", "'''") in html.unescape(text)
    assert len(text.splitlines()) <= 8
    assert len(text) <= LONGEST_POST
    text.encode()


@given(HOSTILE, HOSTILE, LANGUAGES)
def test_a_rollbacks_mail_shows_what_people_wrote(reason: str, by: str, language: Language) -> None:
    rollback = Rollback("green", "blue", reason, by or "x", T, (reason, "/healthz answers 200"))
    message = compose.rollback_mail(replace(OCCASION, language=language), rollback)
    page = body_of(message)
    assert names(page) <= ELEMENTS - {"a"}
    assert flat(shortened(reason)).strip() in flat("".join(page.itertext()))
    assert shortened(reason) in message.text


@given(HOSTILE, HOSTILE, HOSTILE, URLS, LANGUAGES)
def test_an_announcement_shows_what_the_plan_says(
    title: str, feature: str, finding: str, url: str, language: Language
) -> None:
    release = RELEASE.model_copy(
        update={
            "title": title,
            "features": (feature, "Last feature"),
            "known_issues": (KnownIssue.model_construct(title=feature, workaround=finding, url=url),),
        }
    )
    rehearsal = RehearsalOutcome("passed", (Finding(title, finding),), (Evidence(finding, url),))
    message = announcement(replace(OCCASION, language=language), release, AUDIENCES, rehearsal)
    assert message is not None
    page = body_of(message)
    assert names(page) <= ELEMENTS
    said = flat("".join(page.itertext()))
    for told in (feature, finding):
        assert flat(shortened(told)).strip() in said
    for link in page.iter("{http://www.w3.org/1999/xhtml}a"):
        assert re.match(r"https?://", link.attrib["href"])
    assert len(message.subject) <= LONGEST_SUBJECT
    assert "\n" not in message.subject
    assert len(message.text.splitlines()) < 60


@given(st.text(), st.integers(2, 400))
def test_a_fact_is_one_short_line(fact: str, longest: int) -> None:
    short = shortened(fact, longest)
    assert len(short) <= longest
    assert len(short.splitlines()) <= 1
    assert shortened(short, longest) == short


@given(st.text("<>&a \n", min_size=200, max_size=2000), st.integers(60, 150))
def test_a_post_that_is_cut_keeps_its_end_and_no_half_entity(text: str, longest: int) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    short = cut(f"*Title*\n{escaped}\nRun r1\nLedger 42:1a2b\n", longest)
    assert len(short) <= longest
    assert short.startswith("*Title*")
    assert short.endswith("[…]\nRun r1\nLedger 42:1a2b\n")
    assert not re.search(r"&(?!amp;|lt;|gt;)", short)


def test_a_post_that_fits_is_not_touched() -> None:
    assert cut("a\nb\n", 10) == "a\nb\n"


def test_a_report_is_no_message_and_has_no_language() -> None:
    assert render("de/ledger.j2", {"head": "1:abc"}, timezone="UTC") == "Ledger 1:abc\n"
