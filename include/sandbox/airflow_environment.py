"""What the embedded Airflow's processes find in their environment and home folder.

Owns the configuration values, the users of the release plan with their passwords, and the secrets that the
components share. A restart finds the same secrets: sessions and encrypted connections survive it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from include.errors import SandboxError

REPOSITORY = Path(__file__).resolve().parents[2]

USERS: Mapping[str, str] = {
    "admin": "admin",
    "release-manager": "op",
    "technical-lead": "user",
    "business-owner": "user",
    "on-call-lead": "user",
    "security-officer": "user",
    "test-admin": "user",
    "test-user": "user",
    "test-readonly": "user",
    "viewer": "viewer",
}
"""User → SimpleAuthManager role. Answering a gate needs ``user``; which gate, its assigned users decide."""

DECIDERS = ("technical-lead", "business-owner", "on-call-lead")
"""Those of them whom the sandbox's plan names at the gate."""

AuthManager = Literal["simple", "fab"]

FAB_ROLES: Mapping[str, str] = {"admin": "Admin", "op": "Op", "user": "User", "viewer": "Viewer"}
"""What FabAuthManager calls them; its User may also set the states of tasks and clear them."""


def accounts(manager: AuthManager) -> dict[str, str]:
    """User → the id under which an auth manager knows them, where that is not the name."""
    return {user: str(number) for number, user in enumerate(USERS, 1)} if manager == "fab" else {}


HEARTBEAT_TIMEOUT_SECONDS = 30
"""After this time without a sign of life a task counts as killed."""

TRIGGERER_TIMEOUT_SECONDS = 10
"""The same for a triggerer: another one (or its successor) takes up its watches."""

_FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
_DROPPED = ("AIRFLOW", "PYTHON", "_AIRFLOW")


@dataclass(frozen=True)
class AirflowEnvironment:
    """Everything that makes a process part of one embedded Airflow.

    :param home: AIRFLOW_HOME
    :param dag_folders: bundle name → folder of DAG files
    :param variables: added last, so they win
    :param auth_manager: who knows the users
    """

    home: Path
    database_url: str
    port: int
    dag_folders: Mapping[str, Path]
    variables: Mapping[str, str]
    auth_manager: AuthManager = "simple"

    @property
    def base_url(self) -> str:
        """The web server's address."""
        return f"http://127.0.0.1:{self.port}"

    def airflow_command(self) -> list[str]:
        """The airflow command of this Python environment."""
        return [sys.executable, "-P", "-m", "airflow"]

    def prepare(self) -> None:
        """Create the home folder with secrets and passwords."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.passwords()
        self._secrets()

    def passwords(self) -> dict[str, str]:
        """User → password, made up once, in a file only this user can read."""
        known = _read_private(self._password_file)
        missing = {user: secrets.token_urlsafe(12) for user in USERS if user not in known}
        if missing:
            known |= missing
            _write_private(self._password_file, known)
        return known

    def users(self) -> list[dict[str, str]]:
        """The users that have to be created in the metadata database; none where a file holds them."""
        passwords = self.passwords()
        return [
            {"id": number, "name": user, "role": FAB_ROLES[USERS[user]], "password": passwords[user]}
            for user, number in accounts(self.auth_manager).items()
        ]

    def dag_files(self) -> set[Path]:
        """The files Airflow will look for DAGs in."""
        return {
            file
            for folder in self.dag_folders.values()
            for file in folder.rglob("*.py")
            if _may_hold_a_dag(file.read_bytes())
        }

    def variables_of_process(self) -> dict[str, str]:
        """The whole environment of a process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        options = {
            f"AIRFLOW__{section.upper()}__{name.upper()}": value
            for section, values in self._options().items()
            for name, value in values.items()
        }
        proxies = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
        no_proxy = ",".join(filter(None, proxies))
        fixed = {
            "AIRFLOW_HOME": str(self.home),
            # The one place that makes `import include…` work, in every component.
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            # Components speak to one another over loopback: a proxy of the machine must not come between.
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }
        return {**inherited, **fixed, **options, **self.variables}

    @property
    def _password_file(self) -> Path:
        return self.home / "passwords.json"

    def _secrets(self) -> dict[str, str]:
        file = self.home / "secrets.json"
        known = _read_private(file)
        if not known:
            known = {
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "secret_key": secrets.token_urlsafe(32),
                "jwt_secret": secrets.token_urlsafe(64),
            }
            _write_private(file, known)
        return known

    def _options(self) -> dict[str, dict[str, str]]:
        keys = self._secrets()
        managers: dict[AuthManager, dict[str, str]] = {"fab": {"auth_manager": _FAB}, "simple": {}}
        bundles = [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder.absolute())},
            }
            for name, folder in self.dag_folders.items()
        ]
        return {
            "core": {
                "executor": "stellwerk.executor.LocalExecutor",
                "parallelism": "8",
                "dags_folder": str(REPOSITORY / "dags"),
                "plugins_folder": str(REPOSITORY / "plugins"),
                "load_examples": "False",
                "dags_are_paused_at_creation": "False",
                "fernet_key": keys["fernet_key"],
                "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in USERS.items()),
                "simple_auth_manager_passwords_file": str(self._password_file),
                "execution_api_server_url": f"{self.base_url}/execution/",
                # The default asks DNS for this machine's name.
                "hostname_callable": "socket.gethostname",
                **managers[self.auth_manager],
            },
            "database": {"sql_alchemy_conn": self.database_url},
            "api": {
                "host": "127.0.0.1",
                "port": str(self.port),
                "base_url": self.base_url,
                "workers": "1",
                "secret_key": keys["secret_key"],
            },
            "api_auth": {"jwt_secret": keys["jwt_secret"]},
            # A worker waits up to this long for a task process that is ending; 5 s by default.
            "workers": {"min_heartbeat_interval": "1"},
            # A watch whose triggerer was killed is taken up again after this long instead of 30 s.
            "triggerer": {
                "job_heartbeat_sec": "2",
                "triggerer_health_check_threshold": str(TRIGGERER_TIMEOUT_SECONDS),
            },
            "logging": {"base_log_folder": str(self.home / "logs"), "colored_console_log": "False"},
            "scheduler": {
                # The pause between two steps of a run; 1 s by default.
                "scheduler_idle_sleep_time": "0.1",
                "task_instance_heartbeat_timeout": str(HEARTBEAT_TIMEOUT_SECONDS),
                "task_instance_heartbeat_timeout_detection_interval": "5",
                "trigger_timeout_check_interval": "5",
                "enable_health_check": "False",
            },
            "dag_processor": {
                "dag_bundle_config_list": json.dumps(bundles),
                "dag_bundle_storage_path": str(self.home / "bundles"),
                "parsing_processes": "2",
                "min_file_process_interval": "20",
                "refresh_interval": "5",
                "bundle_refresh_check_interval": "1",
                "dag_processor_child_process_log_directory": str(self.home / "logs" / "dag_processor"),
            },
        }


def _may_hold_a_dag(source: bytes) -> bool:
    # Airflow's own rule ([core] dag_discovery_safe_mode).
    lower = source.lower()
    return b"airflow" in lower and (b"dag" in lower or b"asset" in lower)


def _read_private(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SandboxError(f"{file} is damaged", remedy="remove it, the next start writes it anew") from error
    return dict(content)


def _write_private(file: Path, content: Mapping[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(content, stream)
    partial.rename(file)
