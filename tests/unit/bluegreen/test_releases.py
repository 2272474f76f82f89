"""Two releases, each driven by two processes that may die or sleep anywhere, and people who patch by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from include.bluegreen.capacity import pinned_minimum
from include.bluegreen.decisions import AlreadyThere, Permitted
from include.bluegreen.fence import RELEASE_ID, release_id
from include.bluegreen.guards import may_clean_up, may_deploy, target_slot
from include.bluegreen.slots import SLOTS, Slot, active_slot, other
from include.bluegreen.switch import Patch, check_back, check_claim, check_forward, claim_patch, switch_patch
from include.errors import PatchRefused
from tests.unit.bluegreen.conductor import Goal, Progress, next_step
from tests.unit.bluegreen.model import TRAFFIC, ClusterModel, SlotModel, apply_patch, endpoints, preview

RELEASES = ("r1", "r2")
PROCESSES = tuple((name, number) for name in RELEASES for number in (1, 2))


@dataclass
class Pending:
    """A patch that was decided on and not sent yet: its process may sleep for as long as it likes."""

    release: str
    kind: str
    patch: Patch
    target_ready: int = 0


@dataclass
class Release:
    progress: Progress = field(default_factory=Progress)
    slot: Slot | None = None
    cutovers: int = 0
    ended: bool = False


class Releases(RuleBasedStateMachine):
    @initialize(active=st.sampled_from(SLOTS), asleep=st.booleans())
    def start(self, active, asleep):
        self.cluster = ClusterModel()
        self.cluster.service = replace(self.cluster.service, selector=TRAFFIC.selector_for(active))
        self.cluster.slots = {active: SlotModel(holds="legacy"), other(active): SlotModel(size=0, ready=0)}
        self.releases = {name: Release() for name in RELEASES}
        self.pending: dict[tuple[str, int], Pending] = {}
        if asleep:  # one process falls asleep with its cutover decided on
            self.advance_undisturbed(PROCESSES[0], steps=4)
            assert self.pending[PROCESSES[0]].kind == "forward"

    # The world

    @rule(slot=st.sampled_from(SLOTS), ready=st.integers(0, 4))
    def pods_come_and_go(self, slot, ready):
        self.cluster.slots[slot].ready = min(ready, self.cluster.slots[slot].size)

    @rule(slot=st.sampled_from(SLOTS))
    def hand_made_patch(self, slot):
        self.cluster.service = replace(self.cluster.service, selector=TRAFFIC.selector_for(slot))

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def time_passes(self, seconds):
        self.cluster.tick(seconds)

    @rule(process=st.sampled_from(PROCESSES))
    def process_dies(self, process):
        self.pending.pop(process, None)

    @rule(
        name=st.sampled_from(RELEASES), lost=st.sampled_from(["drained", "watch_passed", "verified", "deployed"])
    )
    def record_is_lost(self, name, lost):
        progress = self.releases[name].progress
        self.releases[name].progress = replace(progress, **{lost: False})

    # The releases

    @rule(process=st.sampled_from(PROCESSES))
    def advance(self, process):
        if process not in self.pending:
            self._advance(process)

    @rule(process=st.sampled_from(PROCESSES), steps=st.integers(2, 10))
    def advance_undisturbed(self, process, steps):
        for _ in range(steps):
            if process in self.pending:
                self._send(process)
            self._advance(process)

    @rule(name=st.sampled_from(RELEASES))
    def takeover_by_hand(self, name):
        if self.releases[name].progress.claimed:
            return  # who lost the Service has ended: a takeover is for the next release
        self.cluster.service = replace(
            self.cluster.service, annotations={**self.cluster.service.annotations, RELEASE_ID: name}
        )
        self.releases[name].progress = replace(self.releases[name].progress, claimed=True)

    @rule(process=st.sampled_from(PROCESSES), at_once=st.booleans())
    def decide_to_switch_back(self, process, at_once):
        name, _ = process
        service, slot = self.cluster.service, self.releases[name].slot
        if slot is None or process in self.pending:
            return
        target = other(slot)
        ready = self.cluster.slots[target].ready
        decision = check_back(service, TRAFFIC, target, release_id=name, ready=ready, required=3)
        if not isinstance(decision, Permitted):
            return
        assert ready >= 1
        self.pending[process] = Pending(name, "back", self._switch(name, target, back=True), ready)
        if at_once:
            self._send(process)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def send(self, data):
        self._send(data.draw(st.sampled_from(sorted(self.pending))))

    def _send(self, process):
        pending = self.pending.pop(process)
        before = self.cluster.service
        try:
            self.cluster.service = apply_patch(before, pending.patch)
        except PatchRefused:
            return
        release = self.releases[pending.release]
        if pending.kind == "claim":
            release.progress = replace(release.progress, claimed=True)
            return
        assert pending.target_ready >= 1, "traffic to a slot that had no ready endpoint"
        assert release_id(before) == pending.release, "traffic moved by a release that does not hold the Service"
        assert self.cluster.service.selector != before.selector
        if pending.kind == "forward":
            release.cutovers += 1

    def _advance(self, process):
        name, _ = process
        release, cluster = self.releases[name], self.cluster
        active = active_slot(cluster.service, TRAFFIC)
        if release.slot is None:
            release.slot = target_slot(cluster.service, active, name)
        goes_to, progress = cluster.slots[release.slot], release.progress
        holds = progress.deployed and goes_to.holds == name and goes_to.size > 0
        release.progress = replace(progress, deployed=holds, verified=holds and progress.verified)
        step = next_step(cluster.service, TRAFFIC, Goal(name, release.slot), release.progress)
        done = {
            "drain": {"drained": True},
            "watch": {"watch_passed": True},
            "verify": {"verified": cluster.slots[release.slot].ready >= 3},
            "verification": {"verified_after": True},
        }
        match step.name:
            case "claim":
                self._claim(process)
            case "deploy":
                self._deploy(name, active)
            case "cutover":
                self._decide_cutover(process, active)
            case "cleanup":
                self._clean_up(name, other(release.slot))
            case "done" | "rolled-back" | "fenced":
                release.ended = True
            case recorded:
                release.progress = replace(release.progress, **done[recorded])

    def _deploy(self, name, active):
        release, cluster = self.releases[name], self.cluster
        if may_deploy(cluster.service, TRAFFIC, release.slot, release_id=name) == Permitted():
            assert release.slot != active
            cluster.slots[release.slot] = SlotModel(size=4, ready=4, holds=name)
            cluster.preview = release.slot
            release.progress = replace(release.progress, deployed=True)

    def _claim(self, process):
        name, _ = process
        holder = release_id(self.cluster.service)
        ended = holder is not None and self.releases[holder].ended
        decision = check_claim(self.cluster.service, TRAFFIC, name, holder_ended=ended)
        if decision == Permitted():
            self.pending[process] = Pending(name, "claim", claim_patch(self.cluster.service, name))

    def _decide_cutover(self, process, active):
        name, _ = process
        cluster, slot = self.cluster, self.releases[name].slot
        hpa = cluster.hpa(active)
        cluster.slots[active].hpa_minimum = pinned_minimum(hpa, cluster.slots[active].ready)
        ready = cluster.slots[slot].ready
        decision = check_forward(
            cluster.service, preview(cluster.preview), TRAFFIC, slot, release_id=name, endpoints=endpoints(ready),
            replicas=3, active_ready=cluster.slots[active].ready, active_hpa=cluster.hpa(active), now=cluster.now,
        )  # fmt: skip
        assert not isinstance(decision, AlreadyThere)
        if decision == Permitted():
            assert ready >= max(3, cluster.slots[active].ready)
            self.pending[process] = Pending(name, "forward", self._switch(name, slot), ready)

    def _clean_up(self, name, old):
        release, cluster = self.releases[name], self.cluster
        decision = may_clean_up(
            cluster.service, TRAFFIC, old, release_id=name, watch_passed=release.progress.watch_passed
        )
        if decision == Permitted():
            assert active_slot(cluster.service, TRAFFIC) != old
            assert release.progress.watch_passed
            cluster.slots[old] = SlotModel(size=0, ready=0)
        # Where it is refused, a human was told; the release ends without it.
        release.progress = replace(release.progress, cleaned_up=True)

    def _switch(self, name, target, *, back=False) -> Patch:
        # Different processes of a release write the same words at the same moment: nothing but the tests protects.
        return switch_patch(
            self.cluster.service, selector=TRAFFIC.selector_for(target), to=target, release_id=name, by="p",
            reason="r", now=self.cluster.now, back=back,
        )  # fmt: skip

    # What must never be

    @invariant()
    def at_most_one_cutover_per_release(self):
        if hasattr(self, "releases"):
            assert all(release.cutovers <= 1 for release in self.releases.values())

    @invariant()
    def the_selector_is_always_whole(self):
        if hasattr(self, "cluster"):
            active_slot(self.cluster.service, TRAFFIC)

    def teardown(self):
        """Left alone, every release comes to its end, and the Service remembers the last one's switch."""
        if not hasattr(self, "cluster"):
            return
        self.pending.clear()
        for name in sorted(RELEASES, key=lambda n: release_id(self.cluster.service) != n):
            for _ in range(40):
                if self.releases[name].ended:
                    break
                self.cluster.tick()
                for slot in self.cluster.slots.values():
                    slot.ready = slot.size
                self._advance((name, 1))
                for process in list(self.pending):
                    self._send(process)
            assert self.releases[name].ended, next_step(
                self.cluster.service, TRAFFIC, Goal(name, self.releases[name].slot), self.releases[name].progress
            )
        self.at_most_one_cutover_per_release()


Releases.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestReleases = Releases.TestCase
