"""The world every measured round begins from: the old version serves in blue, green does not exist."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID
from include.plan.loader import load_plan
from include.plan.values import slot_values
from include.sandbox.environment import CHART, Sandbox
from include.sandbox.programs import program

VERSION = "3.0.0"
PLAIN_COMMANDS = Path(__file__).parent / "plain_commands.sh"


@dataclass(frozen=True)
class World:
    """The sandbox's application as somebody with kubectl and helm sees it."""

    sandbox: Sandbox

    @property
    def stem(self) -> str:
        """Of the Helm releases' names."""
        return self.sandbox.environment.helm_release

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the application's namespace."""
        return self._run(program("kubectl"), *arguments)

    def helm(self, *arguments: str) -> str:
        """Run helm in the application's namespace."""
        return self._run(program("helm"), *arguments)

    def reset(self) -> None:
        """Return to the starting point, whatever a round has left."""
        self._up("blue")
        patch = '{"spec":{"selector":{"version":"blue"}}}'
        self.kubectl("patch", "service", "valeo-erp", "-p", patch)
        self.kubectl("annotate", "service", "valeo-erp", f"{RELEASE_ID}-", f"{LAST_SWITCH}-")
        self.kubectl("patch", "service", "valeo-erp-preview", "-p", patch.replace("blue", "green"))
        self.helm("uninstall", f"{self.stem}-green", "--ignore-not-found", "--wait")
        self.kubectl("wait", "--for=delete", "pod", "-l", "version=green", "--timeout=120s")

    def install_green(self) -> None:
        """Have the new version ready in green, without any traffic."""
        self.helm(
            "upgrade", "--install", f"{self.stem}-green", str(CHART), "--values", str(self.values()), "--wait"
        )
        self._up("green")

    def values(self) -> Path:
        """A file with the very values the DAG deploys the new version with."""
        release = load_plan(self.sandbox.plan_folder).release(VERSION)
        file = self.sandbox.options.state / "green-values.yaml"
        file.write_text(yaml.safe_dump(slot_values(release, self.sandbox.environment, "green")))
        return file

    def plain_commands(self) -> None:
        """Run the plan's bare commands."""
        self._run(PLAIN_COMMANDS, place=())

    def _up(self, slot: str) -> None:
        name = f"{self.stem}-{slot}"
        self.kubectl("scale", "deployment", name, f"--replicas={self.sandbox.environment.replicas}")
        self.kubectl("rollout", "status", "deployment", name, "--timeout=120s")

    def _run(self, command: Path, *arguments: str, place: Sequence[str] | None = None) -> str:
        sandbox = self.sandbox
        where = ("--namespace", sandbox.options.namespace) if place is None else place
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(sandbox.options.state),
            "HELM": str(program("helm")),
            "KUBECTL": str(program("kubectl")),
            "KUBECONFIG": str(sandbox.cluster.kubeconfig),
            "NAMESPACE": sandbox.options.namespace,
            "CHART": str(CHART),
            "VALUES": str(self.values()),
            "STEM": self.stem,
            "REPLICAS": str(sandbox.environment.replicas),
            "PUBLIC_URL": sandbox.addresses.public_url,
            "PREVIEW_URL": sandbox.addresses.preview_url,
        }
        argv = [str(command), *where, *arguments]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} → {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout
