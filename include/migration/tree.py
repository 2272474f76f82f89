"""An application's Alembic tree: where it is, whose Python knows it, and what its files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import TreeUnusable


@dataclass(frozen=True)
class Tree:
    """Where the revisions of one version of the application are, and how they are run.

    :param folder: the application's own folder; the process runs there
    :param interpreter: the program and its options, for example ``("/srv/erp/venv/bin/python",)``; with
        ``-I -S`` it sees nothing but ``search_path`` and its standard library
    :param search_path: folders that are imported from first
    :param config: its ``alembic.ini``, where it has one
    :param section: of that file
    :param script_location: the folder with ``env.py``; "" means what the file says
    :param version_table: where it keeps its revisions, as its ``env.py`` configures it
    :param version_schema: schema of that table; "" means wherever it is found first
    :param driver: of the URL, as SQLAlchemy names it; one that uses libpq, which reads the password from a file
    :param url_variable: environment variable from which ``env.py`` takes the URL, where it does; the URL in it
        holds no password
    """

    folder: Path
    interpreter: tuple[str, ...]
    search_path: tuple[Path, ...] = ()
    config: Path | None = None
    section: str = "alembic"
    script_location: str = ""
    version_table: str = "alembic_version"
    version_schema: str = ""
    driver: str = "postgresql+psycopg"
    url_variable: str = ""

    def request(self) -> dict[str, Any]:
        """The tree as the runner is told of it."""
        return {
            "search_path": [str(path) for path in self.search_path],
            "config": str(self.config) if self.config else "",
            "section": self.section,
            "script_location": self.script_location,
            "url_variable": self.url_variable,
        }


@dataclass(frozen=True)
class Revision:
    """One revision file.

    :param down: the revisions it follows; none for a base, several for a merge
    :param depends: what else has to be there before it, by revision or branch label
    :param labels: names of the branch that begins here
    :param digest: SHA-256 of the file; "" when it does not matter
    """

    name: str
    file: str
    down: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    title: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Unreadable:
    """A revision file that cannot be imported; ``line`` is 0 where none is known."""

    file: str
    line: int
    why: str


@dataclass(frozen=True)
class ConfiguredUrl:
    """Where an ``alembic.ini`` points; ``None`` for what it does not say.

    :param unreadable: why it cannot be read, ``""`` where it can
    """

    driver: str = ""
    host: str | None = None
    port: int | None = None
    database: str | None = None
    unreadable: str = ""

    @property
    def shown(self) -> str:
        """For humans; holds no user and no password."""
        if self.unreadable:
            return f"a URL that cannot be read ({self.unreadable})"
        host = "" if self.host is None else self.host if self.port is None else f"{self.host}:{self.port}"
        return f"{self.driver}://{host}/{self.database or ''}"


@dataclass(frozen=True)
class Inspection:
    """What the files of a tree say.

    :param env: path of its ``env.py``; "" when it has none
    :param data_digest: of what else lies beside the revisions: SQL and data that they read
    :param url: what its ``alembic.ini`` says about the database, None when nothing
    """

    alembic: str
    python: str
    env: str
    env_digest: str
    data_digest: str
    url: ConfiguredUrl | None
    revisions: tuple[Revision, ...]
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True)
class Step:
    """One revision to run, up or down."""

    revision: str
    up: bool


@dataclass(frozen=True)
class Rendered:
    """One revision as SQL.

    :param statements: SQL and the line of the file that asked for it, in order, as far as it could be rendered
    :param why: why the rest cannot be rendered without a database; "" when it is complete
    :param line: where it stopped; 0 where unknown
    """

    revision: str
    file: str
    statements: tuple[tuple[str, int], ...]
    why: str = ""
    line: int = 0


def inspection(event: Mapping[str, Any]) -> Inspection:
    """The runner's answer.

    :raises TreeUnusable: it is none
    """
    try:
        return Inspection(
            alembic=event["alembic"],
            python=event["python"],
            env=event["env"],
            env_digest=event["env_digest"],
            data_digest=event["data_digest"],
            url=_url(event["url"]),
            revisions=tuple(_revision(one) for one in event["revisions"]),
            unreadable=tuple(Unreadable(one["file"], int(one["line"]), one["why"]) for one in event["unreadable"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _nonsense(error) from error


def rendered(events: Sequence[Mapping[str, Any]]) -> tuple[Rendered, ...]:
    """The runner's answer.

    :raises TreeUnusable: it is none
    """
    try:
        return tuple(
            Rendered(
                one["revision"],
                one["file"],
                tuple((statement["sql"], int(statement["line"])) for statement in one["statements"]),
                one["why"],
                int(one["line"]),
            )
            for one in events
            if one["event"] == "revision"
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _nonsense(error) from error


def _url(said: Mapping[str, Any] | None) -> ConfiguredUrl | None:
    return None if said is None else ConfiguredUrl(**said)


def _revision(one: Mapping[str, Any]) -> Revision:
    lists = {name: tuple(one[name]) for name in ("down", "depends", "labels")}
    return Revision(one["revision"], one["file"], title=one["title"], digest=one["digest"], **lists)


def _nonsense(error: Exception) -> TreeUnusable:
    return TreeUnusable("the runner's answer cannot be read", seen=f"{type(error).__name__}: {error}")
