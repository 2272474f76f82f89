"""Alembic's configuration and script folder as the request describes the tree."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from .session import Refused


def configuration(tree: dict[str, Any]) -> Config:
    """The ``alembic.ini`` of the tree where it has one, with what the request says on top.

    :raises Refused: the file is not there
    """
    file = tree["config"]
    if file and not Path(file).is_file():
        raise Refused("tree", f"{file} is not there")
    config = Config(file or None, ini_section=tree["section"])
    if tree["script_location"]:
        config.set_main_option("script_location", _escaped(tree["script_location"]))
    if not file:
        config.set_main_option("path_separator", "os")  # a newer Alembic asks for it
    return config


def scripts(config: Config) -> ScriptDirectory:
    """The folder with ``env.py`` and the revisions; nothing of it is imported yet.

    :raises Refused: there is none
    """
    try:
        return ScriptDirectory.from_config(config)
    except Exception as error:
        raise Refused("tree", str(error)) from error


def configured_url(config: Config) -> dict[str, Any] | None:
    """Where ``alembic.ini`` points, without its password; None when it says nothing."""
    try:
        said = config.get_main_option("sqlalchemy.url")
    except Exception as error:  # noqa: BLE001 - an interpolation that needs what is not there
        return {"unreadable": type(error).__name__}
    if not said:
        return None
    try:
        url = make_url(said)
    except Exception as error:  # noqa: BLE001
        return {"unreadable": type(error).__name__}
    return {"driver": url.drivername, "host": url.host, "port": url.port, "database": url.database}


def point_at(config: Config, url: str, variable: str) -> None:
    """Give ``env.py`` the URL in each of the ways that are usual; it holds no password.

    libpq reads that from the file that ``PGPASSFILE`` names.
    """
    config.set_main_option("sqlalchemy.url", _escaped(url))
    config.attributes["url"] = url
    config.cmd_opts = Namespace(x=[f"url={url}"])
    if variable:
        os.environ[variable] = url


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
