"""What a restarted node program concludes from what it finds."""

from __future__ import annotations

from include.sandbox.node.adoption import adopt
from include.sandbox.node.runtime import Exit, Running
from include.sandbox.node.views import ContainerView, Ended, Started, Waiting

NOW = 1_800_000_000.0
FRESH = ContainerView("web", "web:1", Waiting("ContainerCreating"))


def start(attempt: int, code: int | None = None) -> Running:
    labels = {"attempt": attempt, "image_id": "web@sha256:1"}
    ended = None if code is None else Exit(code, 0, out_of_memory=False, finished_at=NOW)
    return Running(f"id-{attempt}", 100 + attempt, NOW - 60, labels, ended)


def test_nothing_was_there() -> None:
    found = adopt(FRESH, [], {}, NOW)
    assert (found.view, found.alive, found.number) == (FRESH, None, 0)


def test_what_runs_is_taken_over_with_its_verdicts() -> None:
    status = {"containerID": "stellwerk://id-2", "started": True, "ready": True}
    found = adopt(FRESH, [start(2), start(1, 3)], status, NOW)
    assert found.alive == start(2)
    assert found.number == found.view.restarts == 2
    assert found.view.state == Started(NOW - 60)
    assert found.view.ready
    assert found.view.started
    assert found.view.last is not None
    assert found.view.last.code == 3


def test_verdicts_about_another_start_do_not_count() -> None:
    found = adopt(FRESH, [start(1)], {"containerID": "stellwerk://id-0", "started": True, "ready": True}, NOW)
    assert not found.view.ready
    assert not found.view.started


def test_what_ended_meanwhile_is_known_exactly() -> None:
    found = adopt(FRESH, [start(0, 137)], {"containerID": "stellwerk://id-0", "ready": True}, NOW)
    assert found.alive is None
    assert isinstance(found.view.state, Ended)
    assert found.view.state.code == 137
    assert not found.view.ready


def test_after_a_reboot_the_api_server_remembers() -> None:
    running = {"containerID": "stellwerk://x", "restartCount": 4, "state": {"running": {}}}
    found = adopt(FRESH, [], running, NOW)
    assert isinstance(found.view.state, Ended)
    assert (found.view.state.code, found.view.state.reason) == (137, "ContainerStatusUnknown")
    assert found.number == 4


def test_after_a_reboot_what_had_succeeded_has_succeeded() -> None:
    done = {"containerID": "stellwerk://x", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    found = adopt(FRESH, [], done, NOW)
    assert isinstance(found.view.state, Ended)
    assert (found.view.state.code, found.view.state.reason) == (0, "Completed")
