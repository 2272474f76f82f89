"""Stellwerk: the DAG production-blue-green in the sandbox's Airflow, watched by its triggerer."""

from __future__ import annotations

import contextlib
import os
import signal
import string
import time
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.peers.contender import Outcome, Promotion, Settings
from benchmarks.peers.kube import Kube
from benchmarks.peers.place import Place
from benchmarks.starting_point import World
from include.bluegreen.fence import LAST_SWITCH
from include.plan.values import merged
from include.sandbox.airflow_client import RUN_ENDED, AirflowClient, AirflowRefused, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import answer_gate, trigger_release

OVERLAY: Final = Path(__file__).parent / "stellwerk" / "environment.yaml"
CONNECTION: Final = "prometheus"
DAGS: Final = ("production-blue-green", "rollback")
END_SECONDS: Final = 60.0
HELD: Final = " HELD: "  # how the task's log begins to say that the window is over without proof
BY_ITSELF_SECONDS: Final = 8.0
LOOK_SECONDS: Final = 1.0  # between two looks at Airflow: they cost the machine more than those at the cluster


class Stellwerk:
    """The real thing: Airflow, the release's DAG, a person at the gate, the watch in the triggerer."""

    def __init__(self, place: Place, settings: Settings, sandbox: Sandbox) -> None:
        self.settings = settings
        self._place = place
        self._sandbox = sandbox
        self._kube = Kube(place.kubeconfig, sandbox.options.namespace)
        self._environment = sandbox.plan_folder / "environments" / "production.yaml"
        self._plain: dict[str, Any] = yaml.safe_load(self._environment.read_text())
        self._client: AirflowClient = sandbox.airflow.client()
        self._run: Run | None = None
        self._was_on_new = False
        self._looked_at = 0.0
        self._watch_seconds = 0.0
        self._watched_until = 0.0

    @property
    def public_url(self) -> str:
        """The traffic Service's NodePort."""
        return self._sandbox.addresses.public_url

    def prepare(self) -> None:
        """Tell Airflow where Prometheus is."""
        if self.settings.scrape_seconds:
            host, _, port = self._place.prometheus_url.removeprefix("http://").partition(":")
            body = {
                "connection_id": CONNECTION,
                "conn_type": "http",
                "host": host,
                "port": int(port),
                "schema": "http",
            }
            with contextlib.suppress(AirflowRefused):
                self._client.request("DELETE", f"connections/{CONNECTION}")
            self._client.request("POST", "connections", json=body)

    def reset(self, promotion: Promotion) -> None:
        """End whatever runs, return the cluster to the old version in blue, write the environment."""
        self._end_runs()
        self._environment.write_text(yaml.safe_dump(merged(self._plain, self._overlay(promotion))))
        World(self._sandbox).reset()
        # A run that was ended by hand with the traffic on the new version keeps the environment: that is meant so.
        self._kube.kubectl("delete", "lease", "--all")
        self._run, self._was_on_new, self._looked_at = None, False, 0.0
        self._watch_seconds = promotion.watch_seconds

    def promote(self, promotion: Promotion) -> None:
        """Start the release, and have everybody say Go."""
        self._run = trigger_release(self._sandbox.airflow, promotion.tag)
        answer_gate(self._sandbox.airflow, self._run)

    def analysing(self) -> bool:
        """From the cutover on."""
        return self.on_new()

    def on_new(self) -> bool:
        """The traffic Service selects green."""
        on_new = self._kube.selector(self._sandbox.environment.traffic.service).get("version") == "green"
        if on_new and not self._was_on_new:
            self._was_on_new, self._watched_until = True, time.monotonic() + self._watch_seconds
        return on_new

    def outcome(self) -> Outcome | None:
        """The traffic Service says whether it was switched back, Airflow everything else."""
        assert self._run is not None
        on_new = self.on_new()
        if self._was_on_new and not on_new:
            return Outcome("switched-back", time.time(), self._last_switch())
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return None
        self._looked_at = time.monotonic()
        if not self._was_on_new:
            ended = self._client.run(self._run).state in RUN_ENDED
            return Outcome("refused", time.time(), self._failure()) if ended and not self.on_new() else None
        return self._watched(self._run)

    def _watched(self, run: Run) -> Outcome | None:
        state = self._client.task(run, "watch").state
        if state == "success":
            return Outcome("promoted", time.time(), "watch passed")
        if state == "failed" and self.on_new():
            return Outcome("held", time.time(), self._failure())
        if time.monotonic() < self._watched_until:
            return None
        told = [line for line in self._client.log(run, "watch").splitlines() if HELD in line]
        return Outcome("held", time.time(), told[-1].partition(HELD)[2][:400]) if told else None

    def kill_controller(self, part: str = "") -> None:
        """SIGKILL the triggerer (or the scheduler); the sandbox starts it again."""
        os.kill(self._sandbox.airflow.pid(part or "triggerer"), signal.SIGKILL)

    def leave(self) -> None:
        """Leave the old version in blue and the environment as it was."""
        self._end_runs()
        self._environment.write_text(yaml.safe_dump(self._plain))
        World(self._sandbox).reset()
        self._kube.kubectl("delete", "lease", "--all")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._kube.close()

    def _overlay(self, promotion: Promotion) -> dict[str, Any]:
        scrape, poll = self.settings.scrape_seconds, self.settings.poll_seconds
        values = {
            "SOURCE": "prometheus" if scrape else "openmetrics",
            "WATCH_SECONDS": f"{promotion.watch_seconds:g}",
            "POLL_SECONDS": f"{poll:g}",
            "SCRAPE_SECONDS": f"{scrape or 1:g}",
            "STALE_SECONDS": f"{max(5.0, 2 * scrape + poll):g}",
        }
        overlay: dict[str, Any] = yaml.safe_load(string.Template(OVERLAY.read_text()).substitute(values))
        return merged(overlay, {"connections": {"prometheus": CONNECTION}}) if scrape else overlay

    def _end_runs(self) -> None:
        """Give them the time to end by themselves, then end them as a person would."""
        deadline = time.monotonic() + BY_ITSELF_SECONDS
        while running := [run for dag in DAGS for run in self._client.runs(dag) if run.state not in RUN_ENDED]:
            late = time.monotonic() > deadline
            for run in running if late else ():
                self._client.set_run_state(run, "failed")
            if time.monotonic() > deadline + END_SECONDS:
                raise TimeoutError(f"runs do not end: {', '.join(run.run_id for run in running)}")
            time.sleep(1.0)

    def _last_switch(self) -> str:
        service = self._kube.read_service(self._sandbox.environment.traffic.service)
        return str((service.metadata.annotations or {}).get(LAST_SWITCH, ""))[:500]

    def _failure(self) -> str:
        assert self._run is not None
        for task in self._client.tasks(self._run):
            if task.state == "failed":
                lines = self._client.log(self._run, task.task_id).splitlines()
                telling = [line for line in lines if "seen" in line or "Error" in line or "HELD" in line]
                return f"{task.task_id} failed: {' / '.join(telling[-2:])}"[:500]
        return "the run ended"
