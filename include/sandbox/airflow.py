"""The embedded Airflow: its components as separate, supervised processes on the embedded PostgreSQL.

Everything is configured by the environment of those processes: no state outside the given folder is read or
written, and nothing of a surrounding Airflow's configuration leaks in.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from include.errors import SandboxError
from include.sandbox.airflow_client import AirflowClient
from include.sandbox.airflow_environment import REPOSITORY, USERS, AirflowEnvironment, AuthManager
from include.sandbox.airflow_supervision import Supervised
from include.sandbox.guard import descendants
from include.sandbox.processes import Process, free_port
from include.sandbox.settings import Settings, prepare_metadata

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Component → the arguments of the airflow command that runs it."""

HEALTH_NAMES: Mapping[str, str] = {
    "metadatabase": "api-server",
    "scheduler": "scheduler",
    "dag_processor": "dag-processor",
    "triggerer": "triggerer",
}
"""What Airflow's health answer calls them."""

READY_SECONDS = 180.0
_SUPERVISE_SECONDS = 0.25
_STOP_SECONDS = 10.0


class AirflowRuntime:
    """Airflow with LocalExecutor and the users of the release plan.

    :param state: folder for AIRFLOW_HOME, logs, secrets and passwords
    :param database_url: SQLAlchemy URL of the metadata database
    :param settings: connections, pools and variables
    :param variables: more environment variables for every component, for example ``STELLWERK_PLAN``
    :param dag_folders: further folders of DAG files by bundle name, beside the repository's own; the tests' DAGs
    :param port: of the web interface and API; None picks a free one
    :param auth_manager: who knows the users
    """

    def __init__(
        self,
        state: Path,
        *,
        database_url: str,
        settings: Settings,
        variables: Mapping[str, str] | None = None,
        dag_folders: Mapping[str, Path] | None = None,
        own_dags: Path | None = REPOSITORY / "dags",
        port: int | None = None,
        auth_manager: AuthManager = "simple",
    ) -> None:
        folders = {"dags-folder": own_dags} if own_dags is not None else {}
        self._environment = AirflowEnvironment(
            home=state.absolute(),
            database_url=database_url,
            port=port or free_port(),
            dag_folders={**folders, **(dag_folders or {})},
            variables=dict(variables or {}),
            auth_manager=auth_manager,
        )
        self._settings = settings
        self._components: dict[str, Supervised] = {}
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        self._tasks_served = False

    @property
    def url(self) -> str:
        """Where people and the API client find the web server."""
        return self._environment.base_url

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the components, for commands that must mean this Airflow."""
        return self._environment.variables_of_process()

    @property
    def logs(self) -> Path:
        """Folder of the components' own logs, ``<component>.log``."""
        return self._environment.home / "logs" / "components"

    def password(self, user: str) -> str:
        """The user's generated password.

        :raises SandboxError: there is no such user
        """
        try:
            return self._environment.passwords()[user]
        except KeyError:
            raise SandboxError(f"no Airflow user {user}", expected=f"one of {', '.join(USERS)}") from None

    def client(self, user: str = "admin") -> AirflowClient:
        """A REST client logged in as the user. Close it, or use it as a context manager."""
        return AirflowClient(self.url, user, self.password(user))

    def start(self, *, ready_seconds: float = READY_SECONDS) -> None:
        """Prepare the metadata database, start the components, wait until all of them work and every DAG is known.

        :raises SandboxError: a component is not ready in time, or a DAG file cannot be imported
        """
        self._environment.prepare()
        users = self._environment.users()
        prepare_metadata(self._settings, environment=self.environment, folder=self.logs, users=users)
        self._stopping.clear()
        self._tasks_served = False
        for name, arguments in COMPONENTS.items():
            self._components[name] = Supervised(self._process(name, arguments))
        try:
            for supervised in self._components.values():
                supervised.process.start()
                supervised.started_at = time.monotonic()
            self._supervisor = threading.Thread(target=self._supervise, name="airflow-supervisor", daemon=True)
            self._supervisor.start()
            self._wait_ready(time.monotonic() + ready_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every component with all of its workers; tasks that run are asked to end first."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.join()
            self._supervisor = None
        stoppers = [
            threading.Thread(target=supervised.end, name=f"stop-{name}")
            for name, supervised in self._components.items()
        ]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()

    def pid(self, component: str) -> int:
        """The component's process id."""
        return self._components[component].process.pid

    def restarts(self, component: str) -> int:
        """How often the component ended unexpectedly and was started again."""
        return self._components[component].restarts

    def stop_component(self, component: str) -> None:
        """End one component and keep it down until :meth:`start_component`; for fault tests."""
        supervised = self._components[component]
        with supervised.lock:
            supervised.retry_at = float("inf")
            supervised.end()

    def signal_component(self, component: str, signum: int) -> None:
        """Send a signal to one component and all of its processes; a killed one is started again.

        For fault tests: SIGKILL, or SIGSTOP and later SIGCONT.
        """
        pid = self.pid(component)
        for one in (*descendants(pid), pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signum)

    def add_component(self, component: str) -> str:
        """Start another one beside the first, a triggerer or a scheduler; return its name."""
        name = f"{component}-{sum(known.startswith(component) for known in self._components) + 1}"
        supervised = Supervised(self._process(name, COMPONENTS[component]))
        supervised.process.start()
        supervised.started_at = time.monotonic()
        self._components = {**self._components, name: supervised}
        return name

    def start_component(self, component: str) -> None:
        """Start a component that was stopped."""
        supervised = self._components[component]
        with supervised.lock:
            supervised.retry_at = None
            supervised.process.start()
            supervised.started_at = time.monotonic()

    def _process(self, name: str, arguments: tuple[str, ...]) -> Process:
        return Process(
            name,
            [*self._environment.airflow_command(), *arguments],
            env=self.environment,
            cwd=self._environment.home,
            log=self.logs / f"{name}.log",
            stop_timeout=_STOP_SECONDS,
        )

    # -- supervision -----------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._stopping.wait(_SUPERVISE_SECONDS):
            for supervised in self._components.values():
                with supervised.lock:
                    supervised.look_after(time.monotonic())

    def _wait_ready(self, deadline: float) -> None:
        missing = "api-server"
        while time.monotonic() < deadline:
            missing = self._first_unready()
            if not missing:
                self._wait_for_dags(deadline)
                return
            if (supervised := self._components[missing]).restarts:
                raise self._not_ready(missing, f"it ended with code {supervised.process.exit_code}")
            time.sleep(0.2)
        raise self._not_ready(missing, "it did not report healthy in time")

    def _first_unready(self) -> str:
        for name, supervised in self._components.items():
            if supervised.restarts:
                return name
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
            if not self._tasks_served:
                # Tasks' own API is a second application, built on its first request, which takes seconds.
                httpx.get(f"{self.url}/execution/health", timeout=60, trust_env=False).raise_for_status()
                self._tasks_served = True
        except (httpx.HTTPError, ValueError):
            return "api-server"
        for reported, name in HEALTH_NAMES.items():
            if (health.get(reported) or {}).get("status") != "healthy":
                return name
        return ""

    def _wait_for_dags(self, deadline: float) -> None:
        files = self._environment.dag_files()
        with self.client() as client:
            missing = files
            while True:
                if errors := client.import_errors():
                    raise SandboxError("DAG files cannot be imported", seen="\n".join(errors))
                missing = files - client.dag_files()
                if not missing:
                    return
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.2)
        names = ", ".join(sorted(str(file) for file in missing))
        raise self._not_ready("dag-processor", f"no DAG and no import error known of {names}")

    def _not_ready(self, component: str, seen: str) -> SandboxError:
        process = self._components[component].process
        return SandboxError(
            f"Airflow's {component} is not ready",
            seen=f"{seen}\n{process.log_tail(30)}",
            remedy=f"look at {process.log}",
        )
