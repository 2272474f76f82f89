"""From an image's folder to a command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.images import Image
from include.sandbox.node.backoff import Backoff
from include.sandbox.node.env import ConfigProblem
from include.sandbox.node.image_missing import not_pulled
from include.sandbox.node.preparation import (
    NotRunnable,
    arguments,
    base_environment,
    check_not_root,
    memory_limit,
    search_path,
    working_folder,
)

POD: dict[str, Any] = {"metadata": {"name": "web-1", "namespace": "p"}, "spec": {"containers": []}}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    program = tmp_path / "app" / "run"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "app" / "data.txt").write_text("x")
    return Image("web:1", "sha256:0", tmp_path, ("/app/run",), {"GREETING": "hello"})


def test_files_of_the_image_are_found_by_their_absolute_path(image: Image) -> None:
    line = arguments(image, ["/app/run", "/app/data.txt", "/app/none", "--x=/app/data.txt"], "/bin")
    root = str(image.root)
    assert line == [f"{root}/app/run", f"{root}/app/data.txt", "/app/none", "--x=/app/data.txt"]


def test_bare_names_are_found_on_the_path(image: Image) -> None:
    assert arguments(image, ["sh", "-c", "true"], "/usr/bin:/bin")[1:] == ["-c", "true"]
    assert arguments(image, ["sh"], "/usr/bin:/bin")[0].endswith("/sh")


@pytest.mark.parametrize("command", [[], ["/app/none"], ["no-such-program"], ["/app/data.txt"]])
def test_what_cannot_be_run_is_named(image: Image, command: list[str]) -> None:
    with pytest.raises(NotRunnable):
        arguments(image, command, "/usr/bin:/bin")


def test_the_first_python_of_the_path_is_a_plain_one() -> None:
    assert (Path(search_path().split(":")[0]) / "python3").exists()
    assert not search_path().startswith(f"{sys.prefix}/bin:") or sys.prefix == sys.base_prefix


def test_the_working_folder_is_inside_the_image(image: Image) -> None:
    assert working_folder(image, {}) == str(image.root)
    assert working_folder(image, {"workingDir": "/app"}) == f"{image.root}/app"
    with pytest.raises(NotRunnable, match="/nowhere"):
        working_folder(image, {"workingDir": "/nowhere"})


def test_what_every_container_is_told(image: Image, tmp_path: Path) -> None:
    env = base_environment(
        POD,
        image,
        pod_ip="10.244.1.2",
        folder=tmp_path,
        server="https://127.0.0.1:6443",
        links={"DB_SERVICE_HOST": "127.96.0.1"},
        token_folder=tmp_path / "token",
    )
    assert env["BIND_ADDRESS"] == "127.244.1.2"
    assert env["HOSTNAME"] == "web-1"
    assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")
    assert (env["GREETING"], env["DB_SERVICE_HOST"]) == ("hello", "127.96.0.1")
    assert env["SERVICE_ACCOUNT_FOLDER"] == str(tmp_path / "token")


def test_memory_limits() -> None:
    assert memory_limit({}) is None
    assert memory_limit({"resources": {"limits": {"memory": "64Mi"}}}) == 64 << 20


def test_root_where_it_must_not_be() -> None:
    with pytest.raises(ConfigProblem, match="non-root"):
        check_not_root(POD, {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}})
    check_not_root(POD, {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000}})


def test_a_missing_image_is_an_error_first_then_a_growing_pause() -> None:
    backoff, pauses = Backoff(), []
    for attempt in range(4):
        error, pause, backoff = not_pulled("web:2", "not found", backoff, 1000.0 + attempt)
        assert error.waiting.reason == "ErrImagePull"
        assert pause.waiting.reason == "ImagePullBackOff"
        assert "not found" in error.waiting.message
        pauses.append(pause.seconds)
    assert pauses == [10, 20, 40, 80]
