"""An adopted installation is observed, travels with the environment, and is never written in a file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from include.plan.legacy import Former, Legacy
from include.plan.models import FROM_FILE, Environment
from tests.unit.plan.test_models import ENVIRONMENT, changed

LEGACY = Legacy(
    slot="blue",
    selector={"app.kubernetes.io/instance": "erp"},
    deployment="erp",
    hpa="erp-hpa",
    helm_release="erp",
    former=Former(selector={"app.kubernetes.io/name": "erp"}),
    at=datetime(2030, 1, 1, tzinfo=UTC),
)


def test_the_adopted_slot_has_its_own_selector_and_deployment_the_other_stays_as_planned():
    plain = Environment.model_validate(ENVIRONMENT)
    bound = plain.adopting(LEGACY)
    assert bound.traffic.selector_for("blue") == {"app.kubernetes.io/instance": "erp"}
    assert bound.slot_release("blue") == "erp"
    assert bound.traffic.selector_for("green") == plain.traffic.selector_for("green")
    assert bound.slot_release("green") == plain.slot_release("green")
    assert bound.adopting(None) == plain


def test_it_travels_as_json():
    bound = Environment.model_validate(ENVIRONMENT).adopting(LEGACY)
    assert Environment.model_validate_json(bound.model_dump_json()) == bound


def test_a_file_of_the_plan_cannot_name_one():
    content = changed(ENVIRONMENT, "traffic.legacy", LEGACY.model_dump(mode="json"))
    assert Environment.model_validate(content).traffic.legacy == LEGACY
    with pytest.raises(ValidationError, match="observed in the cluster"):
        Environment.model_validate(content, context=FROM_FILE)
