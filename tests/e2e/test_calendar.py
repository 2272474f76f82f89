"""The calendar against a real scheduler: each phase once, at its time, whatever happens to dates and processes."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from include.ledger.migrate import migrate
from include.plan.loader import plan_folder
from include.sandbox.airflow import COMPONENTS, AirflowRuntime
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Run
from include.sandbox.airflow_environment import REPOSITORY
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.processes import wait_until
from include.sandbox.settings import AirflowConnection, Settings
from include.steps.phase import PHASE_STARTED

PHASE = "staging-deploy"
CALENDAR = "release-calendar"
TICK_SECONDS = 100  # a minute, and what a busy machine takes for it
Seen = TypeVar("Seen")


@dataclass
class World:
    """A plan in a folder, Airflow over it, and the lines of those who acted."""

    state: Path
    postgres: Postgres
    runtime: AirflowRuntime

    @property
    def plan(self) -> Path:
        return self.state / "plan"

    def acted(self) -> Counter[tuple[str, str]]:
        """(release, phase) → how often it acted."""
        file = self.state / "acted"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return Counter((release, phase) for release, phase, _ in lines)

    def write(self, version: str, at: datetime, **timeline: dict[str, Any]) -> None:
        """Write a release whose rehearsal is due at ``at``; its T-0 is a day that no other release has."""
        days = days_of(version)
        phases: dict[str, dict[str, Any]] = {
            "release-preparation": {"at": f"T-{days + 5} 09:00"},
            PHASE: {"at": f"T-{days} {at:%H:%M}", "after": [], "minutes": 0},
        }
        for name, changes in timeline.items():
            key = name.replace("_", "-")
            phases[key] = {**phases.get(key, {}), **changes}
        content = {
            "version": version,
            "previous": "2.9.0",
            "date": str(t_zero(at, days)),
            "timezone": "UTC",
            "image": {"repository": "valeo-erp", "tag": version},
            "timeline": phases,
        }
        target = self.plan / "releases" / f"{version}.yaml"
        partial = target.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(content))
        partial.rename(target)


def days_of(version: str) -> int:
    """How long before its T-0 a release is rehearsed here: far enough from the others' whenever it is moved."""
    return 10 * int(version.rpartition(".")[2])


def t_zero(at: datetime, days: int) -> date:
    return at.date() + timedelta(days=days)


def coming(minutes: int = 1) -> datetime:
    """A full minute that is at least half a minute away."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    return soon.replace(second=0, microsecond=0) + timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state = tmp_path_factory.mktemp("calendar")
    (state / "plan" / "releases").mkdir(parents=True)
    for name in ("environments", "charts"):
        shutil.copytree(plan_folder() / name, state / "plan" / name)
    own = state / "own_dags"
    own.mkdir()
    for name in ("release_calendar.py", "plan_validation.py"):
        shutil.copy(REPOSITORY / "dags" / name, own)
    postgres = Postgres(state / "postgres")
    postgres.start()
    migrate(
        postgres.url("stellwerk", SUPERUSER),
        role="stellwerk_append",
        password=postgres.password("stellwerk_append"),
    )
    ledger = AirflowConnection(conn_id="ledger", conn_uri=postgres.url("stellwerk", "stellwerk_append"))
    runtime = AirflowRuntime(
        state / "airflow",
        database_url=postgres.url("airflow", driver="psycopg"),
        settings=Settings(connections=(ledger,)),
        variables={"STELLWERK_PLAN": str(state / "plan"), "CALENDAR_ACTED": str(state)},
        own_dags=own,
        dag_folders={"phases": Path(__file__).parent / "calendar_dags"},
    )
    try:
        runtime.start()
        yield World(state, postgres, runtime)
    finally:
        runtime.stop()
        postgres.remove()


@pytest.fixture
def client(world: World) -> Iterator[AirflowClient]:
    with world.runtime.client("release-manager") as session:
        yield session


@pytest.fixture
def two_schedulers(world: World, client: AirflowClient) -> Iterator[None]:
    """A second scheduler beside the first, both at work; neither ends by what the other one does."""
    before = schedulers(client)
    second = world.runtime.add_component("scheduler")
    try:
        wait_for(lambda: schedulers(client) - before or None, "the second scheduler to work")
        yield
        assert [world.runtime.restarts(name) for name in ("scheduler", second)] == [0, 0]
    finally:
        world.runtime.stop_component(second)


def schedulers(client: AirflowClient) -> set[int]:
    """The jobs of the schedulers that are alive, as Airflow says."""
    wanted = {"job_type": "SchedulerJob", "job_state": "running", "is_alive": True}
    return {job["id"] for job in client.request("GET", "jobs", params=wanted)["jobs"]}


def wait_for(look: Callable[[], Seen | None], what: str, seconds: float = TICK_SECONDS) -> Seen:
    found: list[Seen] = []

    def there() -> bool:
        if (seen := look()) is not None:
            found.append(seen)
        return bool(found)

    wait_until(there, deadline_seconds=seconds, what=what, poll_seconds=1)
    return found[0]


def calendars_run(client: AirflowClient, version: str, phase: str = PHASE) -> Run | None:
    return next((run for run in client.runs(phase) if run.run_id == f"{version}__{phase}"), None)


def started(client: AirflowClient, version: str, phase: str = PHASE) -> Run:
    """The calendar's run, when it has ended well."""
    run = wait_for(lambda: calendars_run(client, version, phase), f"{version} {phase} to be started", 150)
    return client.wait_for_run(run, deadline_seconds=60)


