"""Helm 4 and Helm 3 find in the cluster what a release needs of it."""

from __future__ import annotations

import time

from tests.contract.conftest import NodeUrl
from tests.contract.support import CHART, IMAGE, MISSING_IMAGE, NEXT_IMAGE, HelmCommand, Kubectl, fetch, load


def install(helm: HelmCommand, release: str, *flags: str, ok: bool = True) -> str:
    return helm("upgrade", "--install", release, str(CHART), "--wait", "--timeout", "60s", *flags, ok=ok)


def test_install_waits_upgrade_replaces_rollback_restores_uninstall_removes(
    helm: HelmCommand, kubectl: Kubectl, node_url: NodeUrl
) -> None:
    release = f"whole{helm.major}"
    install(helm, release)
    assert len(kubectl.ready_pods(release)) == 2, "--wait returns when the pods are ready"
    kubectl.until(lambda: fetch(node_url(release))["version"] == "1", "version 1 serves")
    first = {pod["metadata"]["uid"] for pod in kubectl.pods(release)}

    install(helm, release, "--set", f"image={NEXT_IMAGE}")
    serving = [pod for pod in kubectl.ready_pods(release) if "deletionTimestamp" not in pod["metadata"]]
    assert {pod["spec"]["containers"][0]["image"] for pod in serving} == {NEXT_IMAGE}
    assert first.isdisjoint(pod["metadata"]["uid"] for pod in serving)
    kubectl.until(lambda: fetch(node_url(release))["version"] == "2", "version 2 serves")

    helm("rollback", release, "1", "--wait", "--timeout", "60s")
    kubectl.until(lambda: fetch(node_url(release))["version"] == "1", "version 1 serves again")
    history = helm.history(release)
    assert [(one["revision"], one["status"]) for one in history] == [
        (1, "superseded"),
        (2, "superseded"),
        (3, "deployed"),
    ]

    helm("uninstall", release, "--wait", "--timeout", "60s")
    kubectl.until(lambda: not kubectl.pods(release), "the pods are gone")
    assert "not found" in helm("history", release, ok=False).lower()


def test_a_failed_upgrade_rolls_itself_back(helm: HelmCommand, kubectl: Kubectl, node_url: NodeUrl) -> None:
    release = f"failing{helm.major}"
    install(helm, release)
    began = time.monotonic()
    flags = ("--set", f"image={MISSING_IMAGE}", helm.rollback_flag, "--timeout", "8s")
    message = install(helm, release, *flags, ok=False)
    assert "rolled back" in message or "rollback" in message, message
    assert time.monotonic() - began < 60
    statuses = [one["status"] for one in helm.history(release)]
    assert statuses[-1] == "deployed"
    assert len(statuses) == 3, "installation, failed upgrade, rollback"
    kubectl.until(
        lambda: {pod["spec"]["containers"][0]["image"] for pod in kubectl.pods(release)} == {IMAGE},
        "only the good version's pods are left",
    )
    assert fetch(node_url(release))["version"] == "1"
    helm("uninstall", release)


def test_a_failed_upgrade_without_rollback_leaves_the_old_pods_serving(
    helm: HelmCommand, kubectl: Kubectl, node_url: NodeUrl
) -> None:
    release = f"stuck{helm.major}"
    install(helm, release)
    install(helm, release, "--set", f"image={MISSING_IMAGE}", "--timeout", "4s", ok=False)
    assert helm.history(release)[-1]["status"] == "failed"
    assert len(kubectl.ready_pods(release)) == 2
    kubectl.until(lambda: fetch(node_url(release))["version"] == "1", "version 1 serves")
    install(helm, release, "--set", f"image={NEXT_IMAGE}")
    assert helm.history(release)[-1]["status"] == "deployed"
    helm("uninstall", release)


def test_an_upgrade_under_load_loses_no_request(helm: HelmCommand, kubectl: Kubectl, node_url: NodeUrl) -> None:
    release = f"loaded{helm.major}"
    install(helm, release)
    kubectl.until(lambda: fetch(node_url(release))["version"] == "1", "version 1 serves")
    time.sleep(2)
    with load(node_url(release)) as result:
        time.sleep(1)
        install(helm, release, "--set", f"image={NEXT_IMAGE}")
        time.sleep(5)
    assert result.lost == []
    assert result.sent > 50
    assert set(result.versions) == {"1", "2"}
    assert fetch(node_url(release))["version"] == "2"
    helm("uninstall", release)
