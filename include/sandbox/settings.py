"""``airflow_settings.yaml``: read, filled in, checked, and written into Airflow's metadata database.

The file has the shape the Astro CLI uses. ``${NAME}`` stands for a value that only the started environment
knows (a port, a password); ``$${`` is a literal ``${``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from include.errors import SandboxError
from include.sandbox.processes import Process

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_FILE = REPOSITORY / "airflow_settings.yaml"

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_IMPORTER = REPOSITORY / "config" / "prepare_metadata.py"
_IMPORT_SECONDS = 180.0


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AirflowConnection(_Strict):
    """A connection: either a whole URI or a type with its fields."""

    conn_id: str = Field(min_length=1)
    conn_type: str | None = None
    conn_uri: str | None = None
    conn_host: str | None = None
    conn_schema: str | None = None
    conn_login: str | None = None
    conn_password: str | None = None
    conn_port: int | None = Field(default=None, ge=1, le=65535)
    conn_extra: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _uri_or_type(self) -> AirflowConnection:
        if (self.conn_uri is None) == (self.conn_type is None):
            raise ValueError(f"connection {self.conn_id}: give either conn_uri or conn_type")
        if self.conn_uri is not None and self.model_dump(exclude={"conn_id", "conn_uri"}, exclude_none=True):
            raise ValueError(f"connection {self.conn_id}: conn_uri says everything, drop the other fields")
        return self


class Pool(_Strict):
    """A pool: how many task slots it has."""

    pool_name: str = Field(min_length=1)
    pool_slot: int = Field(ge=0)
    pool_description: str = ""


class Variable(_Strict):
    """A variable; what is not a text is kept as JSON."""

    variable_name: str = Field(min_length=1)
    variable_value: Any


def _nothing_is_empty(value: object) -> object:
    return () if value is None else value


class Settings(_Strict):
    """Everything Airflow's metadata database is told at start."""

    connections: Annotated[tuple[AirflowConnection, ...], BeforeValidator(_nothing_is_empty)] = ()
    pools: Annotated[tuple[Pool, ...], BeforeValidator(_nothing_is_empty)] = ()
    variables: Annotated[tuple[Variable, ...], BeforeValidator(_nothing_is_empty)] = ()


def load_settings(values: Mapping[str, str], *, file: Path = SETTINGS_FILE) -> Settings:
    """Read the file and fill its placeholders with ``values``.

    :raises SandboxError: not YAML, an unknown placeholder, or a field that does not belong there
    """
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SandboxError(f"{file.name} cannot be read", seen=str(error)) from error
    if not isinstance(document, dict) or set(document) != {"airflow"}:
        raise SandboxError(f"{file.name} has the wrong shape", expected="one top-level key, airflow")
    unknown: set[str] = set()
    filled = _fill(document["airflow"] or {}, values, unknown)
    if unknown:
        raise SandboxError(
            f"{file.name} has placeholders nobody fills: {', '.join(sorted(unknown))}",
            expected=f"some of {', '.join(sorted(values)) or 'none'}",
            remedy="correct the name, or give the started environment a value for it",
        )
    try:
        return Settings.model_validate(filled)
    except ValidationError as error:
        # Input values are left out: they may be passwords.
        seen = "; ".join(
            f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
            for detail in error.errors(include_input=False, include_url=False)
        )
        raise SandboxError(f"{file.name} does not fit its schema", seen=seen) from None


def _fill(node: object, values: Mapping[str, str], unknown: set[str]) -> Any:  # YAML is untyped
    if isinstance(node, dict):
        return {key: _fill(value, values, unknown) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values, unknown) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "${"
        if name not in values:
            unknown.add(name)
        return values.get(name, "")

    return _PLACEHOLDER.sub(value_of, node)


def prepare_metadata(
    settings: Settings,
    *,
    environment: Mapping[str, str],
    folder: Path,
    users: Sequence[Mapping[str, str]] = (),
) -> None:
    """Migrate Airflow's metadata database and write the settings into it, in one process.

    One command of Airflow's CLI costs seconds, most of them imports; this pays them once.

    :param environment: the whole environment of the process; decides which Airflow is meant
    :param users: to create where the auth manager keeps them: ``id``, ``name``, ``role``, ``password``
    :param folder: for the log and, while the process runs, the settings in a file only this user can read
    :raises SandboxError: with the end of the log
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.json"
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(json.dumps({**settings.model_dump(mode="json"), "users": [dict(user) for user in users]}))
    process = Process(
        "prepare-metadata",
        [sys.executable, "-P", _IMPORTER, file],
        env=environment,
        cwd=folder,
        log=folder / "prepare-metadata.log",
    )
    try:
        with process:
            code = process.wait(_IMPORT_SECONDS)
    finally:
        file.unlink(missing_ok=True)
    if code != 0:
        raise SandboxError(
            "Airflow's database could not be prepared",
            expected="exit status 0",
            seen=f"exit status {code}\n{process.log_tail()}",
            remedy=f"look at {process.log}",
        )