def next_look(client: AirflowClient, after: datetime | None = None) -> str:
    """The log of a look that began after now (or ``after``) and has ended."""
    since = after or datetime.now(UTC)

    def ended() -> Run | None:
        return next(
            (
                run
                for run in client.runs(CALENDAR)
                if run.state in ("success", "failed") and run.started and began(run) > since
            ),
            None,
        )

    return client.log(wait_for(ended, "the calendar's next look", 2 * TICK_SECONDS), "look")


def began(run: Run) -> datetime:
    assert run.started
    return datetime.fromisoformat(run.started)


def by_hand(client: AirflowClient, version: str, **more: str) -> Run:
    """Start the rehearsal by hand, as soon as the form knows the release."""
    conf = {"release": version, "environment": "staging", **more}

    def trigger() -> Run | None:
        try:
            return client.trigger(PHASE, conf)
        except AirflowRefused as refused:
            if refused.status != 400:
                raise
            return None

    return wait_for(trigger, f"the form to know {version}")


def lines_about(log: str, version: str, phase: str = PHASE) -> str:
    return "\n".join(line for line in log.splitlines() if version in line and phase in line)


@pytest.mark.usefixtures("two_schedulers")
def test_two_in_the_same_minute_start_once_each_beside_a_broken_file_and_a_run_by_hand(
    world: World, client: AirflowClient
) -> None:
    # 3.0.3 is begun by hand before its time: the calendar has nothing to start.
    world.write("3.0.3", coming(3))
    hand = client.wait_for_run(by_hand(client, "3.0.3"), deadline_seconds=90)
    due = coming()
    for version in ("3.0.1", "3.0.2", "3.0.3"):
        world.write(version, due)
    broken = world.plan / "releases" / "3.0.4.yaml"
    broken.write_text("version: 3.0.4\nprevious: [\n")
    for version in ("3.0.1", "3.0.2"):
        run = started(client, version)
        assert (run.state, run.conf) == (
            "success",
            {"release": version, "environment": "staging", "mode": "rehearsal"},
        )
    log = next_look(client)
    for version in ("3.0.1", "3.0.2", "3.0.3"):
        assert world.acted()[version, PHASE] == 1
    assert hand.state == "success"
    assert calendars_run(client, "3.0.3") is None
    assert "BROKEN" in log
    assert "3.0.4.yaml:3: did not find" in log

    def import_error() -> str | None:
        return next((error for error in client.import_errors() if "plan_validation.py" in error), None)

    assert "3.0.4.yaml:3" in wait_for(import_error, "the DAG processor to refuse the file")
    assert len(client.import_errors()) == 1, "no other DAG is broken"
    broken.unlink()
    wait_for(lambda: True if not client.import_errors() else None, "the import error to be gone")


