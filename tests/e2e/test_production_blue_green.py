"""A release from trigger to final verification, one that fails under load, and a rollback by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from include.bluegreen.slots import other
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import REPOSITORY, Sandbox
from include.sandbox.people import RELEASE_MANAGER, answer_gate, trigger_release
from include.sandbox.story import observe_story
from tests.e2e.conftest import World
from tests.e2e.erp import restore_states

FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


def _states(client: AirflowClient, run: Run) -> dict[str, str]:
    return {task.task_id: task.state for task in client.tasks(run)}


def test_a_good_release_moves_the_traffic_once_and_loses_nothing(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()

    def play() -> list[Run]:
        run = trigger_release(sandbox.airflow, "3.0.0")
        questions = answer_gate(sandbox.airflow, run)
        assert "fingerprint" in questions[0].body
        return [client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)]

    story = observe_story(sandbox, "e2e-release", 60, play)

    assert story.load.requests_sent > 1000
    assert story.load.requests_lost == 0
    assert story.load.bad_answers == 0
    assert story.switches == ((other(source), "forward"),)
    assert world.active() == other(source)
    texts = "\n".join(world.inbox("slack"))
    for said in ("deployment started", "cutover", "cleanup", "successful"):
        assert said in texts.lower(), f"no status message says {said!r}"
    assert len(_threads(world, "3.0.0")) == 1, "what is said of a release is one thread"


def _threads(world: World, version: str) -> set[str]:
    """The threads in Slack that tell of a release to production, by the ts of their first posts."""
    threads = set()
    for text in world.inbox("slack"):
        if f"→ {version} · production ·" in text:
            named = re.search(r'"thread_ts": "([\d.]+)"', text) or re.search(r"^Ts: ([\d.]+)$", text, re.MULTILINE)
            assert named, text
            threads.add(named[1])
    return threads


def _command(sandbox: Sandbox, module: str, *arguments: str) -> str:
    """Run one of the commands over the ledger; what it prints, once it has ended well."""
    environment = {**os.environ, "STELLWERK_LEDGER_URL": sandbox.postgres.url("stellwerk", "stellwerk_append")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_ledger_verifies_against_the_heads_noted_outside(sandbox: Sandbox) -> None:
    heads = sandbox.options.state / "ledger-heads"
    assert len(list(heads.glob("head-*.json"))) >= 5
    assert "intact" in _command(sandbox, "include.ledger", "verify", "--heads-folder", str(heads))


def test_the_report_tells_the_release_and_is_what_the_ledger_says(sandbox: Sandbox) -> None:
    folder = sandbox.options.state / "reports" / "3.0.0" / "production"
    report = max(folder.glob("report-*.md"), key=lambda file: file.stat().st_mtime)
    text = report.read_text()
    assert "**Erfolgreich ausgeliefert**" in text
    assert "| Umschaltung | production | 0 von " in text
    assert "| Go/No-Go |" in text
    assert text.count("| Go/No-Go für das Release |") >= 2
    for file in (report, report.with_suffix(".html")):
        assert "as the ledger says" in _command(sandbox, "include.report.release", "check", str(file))
    assert "1 noted heads compared: intact" in _command(
        sandbox, "include.ledger", "verify", "--quoted-in", str(report)
    )


def test_a_release_that_fails_under_load_is_rolled_back_by_itself_once(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    rollbacks = len(client.runs("rollback"))
    alerts = len(world.inbox("slack"))

    def play() -> list[Run]:
        run = trigger_release(sandbox.airflow, "3.0.1")
        answer_gate(sandbox.airflow, run)
        ended = client.wait_for_run(run, deadline_seconds=240, states=FAILED)
        assert len(client.runs("rollback")) == rollbacks + 1, client.describe(ended)
        back = client.runs("rollback")[-1]
        return [ended, client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)]

    story = observe_story(sandbox, "e2e-fault", 100, play)
    ended, back = client.runs("production-blue-green")[-1], client.runs("rollback")[-1]

    assert story.load.bad_answers > 0, "the fault never showed, so nothing was proven"
    assert story.load.requests_lost == 0
    assert story.switches == ((other(source), "forward"), (source, "back"))
    assert world.active() == source
    assert len(client.runs("rollback")) == rollbacks + 1
    assert back.run_id == f"after__{ended.run_id}"
    states = _states(client, ended)
    assert (states["watch"], states["clean_up"], states["start_rollback"]) == (
        "failed",
        "upstream_failed",
        "success",
    )
    assert "error rate" in client.log(ended, "watch")
    assert any("#valeo-erp-alerts" in text for text in world.inbox("slack")[alerts:])
    assert any("3.0.1" in text for text in world.inbox("mail"))


@pytest.mark.exhaustive
def test_a_rollback_by_hand_ends_the_watch_as_rolled_back_by_hand(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    run = trigger_release(sandbox.airflow, "3.0.0")
    answer_gate(sandbox.airflow, run)
    client.wait_for_task(run, "cutover", deadline_seconds=120, states=frozenset({"success"}))
    client.wait_for_task(run, "watch", deadline_seconds=60, states=frozenset({"deferred"}))
    assert world.active() == other(source)

    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        conf = {"release": "3.0.0", "environment": "production", "option": "blue-cutover", "reason": "key users"}
        back = manager.trigger("rollback", conf)
    client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)
    client.wait_for_run(run, deadline_seconds=120, states=FAILED)

    assert world.active() == source
    assert restore_states(client, back) == {"skipped"}
    assert client.questions(back, open_only=False) == ()
    assert "rolled back by hand" in client.log(run, "watch")
    assert _states(client, run)["start_rollback"] == "skipped"
    assert RELEASE_MANAGER in world.service().annotations["stellwerk.io/last-switch"]
    # A second rollback of the same release finds everything done and moves nothing.
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        again = manager.trigger("rollback", conf)
    client.wait_for_run(again, deadline_seconds=120, states=SUCCESS)
    assert world.active() == source


def test_a_rollback_of_a_release_that_never_moved_the_traffic_is_refused(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source, before = world.active(), len(world.inbox("slack"))
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        back = manager.trigger("rollback", {"release": "3.0.8", "environment": "production"})
    client.wait_for_run(back, deadline_seconds=120, states=FAILED)
    assert "there is nothing to roll back" in client.log(back, "eligibility")
    assert world.active() == source
    # A message of the release before may still come late.
    (answer,) = [text for text in world.inbox("slack")[before:] if "3.0.8" in text]
    assert "Channel: #valeo-erp-status" in answer, "it alarms nobody"
    assert f"ausgelöst von {RELEASE_MANAGER}: 3.0.8 holds no traffic of production" in answer
