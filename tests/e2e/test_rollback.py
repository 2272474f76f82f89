"""A rollback days after the release: the old slot is gone, nobody can be told, and two people ask at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from include.bluegreen.slots import Slot, other
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import Sandbox
from include.sandbox.inbox import Fault, set_fault
from include.sandbox.people import RELEASE_MANAGER, answer_gate, trigger_release
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load, observe_story
from include.steps.rollback_messages import MISSED
from tests.e2e.conftest import World
from tests.e2e.erp import restore_states
from tests.e2e.worlds import DEADLINES, release_date, staging_like_production

SUCCESS = frozenset({"success"})
VERSION = "3.4.0"
REASON = "key users cannot post orders"


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client(RELEASE_MANAGER) as session:
        yield session


@pytest.fixture(scope="module")
def old_slot(sandbox: Sandbox, client: AirflowClient) -> Iterator[Slot]:
    """The slot that a release, which has passed its watch, has left and cleaned up."""
    world = World(sandbox)
    source = world.active()
    (before,) = world.versions(source)
    content = {
        "version": VERSION,
        "previous": before,
        "date": release_date(VERSION),
        "image": {"repository": "valeo-erp", "tag": "2.9.0" if before == "3.0.0" else "3.0.0"},
    }
    (sandbox.plan_folder / "releases" / f"{VERSION}.yaml").write_text(yaml.safe_dump(content))
    changes = {"messages": {"deadlines": DEADLINES, "escalation": ["on-call@valeo-erp.example"]}}
    with staging_like_production(sandbox, changes):
        with constant_load(sandbox, "e2e-before-rollback", 60):  # without users no watch passes
            run = trigger_release(sandbox.airflow, VERSION, "staging")
            answer_gate(sandbox.airflow, run)
            client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)
        assert world.versions(source) == set()
        try:
            yield source
        finally:
            client.request("PATCH", "dags/rollback", json={"is_paused": False})
            for kind in ("slack", "mail"):
                set_fault(sandbox.inbox, kind, None)  # type: ignore[arg-type]


def _ask(client: AirflowClient) -> Run:
    return client.trigger("rollback", {"release": VERSION, "environment": "staging", "reason": REASON})


def _missed(sandbox: Sandbox) -> dict[str, Entry]:
    ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))
    found = ledger.entries(release=VERSION, environment="staging", kinds=(MISSED,))
    return {str(entry.payload["message"]).rpartition(":")[2]: entry for entry in found}


def test_a_rollback_that_no_worker_gets_to_pages(
    sandbox: Sandbox, world: World, client: AirflowClient, old_slot: Slot
) -> None:
    client.request("PATCH", "dags/rollback", json={"is_paused": True})
    before = len(world.inbox("slack"))
    _ask(client)
    wait_until(lambda: len(world.inbox("slack")) > before, deadline_seconds=180, what="the page of the deadline")
    page = world.inbox("slack")[before]
    assert "Channel: #valeo-erp-alerts" in page
    assert f"{VERSION} has NOT been rolled back, nothing was moved: users are still on slot" in page
    # Sent first, recorded then: the page may be there a moment before the record.
    wait_until(lambda: "human-needed" in _missed(sandbox), deadline_seconds=60, what="the record of it")
    assert _missed(sandbox)["human-needed"].payload["duty"] == "alert"
    assert world.active() == other(old_slot)


def test_two_at_once_bring_the_old_version_back_while_slack_and_mail_are_dead(
    sandbox: Sandbox, world: World, client: AirflowClient, old_slot: Slot
) -> None:
    # Neither leaves a doubt whether it took a message: what may have arrived is told again more slowly.
    set_fault(sandbox.inbox, "slack", Fault("error"))
    set_fault(sandbox.inbox, "mail", Fault("drop"))
    slack, mail = len(world.inbox("slack")), len(world.inbox("mail"))
    runs = [run for run in client.runs("rollback") if run.state == "queued"]

    def play() -> list[Run]:
        runs.append(_ask(client))
        client.request("PATCH", "dags/rollback", json={"is_paused": False})
        for run in runs:
            client.wait_for_task(run, "summary", deadline_seconds=120, states=SUCCESS)
        return runs

    story = observe_story(sandbox, "e2e-rollback", 60, play)
    assert len(runs) == 2
    assert "helm-rollback: possible" in client.log(runs[0], "eligibility")
    for run in runs:
        assert restore_states(client, run) == {"skipped"}, "auto restores no database"
        assert client.questions(run, open_only=False) == ()
    assert (story.load.requests_lost, story.load.bad_answers) == (0, 0)
    assert story.load.requests_sent > 500
    assert story.switches == ((old_slot, "back"),)
    assert world.active() == old_slot
    assert len(world.versions(old_slot)) == 1
    assert (len(world.inbox("slack")), len(world.inbox("mail"))) == (slack, mail), "they really were dead"

    names = {"rollback-alert", "rollback-mail", "post-mortem"}
    wait_until(lambda: names <= set(_missed(sandbox)), deadline_seconds=180, what="the missed deadlines")
    assert all(_missed(sandbox)[name].payload["delivered"] is None for name in names)

    set_fault(sandbox.inbox, "mail", None)
    told = "mail, invitation, and the escalation of the alert"
    wait_until(lambda: len(world.inbox("mail")) >= mail + 3, deadline_seconds=270, what=told)
    mails = world.inbox("mail")[mail:]
    assert sum("Alarm nicht zugestellt" in text and "on-call@valeo-erp.example" in text for text in mails) == 1
    assert sum("BEGIN:VCALENDAR" in text and "METHOD:REQUEST" in text for text in mails) == 1
    assert all(REASON in text for text in mails)

    set_fault(sandbox.inbox, "slack", None)
    for run in runs:
        client.wait_for_run(run, deadline_seconds=120, states=SUCCESS)
    posts = world.inbox("slack")[slack:]
    [alert] = [text for text in posts if "*Rollback:" in text]
    assert alert.startswith("Channel: #valeo-erp-alerts\n")
    assert REASON in alert
    # Beside it at most that a mail was late: said by who was at it when Slack came back.
    others = [text for text in posts if text != alert]
    assert [text for text in others if "*Frist verpasst: " not in text] == [], "one set of messages"
    assert len(world.inbox("mail")) == mail + 3