@pytest.mark.usefixtures("two_schedulers")
def test_a_run_by_hand_and_one_of_the_calendar_at_the_same_time_do_not_both_act(
    world: World, client: AirflowClient
) -> None:
    due = coming(2)
    world.write("3.0.5", due)
    # The form must know it before: then both begin within the same seconds.
    wait_for(lambda: True if _form_knows(client, "3.0.5") else None, "the form to know 3.0.5")
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    hand = client.trigger(PHASE, {"release": "3.0.5", "environment": "staging"})
    ended = client.wait_for_run(hand, deadline_seconds=90, states=frozenset({"success", "failed"}))
    next_look(client)
    other = calendars_run(client, "3.0.5")
    states = [ended.state]
    if other is not None:
        states.append(
            client.wait_for_run(other, deadline_seconds=60, states=frozenset({"success", "failed"})).state
        )
        loser = hand if ended.state == "failed" else other
        assert "PhaseTaken" in client.log(loser, "claim")
    assert states.count("success") == 1
    assert world.acted()["3.0.5", PHASE] == 1


def _form_knows(client: AirflowClient, version: str) -> bool:
    details = client.request("GET", f"dags/{PHASE}/details")
    return version in details["params"]["release"]["schema"].get("enum", ())


def test_dates_that_move(world: World, client: AirflowClient) -> None:
    far = datetime.now(UTC) + timedelta(days=3)
    for version in ("3.0.6", "3.0.7"):
        world.write(version, far)
    due = coming(3)
    world.write("3.0.8", due)  # moved later before its time comes
    log = next_look(client)
    for version in ("3.0.6", "3.0.7", "3.0.8"):
        assert "waiting" in lines_about(log, version)
    world.write("3.0.8", far)
    world.write("3.0.6", datetime.now(UTC) - timedelta(minutes=5))  # moved earlier, a little late already
    world.write("3.0.7", datetime.now(UTC) - timedelta(days=2))  # moved into the past
    # 3.0.1 ran already: to a time that comes, and to one that has just been.
    world.write("3.0.1", due)
    world.write("3.0.2", datetime.now(UTC) - timedelta(minutes=5))
    assert started(client, "3.0.6").state == "success"
    log = next_look(client, max(due, datetime.now(UTC)))
    assert "missed" in lines_about(log, "3.0.7")
    assert "start it by hand" in lines_about(log, "3.0.7")
    assert "waiting" in lines_about(log, "3.0.8")
    assert calendars_run(client, "3.0.7") is None
    assert calendars_run(client, "3.0.8") is None
    assert [world.acted()[version, PHASE] for version in ("3.0.1", "3.0.2", "3.0.6")] == [1, 1, 1]


def test_a_phase_waits_for_the_one_before_it_and_starts_when_that_is_repeated(
    world: World, client: AirflowClient
) -> None:
    (world.state / "fail-3.0.9").touch()
    due = coming()
    then = due + timedelta(minutes=1)
    days = days_of("3.0.9") + (then.date() - due.date()).days
    world.write(
        "3.0.9",
        then,
        release_preparation={"at": f"T-{days} {due:%H:%M}"},
        staging_deploy={"after": ["release-preparation"]},
    )
    run = wait_for(lambda: calendars_run(client, "3.0.9", "release-preparation"), "the first phase", 150)
    client.wait_for_run(run, deadline_seconds=90, states=frozenset({"failed"}))
    log = next_look(client, due + timedelta(minutes=1))
    assert "waits for release-preparation (failed)" in lines_about(log, "3.0.9")
    # Set to success by hand it is no success: the ledger does not say so.
    client.set_run_state(run, "success")
    assert "waits for release-preparation (failed)" in lines_about(next_look(client), "3.0.9")
    (world.state / "fail-3.0.9").unlink()
    client.clear(run, ["act"])
    assert client.wait_for_run(run, deadline_seconds=90).state == "success"
    assert started(client, "3.0.9").state == "success"
    assert world.acted()["3.0.9", "release-preparation"] == 1


def test_what_falls_due_while_the_scheduler_is_down_is_caught_up_or_reported(
    world: World, client: AirflowClient
) -> None:
    due = coming()
    world.write("3.0.10", due)
    world.write("3.0.11", due, staging_deploy={"late_minutes": 2})
    wait_for(lambda: True if _form_knows(client, "3.0.11") else None, "the form to know it", 2 * TICK_SECONDS)
    if datetime.now(UTC) > due - timedelta(seconds=10):
        due = coming(2)
        world.write("3.0.10", due)
        world.write("3.0.11", due, staging_deploy={"late_minutes": 2})
    world.runtime.stop_component("scheduler")
    time.sleep((due - datetime.now(UTC)).total_seconds() + 130)
    world.runtime.start_component("scheduler")
    began_again = datetime.now(UTC)
    assert started(client, "3.0.10").state == "success"
    log = next_look(client, began_again)
    assert "missed" in lines_about(log, "3.0.11")
    assert calendars_run(client, "3.0.11") is None
    assert world.acted()["3.0.10", PHASE] == 1


