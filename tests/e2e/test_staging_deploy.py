"""``staging-deploy``: the calendar starts it at T-3, and it runs to the T-3 mail, with people and what goes wrong.

The tests follow one another: the first brings the release to staging, the others try it again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from email import message_from_string
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.bluegreen.slots import other
from include.ledger.approvals import DECISION
from include.ledger.grants import GRANT
from include.plan.values import merged
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.environment import Options, Sandbox
from include.sandbox.external_cluster import named_kubeconfig
from include.sandbox.people import RELEASE_MANAGER
from include.sandbox.processes import wait_until
from include.steps.phase import PHASE_COMPLETED, PHASE_STARTED
from include.steps.record import CUT_OVER, RELEASED
from include.steps.schema_course import MIGRATED
from include.steps.staging.entries import (
    DEPLOYED_ALREADY,
    LOAD_MEASURED,
    REHEARSAL_COMPLETED,
    SERVED,
    UAT_ANSWERED,
    UAT_CONCLUDED,
    UAT_SILENT,
    URLS_VERIFIED,
)
from tests.e2e.conftest import World
from tests.e2e.erp import NEW, Erp, states

PHASE, VERSION, NEXT = "staging-deploy", "3.0.0", "3.0.1"
FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
USERS = ("test-admin", "test-user", "test-readonly")
AHEAD = timedelta(minutes=2)
# What no English message says.
GERMAN = ("Test offen", "Lauf ", "Eingriff", "Guten Tag", "Termin", "Probelauf", "Befunde", " Uhr", "Ausfallzeit")
WORKS = {"case_articles": "passed", "case_order": "passed"}


def write_release(folder: Path, due: datetime) -> None:
    """The release whose rehearsal is due then."""
    content = {
        "version": VERSION,
        "previous": "2.9.0",
        "date": str((due + timedelta(days=3)).date()),
        "timezone": "UTC",
        "image": {"repository": "valeo-erp", "tag": VERSION},
        "features": ["Lieferdatum im Auftrag"],
        "communication": {"mails": [{"event": "announcement", "at": f"T-3 {due:%H:%M}", "to": ["stakeholders"]}]},
        "timeline": {
            "release-preparation": {"at": "T-9 09:00"},
            PHASE: {"at": f"T-3 {due:%H:%M}", "after": [], "minutes": 0},
        },
    }
    target = folder / "releases" / f"{VERSION}.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of its own, whose release is due two minutes after it was asked for."""
    state = tmp_path_factory.mktemp("staging")
    write_release(state / "extra", datetime.now(UTC) + AHEAD)
    namespace = f"staging-{os.getpid()}" if named_kubeconfig() else "production"
    options = Options(
        state=state / "run", namespace=namespace, watch_seconds=20, gate_seconds=90, extra_plan=state / "extra"
    )
    with Sandbox(options) as sandbox:
        with sandbox.airflow.client() as session:
            # It would announce the release while the rehearsal below fails on purpose.
            session.request("PATCH", "dags/release-mails", json={"is_paused": True})
        sandbox.identity.stop()  # it answers again when the first test has seen what that leads to
        yield sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


@contextmanager
def changed(sandbox: Sandbox, file: str, changes: Mapping[str, Any]) -> Iterator[None]:
    """Have a file of the plan with ``changes``, whole at every moment."""
    target = sandbox.plan_folder / file
    before = target.read_text()

    def write(text: str) -> None:
        partial = target.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(target)

    write(yaml.safe_dump(merged(yaml.safe_load(before), changes)))
    try:
        yield
    finally:
        write(before)


def in_english_a_day_later(sandbox: Sandbox) -> AbstractContextManager[None]:
    """The release in the other language, and at another date: whoever knows of it has to be told."""
    file = f"releases/{VERSION}.yaml"
    planned = date.fromisoformat(yaml.safe_load((sandbox.plan_folder / file).read_text())["date"])
    later = str(planned + timedelta(days=1))
    return changed(sandbox, file, {"date": later, "communication": {"language": "en"}})


def calendars_run(client: AirflowClient) -> Run:
    found: list[Run] = []

    def there() -> bool:
        found.extend(run for run in client.runs(PHASE) if run.run_id == f"{VERSION}__{PHASE}")
        return bool(found)

    wait_until(there, deadline_seconds=200, what="the calendar to start the rehearsal", poll_seconds=1)
    return found[0]


def forms(client: AirflowClient, run: Run, users: tuple[str, ...] = USERS) -> dict[str, Question]:
    """User → the open form, when each of them has one."""
    found: dict[str, Question] = {}

    def there() -> bool:
        found.update({question.assigned_users[0]: question for question in client.questions(run)})
        return set(users) <= set(found)

    wait_until(there, deadline_seconds=180, what=f"forms for {', '.join(users)}", poll_seconds=0.5)
    return found


def answer(sandbox: Sandbox, question: Question, **form: str) -> None:
    with sandbox.airflow.client(question.assigned_users[0]) as person:
        person.answer(question, "Submit", form)


def by_hand(sandbox: Sandbox, **more: str) -> Run:
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        return manager.trigger(PHASE, {"release": VERSION, "environment": "staging", **more})


