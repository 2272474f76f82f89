"""The control plane is a real one and the node belongs to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from include.sandbox.cluster import SandboxCluster
from include.sandbox.processes import wait_until
from tests.contract.support import APP, IMAGE, Kubectl, deployment, fetch, service

ROOT = Path(__file__).resolve().parents[2]


def test_the_api_server_is_ready_and_its_node_too(kubectl: Kubectl) -> None:
    assert kubectl.raw("/readyz") == "ok"
    version = json.loads(kubectl.raw("/version"))
    assert (version["major"], version["minor"]) == ("1", "34")
    for node in kubectl.items("nodes"):
        conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"


def test_the_api_is_closed_to_strangers(sandbox: SandboxCluster, kubectl: Kubectl) -> None:
    answer = kubectl("--as", "system:anonymous", "get", "secrets", ok=False)
    assert "Forbidden" in answer


def test_two_sandboxes_live_side_by_side(sandbox: SandboxCluster, kubectl: Kubectl, tmp_path: Path) -> None:
    with SandboxCluster(tmp_path / "second") as second:
        second.import_image(IMAGE, APP, entrypoint=["/app/run"], env={"VERSION": "second"})
        other = Kubectl(kubectl.binary, second.kubeconfig, "default")
        for one in (kubectl, other):
            one.apply(deployment("twin", replicas=1), service("twin", {"app": "twin"}))
        for one in (kubectl, other):
            one("rollout", "status", "deployment/twin", "--timeout=60s")
        for one, version in ((kubectl, "1"), (other, "second")):
            url = f"http://127.0.0.1:{one.node_port('twin')}/"
            one.until(lambda: fetch(url), f"{url} answers")  # noqa: B023 - used in this round only
            assert fetch(url)["version"] == version


OWNER = """
import sys, time
from pathlib import Path
from include.sandbox.cluster import SandboxCluster
cluster = SandboxCluster(Path(sys.argv[1]))
cluster.start()
cluster.import_image("contract-app:1", Path(sys.argv[2]), entrypoint=["/app/run"], env={"VERSION": "1"})
print(cluster.kubeconfig, flush=True)
time.sleep(600)
"""


def _processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, or run below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in line or place.startswith(str(folder)):
            found.append(f"{entry.name} {line}")
    return found


def test_a_killed_owner_leaves_no_process_and_no_port(
    sandbox: SandboxCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    state = tmp_path / "short-lived"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(state), str(APP)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert owner.stdout is not None
        kubeconfig = Path(owner.stdout.readline().strip())
        other = Kubectl(kubectl.binary, kubeconfig, "default")
        other.apply(deployment("doomed", replicas=1), service("doomed", {"app": "doomed"}))
        other("rollout", "status", "deployment/doomed", "--timeout=60s")
        port = other.node_port("doomed")
        other.until(lambda: fetch(f"http://127.0.0.1:{port}/"), "the application answers")
        pid = fetch(f"http://127.0.0.1:{port}/")["pid"]
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert owner.stdout is not None
        owner.stdout.close()
    wait_until(lambda: _processes_of(state) == [], deadline_seconds=30, what="no process is left")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), deadline_seconds=10, what="the pod's process is gone")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
