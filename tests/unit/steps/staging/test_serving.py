"""Only what users of staging get is evidence: whose release, which slot, which image, and whether it was moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from include.bluegreen.fence import LastSwitch
from include.errors import EvidenceError, TrafficError
from include.plan.models import ImageRef
from include.steps.record import CUT_OVER, STARTED, record
from include.steps.staging.entries import DEPLOYED_ALREADY, SERVED
from include.steps.staging.serving import Expected, Serving, astray, expected_of, is_image, must_serve
from tests.unit.steps.staging.rehearsals import a_ledger, a_run, deployed, with_another_chart
from tests.unit.steps.staging.served import Staging

RUN = a_run()
IMAGE = RUN.release.image
SWITCH = LastSwitch(
    "green", "staging-deploy", "cutover", datetime(2026, 1, 12, tzinfo=UTC), RUN.release_id, "forward"
)
EXPECTED = Expected("green", RUN.run_id, IMAGE, frozenset({"sha256:a"}))
SEEN = Serving(RUN.release_id, "green", SWITCH, frozenset({IMAGE.reference}), frozenset({"sha256:a"}))


def test_what_this_run_has_brought_there_is_what_users_get() -> None:
    assert astray(EXPECTED, SEEN) == ""
    assert astray(replace(EXPECTED, contents=frozenset()), SEEN) == "", "the first look"
    assert astray(EXPECTED, replace(SEEN, contents=frozenset())) == "", "the cluster does not tell"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"holder": None}, "belongs to nobody"),
        ({"holder": "3.1.0@staging/other"}, "belongs to other, not to"),
        ({"active": "blue"}, "the traffic is on blue, not on green"),
        ({"active": "blue", "switch": None}, "the last switch was made by hand"),
        ({"switch": replace(SWITCH, direction="back", by="anna", reason="slow")}, "anna has switched back: slow"),
        ({"images": frozenset({"valeo-erp:2.9.0"})}, "run valeo-erp:2.9.0 instead of"),
        ({"images": frozenset()}, "run nothing instead of"),
        ({"contents": frozenset({"sha256:b"})}, "another content under the same name: sha256:b"),
    ],
)
def test_everything_else_is_no_evidence_of_it(change: dict[str, Any], why: str) -> None:
    assert why in astray(EXPECTED, replace(SEEN, **change))


def test_an_image_is_known_by_its_digest_where_there_is_one() -> None:
    digest = "sha256:" + "a" * 64
    pinned = ImageRef(repository="r/erp", tag="3.0.0", digest=digest)
    assert is_image(f"r/erp@{digest}", pinned)
    assert not is_image("r/erp:3.0.0", pinned)
    assert is_image("r/erp:3.0.0", ImageRef(repository="r/erp", tag="3.0.0"))
    assert not is_image("r/erp:3.0.00", ImageRef(repository="r/erp", tag="3.0.0"))


def test_what_came_last_is_tried() -> None:
    run, ledger = a_run(), a_ledger()
    with pytest.raises(TrafficError, match="a proof refused"):
        expected_of(run, ledger)
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, CUT_OVER, {})
    assert expected_of(run, ledger) == Expected("green", run.run_id, run.release.image)
    record(ledger, run, DEPLOYED_ALREADY, {"slot": "blue", "by": "later"})
    assert (expected_of(run, ledger).slot, expected_of(run, ledger).by) == ("blue", "later")


async def test_a_look_is_recorded_and_what_went_astray_stops(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, CUT_OVER, {})
    staging = Staging(run)
    for _ in range(2):
        await must_serve(run, cast(Any, staging), ledger, what="the load test")
    deployed(ledger, run)
    await must_serve(run, cast(Any, staging), ledger, what="the load test")
    with pytest.raises(EvidenceError, match=r"the load test of 3\.0\.0 in staging would not be .* in the chart"):
        await must_serve(with_another_chart(run, tmp_path), cast(Any, staging), ledger, what="the load test")
    other_rules = run.environment.model_copy(update={"load": None, "smoke": ()})
    await must_serve(replace(run, environment=other_rules), cast(Any, staging), ledger, what="a correction")
    staging.switched_back()
    with pytest.raises(EvidenceError, match=r"the load test of 3\.0\.0 in staging would show something else"):
        await must_serve(run, cast(Any, staging), ledger, what="the load test")
    staging.service_is_gone = True
    with pytest.raises(EvidenceError, match="not found"):
        await must_serve(run, cast(Any, staging), ledger, what="the load test")
    assert [entry.payload["ok"] for entry in ledger.entries(kinds=(SERVED,))] == [True, False, False]
