"""An environment's database: how it is reached, backed up, migrated and watched.

Times are in seconds, sizes in bytes. A file names connections, folders and programs, never credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from include.plan.prober import Text
from include.plan.rules import PlanModel, Seconds

VERSION_NAME: Final = "{version}"
"""Stands in a path for the version whose files are meant."""


def _path(text: str) -> str:
    if not PurePosixPath(text.replace(VERSION_NAME, "version")).is_absolute():
        raise ValueError(f"{text!r} is not an absolute path: a task runs in a folder of its own")
    if "{" in text.replace(VERSION_NAME, ""):
        raise ValueError(f"{text!r} names something that nobody fills in: only {VERSION_NAME} is")
    return text


AbsolutePath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)]
Bytes = Annotated[int, Field(ge=1)]
Program = Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]


class AlembicTree(PlanModel):
    """Where the revisions of a version are, and what runs them.

    In every path ``{version}`` stands for the version whose tree is meant.

    :param runner: ``process``: a process of its own, with the interpreter named here
    :param folder: the application's folder; the process runs there
    :param interpreter: the program and its options, for example ``[/srv/erp/{version}/venv/bin/python]``
    :param search_path: folders that are imported from first
    :param config: its ``alembic.ini``; None where it has none
    :param section: of that file
    :param script_location: the folder with ``env.py``; None: what ``config`` says
    :param version_table: where its ``env.py`` keeps the revisions
    :param version_schema: the schema of that table; None: wherever it is found
    :param driver: SQLAlchemy's name of a driver that uses libpq
    :param url_variable: environment variable from which its ``env.py`` takes the URL, where it does
    """

    runner: Literal["process"] = "process"
    folder: AbsolutePath
    interpreter: Program
    search_path: tuple[AbsolutePath, ...] = ()
    config: AbsolutePath | None = None
    section: Text = "alembic"
    script_location: AbsolutePath | None = None
    version_table: Text = "alembic_version"
    version_schema: Text | None = None
    driver: Literal["postgresql+psycopg", "postgresql+psycopg2"] = "postgresql+psycopg"
    url_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.config is None and self.script_location is None:
            raise ValueError("neither config nor script_location: nobody knows where env.py is")
        return self


class Retention(PlanModel):
    """How long backups are kept; the newest verified one of a database always is.

    :param newest: so many verified backups are kept however old they are
    :param days: everything younger is kept
    :param unfinished_hours: after that time goes what an attempt left that never became a backup
    """

    newest: Annotated[int, Field(ge=1, le=1000)] = 7
    days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] = 30
    unfinished_hours: Annotated[float, Field(ge=1, le=8760, allow_inf_nan=False)] = 48


class BackupPolicy(PlanModel):
    """How the database is backed up.

    :param format: ``custom`` is streamed; ``directory`` is written by several processes, by way of ``spool``
    :param jobs: processes of the directory format, for dump and restore
    :param spool: the local folder that the directory format goes through
    :param spool_bytes: how much may be in it
    :param verify_by_restore: whether a backup counts only once it was restored into a scratch database and
        compared; otherwise it is read back
    :param count_seconds: how long counting rows may take; a table that was not counted is ``UNKNOWN``
    :param fresh_seconds: how old a backup may be when the migration that relies on it begins
    """

    format: Literal["custom", "directory"] = "custom"
    jobs: Annotated[int, Field(ge=1, le=64)] = 2
    spool: AbsolutePath | None = None
    spool_bytes: Bytes | None = None
    verify_by_restore: bool = True
    count_seconds: Seconds = 600.0
    fresh_seconds: Seconds = 3600.0
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _spool_has_a_bound(self) -> Self:
        if self.format == "directory" and (self.spool is None or self.spool_bytes is None):
            raise ValueError("the directory format needs spool and spool_bytes: a folder with a bound")
        return self


class Acceptance(PlanModel):
    """Somebody takes the responsibility for findings of one rule in one revision.

    :param revision: empty for findings that are about none
    :param by: who
    """

    rule: Text
    revision: str = ""
    by: Text
    reason: Text


class MigrationPolicy(PlanModel):
    """What findings about a migration mean here.

    :param rules: rule to what it means here, where that is not the rule's own severity
    :param unknown_blocks: whether what could not be judged stops the migration
    :param accepted: findings that somebody has taken the responsibility for
    :param way_back_needed: whether the rehearsal has to prove the way back; otherwise a migration without one may
        run, and going back means restoring the backup
    """

    rules: Mapping[Text, Literal["block", "warn"]] = Field(default_factory=dict)
    unknown_blocks: bool = True
    accepted: tuple[Acceptance, ...] = ()
    way_back_needed: bool = True


class MigrationLimits(PlanModel):
    """How long a migration may wait and work.

    :param lock_seconds: the longest wait for a lock (``lock_timeout``); users wait behind it for as long
    :param statement_seconds: the longest statement (``statement_timeout``)
    :param attempts: how often locks that were not to be had are tried for
    :param pause_seconds: before the second attempt; doubled before each further one
    """

    lock_seconds: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 5.0
    statement_seconds: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = 600.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    pause_seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 2.0


class OldVersionSuite(PlanModel):
    """The old version's own tests, run against a migrated copy: exit code 0 means that it works there.

    Its environment holds libpq's variables (``PGHOST`` …, ``PGPASSFILE``) of the copy and nothing secret.

    :param program: with its arguments; ``{version}`` stands for the old version
    """

    program: Program
    timeout_seconds: Seconds = 600.0

    @field_validator("program")
    @classmethod
    def _by_full_path(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _path(value[0])
        return value


class Rehearsal(PlanModel):
    """How a migration is tried out on a copy of the backup.

    :param largest_bytes: a database larger than this is not copied: the server's disk would be at risk. None: any
    :param old_version: proves that the old version works on the new schema; without it, a rehearsal proves the
        migration and the way back, and no rollback without a restore is possible after the migration
    """

    largest_bytes: Bytes | None = None
    old_version: OldVersionSuite | None = None


class DatabasePlan(PlanModel):
    """The application's database of an environment.

    :param connection: id of the Airflow connection to it, as its owner, who may create databases
    :param maintenance: another database of the same server, from which copies are made and names exchanged
    :param backups: object storage URL of the folder that takes the backups, for example ``s3://bucket/erp``
    :param backups_connection: id of the Airflow connection for it; None where none is needed
    :param clients: folder of ``pg_dump`` and ``pg_restore``; None: those on ``PATH``
    :param gate_roles: which of the gate's roles decide about a migration
    :param watch_seconds: how long the running version is watched on the new schema, from the migration on
    """

    connection: Text
    maintenance: Text = "postgres"
    backups: Text
    backups_connection: Text | None = None
    clients: AbsolutePath | None = None
    tree: AlembicTree
    backup: BackupPolicy = BackupPolicy()
    migration: MigrationPolicy = MigrationPolicy()
    limits: MigrationLimits = MigrationLimits()
    rehearsal: Rehearsal = Rehearsal()
    gate_roles: Annotated[tuple[Text, ...], Field(min_length=1)] = ("technical-lead", "on-call-lead")
    watch_seconds: Seconds = 600.0

    @field_validator("backups")
    @classmethod
    def _a_url_without_credentials(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or not scheme.isalnum():
            raise ValueError(f"{value!r} is not an object storage URL like s3://bucket/erp or file:///srv/backups")
        if ":" in rest.partition("/")[0].partition("@")[0] and "@" in rest.partition("/")[0]:
            raise ValueError("a URL in a plan must not hold credentials: name a connection")
        return value.rstrip("/")

    @field_validator("gate_roles")
    @classmethod
    def _each_role_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({role for role in value if value.count(role) > 1}):
            raise ValueError(f"gate_roles names a role twice: {', '.join(twice)}")
        return value
