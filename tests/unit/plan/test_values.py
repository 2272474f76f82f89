from __future__ import annotations

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.models import Environment, Release
from include.plan.values import merged, slot_values
from tests.unit.plan.test_models import ENVIRONMENT, RELEASE


def values(base=None, slots=None, *, digest=None, slot="green"):
    environment = Environment.model_validate({**ENVIRONMENT, "values": base or {}, "slots": slots or {}})
    image = {**RELEASE["image"], "digest": digest}
    return slot_values(Release.model_validate({**RELEASE, "image": image}), environment, slot)


def test_image_slot_and_size_are_stellwerks():
    assert values({"image": {"tag": "latest", "pullPolicy": "Always"}, "slot": "blue"}) == {
        "image": {
            "repository": "registry.example.com:5000/erp",
            "tag": "3.0.0",
            "digest": "",
            "pullPolicy": "Always",
        },
        "slot": "green",
        "replicaCount": 3,
    }


def test_a_digest_pins():
    digest = "sha256:" + "a" * 64
    assert values(digest=digest)["image"]["digest"] == digest


def test_the_slots_values_lie_over_the_environments():
    both = {"config": {"A": 1, "B": 2}, "list": [1]}
    over = {"green": {"config": {"B": 3}, "list": []}, "blue": {"config": {"B": 4}}}
    assert values(both, over)["config"] == {"A": 1, "B": 3}
    assert values(both, over)["list"] == []
    assert values(both, over, slot="blue")["config"] == {"A": 1, "B": 4}


def test_with_an_autoscaler_there_is_no_replica_count():
    merged_values = values({"autoscaling": {"enabled": True, "minReplicas": 1}, "replicaCount": 2})
    assert "replicaCount" not in merged_values
    assert merged_values["autoscaling"] == {"enabled": True, "minReplicas": 3}
    assert values({"autoscaling": {"enabled": True, "minReplicas": 5}})["autoscaling"]["minReplicas"] == 5
    assert values({"autoscaling": {"enabled": False}})["replicaCount"] == 3


trees = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@settings(deadline=None)
@given(mappings, mappings)
def test_merging_changes_neither_and_the_upper_wins(base, over):
    before = deepcopy((base, over))
    result = merged(base, over)
    assert (base, over) == before
    assert set(result) == set(base) | set(over)
    assert merged(result, over) == result
    for key, value in over.items():
        if not isinstance(value, dict):
            assert result[key] == value
