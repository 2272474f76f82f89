"""The texts of ``include/templates``: a name that the facts do not have is an error, never a gap in a sentence.

Messages have a template for each language, ``<language>/<name>``; reports stand beside those folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.markdown import escaped
from include.messages.limits import shortened
from include.plan.communication import Language

__all__ = ["TEMPLATES", "Written", "render", "render_mail", "shortened"]

TEMPLATES: Final = Path(__file__).parents[1] / "templates"

Medium = Literal["text", "slack", "markdown"]

_WEEKDAYS: Final[Mapping[Language, tuple[str, ...]]] = {
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_DAY: Final[Mapping[Language, str]] = {"de": "%d.%m.%Y", "en": "%Y-%m-%d"}
_AFTER_TIME: Final[Mapping[Language, str]] = {"de": " Uhr", "en": ""}
_KEPT_IN_URL: Final = ":/?#[]@!$'()*+,;=%~&"


@dataclass(frozen=True)
class Written:
    """A mail as its template says it.

    :param html: the same as a fragment of well-formed HTML
    """

    subject: str
    text: str
    html: str


class _Markup(str):
    """Is no fact: it is put in as it is."""

    __slots__ = ()


def render(template: str, facts: Mapping[str, Any], *, timezone: str, language: Language = "de") -> str:
    """Fill in a template.

    ``*.slack.j2`` templates escape every fact, so that nobody's comment can mention a channel or forge a link.

    :param timezone: in which times are told
    :raises jinja2.UndefinedError: the template needs a fact that was not given
    """
    return _filled(template, facts, timezone, language, "slack" if template.endswith(".slack.j2") else "text")


def render_mail(template: str, facts: Mapping[str, Any], *, timezone: str, language: Language) -> Written:
    """Fill in the template of a mail, whose first line is ``Subject: …``, and whose text is Markdown.

    The text is what the template says; the HTML is the same Markdown with every fact escaped, so that facts are
    shown and never interpreted.
    """
    plain = _filled(template, facts, timezone, language, "text")
    subject, _, text = plain.partition("\n")
    markdown = _filled(template, facts, timezone, language, "markdown").partition("\n")[2]
    return Written(subject.partition(":")[2].strip(), text.strip() + "\n", _html(markdown))


def _filled(template: str, facts: Mapping[str, Any], timezone: str, language: Language, medium: Medium) -> str:
    return _environment(timezone, language, medium).get_template(template).render(facts).strip() + "\n"


@lru_cache(maxsize=32)
def _environment(timezone: str, language: Language, medium: Medium) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES / language, TEMPLATES]),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no template is HTML; finalize escapes for what each becomes
        finalize={"slack": _for_slack, "markdown": _for_markdown, "text": None}[medium],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= _filters(ZoneInfo(timezone), timezone, language)
    environment.globals["link"] = _link if medium == "markdown" else _named
    return environment


def _filters(zone: ZoneInfo, timezone: str, language: Language) -> dict[str, Callable[[Any], str]]:
    after, pattern = _AFTER_TIME[language], _DAY[language]

    def clock(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%H:%M:%S}"

    def moment(moment: datetime) -> str:
        return f"{moment.astimezone(zone):{pattern}, %H:%M:%S}{after} ({timezone})"

    def planned(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%H:%M}{after}"

    def day(moment: date) -> str:
        return f"{_WEEKDAYS[language][moment.weekday()]}, {moment:{pattern}}"

    return {
        "clock": clock, "moment": moment, "planned": planned, "day": day, "zeit": clock, "zeitpunkt": moment,
    }  # fmt: skip


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    # Lines of a template stay lines; xhtmlOut closes every element.
    return MarkdownIt("commonmark", {"html": False, "breaks": True, "xhtmlOut": True})


def _html(markdown: str) -> str:
    return str(_parser().render(markdown))


def _for_slack(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Three backticks would make one block of all up to the next three: of lines that are not this fact's.
    value = value.replace("```", "'''")
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_markdown(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, _Markup):
        return value
    return escaped(value)


def _named(title: str, url: str) -> _Markup:
    return _Markup(f"{title}: {url}")


def _link(title: str, url: str) -> _Markup:
    """A link where the address is one of the web, else its words."""
    if not re.match(r"https?://[^\s/]", url):
        return _Markup(_for_markdown(f"{title}: {url}"))
    address = quote(url, safe=_KEPT_IN_URL).replace("&", "&amp;")
    return _Markup(f"[{_for_markdown(title)}](<{address}>)")
