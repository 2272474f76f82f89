"""Which cluster demo and tests use, and what they need to know of one that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import SandboxError
from include.sandbox.cluster import SandboxCluster, open_cluster
from include.sandbox.external_cluster import ExternalCluster, named_kubeconfig


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "STELLWERK_TEST_KUBECONFIG", "STELLWERK_IMAGE_IMPORT", "STELLWERK_HOST_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text("{}")
    return path


def test_without_a_kubeconfig_the_embedded_cluster_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_kubeconfig() is None
    monkeypatch.setenv("KUBECONFIG", "")
    assert named_kubeconfig() is None


def test_kubeconfig_names_the_cluster(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with open_cluster(tmp_path / "state") as cluster:
        assert isinstance(cluster, ExternalCluster)
        assert cluster.kubeconfig == kubeconfig
        assert cluster.node_address == "127.0.0.1"
    assert not (tmp_path / "state").exists()


def test_the_tests_own_variable_wins(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")
    monkeypatch.setenv("STELLWERK_TEST_KUBECONFIG", str(kubeconfig))
    assert named_kubeconfig() == kubeconfig


def test_a_kubeconfig_that_does_not_exist_is_an_error_not_the_embedded_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    with pytest.raises(SandboxError, match=r"KUBECONFIG does not name a kubeconfig.*/nowhere/config"):
        named_kubeconfig()


def test_what_only_its_owner_knows_of_an_external_cluster_is_asked_for(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = ExternalCluster(kubeconfig)
    with pytest.raises(SandboxError, match="STELLWERK_HOST_ADDRESS is not set"):
        _ = cluster.host_address
    with pytest.raises(SandboxError, match="STELLWERK_IMAGE_IMPORT is not set"):
        cluster.import_image("a:1", kubeconfig.parent, entrypoint=["/run"], env={})
    monkeypatch.setenv("STELLWERK_HOST_ADDRESS", "10.245.0.1")
    assert cluster.host_address == "10.245.0.1"


def test_images_go_through_the_command_that_is_named(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "import"
    command.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/seen\n')
    command.chmod(0o755)
    monkeypatch.setenv("STELLWERK_IMAGE_IMPORT", f"{command} image")
    cluster = ExternalCluster(kubeconfig)
    assert cluster.import_image("a:1", tmp_path, entrypoint=["/app/run", "x y"], env={"K": "v w"}) is None
    assert (tmp_path / "seen").read_text() == f"image|a:1|{tmp_path}|-e|K=v w|--|/app/run|x y|"


def test_the_embedded_cluster_takes_images_before_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run").write_text("x")
    cluster = SandboxCluster(tmp_path / "state")
    digest = cluster.import_image("a:1", tmp_path / "app", entrypoint=["/run"], env={})
    assert digest is not None
    assert digest.startswith("sha256:")
    with pytest.raises(SandboxError, match="not started"):
        _ = cluster.kubeconfig
    cluster.stop()
