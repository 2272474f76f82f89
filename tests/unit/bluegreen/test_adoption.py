"""What can be taken over, what cannot, and that taking over never takes the traffic from anybody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from include.bluegreen.adopted import (
    ADOPTED,
    adopted,
    finish_patch,
    foreseen,
    ownership,
    takeover_patch,
    undo_patch,
)
from include.bluegreen.adoption import INSTANCE, Adoptable, Installation, Rendered, decide, matches
from include.bluegreen.decisions import Refused
from include.bluegreen.fence import RELEASE_ID, release_id
from include.bluegreen.guards import may_deploy, still_adopted
from include.bluegreen.slots import active_slot, other
from include.bluegreen.state import DeploymentState, HpaState, PodState, ServiceState
from include.bluegreen.switch import switch_patch
from include.errors import AdoptionRefused, PatchRefused, ReleaseFenced
from tests.unit.bluegreen.model import START, TRAFFIC, apply_patch

NAME = "app.kubernetes.io/name"
OLD = {NAME: "valeo-erp", INSTANCE: "valeo-erp"}
NEW = {NAME: "valeo-erp", INSTANCE: "valeo-erp-production-green", "version": "green"}
HELM_LABELS = {"app.kubernetes.io/managed-by": "Helm"}
HELM_ANNOTATIONS = {"meta.helm.sh/release-name": "valeo-erp", "meta.helm.sh/release-namespace": "production"}
RENDERED = Rendered(frozenset({"Deployment/valeo-erp-production-green"}), (NEW,))


def deployment(name="valeo-erp", labels=OLD, *, match=None, replicas=2, updated=2):
    match = labels if match is None else match
    return DeploymentState(name, replicas, 2, updated, 3, 3, match_labels=match, pod_labels=labels)


def pods(labels=OLD, count=2, *, ready=True, prefix="old"):
    return tuple(
        PodState(f"{prefix}-{n}", f"{prefix}-{n}", {**labels, "pod-template-hash": "x"}, "Running", ready)
        for n in range(count)
    )


def owned(selector=OLD, **annotations):
    return ServiceState("valeo-erp", selector, {**HELM_ANNOTATIONS, **annotations}, labels=HELM_LABELS)


def found(**changes):
    usual = Installation(
        owned(),
        pods(),
        (deployment(),),
        (HpaState("valeo-erp-hpa", "valeo-erp", 2, 8), HpaState("other", "other", 1, 2)),
        "valeo-erp",
        ("deployed", "superseded"),
        frozenset({"Deployment/valeo-erp", "Service/valeo-erp", "ConfigMap/valeo-erp"}),
    )
    return replace(usual, **changes)


def adoptable(**changes) -> Adoptable:
    verdict = decide(found(**changes), TRAFFIC, RENDERED)
    assert isinstance(verdict, Adoptable), verdict
    return verdict


class TestDecision:
    def test_an_installation_in_place_becomes_blue_as_it_is(self):
        verdict = adoptable()
        legacy = verdict.legacy
        assert (legacy.slot, legacy.deployment, legacy.hpa) == ("blue", "valeo-erp", "valeo-erp-hpa")
        assert (dict(legacy.selector), legacy.helm_release) == (OLD, "valeo-erp")
        assert (legacy.former.labels, legacy.former.annotations) == (HELM_LABELS, HELM_ANNOTATIONS)
        text = "\n".join(verdict.facts)
        for said in (
            "Deployment valeo-erp",
            "slot blue",
            "2 revision(s)",
            "undo-adoption",
            "clean-up will delete",
        ):
            assert said in text
        assert "narrowed" not in text

    def test_a_service_of_no_helm_release_is_taken_over_as_well(self):
        bare = ServiceState("valeo-erp", OLD)
        legacy = adoptable(service=bare, helm_release="", helm_states=(), objects=frozenset()).legacy
        assert (legacy.helm_release, legacy.former.labels, legacy.former.annotations) == ("", {}, {})

    def test_a_selector_that_only_names_the_application_is_narrowed(self):
        verdict = adoptable(service=owned({NAME: "valeo-erp"}))
        assert dict(verdict.legacy.selector) == OLD
        assert any("narrowed" in fact for fact in verdict.facts)

    def test_the_instance_label_serves_when_the_deployments_own_selector_does_not(self):
        wide = deployment(match={NAME: "valeo-erp"})
        assert dict(adoptable(service=owned({NAME: "valeo-erp"}), deployments=(wide,)).legacy.selector) == OLD

    def test_pods_that_are_labelled_green_become_green(self):
        labels = {NAME: "valeo-erp", "version": "green"}
        blue = Rendered(frozenset(), ({**labels, "version": "blue"},))
        there = found(service=owned(labels), pods=pods(labels), deployments=(deployment(labels=labels),))
        verdict = decide(there, TRAFFIC, blue)
        assert isinstance(verdict, Adoptable)
        assert (verdict.legacy.slot, dict(verdict.legacy.selector)) == ("green", labels)

    def test_pods_on_their_way_out_play_no_part(self):
        leaving = tuple(replace(pod, deleting=True) for pod in pods({NAME: "valeo-erp"}, prefix="leaving"))
        adoptable(pods=(*pods(), *leaving))

    def test_an_autoscaler_that_adds_pods_is_no_rollout(self):
        adoptable(deployments=(deployment(replicas=4, updated=2),))

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"pods": ()}, "not one Deployment.*no pod"),
            ({"deployments": ()}, "not one Deployment.*pod old-0 of none"),
            ({"deployments": (deployment(), deployment("twin"))}, "not one Deployment.*Deployment twin"),
            ({"pods": pods(ready=False)}, "has no ready pod"),
            ({"deployments": (replace(deployment(updated=1), outdated=1),)},
             "is being rolled out.*1 pod.s. of an earlier template, 1 of"),
            ({"deployments": (replace(deployment(), observed_generation=2),)},
             "is being rolled out.*has not acted on"),
            ({"helm_states": ("superseded", "pending-upgrade")}, "Helm operation.*pending-upgrade"),
            ({"service": owned({NAME: "valeo-erp"}), "pods": (*pods(), *pods({NAME: "valeo-erp"}, prefix="bare"))},
             "not one Deployment.*pod bare-0 of none"),
            ({"service": owned({**OLD, "by-hand": "yes"}), "pods": pods({**OLD, "by-hand": "yes"})},
             "no selector tells"),
            ({"service": owned({NAME: "valeo-erp"}), "pods": pods({NAME: "valeo-erp"}),
              "deployments": (deployment(labels={NAME: "valeo-erp"}),)}, "no selector tells.*deploy what runs"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_taken_over_is_refused_with_a_reason(self, changes, why):
        verdict = decide(found(**changes), TRAFFIC, RENDERED)
        assert isinstance(verdict, Refused)
        with pytest.raises(AdoptionRefused, match=why) as caught:
            raise verdict.error()
        assert caught.value.remedy

    @pytest.mark.parametrize(
        ("objects", "why"),
        [({"Service/valeo-erp"}, "renders the traffic Service"), ({"ConfigMap/valeo-erp"}, "ConfigMap/valeo-erp")],
    )
    def test_a_chart_that_meets_the_old_objects_is_refused(self, objects, why):
        verdict = decide(found(), TRAFFIC, replace(RENDERED, objects=frozenset(objects)))
        assert isinstance(verdict, Refused)
        with pytest.raises(AdoptionRefused, match=why):
            raise verdict.error()


class TestAnnotation:
    def test_it_is_read_back_as_it_was_written_in_characters_every_encoder_writes_alike(self):
        legacy = adoptable().legacy.model_copy(update={"at": START, "deployment": "<ü&>"})
        after = apply_patch(owned(), takeover_patch(owned(), legacy, "r1"))
        assert adopted(after) == legacy
        assert after.annotations[ADOPTED].isascii()
        assert not set("<>&") & set(after.annotations[ADOPTED])

    @pytest.mark.parametrize("text", ["", "x", "{}", '{"slot": "purple"}'])
    def test_one_that_cannot_be_read_stops_everything(self, text):
        with pytest.raises(AdoptionRefused, match="cannot be read"):
            adopted(owned(**{ADOPTED: text}))

    def test_without_it_nothing_is_adopted(self):
        assert adopted(None) is None
        assert adopted(owned()) is None


class TestPatches:
    def test_one_patch_marks_claims_strips_and_narrows(self):
        service = owned({NAME: "valeo-erp"}, note="kept")
        legacy = adoptable(service=service).legacy
        after = apply_patch(service, takeover_patch(service, legacy, "r1"))
        assert (release_id(after), dict(after.selector)) == ("r1", OLD)
        assert ownership(after) == ({}, {})
        assert after.annotations.keys() == {"note", RELEASE_ID, ADOPTED}
        assert takeover_patch(after, legacy, "r1") == []

    def test_on_a_service_without_annotations(self):
        bare = ServiceState("valeo-erp", OLD)
        legacy = adoptable(service=bare, helm_release="").legacy
        after = apply_patch(bare, takeover_patch(bare, legacy, "r1"))
        assert (release_id(after), adopted(after)) == ("r1", legacy)

    def test_what_helm_took_back_is_stripped_again_and_the_traffic_stays_where_it_is(self):
        legacy = adoptable().legacy
        after = apply_patch(owned(), takeover_patch(owned(), legacy, "r1"))
        green = TRAFFIC.selector_for("green")
        taken = replace(
            after, selector=green, labels=HELM_LABELS, annotations={**after.annotations, **HELM_ANNOTATIONS}
        )
        again = apply_patch(taken, takeover_patch(taken, legacy, "r1"))
        assert (ownership(again), dict(again.selector)) == (({}, {}), green)

    @pytest.mark.parametrize(
        "meanwhile",
        [
            {"selector": {NAME: "else"}},
            {"annotations": {**HELM_ANNOTATIONS, RELEASE_ID: "r2"}},
            {"annotations": {**HELM_ANNOTATIONS, ADOPTED: "by another"}},
            {"labels": {}},
        ],
    )
    def test_a_service_that_changed_meanwhile_is_left_alone(self, meanwhile):
        patch = takeover_patch(owned(), adoptable().legacy, "r1")
        with pytest.raises(PatchRefused):
            apply_patch(replace(owned(), **meanwhile), patch)

    def test_undoing_is_for_the_holder(self):
        legacy = adoptable().legacy
        after = apply_patch(owned(), takeover_patch(owned(), legacy, "r1"))
        with pytest.raises(ReleaseFenced):
            undo_patch(after, legacy, "r2", OLD)
        assert apply_patch(after, undo_patch(after, legacy, "r1", OLD)) == owned()

    def test_labels_are_given_back_beside_those_that_are_there(self):
        service = replace(owned(), labels={**HELM_LABELS, "team": "sales"})
        legacy = adoptable(service=service).legacy
        after = apply_patch(service, takeover_patch(service, legacy, "r1"))
        assert after.labels == {"team": "sales"}
        assert apply_patch(after, undo_patch(after, legacy, "r1", OLD)) == service

    def test_in_the_end_both_slots_are_stellwerks(self):
        after = apply_patch(owned(), takeover_patch(owned(), adoptable().legacy, "r1"))
        assert adopted(apply_patch(after, finish_patch(after))) is None


class TestSlots:
    bound = TRAFFIC.model_copy(update={"legacy": adoptable().legacy})

    def test_the_adopted_slot_is_selected_by_its_own_labels(self):
        assert active_slot(ServiceState("valeo-erp", OLD), self.bound) == "blue"
        assert active_slot(ServiceState("valeo-erp", TRAFFIC.selector_for("green")), self.bound) == "green"

    def test_before_it_is_adopted_the_service_is_looked_at_as_it_will_be(self):
        narrow = ServiceState("valeo-erp", {NAME: "valeo-erp"})
        assert active_slot(foreseen(narrow, self.bound), self.bound) == "blue"
        assert foreseen(narrow, TRAFFIC) is narrow
        marked = replace(narrow, annotations={ADOPTED: "{}"})
        assert foreseen(marked, self.bound) is marked

    def test_nothing_is_installed_into_it(self):
        refusal = still_adopted(self.bound, "blue")
        assert refusal is not None
        assert "clean_up" in refusal.remedy
        assert still_adopted(self.bound, "green") is None
        idle = ServiceState("valeo-erp", TRAFFIC.selector_for("green"), {RELEASE_ID: "r2"})
        assert may_deploy(idle, self.bound, "blue", release_id="r2") == refusal


KEYS = st.sampled_from([NAME, INSTANCE, "version", "app"])
VALUES = st.sampled_from(["valeo-erp", "other", "blue", "green"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=2)
MOSTLY, SELDOM = st.sampled_from([True, True, False]), st.sampled_from([False, False, True])


@st.composite
def worlds(draw):
    """Services, Deployments and pods with labels out of few, most of them sensible."""
    base = {NAME: "valeo-erp"}
    deployments = []
    for name in ("valeo-erp", *draw(st.sets(st.sampled_from(["other", "third"])))):
        labels = {**base, INSTANCE: name, **draw(st.just({}) | LABELS)}
        match = {key: labels[key] for key in draw(st.sets(st.sampled_from(sorted(labels)), min_size=1))}
        deployments.append(deployment(name, labels, match=match))
    running = [
        PodState(f"{one.name}-{n}", f"{one.name}-{n}", one.pod_labels, "Running", ready, deleting)
        for one in deployments
        for n, (ready, deleting) in enumerate(draw(st.lists(st.tuples(MOSTLY, SELDOM), min_size=1, max_size=3)))
    ]
    of_pods = deployments[0].pod_labels
    chosen = {key: of_pods[key] for key in draw(st.sets(st.sampled_from(sorted(of_pods))))}
    selector = {**base, **chosen, **draw(st.just({}) | LABELS)}
    service = draw(st.sampled_from([owned(selector), ServiceState("valeo-erp", selector)]))
    selected = tuple(pod for pod in running if matches(selector, pod.labels))
    rendered = Rendered(frozenset(), ({**NEW, **draw(st.just({}) | LABELS)},))
    return Installation(service, selected, tuple(deployments)), tuple(running), rendered


def reached(service, running):
    """The ready pods behind a Service; those on their way out get no new connection."""
    return {pod.uid for pod in running if pod.ready and not pod.deleting and matches(service.selector, pod.labels)}


@given(worlds())
def test_no_step_takes_the_traffic_from_a_ready_pod_or_gives_it_to_another(world):
    there, running, rendered = world
    verdict = decide(there, TRAFFIC, rendered)
    assume(isinstance(verdict, Adoptable))
    legacy, before = verdict.legacy, reached(there.service, running)
    assert before

    states = [there.service]

    def apply(patch):
        states.append(apply_patch(states[-1], patch))
        return states[-1]

    after = apply(takeover_patch(there.service, legacy, "r1"))
    undone = apply(undo_patch(after, legacy, "r1", legacy.former.selector))
    assert (undone.selector, undone.labels) == (there.service.selector, there.service.labels)
    apply(takeover_patch(undone, legacy, "r2"))
    assert all(reached(state, running) == before for state in states)

    # Pods that replace those of today are selected, those of the new version are not, and the other way round.
    deployment_ = next(one for one in there.deployments if one.name == legacy.deployment)
    traffic = TRAFFIC.model_copy(update={"legacy": legacy})
    target = other(legacy.slot)
    assert matches(traffic.selector_for(legacy.slot), deployment_.pod_labels)
    assert not any(matches(traffic.selector_for(legacy.slot), labels) for labels in rendered.pod_labels)
    assert not matches(traffic.selector_for(target), deployment_.pod_labels)

    # There and back again lands on the same pods.
    for to in (target, legacy.slot):
        selector = traffic.selector_for(to)
        service = states[-1]
        apply(
            switch_patch(
                service, selector=selector, to=to, release_id="r2", by="t", reason="r", now=START, back=True
            )
        )
        assert active_slot(states[-1], traffic) == to
    assert reached(states[-1], running) == before
