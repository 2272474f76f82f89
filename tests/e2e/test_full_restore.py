"""The last resort of a rollback: asked for by name, confirmed by a human, and never taken otherwise."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from include.bluegreen.slots import Slot, other
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import (
    MIGRATION_DECIDERS,
    RELEASE_MANAGER,
    answer_gate,
    trigger_migration,
    trigger_release,
)
from include.sandbox.story import constant_load
from include.sandbox.world import FIRST_VERSION
from include.steps.database.entries import BACKUP_PROVEN, LOSS_ANSWER_REFUSED, LOSS_CONFIRMED, RESTORE_STATED
from include.steps.record import (
    BROUGHT_BACK,
    ROLLBACK_BLOCKED,
    ROLLBACK_CHOSEN,
    ROLLBACK_REFUSED,
    ROLLBACK_VERIFIED,
    ROLLED_BACK,
)
from include.steps.schema_course import (
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
)
from include.steps.verify import prove
from tests.e2e.conftest import World
from tests.e2e.erp import NEW, OLD, Erp, restore_states, states
from tests.e2e.spilled import spilled
from tests.e2e.worlds import changed_production

FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
VERSION = "3.0.0"
REASON = "delivery dates of all orders are wrong"
ASK, ASK_AGAIN = "full_restore.ask", "full_restore.ask_again"
LEAD, ON_CALL = MIGRATION_DECIDERS


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


@pytest.fixture(scope="module")
def old_slot(sandbox: Sandbox, client: AirflowClient) -> Slot:
    """The slot that 3.0.0 has left: it is live on its own schema, has passed its watch and cleaned up."""
    erp, world = Erp(sandbox), World(sandbox)
    if erp.revisions() == OLD:
        erp.order()
        run = trigger_migration(sandbox.airflow, VERSION, "apply")
        answer_gate(sandbox.airflow, run, people=MIGRATION_DECIDERS)
        # Without users nobody would know how the running version does.
        with constant_load(sandbox, "e2e-migration-before-restore", 20, paths=("/api/v1/articles",)):
            client.wait_for_run(run, deadline_seconds=300, states=SUCCESS)
    assert erp.revisions() == NEW
    source = world.active()
    assert world.versions(source) == {FIRST_VERSION}
    with constant_load(sandbox, "e2e-before-restore", 60):  # users write, and without them no watch passes
        run = trigger_release(sandbox.airflow, VERSION)
        answer_gate(sandbox.airflow, run)
        client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)
    assert (world.active(), world.versions(source)) == (other(source), set())
    return source


@dataclass(frozen=True)
class Seen:
    """What a rollback could touch."""

    active: Slot
    versions: tuple[set[str], set[str]]
    revisions: set[str]
    databases: set[str]
    orders: int


def look(world: World, erp: Erp) -> Seen:
    versions = (world.versions("blue"), world.versions("green"))
    return Seen(world.active(), versions, erp.revisions(), erp.databases(), erp.orders())


def roll_back(sandbox: Sandbox, option: str) -> Run:
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        conf = {"release": VERSION, "environment": "production", "option": option, "reason": REASON}
        return manager.trigger("rollback", conf)


def say(sandbox: Sandbox, user: str, question: Question, choice: str, reason: str) -> None:
    form = {"reason": reason, "statement": question.params["statement"]["value"]}
    with sandbox.airflow.client(user) as person:
        person.answer(question, choice, form)


def in_backup(sandbox: Sandbox, erp: Erp, run: Run) -> int:
    """Orders in the backup that the run would restore, as its manifest tells."""
    backup = erp.told(run, RESTORE_STATED)[-1]["backup"]
    proven = [entry.payload for entry in erp.ledger.entries(release=VERSION, kinds=(BACKUP_PROVEN,))]
    [safety] = [one for one in proven if one["backup"] == backup]
    assert (safety["purpose"], safety["level"]) == ("safety", "restore"), "it was verified before the migration"
    manifest = json.loads((sandbox.options.state / "backups" / backup / "manifest.json").read_text())
    return int(manifest["rows"]["public.orders"])


def told_since(world: World, before: int, *words: str) -> list[str]:
    """The posts since then that have all these words."""
    return [text for text in world.inbox("slack")[before:] if all(word in text for word in words)]


def test_nothing_is_touched_by_silence_by_a_no_or_by_a_yes_without_a_reason(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp, old_slot: Slot
) -> None:
    before, slack, mail = look(world, erp), len(world.inbox("slack")), len(world.inbox("mail"))
    with changed_production(sandbox, {"gate": {"timeout_seconds": 8}}):
        silent = roll_back(sandbox, "full-restore")
        client.wait_for_question(silent, ASK, map_index=0, deadline_seconds=120)
        client.wait_for_run(silent, deadline_seconds=120, states=FAILED)
    assert "no answer" in client.log(silent, ASK, map_index=0)

    refused = roll_back(sandbox, "full-restore")
    question = client.wait_for_question(refused, ASK, map_index=0, deadline_seconds=120)
    say(sandbox, LEAD, question, "Restore", " ")
    again = client.wait_for_question(refused, ASK, map_index=0, deadline_seconds=60)
    assert (again.body, again.params["statement"]) == (question.body, question.params["statement"])
    assert "asked again: what is lost was confirmed without a reason" in client.log(refused, ASK, map_index=0)
    say(sandbox, ON_CALL, again, "Leave", "")
    client.wait_for_run(refused, deadline_seconds=120, states=FAILED)
    assert f"{ON_CALL} said Leave" in client.log(refused, ASK, map_index=0)

    assert look(world, erp) == before
    for run, kind in ((silent, ROLLBACK_BLOCKED), (refused, ROLLBACK_REFUSED)):
        found = states(client, run)
        assert (found["full_restore.state_loss"], found[ASK]) == ("success", "failed")
        assert (found["full_restore.stop"], found["bring_back"]) == ("upstream_failed", "upstream_failed")
        counted = Counter(entry.kind for entry in erp.entries(run))
        assert (counted[RESTORE_STATED], counted[kind]) == (1, 1)
        assert not counted.keys() & {LOSS_CONFIRMED, RESTORE_STOPPED, RESTORED, ROLLED_BACK}
    [incomplete] = erp.told(refused, LOSS_ANSWER_REFUSED)
    assert incomplete["by"] == LEAD
    # Silence calls for humans; a no was a human's, and alarms nobody.
    words = (f"{VERSION} has NOT been rolled back, nothing was moved", "the database is not restored")
    assert len(told_since(world, slack, "Channel: #valeo-erp-alerts", *words)) == 1
    answer = f"ausgelöst von {RELEASE_MANAGER}: the database is not restored"
    assert len(told_since(world, slack, "Channel: #valeo-erp-status", answer)) == 1
    assert len(world.inbox("mail")) == mail
    erp.order()


def test_with_a_humans_yes_the_database_is_its_backups_and_the_old_version_serves_on_it(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp, old_slot: Slot
) -> None:
    before, slack, mail = look(world, erp), len(world.inbox("slack")), len(world.inbox("mail"))
    assert before.active == other(old_slot)
    run = roll_back(sandbox, "full-restore")
    unanswered = client.wait_for_question(run, ASK, map_index=0, deadline_seconds=120)
    assert "full-restore: possible" in client.log(run, "eligibility")
    then, now = in_backup(sandbox, erp, run), before.orders
    assert now > then, "nobody has written anything, so nothing is shown"
    assert _rows(then, now) in unanswered.body
    assert re.search(r"everything written in the [0-9.]+ minutes since then is lost", unanswered.body)
    first = _stated_anew(sandbox, client, erp, run, unanswered)
    assert _rows(then, now + 1) in first.body
    assert set(first.assigned_users) == set(MIGRATION_DECIDERS)
    with pytest.raises(AirflowRefused) as refused:
        say(sandbox, "business-owner", first, "Restore", REASON)
    assert refused.value.status == 403

    erp.order()  # users work until the application is stopped; that is more than what was shown
    say(sandbox, LEAD, first, "Restore", REASON)
    second = client.wait_for_question(run, ASK_AGAIN, map_index=0, deadline_seconds=120)
    assert _rows(then, now + 2) in second.body
    assert (world.versions("blue"), world.versions("green")) == (set(), set())
    assert (erp.revisions(), erp.databases()) == (NEW, before.databases)
    assert len(told_since(world, slack, "Channel: #valeo-erp-alerts", "users are down: a full restore waits")) == 1
    say(sandbox, ON_CALL, second, "Restore", "one order more")
    client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)

    assert (erp.revisions(), erp.orders()) == (OLD, then)
    assert (world.active(), world.versions(old_slot), world.versions(other(old_slot))) == (
        old_slot,
        {FIRST_VERSION},
        set(),
    )
    asyncio.run(prove(sandbox.addresses.public_url, sandbox.environment))
    _kept(sandbox, erp, run, before)
    found = states(client, run)
    assert {name: state for name, state in found.items() if state != "success"} == {
        "full_restore.resume": "skipped"
    }
    _recorded(erp, run)
    _told(world, erp, run, slack, mail)
    erp.order()


def _rows(then: int, now: int) -> str:
    return f"public.orders: at least {now - then} rows are lost ({now} now, {then} in the backup)."


def _stated_anew(sandbox: Sandbox, client: AirflowClient, erp: Erp, run: Run, before: Question) -> Question:
    """Users go on working, nobody answers, the loss is stated anew: asked with its own words, and only there."""
    erp.order()
    client.clear(run, ["full_restore.state_loss"])
    anew = client.wait_for_question(run, ASK, map_index=1, deadline_seconds=120)
    assert anew.params["statement"]["value"] == erp.told(run, RESTORE_STATED)[-1]["digest"]
    assert anew.params["statement"]["value"] != before.params["statement"]["value"]
    client.wait_for_task(run, ASK, map_index=0, deadline_seconds=60, states=SUCCESS)
    with pytest.raises(AirflowRefused) as refused:
        say(sandbox, LEAD, before, "Restore", REASON)
    assert refused.value.status == 409
    return anew


def _kept(sandbox: Sandbox, erp: Erp, run: Run, before: Seen) -> None:
    """The damaged database has a dated name, and lets nobody in."""
    [restored] = erp.told(run, RESTORED)
    assert re.fullmatch(r"valeo_erp_damaged_\d{8}_\d{4}_[0-9a-f]{6}", restored["kept"])
    assert erp.databases() == before.databases | {restored["kept"]}
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(sandbox.postgres.url(restored["kept"], "valeo_erp"))


def _recorded(erp: Erp, run: Run) -> None:
    counted = Counter(entry.kind for entry in erp.entries(run))
    once = (ROLLBACK_CHOSEN, RESTORE_STOPPED, RESTORED, BROUGHT_BACK, ROLLBACK_VERIFIED, ROLLED_BACK)
    assert {kind: counted[kind] for kind in once} == dict.fromkeys(once, 1)
    assert not counted.keys() & {RESTORE_RESUMED, ROLLBACK_BLOCKED, ROLLBACK_REFUSED}
    assert erp.told(run, ROLLBACK_CHOSEN)[0]["option"] == "full-restore"
    stated = [statement["digest"] for statement in erp.told(run, RESTORE_STATED)]
    confirmed = [(one["digest"], one["by"], one["reason"]) for one in erp.told(run, LOSS_CONFIRMED)]
    assert confirmed == [(stated[1], LEAD, REASON), (stated[2], ON_CALL, "one order more")]
    assert erp.told(run, RESTORED)[0]["by"] == ON_CALL


def _told(world: World, erp: Erp, run: Run, slack: int, mail: int) -> None:
    """Everybody was told, once, of the switch and of the database."""
    [restored] = erp.told(run, RESTORED)
    [alert] = told_since(world, slack, f"*Rollback: valeo-erp {VERSION} in production*")
    for said in (REASON, restored["backup"], f"heißt jetzt {restored['kept']}", f"bestätigt von {ON_CALL}"):
        assert said in alert
    assert len(told_since(world, slack, "*Database restored from its backup*", "· production ·")) == 1
    mails = world.inbox("mail")[mail:]
    assert sum("BEGIN:VCALENDAR" in text for text in mails) == 1
    assert sum(restored["kept"] in text for text in mails) == 1
    assert len(mails) == 2


@pytest.mark.exhaustive
def test_any_other_option_restores_nothing_and_asks_nobody(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp, old_slot: Slot
) -> None:
    """Of a release that is live, this is shown by test_production_blue_green.py and test_rollback.py."""
    before, slack, mail = look(world, erp), len(world.inbox("slack")), len(world.inbox("mail"))
    for option in ("auto", "blue-cutover"):
        run = roll_back(sandbox, option)
        client.wait_for_run(run, deadline_seconds=120, states=SUCCESS)
        assert restore_states(client, run) == {"skipped"}
        assert client.questions(run, open_only=False) == ()
        assert erp.told(run, RESTORE_STATED) == []
    assert look(world, erp) == before
    assert (len(world.inbox("slack")), len(world.inbox("mail"))) == (slack, mail), "nobody is told twice"


def test_no_secret_is_in_what_airflow_tells_or_people_read(
    sandbox: Sandbox, client: AirflowClient, old_slot: Slot
) -> None:
    found, looked = spilled(sandbox, client, client.runs("rollback"))
    assert found == []
    assert looked > 50
