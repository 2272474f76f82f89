from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.bluegreen.candidate import Sought, brought_back, images_of, none_of, objection
from include.bluegreen.eligibility import Candidate
from include.bluegreen.recovery import revisions_that_worked
from include.bluegreen.state import DeploymentState, HelmRevision
from include.chart.manifest import Manifest

T = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOUGHT = Sought("erp-blue", "2.9.0", "erp", frozenset({"erp", "erp-preview"}))
REVISION = HelmRevision(3, "deployed", "Install complete", app_version="3.0.0")


def workload(image: str, name: str = "erp-blue", kind: str = "Deployment") -> Manifest:
    spec = {"template": {"spec": {"containers": [{"name": "erp", "image": image}]}}}
    return Manifest("", "", {"kind": kind, "metadata": {"name": name}, "spec": spec})


def a_service(name: str) -> Manifest:
    return Manifest("", "", {"kind": "Service", "metadata": {"name": name}})


@pytest.mark.parametrize(
    "image", ["erp:2.9.0", "erp:v2.9.0", "registry:5000/erp:release-2.9.0", "erp:2.9.0@sha256:ab"]
)
def test_a_revision_is_the_version_that_its_image_says(image: str) -> None:
    assert objection(SOUGHT, REVISION, [workload(image)], {}) is None


@pytest.mark.parametrize("image", ["erp:3.0.0", "erp:12.9.0", "erp:2.9.0-rc.1", "registry:5000/erp", "erp:2.9.01"])
def test_another_version_is_passed_over(image: str) -> None:
    assert objection(SOUGHT, REVISION, [workload(image)], {}) == f"it runs {image}"


def test_an_image_pinned_by_its_digest_has_its_tag_in_the_values() -> None:
    pinned = [workload("erp@sha256:ab")]
    assert objection(SOUGHT, REVISION, pinned, {"image": {"tag": "2.9.0"}}) is None
    assert objection(SOUGHT, REVISION, pinned, {"image": {"tag": "3.0.0"}}) == "it runs erp@sha256:ab"
    assert objection(SOUGHT, replace(REVISION, app_version="2.9.0"), pinned, {}) is None
    assert objection(SOUGHT, REVISION, pinned, {"image": "2.9.0"}) == "it runs erp@sha256:ab"


def test_the_tag_of_a_sidecar_says_nothing_about_the_version() -> None:
    def beside(image: str) -> list[Manifest]:
        containers = [{"name": "erp", "image": image}, {"name": "proxy", "image": "nginx:2.9.0"}]
        spec = {"template": {"spec": {"containers": containers}}}
        return [Manifest("", "", {"kind": "Deployment", "metadata": {"name": "erp-blue"}, "spec": spec})]

    assert objection(SOUGHT, REVISION, beside("erp@sha256:ab"), {"image": {"tag": "2.9.0"}}) is None
    assert objection(SOUGHT, REVISION, beside("erp@sha256:ab"), {"image": {"tag": "2.8.0"}}) is not None
    assert objection(SOUGHT, REVISION, beside("erp:3.0.0"), {}) == "it runs erp:3.0.0, nginx:2.9.0"


def test_what_is_no_slot_is_passed_over() -> None:
    assert objection(SOUGHT, REVISION, [], {}) == "it holds no object"
    other = [workload("erp:2.9.0", "erp-green")]
    assert objection(SOUGHT, REVISION, other, {}) == "it has no Deployment erp-blue"


def test_a_revision_from_before_stellwerk_would_overwrite_the_traffic_service() -> None:
    found = objection(SOUGHT, REVISION, [workload("erp:2.9.0"), a_service("erp"), a_service("erp-blue")], {})
    assert found == "it would overwrite Service erp, which belongs to no slot"


def test_only_revisions_that_worked_are_looked_at_the_newest_first() -> None:
    history = [
        HelmRevision(1, "superseded", "Install complete"),
        HelmRevision(2, "superseded", 'Upgrade "erp" failed: context deadline exceeded'),
        HelmRevision(3, "failed", "Upgrade failed"),
        HelmRevision(5, "pending-upgrade", "Preparing upgrade"),
        HelmRevision(4, "deployed", "Upgrade complete"),
    ]
    assert [one.revision for one in revisions_that_worked(history)] == [4, 1]
    kept = [HelmRevision(1, "uninstalled", "Uninstallation complete")]
    assert [one.revision for one in revisions_that_worked(kept)] == [1]


def test_why_none_can_be_brought_back_names_each() -> None:
    found = none_of("erp-blue", {4: "it runs erp:3.0.0", 1: "it holds no object"})
    assert not found.usable
    assert "revision 4: it runs erp:3.0.0; revision 1: it holds no object" in found.reason
    assert none_of("erp-blue", {}).reason == "Helm release erp-blue has no revision that worked"


DONE = HelmRevision(4, "deployed", "Rollback to 3", updated=T + timedelta(seconds=5))
CANDIDATE = Candidate(usable=True, reason="", revision=4, images=images_of([workload("erp:2.9.0")], "erp-blue"))
DEPLOYMENT = DeploymentState("erp-blue", 3, 3, 3, 1, 1, images=("erp:2.9.0",))


@pytest.mark.parametrize(
    ("newest", "deployment", "done"),
    [
        (DONE, DEPLOYMENT, True),
        (DONE, None, False),
        (DONE, replace(DEPLOYMENT, images=("erp:3.0.0",)), False),
        (replace(DONE, description="Install complete"), DEPLOYMENT, False),
        (replace(DONE, status="pending-rollback"), DEPLOYMENT, False),
        (replace(DONE, revision=5), DEPLOYMENT, False),
        (replace(DONE, updated=T - timedelta(days=1)), DEPLOYMENT, False),
        (replace(DONE, updated=None), DEPLOYMENT, False),
    ],
)
def test_helm_is_asked_once_and_again_when_anything_is_not_as_it_left_it(newest, deployment, done) -> None:
    history = (HelmRevision(3, "superseded", "Install complete"), newest)
    assert brought_back(history, CANDIDATE, deployment, T) is done
    assert not brought_back((), CANDIDATE, deployment, T)
