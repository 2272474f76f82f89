"""A helm that is cancelled, killed or never ends: small shell scripts stand for the binary."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from include.clients.helm import Helm
from include.errors import ChartError, HelmPending, HelmUnusable

VALUES = {"password": "hunter2!", "image": {"tag": "3.10"}}


def script(folder: Path, body: str) -> Path:
    path = folder / "helm"
    path.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo v4.3.1; exit; fi\n{textwrap.dedent(body)}')
    path.chmod(0o755)
    return path


def helm(folder: Path, body: str, **options: float) -> Helm:
    return Helm(script(folder, body), folder / "kubeconfig", "production", **options)


async def until(predicate, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_values_go_through_a_pipe_and_on_no_command_line(tmp_path):
    client = helm(tmp_path, f'cat > {tmp_path}/values; echo "$@" > {tmp_path}/arguments')
    await client.upgrade_install("app", Path("/chart"), VALUES, timeout_seconds=600)
    assert json.loads((tmp_path / "values").read_text()) == VALUES
    arguments = (tmp_path / "arguments").read_text()
    assert arguments == (
        "upgrade app /chart --install --values - --timeout 600.000s --wait --namespace production\n"
    )


async def test_the_kubeconfig_alone_decides_which_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("HELM_KUBECONTEXT", "another")
    monkeypatch.setenv("HELM_NAMESPACE", "another")
    await helm(tmp_path, f"cat; env > {tmp_path}/env").dry_run("app", Path("/chart"), {})
    environment = (tmp_path / "env").read_text()
    assert "HELM_KUBECONTEXT" not in environment
    assert "HELM_NAMESPACE" not in environment
    assert f"KUBECONFIG={tmp_path}/kubeconfig" in environment


async def test_errors_do_not_repeat_secrets(tmp_path):
    client = helm(
        tmp_path, "cat > /dev/null; echo 'Error: execution error at a: hunter2! is too short' >&2; exit 1"
    )
    with pytest.raises(ChartError) as caught:
        await client.upgrade_install("app", Path("/chart"), VALUES)
    assert "hunter2" not in str(caught.value)
    assert "too short" in str(caught.value)


async def test_a_helm_that_does_not_read_its_values(tmp_path):
    client = helm(tmp_path, "echo 'Error: parse error at (a.yaml:1)' >&2; exit 1")
    with pytest.raises(ChartError):
        await client.upgrade_install("app", Path("/chart"), {"filler": "x" * 1_000_000})


async def test_cancelling_ends_helm_cleanly(tmp_path):
    body = f"""
        cat > /dev/null
        trap 'echo marked-failed > {tmp_path}/ended; exit 1' TERM
        echo $$ > {tmp_path}/pid
        while :; do sleep 0.05; done
    """
    task = asyncio.ensure_future(helm(tmp_path, body).upgrade_install("app", Path("/chart"), {}))
    await until((tmp_path / "pid").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "ended").read_text() == "marked-failed\n"
    assert not running(int((tmp_path / "pid").read_text()))


async def test_a_helm_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    body = f"cat > /dev/null; trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    client = helm(tmp_path, body, grace_seconds=0.3)
    task = asyncio.ensure_future(client.upgrade_install("app", Path("/chart"), {}))
    await until((tmp_path / "pid").exists)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0.3 <= time.monotonic() - started < 10
    assert not running(int((tmp_path / "pid").read_text()))


async def test_a_second_cancellation_does_not_leave_helm_behind(tmp_path):
    body = f"cat > /dev/null; trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    task = asyncio.ensure_future(helm(tmp_path, body, grace_seconds=30).upgrade_install("app", Path("/chart"), {}))
    await until((tmp_path / "pid").exists)
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(int((tmp_path / "pid").read_text()))


async def test_stop_ends_helm_from_a_signal_handler(tmp_path):
    body = f"cat > /dev/null; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    client = helm(tmp_path, body)
    task = asyncio.ensure_future(client.upgrade_install("app", Path("/chart"), {}))
    await until((tmp_path / "pid").exists)
    client.stop()
    assert not running(int((tmp_path / "pid").read_text()))
    with pytest.raises(HelmPending, match="signal 15"):
        await task


async def test_a_killed_task_leaves_no_helm_behind(tmp_path):
    body = f"""
        cat > /dev/null
        trap 'echo marked-failed > {tmp_path}/ended; exit 1' TERM
        echo $$ > {tmp_path}/pid
        while :; do sleep 0.05; done
    """
    program = f"""
import asyncio
from pathlib import Path
from include.clients.helm import Helm
asyncio.run(Helm(Path({str(script(tmp_path, body))!r}), None, "n").upgrade_install("app", Path("/chart"), {{}}))
"""
    task = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    try:
        await until((tmp_path / "pid").exists, seconds=30)
        pid = int((tmp_path / "pid").read_text())
        assert running(pid)
    finally:
        task.kill()
        task.wait()
    await until((tmp_path / "ended").exists)
    await until(lambda: not running(pid))


@pytest.mark.parametrize("kind", ["missing", "not executable", "no program"])
async def test_a_binary_that_cannot_be_used(tmp_path, kind):
    path = tmp_path / "helm"
    if kind != "missing":
        path.write_text("not a program")
    if kind == "no program":
        path.chmod(0o755)
    with pytest.raises(HelmUnusable, match=str(path)):
        await Helm(path, None, "production").version()


async def test_nothing_to_uninstall_is_fine_and_no_release_has_no_history(tmp_path):
    client = helm(tmp_path, "echo 'Error: release: not found' >&2; exit 1")
    await client.uninstall("app")
    assert await client.history("app") == ()


REFUSED = (
    'echo "Error: ConfigMap \\"hunter2!\\" is invalid: metadata.name: Invalid value: \\"hunter2!\\"" >&2; exit 1'
)


async def test_a_rollback_hides_what_its_revision_was_made_from(tmp_path):
    values = json.dumps(VALUES)
    client = helm(tmp_path, f"if [ \"$1\" = get ]; then echo '{values}'; exit; fi\n{REFUSED}")
    with pytest.raises(ChartError) as caught:
        await client.rollback("app", 3)
    assert 'ConfigMap "***" is invalid' in caught.value.seen
    assert "hunter2!" not in repr(caught.value)


async def test_what_cannot_be_hidden_is_not_shown(tmp_path):
    client = helm(tmp_path, f'if [ "$1" = get ]; then echo "Error: connection refused" >&2; exit 1; fi\n{REFUSED}')
    with pytest.raises(ChartError) as caught:
        await client.rollback("app", 3)
    assert "helm rollback of app failed; seen: helm's words, which are not shown" in str(caught.value)
    assert "hunter2!" not in repr(caught.value)


async def test_what_a_failure_is_is_told_from_helms_own_words(tmp_path):
    values = json.dumps({"existingSecret": "operation"})
    busy = 'echo "Error: another operation (install/upgrade/rollback) is in progress" >&2; exit 1'
    client = helm(tmp_path, f"if [ \"$1\" = get ]; then echo '{values}'; exit; fi\n{busy}")
    with pytest.raises(HelmPending) as caught:
        await client.rollback("app", 3)
    assert "another *** (install" in caught.value.seen
    with pytest.raises(HelmPending):
        await client.upgrade_install("app", Path("/chart"), {"existingSecret": "operation"})
