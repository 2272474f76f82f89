"""Helm releases of one namespace: install, upgrade, roll back, uninstall, look."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from include.bluegreen.state import HelmRevision
from include.chart.manifest import Manifest
from include.clients.helm.classify import WITHHELD, classify, error_text, redact, reworded
from include.clients.helm.output import parse_history, parse_manifests, parse_values
from include.clients.helm.process import Finished, run, signal_group
from include.clients.helm.version import Capabilities, HelmVersion, parse_version
from include.errors import HelmReleaseMissing, StellwerkError

log = logging.getLogger(__name__)

# These would lead helm to another cluster or namespace than the kubeconfig and the caller name.
_MISLEADING: Final = ("HELM_KUBE", "HELM_NAMESPACE", "HELM_DEBUG")


class Helm:
    """The helm binary, acting on one namespace.

    Every method raises ``HelmUnusable`` when the binary cannot be used, ``ClusterUnreachable`` and
    ``ClusterRefused`` as the API server answered, and ``HelmError`` for what has no better name. Cancelling a call
    ends helm cleanly. Values reach helm through a pipe: they are on no command line, in no log and on no disk.

    :param kubeconfig: names cluster and credentials; None leaves that to the environment (a pod's own account)
    :param grace_seconds: how long helm may take to end after SIGTERM before it is killed
    """

    def __init__(
        self, binary: Path, kubeconfig: Path | None, namespace: str, *, grace_seconds: float = 20.0
    ) -> None:
        self.binary = binary
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.grace_seconds = grace_seconds
        self._version: HelmVersion | None = None
        self._running: set[int] = set()

    async def version(self) -> HelmVersion:
        """Which helm it is (asked once).

        :raises HelmUnusable: none that Stellwerk supports
        """
        if self._version is None:
            finished = await self._run(["version", "--short"], action="helm version", namespaced=False)
            self._version = parse_version(finished.stdout)
        return self._version

    async def history(self, release: str) -> tuple[HelmRevision, ...]:
        """The revisions of a release, oldest first; empty when there is no such release."""
        try:
            finished = await self._run(
                ["history", release, "--output", "json"], action=f"helm history of {release}"
            )
        except HelmReleaseMissing:
            return ()
        return parse_history(finished.stdout)

    async def upgrade_install(
        self,
        release: str,
        chart: Path,
        values: Mapping[str, Any],
        *,
        timeout_seconds: float = 300.0,
        wait: bool = True,
        rollback_on_failure: bool = False,
    ) -> None:
        """Install the release, or upgrade it.

        :param wait: return only when its objects are ready (kube-proxy may know them up to 2 s later)
        :param rollback_on_failure: let helm undo what fails, instead of leaving a ``failed`` revision
        :raises ChartError: the chart does not render, or renders to what the cluster does not take
        :raises HelmPending: another helm works on the release, or a killed one left it pending
        :raises HelmTimeout: its objects were not ready in time
        """
        version = await self.version()
        arguments = ["upgrade", release, str(chart), "--install", "--values", "-"]
        arguments += ["--timeout", _seconds(timeout_seconds)]
        arguments += version.upgrade_options(wait=wait, rollback_on_failure=rollback_on_failure)
        await self._run(arguments, action=f"helm upgrade of {release}", values=values)

    async def dry_run(self, release: str, chart: Path, values: Mapping[str, Any]) -> None:
        """Let the API server look at the release without changing anything.

        It finds unknown kinds and objects owned by others; it does not find wrong types or unknown fields.

        :raises ChartError: the chart does not render, or renders to what the cluster does not know
        """
        arguments = ["upgrade", release, str(chart), "--install", "--dry-run=server", "--values", "-"]
        await self._run(arguments, action=f"helm dry run of {release}", values=values)

    async def template(
        self, release: str, chart: Path, values: Mapping[str, Any], *, capabilities: Capabilities | None = None
    ) -> tuple[Manifest, ...]:
        """The objects the chart renders to, hooks included. They hold Secrets: not for a log.

        :param capabilities: of the cluster it is rendered for; helm's own idea of one when not given
        :raises ChartError: the chart does not render
        """
        arguments = ["template", release, str(chart), "--values", "-"]
        if capabilities is not None:
            arguments += ["--kube-version", capabilities.kube_version]
            arguments += ["--api-versions", ",".join(capabilities.api_versions)]
        finished = await self._run(arguments, action=f"helm template of {release}", values=values)
        return parse_manifests(finished.stdout, chart=chart.name)

    async def manifest(self, release: str, revision: int) -> tuple[Manifest, ...]:
        """The objects of a revision, hooks excepted; empty when there is none. Not for a log either."""
        arguments = ["get", "manifest", release, "--revision", str(revision)]
        try:
            finished = await self._run(arguments, action=f"helm get manifest of {release}")
        except HelmReleaseMissing:
            return ()
        return parse_manifests(finished.stdout, chart=release)

    async def values(self, release: str, revision: int) -> dict[str, Any]:
        """The values a revision was given; empty when there is none. They hold secrets: not for a log.

        :raises HelmError: helm printed something else
        """
        arguments = ["get", "values", release, "--revision", str(revision), "--output", "json"]
        try:
            finished = await self._run(arguments, action=f"helm get values of {release}")
        except HelmReleaseMissing:
            return {}
        return parse_values(finished.stdout)

    async def rollback(
        self,
        release: str,
        revision: int,
        *,
        timeout_seconds: float = 300.0,
        wait: bool = True,
        force_conflicts: bool = False,
    ) -> None:
        """Bring back a revision. It is always named: helm's own choice may be one that failed.

        :param force_conflicts: undo what somebody changed by hand, too; Helm 3 always does
        :raises ClusterRefused: with status 409, Helm 4 met a field that somebody changed by hand
        :raises HelmReleaseMissing: no such release or revision
        :raises HelmTimeout: its objects were not ready in time
        """
        arguments = ["rollback", release, str(revision), "--timeout", _seconds(timeout_seconds)]
        if force_conflicts and (await self.version()).major >= 4:
            arguments.append("--force-conflicts")
        await self._run(
            arguments + (["--wait"] if wait else []),
            action=f"helm rollback of {release}",
            hide=lambda: self.values(release, revision),
        )

    async def uninstall(self, release: str, *, timeout_seconds: float = 300.0, wait: bool = True) -> None:
        """Remove a release and its history; nothing when there is none."""
        arguments = ["uninstall", release, "--timeout", _seconds(timeout_seconds)]
        try:
            await self._run(arguments + (["--wait"] if wait else []), action=f"helm uninstall of {release}")
        except HelmReleaseMissing:
            log.info("helm release %s does not exist, nothing to uninstall", release)

    def stop(self) -> None:
        """End every helm of this client that still runs: SIGTERM, the grace, SIGKILL.

        For signal handlers and ``on_kill``, where nothing can be awaited; blocks up to the grace period.
        """
        running = set(self._running)
        for pid in running:
            signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while (running := {pid for pid in running if _alive(pid)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in running:
            signal_group(pid, signal.SIGKILL)

    async def _run(
        self,
        arguments: list[str],
        *,
        action: str,
        values: Mapping[str, Any] | None = None,
        hide: Callable[[], Awaitable[Mapping[str, Any]]] | None = None,
        namespaced: bool = True,
    ) -> Finished:
        """Run helm.

        :param values: what it reads from its standard input
        :param hide: the values that its words may repeat, where those are others; asked only when it has failed
        """
        argv = [str(self.binary), *arguments]
        if namespaced:
            argv += ["--namespace", self.namespace]
        pids: list[int] = []

        def started(pid: int) -> None:
            pids.append(pid)
            self._running.add(pid)

        try:
            finished = await run(
                argv,
                environment=self._environment(),
                # JSON is YAML, and says strings like "on" or "3.10" without a doubt.
                stdin=None if values is None else json.dumps(values).encode(),
                grace_seconds=self.grace_seconds,
                started=started,
            )
        finally:
            self._running.difference_update(pids)
        if error := classify(finished.returncode, "", finished.stderr, action=action):
            raise reworded(error, await _words(finished, values or {}, hide))
        return finished

    def _environment(self) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_MISLEADING)}
        if self.kubeconfig is not None:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        return environment


async def _words(
    finished: Finished, values: Mapping[str, Any], hide: Callable[[], Awaitable[Mapping[str, Any]]] | None
) -> str:
    """Helm's words without the values; none of them where the values cannot be had."""
    try:
        return error_text("", redact(finished.stderr, await hide() if hide else values))
    except StellwerkError as unread:
        log.warning("what helm said is not shown, for the values in it cannot be told: %s", unread)
        return WITHHELD


def _seconds(value: float) -> str:
    return f"{value:.3f}s"  # never 1e+03s, which helm does not read


def _alive(pid: int) -> bool:
    """Whether the process still runs; one that has ended and waits to be reaped does not."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
