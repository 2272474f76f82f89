"""The helm client against a cluster: both helms, what they do when interrupted, and the words of their errors."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from include.bluegreen.recovery import recovery_action
from include.clients.helm import Helm
from include.errors import (
    ChartError,
    ClusterRefused,
    ClusterUnreachable,
    HelmPending,
    HelmReleaseMissing,
    HelmTimeout,
    StellwerkError,
)
from tests.contract.support import CHART, IMAGE, MISSING_IMAGE, NEXT_IMAGE, HelmCommand, Kubectl

GOOD = {"image": IMAGE, "nodePort": False, "replicas": 1}
NEXT = {**GOOD, "image": NEXT_IMAGE}
BROKEN = {**GOOD, "image": MISSING_IMAGE}


@pytest.fixture
def client(helm: HelmCommand) -> Helm:
    """The client over the same binary and namespace."""
    return Helm(helm.binary, helm.kubeconfig, helm.namespace)


def chart(folder: Path, manifest: str, **metadata: object) -> Path:
    """A chart of one template."""
    (folder / "templates").mkdir(parents=True)
    description = {"apiVersion": "v2", "name": "tiny", "version": "1.0.0", **metadata}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(description))
    (folder / "templates" / "all.yaml").write_text(manifest)
    return folder


def config_map(name: str, **data: str) -> str:
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "b"}}
    )


async def test_what_a_rollback_says_holds_nothing_of_the_values_of_the_revision(
    client: Helm, helm: HelmCommand, tmp_path: Path
) -> None:
    release, secret = f"hidden{helm.major}", "Hunter_2_is_no_name"
    tiny = chart(
        tmp_path / "tiny", config_map(f"hidden{helm.major}").replace("a: b", "a: {{ .Values.x | quote }}")
    )
    await client.upgrade_install(release, tiny, {"x": "1"}, timeout_seconds=20)
    (tiny / "templates" / "all.yaml").write_text(config_map("{{ .Values.password }}"))
    with pytest.raises(StellwerkError):
        await client.upgrade_install(release, tiny, {"password": secret}, timeout_seconds=20)
    assert secret in str(await client.values(release, 2)), "the revision that failed was made from it"
    with pytest.raises(StellwerkError) as caught:
        await client.rollback(release, 2, timeout_seconds=20)
    assert "***" in caught.value.seen, "the API server repeats the name that it refuses"
    assert secret not in repr(caught.value) + str(caught.value)
    await client.uninstall(release, timeout_seconds=20)


async def test_the_whole_life_of_a_release(client: Helm, helm: HelmCommand, kubectl: Kubectl) -> None:
    release = f"life{helm.major}"
    assert (await client.version()).major == helm.major
    assert await client.history(release) == ()

    await client.upgrade_install(release, CHART, GOOD, timeout_seconds=60)
    assert len(kubectl.ready_pods(release)) == 1, "it returns when the pods are ready"
    await client.upgrade_install(release, CHART, NEXT, timeout_seconds=60)
    first, second = await client.history(release)
    assert (first.revision, first.status, second.revision, second.status) == (1, "superseded", 2, "deployed")
    assert second.chart.startswith(f"{yaml.safe_load((CHART / 'Chart.yaml').read_text())['name']}-")
    assert second.updated is not None

    await client.rollback(release, 1, timeout_seconds=60)
    assert kubectl.get("deployment", release)["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    with pytest.raises(HelmReleaseMissing):
        await client.rollback(release, 99)

    await client.uninstall(release, timeout_seconds=60)
    assert await client.history(release) == ()
    await client.uninstall(release)
    with pytest.raises(HelmReleaseMissing):
        await client.rollback(release, 1)


async def test_values_arrive_as_they_are(client: Helm, helm: HelmCommand, tmp_path: Path) -> None:
    values = {"text": "3.10", "word": "on", "number": 3, "quotes": "a \"b\" 'c' {{ .d }} $(e)\n", "none": "~"}
    template = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\ndata: {all: {{ toJson .Values | quote }}}\n"
    (rendered,) = await client.template("tiny", chart(tmp_path / "chart", template), values)
    assert yaml.safe_load(rendered.document["data"]["all"]) == values


async def test_a_missing_image_is_a_timeout_and_the_next_upgrade_works(client: Helm, helm: HelmCommand) -> None:
    release = f"image{helm.major}"
    with pytest.raises(HelmTimeout):
        await client.upgrade_install(release, CHART, BROKEN, timeout_seconds=4)
    (failed,) = await client.history(release)
    assert failed.status == "failed"
    await client.upgrade_install(release, CHART, GOOD, timeout_seconds=60)
    with pytest.raises(HelmTimeout):
        await client.upgrade_install(release, CHART, BROKEN, timeout_seconds=4, rollback_on_failure=True)
    assert [one.status for one in await client.history(release)][-1] == "deployed", "helm undid the upgrade"
    await client.uninstall(release)


async def test_cancelling_leaves_a_failed_revision_and_no_process(client: Helm, helm: HelmCommand) -> None:
    release = f"cancel{helm.major}"
    task = asyncio.ensure_future(client.upgrade_install(release, CHART, BROKEN, timeout_seconds=120))
    while not (history := await client.history(release)):
        await asyncio.sleep(0.1)
    assert history[0].status == "pending-install"
    with pytest.raises(HelmPending):
        await client.upgrade_install(release, CHART, GOOD, timeout_seconds=5)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < client.grace_seconds, "helm ended by itself"
    assert [one.status for one in await client.history(release)] == ["failed"]
    assert not helms_for(release)
    await client.uninstall(release)


async def test_a_killed_helm_is_recovered_from(client: Helm, helm: HelmCommand) -> None:
    release = f"killed{helm.major}"
    impatient = Helm(client.binary, client.kubeconfig, client.namespace, grace_seconds=0)
    await client.upgrade_install(release, CHART, GOOD, timeout_seconds=60)
    task = asyncio.ensure_future(impatient.upgrade_install(release, CHART, BROKEN, timeout_seconds=120))
    while (await client.history(release))[-1].status != "pending-upgrade":
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    history = await client.history(release)
    if history[-1].status == "pending-upgrade":  # SIGKILL was faster than helm's own clean end
        with pytest.raises(HelmPending):
            await client.upgrade_install(release, CHART, GOOD, timeout_seconds=30)
    action = recovery_action(history)
    if action.kind == "rollback":
        assert action.revision == 1
        await client.rollback(release, 1, timeout_seconds=60)
    await client.upgrade_install(release, CHART, GOOD, timeout_seconds=60)
    await client.uninstall(release)


async def test_two_at_once_one_of_them_is_told_to_wait(client: Helm, helm: HelmCommand) -> None:
    release = f"race{helm.major}"
    results = await asyncio.gather(
        *(client.upgrade_install(release, CHART, GOOD, timeout_seconds=60) for _ in range(2)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in results) == ["HelmPending", "NoneType"]
    await client.uninstall(release)


CHARTS_THAT_ARE_WRONG = {
    "template": "{{ .Values.a.b.c }",
    "required": '{{ required "image.tag is required" .Values.tag }}',
    "nil": "a: {{ .Values.a.b.c }}",
    "yaml": "kind: ConfigMap\n  apiVersion: [",
    "kind": "apiVersion: nowhere.example/v1\nkind: Bogus\nmetadata: {name: x}\n",
}


@pytest.mark.parametrize("wrong", CHARTS_THAT_ARE_WRONG)
async def test_a_chart_that_cannot_be_installed(client: Helm, tmp_path: Path, wrong: str) -> None:
    folder = chart(tmp_path / "chart", CHARTS_THAT_ARE_WRONG[wrong])
    if wrong != "kind":
        with pytest.raises(ChartError):
            await client.template("wrong", folder, {})
    with pytest.raises(ChartError):
        await client.dry_run("wrong", folder, {})
    with pytest.raises(ChartError):
        await client.upgrade_install("wrong", folder, {}, timeout_seconds=10)
    assert await client.history("wrong") == ()


async def test_a_chart_that_is_not_there_or_lacks_its_dependencies(client: Helm, tmp_path: Path) -> None:
    with pytest.raises(ChartError):
        await client.template("none", tmp_path / "nowhere", {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ChartError):
        await client.template("none", tmp_path / "empty", {})
    needs = [{"name": "postgresql", "version": "1.0.0", "repository": "https://charts.example.com"}]
    incomplete = chart(tmp_path / "chart", config_map("x"), dependencies=needs)
    with pytest.raises(ChartError, match="dependenc"):
        await client.template("none", incomplete, {})


async def test_values_that_do_not_fit_the_schema(client: Helm, tmp_path: Path) -> None:
    folder = chart(tmp_path / "chart", config_map("x"))
    (folder / "values.schema.json").write_text('{"properties": {"password": {"type": "string", "maxLength": 3}}}')
    with pytest.raises(ChartError) as caught:
        await client.template("schema", folder, {"password": "hunter2!"})
    assert "password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_an_object_that_belongs_to_another_release(client: Helm, helm: HelmCommand, tmp_path: Path) -> None:
    name = f"owned{helm.major}"
    await client.upgrade_install(f"first{helm.major}", chart(tmp_path / "one", config_map(name)), {})
    with pytest.raises(ChartError):
        await client.upgrade_install(f"second{helm.major}", chart(tmp_path / "two", config_map(name)), {})
    await client.uninstall(f"first{helm.major}")


async def test_no_cluster_and_no_rights(client: Helm, helm: HelmCommand, kubectl: Kubectl, tmp_path: Path) -> None:
    config = yaml.safe_load(helm.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(yaml.safe_dump(config))
    with pytest.raises(ClusterUnreachable):
        await Helm(helm.binary, nowhere, helm.namespace).history("any")
    with pytest.raises(ClusterUnreachable):
        await Helm(helm.binary, tmp_path / "missing", helm.namespace).history("any")

    config = yaml.safe_load(helm.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": kubectl("create", "token", "default").strip()}
    powerless = tmp_path / "powerless"
    powerless.write_text(yaml.safe_dump(config))
    with pytest.raises(ClusterRefused) as caught:
        await Helm(helm.binary, powerless, helm.namespace).history("any")
    assert caught.value.status == 403
    for user in config["users"]:
        user["user"] = {"token": "nobody"}
    powerless.write_text(yaml.safe_dump(config))
    with pytest.raises(ClusterRefused) as caught:
        await Helm(helm.binary, powerless, helm.namespace).history("any")
    assert caught.value.status == 401


def helms_for(release: str) -> list[str]:
    """Command lines of processes that name the release."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f" {release} " in f"{line} " and "upgrade" in line]
