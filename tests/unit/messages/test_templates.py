"""Every template exists in both languages and names the same facts; nothing is said without its facts."""

from __future__ import annotations

from typing import get_args

import pytest
from jinja2 import Environment, UndefinedError, nodes

from include.messages.render import TEMPLATES, render
from include.plan.communication import Language, MailEvent

LANGUAGES: tuple[Language, ...] = get_args(Language)
NAMES = sorted({file.name for language in LANGUAGES for file in (TEMPLATES / language).iterdir()})
NEED_FACTS = [name for name in NAMES if name.endswith((".slack.j2", ".mail.j2", ".calendar.j2"))]


def text_of(language: Language, name: str) -> str:
    return (TEMPLATES / language / name).read_text()


def facts_in(text: str) -> set[str]:
    """What a template names: variables, their attributes, filters, what it compares with, what it includes."""
    tree = Environment().parse(text)
    named = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    named |= {f".{node.attr}" for node in tree.find_all(nodes.Getattr)}
    named |= {f"|{node.name}" for node in tree.find_all(nodes.Filter)}
    compared = [node.expr for node in tree.find_all(nodes.Operand)]
    named |= {f"=={other.value}" for other in compared if isinstance(other, nodes.Const)}
    return named | {f"+{node.template.value}" for node in tree.find_all(nodes.Include)}


@pytest.mark.parametrize("name", NAMES)
def test_every_template_exists_in_both_languages_and_names_the_same_facts(name: str) -> None:
    german, english = (facts_in(text_of(language, name)) for language in LANGUAGES)
    assert german == english
    assert text_of("de", name) != text_of("en", name) or name == "ledger.j2"


def test_no_message_stands_outside_of_the_languages() -> None:
    kinds = ("*.slack.j2", "*.mail.j2", "*.calendar.j2")
    assert [file.name for kind in kinds for file in TEMPLATES.glob(kind)] == []


def test_every_mail_of_a_release_has_its_template() -> None:
    assert {f"{event}.mail.j2" for event in get_args(MailEvent)} <= set(NAMES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NEED_FACTS)
def test_a_template_without_its_facts_is_an_error(name: str, language: Language) -> None:
    with pytest.raises(UndefinedError):
        render(name, {}, timezone="UTC", language=language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".mail.j2")])
def test_a_mail_begins_with_its_subject(name: str, language: Language) -> None:
    word = {"de": "Betreff", "en": "Subject"}[language]
    first, second, *_ = text_of(language, name).splitlines()
    assert first.startswith(f"{word}: [{{{{ application }}}}] ")
    assert second == ""
