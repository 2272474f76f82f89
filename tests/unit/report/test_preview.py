"""What a release changes, without what only tells the slots apart and without a single secret."""

from __future__ import annotations

import base64
import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from include.bluegreen.eligibility import RollbackOption
from include.bluegreen.state import HpaState, PodState
from include.report.manifest_diff import HIDDEN, HIDDEN_CHANGED, ObjectChange, changes
from include.report.preview import LONGEST_BYTES, Observed, markdown, preview, summary
from tests.unit.chart.charts import DIGEST, ENVIRONMENT, Document, chart, container, deployment, manifest, thing

OPTIONS = (
    RollbackOption("auto", eligible=True, reason="proven"),
    RollbackOption("full-restore", False, "not offered"),
)


def compare(before: list[Document], after: list[Document]) -> tuple[ObjectChange, ...]:
    return changes(ENVIRONMENT, [manifest(one) for one in before], [manifest(one) for one in after])


def observed(before: list[Document], after: list[Document], **more: Any) -> Observed:
    pod = PodState("p", "u", {}, "Running", True, image="erp:2.9.0", image_id=f"docker.io/erp@{DIGEST}")
    seen: dict[str, Any] = {
        "active": "blue",
        "before": [manifest(one) for one in before],
        "after": [manifest(one) for one in after],
        "pods": [pod],
        "hpas": [HpaState("h", ENVIRONMENT.slot_release("blue"), 3, 6), HpaState("x", "other", 1, 2)],
        "ready": 5,
        "options": OPTIONS,
    }
    return Observed(**{**seen, **more})


def test_the_same_chart_in_the_other_slot_changes_nothing() -> None:
    assert compare(chart("blue"), chart("green")) == ()


def test_a_checksum_alone_is_no_change() -> None:
    def annotated(slot: Any) -> Document:
        one = deployment(slot)
        one["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": f"abc-of-{slot}-{id(one)}"}
        return one

    assert compare([annotated("blue")], [annotated("green")]) == ()


def test_what_comes_changes_and_goes() -> None:
    before = [deployment("blue", container(image="erp:2.9.0")), thing("ConfigMap", "old")]
    after = [deployment("green", container(image="erp:3.0.0")), thing("ConfigMap", "new")]
    found = {one.object: one for one in compare(before, after)}
    assert {name: one.change for name, one in found.items()} == {
        "Deployment/<release>": "changed",
        "ConfigMap/old": "removed",
        "ConfigMap/new": "new",
    }
    changed = found["Deployment/<release>"]
    assert changed.counts == (1, 1)
    assert any(line.startswith("-") and "erp:2.9.0" in line for line in changed.diff)
    assert any(line.startswith("+") and "erp:3.0.0" in line for line in changed.diff)


def secret(value: str, **more: str) -> Document:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in {"url": value, **more}.items()}
    return thing("Secret", "database", data=data)


def test_a_secret_says_changed_or_nothing() -> None:
    assert compare([secret("one-password")], [secret("one-password")]) == ()
    (only,) = compare([secret("one-password", same="kept-value")], [secret("other-password", same="kept-value")])
    text = "\n".join(only.diff)
    assert f"-  url: {HIDDEN}" in text
    assert f"+  url: {HIDDEN_CHANGED}" in text
    assert not any("same" in line for line in only.diff if line.startswith(("+", "-")))


SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=12, max_size=20).map(lambda text: f"Q7{text}")


@settings(deadline=None)
@given(SECRETS, SECRETS)
def test_no_secret_is_ever_shown(one: str, two: str) -> None:
    def holding(value: str) -> list[Document]:
        env = [{"name": "DB_PASSWORD", "value": value}, {"name": "DB", "value": f"postgresql://u:{value}@db/erp"}]
        config = {"apiToken": value, "app.conf": f"level=info\npassword = {value}\n", "PUBLIC": "erp.example.com"}
        return [
            deployment("green", container(env=env)),
            thing("ConfigMap", "c", data=config),
            thing("Secret", "s", data={"url": base64.b64encode(value.encode()).decode()}),
            thing("Secret", "t", stringData={"url": value}),
        ]

    for before in (holding(one), []):
        text = markdown(preview(ENVIRONMENT, observed(before, holding(two))))
        for value in (one, two):
            assert value not in text
            assert base64.b64encode(value.encode()).decode() not in text
        if before:
            assert (HIDDEN_CHANGED in text) == (one != two)


def test_a_reference_to_a_secret_stays_readable() -> None:
    def referring(name: str) -> Document:
        reference = {"secretKeyRef": {"name": name, "key": "url"}}
        return deployment("green", container(env=[{"name": "DB_PASSWORD", "valueFrom": reference}]))

    (only,) = compare([referring("database-old")], [referring("database-new")])
    assert any("database-new" in line for line in only.diff)


def test_the_lines_for_the_gate() -> None:
    after = copy.deepcopy(chart("green"))
    after[3]["data"]["LOG_LEVEL"] = "debug"
    images, objects, capacity = summary(preview(ENVIRONMENT, observed(chart("blue"), after)))
    assert images == "image: `erp:2.9.0@sha256:0123456789ab` → `erp@sha256:0123456789ab`"
    assert objects == "objects: ConfigMap/<release> +1 -0"
    assert capacity == "capacity: 5 ready now, 5 needed for a cutover, autoscaler 3-6 → 3-8"
    assert all(len(line) < 200 for line in (images, objects, capacity))


def test_an_installation_that_helm_does_not_know() -> None:
    found = preview(ENVIRONMENT, observed([], chart("green"), pods=(), hpas=()))
    images, objects, capacity = summary(found)
    assert images.startswith("image: none → ")
    assert "Helm does not know what runs now" in objects
    assert "autoscaler none → 3-8" in capacity


def test_nothing_changes_is_said() -> None:
    text = markdown(preview(ENVIRONMENT, observed(chart("blue"), chart("green"))))
    assert "objects: none changes" in text
    assert "auto: possible, proven" in text
    assert "full-restore: not possible, not offered" in text


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 60), st.integers(1, 2000))
def test_the_preview_is_bounded_and_says_what_was_cut(number: int, length: int) -> None:
    after = [thing("ConfigMap", f"c{one}", data={"a": "ä" * length, "b": "```"}) for one in range(number)]
    text = markdown(preview(ENVIRONMENT, observed(chart("blue"), after)))
    assert len(text.encode()) <= LONGEST_BYTES
    assert text.count("```") % 2 == 0, "no code block stays open"
    assert ("Cut here" in text) or f"c{number - 1}" in text or number == 0
