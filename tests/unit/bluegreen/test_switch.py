from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from include.bluegreen.capacity import pinned_minimum, required_endpoints, usable_endpoints
from include.bluegreen.decisions import AlreadyThere, Permitted, Refused
from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch, last_switch
from include.bluegreen.state import Endpoint, HpaState
from include.bluegreen.switch import check_back, check_claim, check_forward, claim_patch, switch_patch
from include.errors import (
    NotEnoughEndpoints,
    PatchRefused,
    ReleaseFenced,
    TrafficServiceMissing,
    UnknownSelector,
)
from tests.unit.bluegreen.model import START, TRAFFIC, apply_patch, endpoints, preview, service


def patch_to(slot, observed, *, release="r1", now=START, back=False):
    return switch_patch(
        observed,
        selector=TRAFFIC.selector_for(slot),
        to=slot,
        release_id=release,
        by="t",
        reason="r",
        now=now,
        back=back,
    )


def switched(slot="green", **kwargs):
    return apply_patch(service(), patch_to(slot, service(), **kwargs))


class TestSwitchPatch:
    def test_replaces_the_whole_selector_after_testing_it_whole(self):
        patch = patch_to("green", service())
        assert patch[0] == {"op": "test", "path": "/spec/selector", "value": TRAFFIC.selector_for("blue")}
        assert {"op": "replace", "path": "/spec/selector", "value": TRAFFIC.selector_for("green")} in patch

    def test_escapes_the_slash_of_annotation_keys(self):
        paths = [operation["path"] for operation in patch_to("green", service())]
        assert "/metadata/annotations/stellwerk.io~1release-id" in paths
        assert "/metadata/annotations/stellwerk.io~1last-switch" in paths

    def test_records_who_moved_it_where_and_why(self):
        after = switched()
        assert last_switch(after) == LastSwitch("green", "t", "r", START, "r1", "forward")
        assert after.annotations[RELEASE_ID] == "r1"

    @pytest.mark.parametrize(
        "world",
        [
            service("green"),
            service("blue", held_by="r2"),
            service("blue", held_by=None),
            replace(service(), selector={**TRAFFIC.selector_for("blue"), "extra": "label"}),
            service("blue", **{LAST_SWITCH: "{}"}),
        ],
    )
    def test_is_refused_by_a_world_that_changed(self, world):
        with pytest.raises(PatchRefused):
            apply_patch(world, patch_to("green", service()))

    def test_a_sleeper_does_not_undo_there_and_back_again(self):
        asleep = patch_to("green", service())
        there = switched()
        back = apply_patch(there, patch_to("blue", there, back=True))
        assert dict(back.selector) == dict(service().selector)
        with pytest.raises(PatchRefused):
            apply_patch(back, asleep)

    def test_an_empty_selector_cannot_be_tested_so_it_is_not_patched(self):
        with pytest.raises(UnknownSelector):
            patch_to("green", replace(service(), selector={}))

    @pytest.mark.parametrize("held_by", [None, "r2"])
    def test_only_the_holder_may_switch(self, held_by):
        with pytest.raises(ReleaseFenced, match="r1"):
            patch_to("green", service(held_by=held_by))


class TestClaim:
    def test_on_a_service_without_annotations(self):
        bare = service(held_by=None)
        assert apply_patch(bare, claim_patch(bare, "r1")).annotations == {RELEASE_ID: "r1"}

    def test_keeps_annotations_that_appeared_meanwhile(self):
        patch = claim_patch(service(held_by=None), "r1")
        with pytest.raises(PatchRefused):
            apply_patch(service(held_by=None, somebody="else"), patch)

    @pytest.mark.parametrize("held_by", [None, "r0"])
    def test_beside_other_annotations(self, held_by):
        before = service(held_by=held_by, other="x")
        after = apply_patch(before, claim_patch(before, "r1"))
        assert after.annotations == {RELEASE_ID: "r1", "other": "x"}

    @pytest.mark.parametrize("held_by", [None, "r0"])
    def test_of_two_at_once_one_wins(self, held_by):
        before = service(held_by=held_by, other="x")
        first, second = claim_patch(before, "r1"), claim_patch(before, "r2")
        with pytest.raises(PatchRefused):
            apply_patch(apply_patch(before, first), second)

    def test_again_is_nothing_to_do(self):
        assert claim_patch(service(), "r1") == []

    def test_needs_a_selector(self):
        with pytest.raises(UnknownSelector):
            claim_patch(replace(service(), selector={}), "r1")

    def test_waits_for_the_holder_to_end(self):
        def decide(held_by, *, ended):
            return check_claim(service(held_by=held_by), TRAFFIC, "r1", holder_ended=ended)

        assert decide(None, ended=False) == Permitted()
        assert decide("r0", ended=True) == Permitted()
        assert isinstance(decide("r1", ended=False), AlreadyThere)
        refused = decide("r0", ended=False)
        assert isinstance(refused, Refused)
        assert isinstance(refused.error(), ReleaseFenced)
        assert isinstance(check_claim(None, TRAFFIC, "r1", holder_ended=True), Refused)


