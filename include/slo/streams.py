"""Event streams: enough of them, and no wave of reconnects."""

from __future__ import annotations

from include.plan.rules import Rule
from include.slo.moment import Moment
from include.slo.texts import limit_text
from include.slo.verdict import Finding, State, percent
from include.slo.window import unusable, window_stats, within


def connections(moment: Moment, rule: Rule) -> Finding:
    """Event streams of both slots together: users on the slot that was left are served, too."""
    name, count = "criteria.sse_connections", moment.view(rule).short.sse_connections
    if count is None:
        return Finding(name, "UNKNOWN", "not every pod reported its event streams")
    beside = moment.observed.beside
    lingering = (window_stats([beside]).sse_connections or 0) if beside else 0
    text = f"{count + lingering} event streams are open ({lingering} of them on the slot that was left)"
    state: State = "DEGRADED" if count + lingering < rule.limit else "HEALTHY"
    return Finding(name, state, f"{text}, {rule.limit:g} wanted")


def reconnects(moment: Moment, rule: Rule) -> Finding:
    """No larger a share of the streams than the limit was lost and came back within the short window.

    Seen from the number of open streams at the window's whole snapshots: a fall and a rise after it. Streams that
    come back between two snapshots are not seen, streams that stay away are the other criterion's business.
    """
    name, view = "criteria.sse_reconnect_ratio", moment.view(rule)
    counts: list[int] = []
    for snapshot in within(view.known, now=moment.now, seconds=view.window_seconds):
        if snapshot.taken_at < moment.cutover_at + moment.watch.sse_grace_seconds or snapshot.errors:
            continue
        if any(unusable(sample, snapshot.taken_at, view.allowed_age) for sample in snapshot.pods):
            continue
        if (count := window_stats([snapshot]).sse_connections) is not None:
            counts.append(count)
    if not counts:
        return Finding(name, "UNKNOWN", "not every pod reported its event streams")
    lost, of = _wave(counts)
    share = lost / of if of else 0.0
    text = f"{lost} of {of} event streams ({percent(share)}) were lost and came back within a short time"
    if share > rule.limit:
        return Finding(name, "DEGRADED", f"{text}, more than {limit_text(rule.limit)}")
    return Finding(name, "HEALTHY", f"{text}, at most {limit_text(rule.limit)}")


def _wave(counts: list[int]) -> tuple[int, int]:
    """The deepest valley between two heights: how many streams were lost and came back, and of how many."""
    lost, of = 0, max(counts)
    for index, count in enumerate(counts):
        before, after = max(counts[: index + 1]), max(counts[index:])
        if min(before, after) - count > lost:
            lost, of = min(before, after) - count, before
    return lost, of
