"""What is not counted by the application: its pods' state, its logs, the prober's view of the public URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from include.plan.rules import Watch
from include.slo.moment import Moment, gap_seconds
from include.slo.samples import SlotSample
from include.slo.verdict import Finding

# Logs are read less often than metrics.
_LOGS_AGE_SECONDS: Final = 60.0


def pods(moment: Moment) -> Finding:
    """All pods that ought to be there are ready, and no container has restarted since the watch began."""
    name = "criteria.pods"
    known = known_samples(moment)
    if not known:
        why = next((s.problem for s in moment.slot if s.problem), "") or "nobody has looked at them lately"
        return Finding(name, "UNKNOWN", f"the pods' state is not known: {why}")
    last = known[0]
    restarted = restarts(list(reversed(known)))
    ready = last.ready or 0
    wanted = wanted_pods(last)
    if ready < wanted or last.not_ready:
        why = f": {'; '.join(last.not_ready)}" if last.not_ready else ""
        return Finding(name, "DEGRADED", f"{ready} of {wanted} pods are ready{why}")
    if count := sum(restarted.values()):
        return Finding(name, "DEGRADED", f"{count} container restart(s) since the watch began")
    return Finding(name, "HEALTHY", f"all {ready} pods are ready, no container restarted")


def known_samples(moment: Moment) -> list[SlotSample]:
    """What Kubernetes told of the slot, newest first; nothing when the newest of it is too old to be of now."""
    limit = gap_seconds(moment.watch, moment.rules.triggers.down_seconds)
    known = [s for s in moment.slot if not s.problem and s.ready is not None]
    return known if known and moment.now - known[0].at <= limit else []


def wanted_pods(sample: SlotSample) -> int:
    """How many pods the slot ought to have, at least one; those that are ready where nobody says."""
    return max(1, sample.ready or 0 if sample.wanted is None else sample.wanted)


def restarts(samples: Sequence[SlotSample]) -> dict[str, int]:
    """Container restarts by pod uid since the first of the samples.

    What a pod of the first sample had behind it then does not count; of a pod that came later all of it does.

    :param samples: in the order of time
    """
    first: Mapping[str, int] = samples[0].restarts if samples else {}
    grown: dict[str, int] = {}
    for sample in samples:
        for uid, count in sample.restarts.items():
            grown[uid] = max(grown.get(uid, 0), count - first.get(uid, 0))
    return {uid: count for uid, count in grown.items() if count > 0}


def logs(moment: Moment) -> Finding:
    """No error signature that the slot which was left does not have."""
    name, sample = "criteria.logs", moment.observed.logs
    if sample is None or sample.at > moment.now:
        return Finding(name, "UNKNOWN", "the logs have not been compared yet")
    errors = [signature for signature in sample.new if signature.level == "error"]
    if errors:
        shown = "; ".join(f"{signature.text!r} ({signature.count} times)" for signature in errors[:3])
        more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
        return Finding(name, "DEGRADED", f"the logs show errors that the old version does not have: {shown}{more}")
    if sample.problem:
        return Finding(name, "UNKNOWN", f"the logs could not be compared: {sample.problem}")
    age = moment.now - sample.at
    if age > max(_LOGS_AGE_SECONDS, moment.watch.page_after_seconds):
        return Finding(name, "UNKNOWN", f"the logs were last compared {age:.0f} s ago")
    return Finding(name, "HEALTHY", "the logs show no error that the old version does not have")


def probe(moment: Moment) -> Finding:
    """Whether the prober can tell that users are served; that they are not is the trigger's to say."""
    watch: Watch = moment.watch
    limit = gap_seconds(watch, moment.rules.triggers.down_seconds)
    if not moment.probes:
        return Finding("probe", "UNKNOWN", "the public URL has not been probed yet")
    last = moment.probes[0]
    if moment.now - last.at > limit:
        return Finding("probe", "UNKNOWN", f"the public URL was last probed {moment.now - last.at:.0f} s ago")
    if last.state == "unusable":
        return Finding(
            "probe",
            "UNKNOWN",
            f"the public URL cannot be probed, which says nothing of the version: {last.problem}",
        )
    if last.state == "failed":
        return Finding("probe", "DEGRADED", f"the public URL fails: {last.problem}")
    return Finding("probe", "HEALTHY", "the public URL answers")
