"""Counters of two slots become the share of requests that the left one still serves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.slo.draining import DrainPoint, Look, drain_points
from include.slo.samples import PodSample, Snapshot

SWITCH = 1000.0


@dataclass
class Pod:
    """A pod of the model: what it has answered, and since when its process runs."""

    uid: str
    started_at: float = SWITCH - 100
    answered: int = 0
    streams: int = 0


@dataclass
class Slot:
    """A slot of the model."""

    name: str
    pods: list[Pod] = field(default_factory=list)
    born: int = 0

    def add(self, now: float) -> Pod:
        self.born += 1
        pod = Pod(f"{self.name}-{self.born}", started_at=now)
        self.pods.append(pod)
        return pod

    def look(self, now: float, unread: tuple[str, ...] = ()) -> Snapshot:
        samples = tuple(
            PodSample(p.uid, p.uid, now, p.started_at, {"200": float(p.answered)}, sse_connections=p.streams)
            for p in self.pods
            if p.uid not in unread
        )
        return Snapshot(now, "blue" if self.name == "blue" else "green", samples, unread=unread)


@pytest.fixture
def blue() -> Slot:
    return Slot("blue", [Pod("b1"), Pod("b2", answered=70)])


@pytest.fixture
def green() -> Slot:
    return Slot("green", [Pod("g1", answered=5)])


Unread = tuple[str, ...]


def look(blue: Slot, green: Slot, after: float, unread_blue: Unread = (), unread_green: Unread = ()) -> Look:
    return Look(blue.look(SWITCH + after, unread_blue), green.look(SWITCH + after, unread_green))


def points(*looks: Look) -> tuple[DrainPoint, ...]:
    return drain_points(looks, switched_at=SWITCH)


def test_the_share_falls_as_connections_move(blue: Slot, green: Slot) -> None:
    looks = [look(blue, green, 1)]
    for second, (left, active) in enumerate([(50, 50), (10, 90), (0, 100)], start=2):
        blue.pods[0].answered += left
        green.pods[0].answered += active
        looks.append(look(blue, green, second))
    found = points(*looks)
    assert [(p.seconds, p.left, p.active, p.share) for p in found] == [
        (2.0, 50, 50, 0.5),
        (3.0, 10, 90, 0.1),
        (4.0, 0, 100, 0.0),
    ]
    assert [p.verdict for p in found] == ["LINGERING", "LINGERING", "DRAINED"]
    assert found[1].sentence == "3.0 s after the switch: 10 of 100 requests (10.0%) on the slot that was left"


def test_a_restarted_process_counts_what_it_answered_since(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    blue.pods[1].answered, blue.pods[1].started_at = 3, SWITCH + 1.5
    assert points(first, look(blue, green, 2))[0].left == 3


def test_a_new_pod_counts_whole_and_one_that_is_gone_not_at_all(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    blue.pods.clear()
    blue.add(SWITCH + 1.2).answered = 4
    assert points(first, look(blue, green, 2))[0].left == 4


def test_a_pod_that_cannot_be_read_makes_the_point_unknown_and_nothing_is_lost(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    blue.pods[0].answered += 7
    second = look(blue, green, 2, unread_blue=("b1",))
    blue.pods[0].answered += 2
    found = points(first, second, look(blue, green, 3))
    assert (found[0].left, found[0].share, found[0].verdict) == (None, None, "UNKNOWN")
    assert "UNKNOWN" in found[0].sentence
    assert found[1].left == 9, "the next whole look covers both seconds"


def test_no_pods_are_no_data_and_never_drained(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    blue.pods.clear()
    assert points(first, look(blue, green, 2))[0].verdict == "UNKNOWN"


def test_an_open_event_stream_lingers_without_any_request(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    blue.pods[0].streams = 2
    (point,) = points(first, look(blue, green, 2))
    assert (point.left, point.share, point.streams, point.verdict) == (0, 0.0, 2, "LINGERING")
    assert "2 open event stream(s)" in point.sentence


steps = st.lists(
    st.tuples(
        st.sampled_from(["blue", "green"]),
        st.sampled_from(["answer", "restart", "add", "remove", "hide", "look"]),
        st.integers(0, 30),
    ),
    max_size=40,
)


@given(steps)
def test_nothing_is_counted_twice_and_only_what_a_look_could_not_see_is_missing(script) -> None:
    slots = {"blue": Slot("blue", [Pod("b1")]), "green": Slot("green", [Pod("g1")])}
    now, hidden = SWITCH, {"blue": (), "green": ()}
    looks = [look(slots["blue"], slots["green"], 0)]
    answered, certain = {"blue": 0, "green": 0}, True
    for slot, what, number in script:
        now += 1
        pods = slots[slot].pods
        if what == "answer" and pods:
            pods[number % len(pods)].answered += number
            answered[slot] += number
        elif what == "restart" and pods:
            pod = pods[number % len(pods)]
            certain = certain and pod.answered == 0
            pod.answered, pod.started_at = 0, now
        elif what == "add":
            slots[slot].add(now)
        elif what == "remove" and len(pods) > 1:
            certain = certain and pods.pop().answered == 0
        elif what == "hide" and pods:
            hidden[slot] = (pods[number % len(pods)].uid,) if number % 2 else ()
        elif what == "look":
            looks.append(look(slots["blue"], slots["green"], now - SWITCH, hidden["blue"], hidden["green"]))
    looks.append(look(slots["blue"], slots["green"], now + 1 - SWITCH))
    found = points(*looks)
    left, active = (sum(getattr(p, name) or 0 for p in found) for name in ("left", "active"))
    assert all((p.left or 0) >= 0 and (p.active or 0) >= 0 for p in found)
    assert left <= answered["blue"]
    assert active <= answered["green"]
    if certain:
        assert (left, active) == (answered["blue"], answered["green"])


def test_looks_of_a_slot_are_not_mixed_up(blue: Slot, green: Slot) -> None:
    first = look(blue, green, 1)
    swapped = replace(first, left=first.active, active=first.left)
    assert points(swapped, swapped)[0] == DrainPoint(1.0, 0, 0, 0)