class TestCapacity:
    def test_an_autoscaled_production_is_not_cut_over_to_three_cold_pods(self):
        assert required_endpoints(3, 7) == 7
        assert required_endpoints(3, 1) == 3
        assert required_endpoints(0, 0) == 1

    @pytest.mark.parametrize(
        "useless",
        [
            Endpoint("p", "u", ready=False, terminating=False, ports={"http": 8080}),
            Endpoint("p", "u", ready=True, terminating=True, ports={"http": 8080}),
            Endpoint("p", "u", ready=True, terminating=False, ports={}),
            Endpoint("p", "u", ready=True, terminating=False, ports={"metrics": 9090}),
        ],
    )
    def test_only_endpoints_that_take_connections_count(self, useless):
        assert usable_endpoints([*endpoints(2), useless], "http") == 2

    def test_a_pod_with_two_addresses_is_one_pod(self):
        assert usable_endpoints(endpoints(2) * 2, "http") == 2

    def test_pinning_keeps_the_present_size_within_the_autoscalers_limits(self):
        assert pinned_minimum(HpaState("h", "d", 2, 10), 5) == 5
        assert pinned_minimum(HpaState("h", "d", 4, 10), 2) == 4
        assert pinned_minimum(HpaState("h", "d", 2, 4), 5) == 4


def forward(observed=None, **changes):
    facts = {
        "release_id": "r1",
        "endpoints": endpoints(3),
        "replicas": 3,
        "active_ready": 3,
        "active_hpa": HpaState("hpa", "d", 3, 10),
        "now": START,
        **changes,
    }
    shown = facts.pop("preview", preview("green"))
    return check_forward(observed or service(), shown, TRAFFIC, "green", **facts)


class TestForward:
    def test_is_permitted_to_a_slot_that_can_take_it(self):
        assert forward() == Permitted()
        assert forward(active_hpa=None) == Permitted()

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"endpoints": endpoints(2)}, "too few ready endpoints"),
            ({"active_ready": 4, "active_hpa": None}, "too few ready endpoints"),
            ({"endpoints": endpoints(3, port="admin")}, "too few ready endpoints"),
            ({"preview": preview("blue")}, "does not point at green"),
            ({"preview": None}, "does not point at green"),
            ({"active_hpa": HpaState("hpa", "d", 2, 10)}, "not pinned"),
            ({"release_id": "r2"}, "not held by this release"),
        ],
    )
    def test_is_refused(self, changes, why):
        decision = forward(**changes)
        assert isinstance(decision, Refused)
        assert why in str(decision.error())

    def test_with_too_few_endpoints_is_worth_a_retry(self):
        decision = forward(endpoints=[])
        assert isinstance(decision, Refused)
        error = decision.error()
        assert isinstance(error, NotEnoughEndpoints)
        assert error.retryable

    def test_again_is_already_there(self):
        assert isinstance(forward(switched()), AlreadyThere)

    def test_never_twice_after_switching_back(self):
        there = switched()
        back = apply_patch(there, patch_to("blue", there, back=True))
        decision = forward(back, now=START + timedelta(hours=1))
        assert isinstance(decision, Refused)
        assert "a release is cut over once" in decision.reason

    def test_never_twice_after_somebody_moved_it_by_hand(self):
        decision = forward(replace(switched(), selector=TRAFFIC.selector_for("blue")))
        assert isinstance(decision, Refused)
        assert "moved away by hand" in decision.reason

    def test_leaves_kube_proxy_time_between_two_switches(self):
        before = LastSwitch("blue", "t", "r", START, "r0", "back").encode()
        observed = service(**{LAST_SWITCH: before})
        assert isinstance(forward(observed, now=START + timedelta(seconds=1.9)), Refused)
        assert forward(observed, now=START + timedelta(seconds=2)) == Permitted()

    def test_needs_a_traffic_service_that_names_a_slot(self):
        missing = check_forward(
            None, preview("green"), TRAFFIC, "green", release_id="r1", endpoints=[], replicas=1, active_ready=1,
            active_hpa=None, now=START,
        )  # fmt: skip
        assert isinstance(missing, Refused)
        assert isinstance(missing.error(), TrafficServiceMissing)
        assert isinstance(forward(replace(service(), selector={"a": "b"})), Refused)


def back(observed=None, *, ready=3, required=3, release="r1"):
    return check_back(
        observed or service("green"), TRAFFIC, "blue", release_id=release, ready=ready, required=required
    )


class TestBack:
    def test_is_permitted(self):
        assert back() == Permitted()

    def test_with_fewer_endpoints_than_required_is_done_all_the_same_and_paged(self):
        decision = back(ready=1)
        assert isinstance(decision, Permitted)
        assert decision.page
        assert "1 ready endpoint(s) where 3 are required" in decision.warning

    def test_to_nothing_is_refused_and_paged(self):
        decision = back(ready=0)
        assert isinstance(decision, Refused)
        assert decision.page
        assert isinstance(decision.error(), NotEnoughEndpoints)

    def test_again_is_already_there(self):
        assert isinstance(back(service("blue")), AlreadyThere)

    def test_immediately_after_the_cutover_does_not_wait(self):
        assert back(switched()) == Permitted()

    @pytest.mark.parametrize("observed", [service("green", held_by="r2"), replace(service(), selector={"a": "b"})])
    def test_pages_when_the_service_is_not_ours_or_names_no_slot(self, observed):
        decision = back(observed)
        assert isinstance(decision, Refused)
        assert decision.page
