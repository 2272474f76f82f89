"""The commands of docs/permissions.md, pasted by an administrator, make a kubeconfig with these rights only."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.sandbox.cluster import ClusterUnderTest
from include.sandbox.programs import program
from tests.contract.support import Kubectl

REPOSITORY = Path(__file__).parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs" / "permissions.md").read_text(), re.DOTALL)


@pytest.fixture
def admin(cluster: ClusterUnderTest, emptied: list[Kubectl]) -> Iterator[Kubectl]:
    """kubectl in the namespace that the file is written for."""
    kubectl = Kubectl(program("kubectl"), cluster.kubeconfig, "production")
    kubectl("create", "namespace", "production")
    kubectl("create", "namespace", "staging")
    yield kubectl
    for name in ("production", "staging"):
        kubectl("delete", "namespace", name, "--wait=false")
        emptied.append(Kubectl(kubectl.binary, kubectl.kubeconfig, name))


def test_the_kubeconfig_of_the_runbook_may_what_it_says_and_no_more(admin: Kubectl, tmp_path: Path) -> None:
    apply, make = BLOCKS[:2]
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").write_bytes(Path(admin.kubeconfig).read_bytes())
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").symlink_to(admin.binary)
    environment = {"HOME": str(home), "PATH": f"{tmp_path / 'bin'}:{os.defpath}"}
    for block in (apply, make):
        argv = ["/bin/bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    made = tmp_path / "stellwerk.kubeconfig"
    assert made.stat().st_mode & 0o077 == 0
    account = Kubectl(admin.binary, made, "production")

    def may(*what: str) -> bool:
        asked = subprocess.run(account.argv("auth", "can-i", *what), capture_output=True, text=True, timeout=60)
        assert asked.stdout.strip() in ("yes", "no"), asked.stderr
        return asked.stdout.strip() == "yes"

    assert may("patch", "services")
    assert may("create", "deployments.apps")
    assert not may("delete", "namespaces")
    assert not may("get", "nodes")
    assert not may("patch", "services", "--namespace=staging")
    assert "default" not in account("config", "view", "-o", "jsonpath={.users[*].user.client-certificate-data}")
