"""Markdown as Airflow's page renders it: GitHub's, with tables and struck words; HTML is left to the browser."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from markdown_it import MarkdownIt

_PARSER = MarkdownIt("commonmark", {"html": True, "xhtmlOut": True}).enable(["strikethrough", "table"])


def page_of(markdown: str) -> ET.Element:
    """The page; :class:`~xml.etree.ElementTree.ParseError` where somebody's HTML got into it."""
    return ET.fromstring(f"<page>{_PARSER.render(markdown)}</page>")


def elements(markdown: str) -> set[str]:
    """The names of all elements."""
    return {one.tag for one in page_of(markdown).iter()} - {"page"}


def links(markdown: str) -> set[str]:
    """Where its links lead."""
    return {one.attrib["href"] for one in page_of(markdown).iter("a")}


def text_of(markdown: str) -> str:
    """What is read."""
    return re.sub(r"\s+", " ", "".join(page_of(markdown).itertext()))