def evidence(sandbox: Sandbox, run: Run) -> dict[str, bytes]:
    """What is in the run's only bundle whose manifest has the newest fingerprint."""
    told = Erp(sandbox).told(run, REHEARSAL_COMPLETED)[-1]
    file = Path(told["evidence"]["bundle"]["url"].removeprefix("file://"))
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == told["evidence"]["bundle"]["sha256"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert hashlib.sha256(files["manifest.json"]).hexdigest() == told["fingerprint"]
    for one in json.loads(files["manifest.json"])["files"]:
        assert hashlib.sha256(files[one["name"]]).hexdigest() == one["sha256"]
    return files


def test_the_calendar_starts_it_and_it_runs_to_the_mail(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    run = calendars_run(client)
    assert run.conf == {"release": VERSION, "environment": "staging", "mode": "rehearsal"}

    # The identity provider does not answer: it stops there, with the remedy, and people are called.
    client.wait_for_task(run, "verify_urls", deadline_seconds=240, states=FAILED)
    log = client.log(run, "verify_urls")
    assert "do not answer as they have to: keycloak" in log
    assert "clear this task alone" in log
    client.wait_for_run(run, deadline_seconds=60, states=FAILED)
    assert [told["result"] for told in erp.told(run, REHEARSAL_COMPLETED)] == ["failed"]
    assert any("keycloak" in text for text in world.inbox("slack"))
    assert world.inbox("mail") == []
    assert (erp.revisions(), states(client, run)["cutover"]) == (NEW, "success")

    # The failed step alone, and what waited for it.
    sandbox.identity.start()
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        manager.clear(run, ["verify_urls"])
    asked = forms(client, run)
    assert set(asked) == set(USERS)
    assert "Artikel suchen" in asked["test-user"].body
    with sandbox.airflow.client("viewer") as other, pytest.raises(AirflowRefused) as refused:
        other.answer(asked["test-user"], "Submit", WORKS)
    assert refused.value.status == 403

    # Somebody finds a blocker: it stops, and a better answer lets it go on.
    answer(sandbox, asked["test-admin"], **WORKS)
    answer(sandbox, asked["test-user"], case_order="blocker", note_order="die Summe fehlt", case_articles="passed")
    # What cannot count comes back, and why is told: Airflow shows the first words again.
    answer(sandbox, asked["test-readonly"], case_articles="passed", other="Schrift ist klein")
    asked |= forms(client, run, ("test-readonly",))
    told = client.xcom(run, "uat", "asked_again", map_index=USERS.index("test-readonly"))
    assert "how severe" in told
    # The form is back before it is told why.
    wait_until(lambda: any(told in text for text in world.inbox("slack")), deadline_seconds=60, what=told)
    answer(
        sandbox, asked["test-readonly"], case_articles="passed", other="Schrift ist klein", other_severity="minor"
    )
    client.wait_for_run(run, deadline_seconds=120, states=FAILED)
    assert "blocker: order: die Summe fehlt (test-user)" in client.log(run, "conclude_uat")
    [*_, stopped] = erp.told(run, REHEARSAL_COMPLETED)
    assert {"severity": "blocker", "text": "order: die Summe fehlt (test-user)"} in stopped["findings"]
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        # States set by hand complete no phase. The mail's comes first: what it would say now is that the rehearsal
        # has failed, and that this has changed is told only when it has stood for an hour.
        for task in ("announce_release", "conclude_uat", "complete_rehearsal"):
            manager.set_task_state(run, task, "success")
        manager.clear(run, ["complete"], downstream=False)
        client.wait_for_task(run, "complete", deadline_seconds=60, states=FAILED)
        assert "has not passed" in client.log(run, "complete")
        assert erp.told(run, PHASE_COMPLETED) == []
        client.wait_for_run(run, deadline_seconds=60, states=FAILED)
        manager.clear(run, [("uat", USERS.index("test-user"))])
    answer(sandbox, forms(client, run, ("test-user",))["test-user"], **WORKS)
    client.wait_for_run(run, deadline_seconds=120, states=SUCCESS)

    _has_passed(sandbox, world, client, erp, run)


def _has_passed(sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp, run: Run) -> None:
    told = erp.told(run, REHEARSAL_COMPLETED)
    assert [one["result"] for one in told] == ["failed", "failed", "passed"]
    assert told[-1]["findings"] == [{"severity": "minor", "text": "Schrift ist klein (test-readonly)"}]
    counted = Counter(entry.kind for entry in erp.entries(run))
    once = (PHASE_STARTED, MIGRATED, CUT_OVER, RELEASED, LOAD_MEASURED, PHASE_COMPLETED)
    assert {kind: counted[kind] for kind in once} == dict.fromkeys(once, 1)
    assert (counted[GRANT], counted[DECISION]) == (2, 0), "one for the migration, one for the release"
    assert (counted[URLS_VERIFIED], counted[UAT_ANSWERED], counted[UAT_CONCLUDED]) == (2, 4, 2)
    [measured] = erp.told(run, LOAD_MEASURED)
    assert measured["result"] == "PASSED"
    assert measured["figures"]["requests"] > 50
    files = evidence(sandbox, run)
    [picture] = [name for name in files if name.startswith("load-1-") and name.endswith("/load.svg")]
    assert {"ledger.json", "summary.json", picture.replace("load.svg", "load_stats_history.csv")} <= set(files)
    assert "<svg" in files[picture].decode()
    [mail] = [message_from_string(text, policy=default) for text in world.inbox("mail")]
    body = mail.get_body(("plain",)).get_content()
    assert "in der Testumgebung geprobt und hat bestanden" in body
    assert "Befunde: 1 leicht" in body
    assert told[-1]["fingerprint"] in body
    assert "file://" not in body
    assert world.versions(world.active()) == {VERSION}
    assert client.task(run, "cutover").tries == 1


def test_who_never_answers_is_recorded_and_everything_is_said_in_english_where_the_release_says_so(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    mails = len(world.inbox("mail"))
    patience = {"uat": {"timeout_seconds": 20, "required": "one"}, "load": {"seconds": 8}}
    with changed(sandbox, "environments/staging.yaml", patience), in_english_a_day_later(sandbox):
        run = by_hand(sandbox, repeat_reason="a key user was away")
        answer(sandbox, forms(client, run)["test-admin"], **WORKS)
        client.wait_for_run(run, deadline_seconds=180, states=SUCCESS)
    _is_english([text for text in world.inbox("slack") if run.run_id in text], world.inbox("mail")[mails:])
    assert sorted(told["user"] for told in erp.told(run, UAT_SILENT)) == ["test-readonly", "test-user"]
    [concluded] = erp.told(run, UAT_CONCLUDED)
    assert (concluded["result"], sorted(concluded["silent"])) == ("passed", ["test-readonly", "test-user"])
    assert erp.told(run, MIGRATED) == [], "nothing was pending"
    [already] = erp.told(run, DEPLOYED_ALREADY)
    assert already["by"] == f"{VERSION}__{PHASE}"
    assert states(client, run)["deploy_idle_slot"] == "skipped"


def _is_english(posts: list[str], mails: list[str]) -> None:
    for user in USERS:
        assert any(f"*Test open: {user}*" in text for text in posts)
    [mail] = [message_from_string(text, policy=default) for text in mails]
    assert mail["Content-Language"] == "en"
    bodies = [mail.get_body((kind,)).get_content() for kind in ("plain", "html")]
    for body in bodies:
        words = " ".join(body.split())
        assert "The date has changed: announced was" in words
        assert "The release was rehearsed in the test environment and passed." in words
    assert 'lang="en"' in bodies[1]
    said = [*posts, str(mail["Subject"]), *bodies]
    assert [word for word in GERMAN if any(word in text for text in said)] == []


def test_the_final_test_of_the_day_deploys_nothing_twice(
    sandbox: Sandbox, client: AirflowClient, erp: Erp
) -> None:
    run = by_hand(sandbox, mode="final")
    client.wait_for_run(run, deadline_seconds=90, states=SUCCESS)
    seen = states(client, run)
    assert (seen["smoke_tests"], seen["cutover"], seen["load_test"]) == ("success", "skipped", "skipped")
    assert (len(erp.told(run, RELEASED)), erp.told(run, REHEARSAL_COMPLETED)) == (1, [])
    assert [told["phase"] for told in erp.told(run, PHASE_COMPLETED)] == [f"{PHASE}:final"]


def test_the_final_test_of_the_day_deploys_what_is_not_there_and_tests_what_it_has_deployed(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    target = other(world.active())
    run = by_hand(sandbox, release=NEXT, mode="final")
    client.wait_for_run(run, deadline_seconds=180, states=SUCCESS)
    seen = states(client, run)
    assert (seen["deploy_idle_slot"], seen["cutover"], seen["smoke_tests"]) == ("success",) * 3
    assert (seen["load_test"], seen["conclude_uat"]) == ("skipped", "skipped")
    assert (world.active(), world.versions(target)) == (target, {NEXT})
    kinds = [entry.kind for entry in erp.entries(run)]
    assert kinds.index(CUT_OVER) < kinds.index(RELEASED), "the suite comes after the switch"
    assert (kinds.count(CUT_OVER), kinds.count(GRANT), kinds.count(MIGRATED)) == (1, 1, 0)
    [proven] = erp.told(run, RELEASED)
    assert proven["slot"] == target
    for check in ("frontend", "articles", "orders"):
        assert any(check in sentence for sentence in proven["checks"])
    [served] = erp.told(run, SERVED)
    assert (served["ok"], served["slot"], served["by"]) == (True, target, run.run_id)
    assert [told["phase"] for told in erp.told(run, PHASE_COMPLETED)] == [f"{PHASE}:final"]


def test_it_acts_nowhere_but_in_staging(sandbox: Sandbox) -> None:
    with sandbox.airflow.client(RELEASE_MANAGER) as manager, pytest.raises(AirflowRefused) as refused:
        manager.trigger(PHASE, {"release": VERSION, "environment": "production"})
    assert refused.value.status == 400
