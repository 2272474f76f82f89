from __future__ import annotations

from dataclasses import replace

import pytest

from include.errors import InvalidPlan
from include.plan.fingerprint import FingerprintInputs, chart_digest, fingerprint
from include.plan.models import ImageRef, SloRules
from include.plan.rules import Criteria, Triggers

INPUTS = FingerprintInputs(
    image=ImageRef(repository="erp", tag="3.0.0"),
    image_digest="sha256:" + "a" * 64,
    chart_digest="c" * 64,
    values={"a": {"b": 1}, "c": [1, 2]},
    slo=SloRules(),
    watch_seconds=3600,
    roles={"technical-lead": ("anna",), "business-owner": ("bo", "cy")},
    stellwerk_version="0.1.0",
)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": ImageRef(repository="erp", tag="3.0.1")},
        {"image_digest": None},
        {"image_digest": "sha256:" + "b" * 64},
        {"chart_digest": "d" * 64},
        {"values": {"a": {"b": "1"}, "c": [1, 2]}},
        {"values": {"a": {"b": 1}, "c": [2, 1]}},
        {"slo": SloRules(triggers=Triggers(error_rate=0.5))},
        {"slo": SloRules(criteria=Criteria(memory_bytes=1))},
        {"watch_seconds": 60},
        {"roles": {"technical-lead": ("anna",), "business-owner": ("bo", "di")}},
        {"roles": {"technical-lead": ("anna",)}},
        {"stellwerk_version": "0.1.1"},
        {"covers": {"rehearsal": "1"}},
        {"settings": {"cleanup": "uninstall"}},
    ],
)
def test_every_change_voids_the_approval(changes):
    assert fingerprint(replace(INPUTS, **changes)) != fingerprint(INPUTS)


def test_order_is_no_change():
    same = replace(
        INPUTS,
        values={"c": [1, 2], "a": {"b": 1}},
        roles={"business-owner": ("cy", "bo"), "technical-lead": ("anna",)},
    )
    assert fingerprint(same) == fingerprint(INPUTS)


def test_is_the_same_tomorrow_and_elsewhere():
    assert len(fingerprint(INPUTS)) == 64
    assert fingerprint(INPUTS) == fingerprint(replace(INPUTS))


def test_a_value_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint(replace(INPUTS, values={"a": float("nan")}))


@pytest.fixture
def chart(tmp_path):
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: erp\n")
    (folder / "templates" / "a.yaml").write_text("a")
    return folder


def test_the_charts_digest_is_its_content_not_its_place(chart, tmp_path):
    before = chart_digest(chart)
    moved = chart.rename(tmp_path / "elsewhere")
    assert chart_digest(moved) == before


@pytest.mark.parametrize("change", ["content", "name", "new", "gone", "shifted"])
def test_every_change_of_the_chart_changes_it(chart, change):
    before = chart_digest(chart)
    template = chart / "templates" / "a.yaml"
    match change:
        case "content":
            template.write_text("b")
        case "name":
            template.rename(chart / "templates" / "b.yaml")
        case "new":
            (chart / "values.yaml").write_text("")
        case "gone":
            template.unlink()
        case "shifted":
            template.rename(chart / "a.yaml")
    assert chart_digest(chart) != before


def test_what_helm_does_not_read_is_left_out(chart):
    before = chart_digest(chart)
    (chart / ".git").mkdir()
    (chart / ".git" / "HEAD").write_text("x")
    (chart / "empty").mkdir()
    assert chart_digest(chart) == before


def test_a_chart_that_reaches_outside_is_refused(chart, tmp_path):
    (tmp_path / "outside.yaml").write_text("x")
    (chart / "templates" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    with pytest.raises(InvalidPlan, match="points outside of the chart"):
        chart_digest(chart)


def test_no_chart(tmp_path):
    with pytest.raises(InvalidPlan, match="not a Helm chart"):
        chart_digest(tmp_path)