@pytest.mark.exhaustive
def test_a_phase_without_a_dag_and_one_whose_dag_is_paused_are_told(world: World, client: AirflowClient) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    client.request("PATCH", f"dags/{PHASE}", json={"is_paused": True})
    try:
        world.write("3.0.12", now)
        # Its day is over: what comes after it has no DAG.
        content = {
            "version": "3.0.13",
            "previous": "2.9.0",
            "date": str(now.date() - timedelta(days=1)),
            "timezone": "UTC",
            "image": {"repository": "valeo-erp", "tag": "3.0.13"},
            "timeline": {"post-release": {"at": f"T+1 {now:%H:%M}", "after": []}},
        }
        (world.plan / "releases" / "3.0.13.yaml").write_text(yaml.safe_dump(content))
        since = datetime.now(UTC)

        def told() -> dict[str, str] | None:
            logs: dict[str, str] = {}
            for run in client.runs(CALENDAR):
                if run.started and began(run) > since and run.state == "failed":
                    for task in client.tasks(run):
                        if task.task_id == "start" and task.state == "failed":
                            log = client.log(run, "start", map_index=task.map_index)
                            logs[log] = log
            text = "\n".join(logs)
            return logs if "its DAG is paused" in text and "there is no DAG of that name" in text else None

        assert wait_for(told, "the calendar to say what it cannot start", 2 * TICK_SECONDS)
        assert calendars_run(client, "3.0.12") is None
    finally:
        client.request("PATCH", f"dags/{PHASE}", json={"is_paused": False})
    assert started(client, "3.0.12").state == "success"
    (world.plan / "releases" / "3.0.13.yaml").unlink()


@pytest.mark.exhaustive
def test_a_file_that_is_removed_or_added_is_noticed_by_the_next_look_without_a_restart(
    world: World, client: AirflowClient
) -> None:
    processes = {name: world.runtime.pid(name) for name in COMPONENTS}
    due = coming(3)
    world.write("3.0.14", due)
    wait_for(lambda: True if _form_knows(client, "3.0.14") else None, "the form to know it", 2 * TICK_SECONDS)
    log = next_look(client)
    assert "waiting" in lines_about(log, "3.0.14")
    if datetime.now(UTC) > due - timedelta(seconds=10):
        due = coming()
        world.write("3.0.14", due)
    (world.plan / "releases" / "3.0.14.yaml").unlink()
    world.write("3.0.15", due)
    log = next_look(client)
    assert "3.0.14" not in log
    assert re.search(rf"(waiting|start) +3\.0\.15 +{PHASE} ", log), log

    def form() -> bool | None:
        return True if _form_knows(client, "3.0.15") and not _form_knows(client, "3.0.14") else None

    wait_for(form, "the form to offer what there is", 2 * TICK_SECONDS)
    assert "3.0.14" not in next_look(client, due)
    assert started(client, "3.0.15").state == "success"
    assert calendars_run(client, "3.0.14") is None
    assert (world.acted()["3.0.14", PHASE], world.acted()["3.0.15", PHASE]) == (0, 1)
    assert {name: world.runtime.pid(name) for name in COMPONENTS} == processes


def test_at_the_end_every_phase_has_acted_once_and_the_ledger_says_by_whom(
    world: World, client: AirflowClient
) -> None:
    from include.ledger.store import Ledger

    assert set(world.acted().values()) == {1}
    claims = Ledger(world.postgres.url("stellwerk", "stellwerk_append")).entries(kinds=(PHASE_STARTED,))
    assert Counter((one.release, one.payload["phase"]) for one in claims) == world.acted()
    by = {one.release: one.actor for one in claims}
    assert by["3.0.1"] == "release-calendar"
    assert by["3.0.3"] == "release-manager"
    states = Counter(run.state for run in client.runs(CALENDAR))
    assert states["success"] >= 5
