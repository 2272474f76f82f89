"""Alembic with this image's tree: ``/app/run alembic upgrade head`` is the usual ``alembic upgrade head``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from alembic.config import CommandLine, Config

TREE = Path(__file__).with_name("migrations")


def configuration(url: str) -> Config:
    """Alembic's configuration; the URL is an attribute, so it is in no file and no argument."""
    config = Config()
    config.set_main_option("script_location", str(TREE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = sqlalchemy_url(url)
    return config


def sqlalchemy_url(url: str) -> str:
    """The URL with the driver this image has: ``postgresql://…`` → ``postgresql+psycopg://…``."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in {"postgres", "postgresql"} else url


def run(arguments: Sequence[str]) -> int:
    """Run one Alembic command; errors of Alembic end the process with their message."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise ValueError("environment variables missing: DATABASE_URL")
    command = CommandLine(prog="run alembic")
    options = command.parser.parse_args(list(arguments))
    if not hasattr(options, "cmd"):
        command.parser.error("too few arguments")
    command.run_cmd(configuration(url), options)
    return 0
