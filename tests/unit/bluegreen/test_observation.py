"""What a prober saw of a switch, accounted for without losing or inventing a request."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from include.bluegreen.observation import Probe, observation, settled

SWITCH = 1000.0


def seen(*probes: Probe):
    return observation(probes, old="blue", new="green", switched_at=SWITCH)


def answers(slot, *times, seconds=0.01):
    return [Probe(SWITCH + at, seconds, ok=True, slot=slot) for at in times]


def lost(at, seconds=0.01, slot=None, problem="no connection: refused"):
    return Probe(SWITCH + at, seconds, ok=False, slot=slot, problem=problem)


def test_a_clean_switch():
    found = seen(*answers("blue", -0.08, -0.04, 0.0, 0.04), *answers("green", 0.08, 0.12))
    assert (found.sent, found.lost, found.old_after_new) == (6, 0, 0)
    assert [(s.slot, s.ok, s.number) for s in found.stretches] == [("blue", True, 4), ("green", True, 2)]
    assert (found.stretches[0].first_seconds, found.stretches[0].last_seconds) == (-0.08, 0.04)
    assert found.old_last_seconds == 0.05
    assert found.new_first_seconds == 0.09
    assert found.longest_gap_seconds == 0.04
    assert "none lost" in found.sentence
    assert "FLAPPING" not in found.sentence


def test_what_is_lost_is_said_first_and_loud():
    found = seen(*answers("blue", -0.04), lost(-0.02), lost(0.04, slot="green", problem="answered 500"))
    assert (found.lost, found.lost_before) == (2, 1)
    assert found.sentence.startswith(
        "2 OF 3 REQUESTS LOST across the switch (1 of them before the switch); first: no"
    )


def test_a_bad_answer_counts_as_an_answer_of_its_slot_and_as_lost():
    found = seen(*answers("blue", -0.04), lost(0.1, slot="blue"), *answers("green", 0.2))
    assert found.old_last_seconds == 0.11
    assert [(s.slot, s.ok) for s in found.stretches] == [("blue", True), ("blue", False), ("green", True)]


def test_the_gap_reaches_to_the_ends_of_the_observation():
    assert seen(*answers("blue", 0.0), lost(1.0, seconds=5.0)).longest_gap_seconds == 5.99
    assert seen(lost(0.0, seconds=2.0), *answers("green", 3.0)).longest_gap_seconds == 3.01
    assert seen(lost(0.0), lost(1.0)).longest_gap_seconds == 1.01


def test_flapping_is_an_old_answer_to_a_request_sent_after_the_new_one_had_answered():
    under_way = Probe(SWITCH + 0.05, 0.5, ok=True, slot="blue")
    assert seen(under_way, *answers("green", 0.06)).old_after_new == 0
    found = seen(*answers("green", 0.06), *answers("blue", 0.08, 0.12), *answers("green", 0.16))
    assert found.old_after_new == 2
    assert "FLAPPING: 2 answer(s)" in found.sentence


def test_an_application_that_does_not_name_its_slot():
    found = seen(*answers(None, -0.04, 0.0, 0.04))
    assert (found.old_last_seconds, found.new_first_seconds) == (None, None)
    assert "do not name both slots" in found.sentence


def test_nothing_was_sent():
    assert seen().sentence == "no observation because no request was sent"


def test_settled_is_when_time_is_up_and_the_old_slot_is_silent():
    def at(seconds, *probes):
        return settled(probes, old="blue", switched_at=SWITCH, now=SWITCH + seconds)

    assert not at(1.9)
    assert at(2.0)
    late = answers("blue", 1.5)
    assert not at(2.5, *late)
    assert at(2.52, *late)
    assert at(2.0, *answers("green", 1.9))


probes = st.builds(
    Probe,
    sent_at=st.floats(SWITCH - 5, SWITCH + 5),
    seconds=st.floats(0, 3),
    ok=st.booleans(),
    slot=st.sampled_from(["blue", "green", None]),
    problem=st.sampled_from(["", "refused", "timeout"]),
)


@given(st.lists(probes, max_size=120), st.randoms())
def test_every_request_is_in_the_account_whatever_the_order(found, random):
    one = seen(*found)
    assert one.sent == len(found) == sum(stretch.number for stretch in one.stretches)
    assert one.lost == sum(stretch.number for stretch in one.stretches if not stretch.ok)
    assert 0 <= one.lost_before <= one.lost
    for before, after in pairwise(one.stretches):
        assert (before.slot, before.ok) != (after.slot, after.ok)
        assert before.last_seconds <= after.first_seconds
    shuffled = list(found)
    random.shuffle(shuffled)
    assert seen(*shuffled).longest_gap_seconds == one.longest_gap_seconds


@given(st.lists(probes, min_size=1, max_size=400))
def test_what_is_recorded_is_json_of_bounded_size(found):
    payload = seen(*found).payload()
    assert len(json.dumps(payload, allow_nan=False)) < 8000
    assert payload["stretches_total"] >= len(payload["stretches"]) > 0


@given(st.lists(probes, min_size=1, max_size=60))
def test_no_good_answer_is_farther_than_the_gap_from_the_next(found):
    one = seen(*found)
    good = sorted(probe.ended_at for probe in found if probe.ok)
    for before, after in pairwise(good):
        assert after - before <= one.longest_gap_seconds + 0.001
