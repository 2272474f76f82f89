"""Traces of every kind the watch has to tell apart, each made from its seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from include.plan.rules import Criteria, Metrics, NamedRule, Rule, SloRules, Triggers
from tests.unit.slo.quality.builder import DOWN, POLLS, SECONDS, Builder, between
from tests.unit.slo.quality.truth import Look, Pods, Process, Trace


def traces(each: int = 10) -> Iterator[Trace]:
    """``each`` traces of every family."""
    for name, make in FAMILIES.items():
        for seed in range(each):
            chance = random.Random(f"{name} {seed}")
            yield make(Builder(name, seed, chance), chance)


def healthy(b: Builder, chance: random.Random) -> Trace:
    return b.traffic(chance.uniform(25, 60), errors=chance.uniform(0, 0.004), slow=chance.uniform(0, 0.02)).done()


def degraded(b: Builder, chance: random.Random) -> Trace:
    return b.traffic(chance.uniform(30, 60), errors=chance.uniform(0.02, 0.035)).done()


def failing(b: Builder, chance: random.Random) -> Trace:
    start = chance.uniform(0, 80)
    return b.traffic(chance.uniform(20, 60), errors=between(start, 999, chance.uniform(0.1, 0.7))).done()


def spiky(b: Builder, chance: random.Random) -> Trace:
    start, length = chance.uniform(5, 90), chance.choice([0.5, 1, 2, 4])
    return b.traffic(chance.uniform(30, 60), errors=between(start, start + length, chance.uniform(0.3, 1))).done()


def thin(b: Builder, chance: random.Random) -> Trace:
    return b.traffic(chance.uniform(0.5, 3.0)).done()


def thin_failing(b: Builder, chance: random.Random) -> Trace:
    share = chance.choice([0.04, 0.1, 0.3, 1.0])
    return b.traffic(chance.uniform(0.2, 2.0), errors=between(chance.uniform(0, 60), 999, share)).done()


def silent(b: Builder, chance: random.Random) -> Trace:
    if chance.random() < 0.5:
        b.traffic(chance.uniform(20, 40))
    quiet_from = chance.uniform(20, 60)
    for process in b.served:
        process.requests = [r for r in process.requests if r[0] < quiet_from]
    return b.done()


def only_health_checks(b: Builder, chance: random.Random) -> Trace:
    for process in b.served:
        process.health_rate = chance.uniform(5, 20)
    b.trace.by_exposition = True
    return b.traffic(chance.choice([0, 1, 2])).done()


def slow(b: Builder, chance: random.Random) -> Trace:
    start = chance.uniform(0, 80)
    return b.traffic(chance.uniform(25, 50), slow=between(start, 999, chance.uniform(0.12, 0.5))).done()


def sluggish(b: Builder, chance: random.Random) -> Trace:
    return b.traffic(chance.uniform(25, 50), slow=chance.uniform(0.07, 0.5), seconds=0.8).done()


def restarted(b: Builder, chance: random.Random) -> Trace:
    """Counters fall to zero; what they had reached before is far more than what happens afterwards."""
    for process in b.served:
        process.requests += [(-1.0 - n / 1000, 500 if chance.random() < 0.5 else 200, 0.05) for n in range(900)]
    for process in list(b.served[: chance.choice([1, 3])]):
        b.ending(process, chance.randrange(6, 100) + 1.0, restart=True)
    return b.traffic(chance.uniform(30, 60), errors=chance.choice([0.0, 0.0, 0.03])).done()


def replaced(b: Builder, chance: random.Random) -> Trace:
    for process in list(b.served):
        b.ending(process, chance.randrange(6, 100) + 1.0, restart=False)
    return b.traffic(chance.uniform(30, 60), errors=chance.choice([0.0, 0.002, 0.03])).done()


def born_at_cutover(b: Builder, chance: random.Random) -> Trace:
    """Pods that the baseline does not show fail from their first request on."""
    born = [Process(f"born-{n}", 0.5 + n) for n in range(2)]
    b.served = [*b.served[:1], *born] if chance.random() < 0.5 else born
    b.traffic(chance.uniform(30, 60))
    for process in born:
        share = chance.choice([0.0, 0.2, 0.6])
        process.requests = [(at, 500 if chance.random() < share else 200, s) for at, _, s in process.requests]
    return b.done()


def blind(b: Builder, chance: random.Random) -> Trace:
    start, length = chance.randrange(4, 100, 2), chance.choice([4, 6, 8, 16, 40, 200])
    errors = between(start + length, 999, chance.choice([0, 0, 0.3]))
    b.traffic(chance.uniform(30, 60), errors=errors)
    return b.looks(lambda look: replace(look, out=start <= look.at < start + length)).done()


def never_seen(b: Builder, chance: random.Random) -> Trace:
    b.traffic(chance.uniform(0, 60))
    kind = chance.choice(["out", "no pods", "nan"])
    if kind == "no pods":
        b.served = []
    if kind == "nan":
        broken = {p.pod: math.nan for p in b.served}
        return b.looks(lambda look: replace(look, broken=broken)).done()
    return b.looks(lambda look: replace(look, out=kind == "out")).done()


def unread(b: Builder, chance: random.Random) -> Trace:
    """One pod does not answer, or is not shown: it may be the bad one."""
    start, length = chance.randrange(4, 60, 2), chance.choice([4, 12, 200])
    how = ("unread", "hidden")[b.trace.seed % 2]
    b.traffic(chance.uniform(30, 60))
    pods = frozenset({"pod-1"})
    return b.looks(lambda look: replace(look, **{how: pods}) if start <= look.at < start + length else look).done()


def ends_blind(b: Builder, chance: random.Random) -> Trace:
    """The last looks before the end fail: few enough to pass, were it not the end."""
    out_from = (112, 114, 116, 118)[b.trace.seed % 4]
    b.traffic(chance.uniform(30, 60))
    return b.looks(lambda look: replace(look, out=look.at >= out_from)).done()


def short_lived(b: Builder, chance: random.Random) -> Trace:
    """Beside two steady pods others come and go, each seen once; only they fail."""
    share = chance.choice([0.0, 0.05, 0.08])
    born = [Process(f"brief-{at}", at - 1.0, at + 1.0) for at in range(2, SECONDS, 2)]
    b.served = b.served[:2]
    b.traffic(chance.uniform(50, 80))
    b.served = [*b.served, *born]
    for at, process in zip(range(2, SECONDS, 2), born, strict=True):
        for n in range(30):
            status = 500 if chance.random() < share else 200
            process.requests.append((at - 0.9 + n * 0.03 - (n % 2) * 0.01, status, 0.05))
    return b.done()


def no_numbers(b: Builder, chance: random.Random) -> Trace:
    start, length = chance.randrange(4, 60, 2), chance.choice([4, 12, 200])
    broken = dict.fromkeys(
        chance.choice([["pod-0"], ["pod-0", "pod-1", "pod-2"]]), chance.choice([math.nan, math.inf, -1.0])
    )
    b.traffic(chance.uniform(30, 60))
    return b.looks(lambda look: replace(look, broken=broken if start <= look.at < start + length else {})).done()


def scraped(b: Builder, chance: random.Random) -> Trace:
    """Prometheus: every look shows the last scrape; at some moment it stops, or not."""
    scrape, ends = chance.choice([4, 6, 10]), chance.choice([999, 999, 40, 70])
    b.trace.rules = SloRules(source="prometheus", metrics=Metrics(scrape_seconds=scrape), triggers=DOWN)
    errors = between(chance.uniform(20, 80), 999, chance.choice([0.0, 0.0, 0.4]))
    b.traffic(chance.uniform(30, 60), errors=errors)

    def shown(look: Look) -> Look:
        at = float(min(look.at, ends) // scrape * scrape)
        return replace(look, sample_at=at, told_at=at)

    return b.looks(shown, source="prometheus").done()


def skewed(b: Builder, chance: random.Random) -> Trace:
    """The clock that stamps the samples is ahead or behind."""
    skews = (-300.0, -7.0, -5.0, -3.0, 3.0, 5.0, 7.0, 30.0, 600.0)
    skew = skews[b.trace.seed % len(skews)]
    b.traffic(chance.uniform(30, 60))
    return b.looks(lambda look: replace(look, told_at=look.at + skew)).done()


def outage(b: Builder, chance: random.Random) -> Trace:
    """The public URL fails, with or without metrics: shorter or longer than the trigger."""
    start, length = chance.randrange(4, 60, 2), chance.choice([2, 4, 20, 28, 30, 32, 34, 60])
    metrics_out = chance.random() < 0.5
    b.traffic(chance.uniform(30, 60))
    b.looks(lambda look: replace(look, out=metrics_out and start <= look.at))
    return b.probes(lambda at: "failed" if start <= at < start + length else "ok").done()


def flapping_outage(b: Builder, chance: random.Random) -> Trace:
    """Looks that do not know, and looks that are fine, inside an outage."""
    start, length = chance.randrange(4, 40, 2), chance.choice([30, 36, 50, 70])
    share_unknown, good = chance.choice([0.0, 0.5]), chance.choice([None, start + 14])
    unknown = {at for at in POLLS if chance.random() < share_unknown}
    kind, gap = chance.choice(["probe", "endpoints"]), chance.choice([0, 12, 20])
    b.traffic(chance.uniform(30, 60))

    def state(at: float) -> bool | None:
        if not start <= at < start + length:
            return False
        if at in unknown or start + 6 < at <= start + 6 + gap:
            return None
        return at != good

    if kind == "probe":
        return b.probes(lambda at: {True: "failed", False: "ok", None: "unusable"}[state(at)]).done()
    return b.pods(lambda p: replace(p, endpoints={True: 0, False: 3, None: None}[state(p.at)])).done()


def unusable_probe(b: Builder, chance: random.Random) -> Trace:
    start, length = chance.randrange(0, 60, 2), chance.choice([2, 4, 10, 40, 200])
    b.traffic(chance.uniform(30, 60))
    missing = chance.random() < 0.3
    return b.probes(lambda at: (None if missing else "unusable") if start <= at < start + length else "ok").done()


def by_query(b: Builder, chance: random.Random) -> Trace:
    """A trigger or a criterion of the plan's own, with answers that cross, miss, lie and stay away."""
    group, lasting = chance.choice(["triggers", "criteria"]), chance.choice([0.0, 10.0, 20.0])
    side = chance.choice(["above", "below"])
    rule = NamedRule(name="queue", limit=30, query="q", for_seconds=lasting, crossed=side)
    b.trace.rules = SloRules(
        triggers=Triggers(down_seconds=30, more=(rule,) if group == "triggers" else ()),
        criteria=Criteria(more=(rule,) if group == "criteria" else ()),
        metrics=Metrics(scrape_seconds=4),
    )
    start, length = chance.randrange(10, 60, 2), chance.choice([2, 8, 12, 22, 30])
    holes = {at for at in POLLS if chance.random() < chance.choice([0.0, 0.0, 0.3, 1.0])}
    hole = chance.choice([(), (None,), (math.nan,), (math.inf,), (31.0, math.nan), (30.0, None)])
    bad, good = (31.0, 30.0) if side == "above" else (29.0, 30.0)
    b.traffic(chance.uniform(30, 60)).looks()

    def answered(look: Look) -> Look:
        values = hole if look.at in holes else ((bad if start <= look.at < start + length else good),)
        return replace(look, readings={f"{group}.more.queue": values})

    return b.looks(answered, source="prometheus").done()


def patient(b: Builder, chance: random.Random) -> Trace:
    """The error trigger has to be crossed for a while."""
    lasting, start = chance.choice([10.0, 30.0]), chance.uniform(5, 50)
    b.trace.rules = SloRules(triggers=Triggers(down_seconds=30, error_rate=Rule(limit=0.05, for_seconds=lasting)))
    length = chance.choice([1, 6, 200])
    return b.traffic(
        chance.uniform(30, 60), errors=between(start, start + length, chance.uniform(0.3, 0.8))
    ).done()


def own_requests(b: Builder, chance: random.Random) -> Trace:
    """Rules with a number of requests of their own, smaller or larger than the watch's."""
    few = chance.choice([10, 20, 50, 500, 1500])
    b.trace.rules = SloRules(
        triggers=Triggers(down_seconds=30, error_rate=Rule(limit=0.05, min_requests=chance.choice([1, 30, 400]))),
        criteria=Criteria(
            error_rate=Rule(limit=0.01, min_requests=few), p95_seconds=Rule(limit=0.5, min_requests=few)
        ),
    )
    return b.traffic(chance.choice([1, 2, 5, 40]), errors=chance.choice([0.0, 0.0, 0.4])).done()


def at_the_limit(b: Builder, chance: random.Random) -> Trace:
    """Exactly one request in a hundred fails, or five are slow; a window holds exactly 200 requests, or 199."""
    kind = ("errors", "slow", "enough", "one too few")[b.trace.seed % 4]
    per_second = 50 if kind in ("errors", "slow") else 10
    for second in range(SECONDS):
        for n in range(per_second):
            number = second * per_second + n
            if kind == "one too few" and number % 200 == 77:
                continue
            status = 500 if kind == "errors" and number % 100 == 0 else 200
            took = 0.8 if kind == "slow" and number % 20 == 0 else 0.05
            b.served[n % 3].requests.append((second + (n + 0.5) / per_second, status, took))
    return b.done()


def streams(b: Builder, chance: random.Random) -> Trace:
    b.rules(criteria=Criteria(sse_connections=100, sse_reconnect_ratio=0.3))
    kind, at = (
        chance.choice(["few", "wave", "small wave", "moving", "silent", "leaving"]),
        chance.randrange(24, 100, 2),
    )
    count: dict[float, float | None] = dict.fromkeys(POLLS, 200.0)
    if kind == "few":
        count = dict.fromkeys(POLLS, float(chance.choice([99, 100])))
    elif kind in ("wave", "small wave"):
        count[float(at)] = 130.0 if kind == "wave" else 145.0
        if chance.random() < 0.3:
            count[float(at)], count[10.0] = 200.0, 0.0
    elif kind == "moving":
        count = {poll: min(200.0, 2 * poll) for poll in POLLS}
        b.trace.gauges["lingering"] = {poll: max(0.0, 180.0 - 2 * poll) for poll in POLLS}
    elif kind == "silent":
        count = {poll: None if poll >= at else 200.0 for poll in POLLS}
    else:
        count = {poll: 200.0 if poll < at else 130.0 for poll in POLLS}
    b.trace.gauges["streams"] = count
    return b.traffic(chance.uniform(30, 60)).done()


def resources(b: Builder, chance: random.Random) -> Trace:
    b.rules(criteria=Criteria(memory_bytes=1e9, memory_growth_ratio=0.1, cpu_ratio=0.5))
    kind = chance.choice(["fine", "large", "leak", "cache", "saw", "busy", "silent"])
    memory: Mapping[str, Callable[[float], float | None]] = {
        "large": lambda at: 1e9 if at == 60 else 1e8,
        "leak": lambda at: 1e8 + 2e6 * at,
        "cache": lambda at: 1e8 + 2e7 * min(at, 20),
        "saw": lambda at: 1e8 + 3e6 * (at % 14),
        "silent": lambda _: None,
    }
    size = memory.get(kind, lambda _: 1e8)
    b.trace.gauges["memory"] = {poll: size(poll) for poll in POLLS}
    b.trace.gauges["cores"] = {0.0: 0.6 if kind == "busy" else 0.2}
    return b.traffic(chance.uniform(30, 60)).done()


def pods(b: Builder, chance: random.Random) -> Trace:
    """What only Kubernetes knows: pods that are not ready, restart, or cannot be asked for."""
    kind, at = chance.choice(["young", "lame", "restart", "silent", "before"]), chance.randrange(10, 100, 2)
    b.traffic(chance.uniform(30, 60))

    def seen(pods: Pods) -> Pods:
        if kind == "before":
            return replace(pods, restarts={"pod-1": 3})
        if kind == "restart":
            return replace(pods, restarts={"pod-1": 2 if pods.at >= at else 1})
        if kind == "young" and at <= pods.at < at + 4:
            return replace(pods, wanted=4)
        if kind == "lame" and pods.at >= at:
            return replace(pods, ready=2, endpoints=2)
        if kind == "silent" and pods.at >= at:
            return replace(pods, endpoints=None, ready=None, wanted=None)
        return pods

    return b.pods(seen).done()


def crash_loop(b: Builder, chance: random.Random) -> Trace:
    """Containers that restart again and again, with or without users who notice, soon after each other or not."""
    kind = ("loop", "loop", "unnoticed", "seldom", "one pod", "before", "silent", "unjudged")[b.trace.seed % 8]
    start, apart = chance.uniform(5, 40), chance.choice([3.0, 6.0, 9.0])
    apart, pods = (45.0 if kind == "seldom" else apart), (1 if kind == "one pod" else 3)
    silent_from = start + 1.5 * apart
    if kind == "unjudged":
        b.rules(triggers=DOWN.model_copy(update={"crash_restarts": None}))
    b.traffic(chance.uniform(30, 60))

    def crashes(at: float) -> int:
        return max(0, int((at - start) / apart) + 1) if at >= start else 0

    def seen(look: Pods) -> Pods:
        if kind == "silent" and look.at >= silent_from:
            return replace(look, endpoints=None, ready=None, wanted=None)
        counts = {f"pod-{n}": 7 if kind == "before" else min(5, crashes(look.at)) for n in range(pods)}
        return replace(look, restarts=counts)

    def noticed(at: float) -> str:
        just_crashed = at >= start and (at - start) % apart < 2
        return "failed" if kind != "unnoticed" and just_crashed else "ok"

    b.probes(noticed)
    return b.pods(seen).done()


def logs(b: Builder, chance: random.Random) -> Trace:
    kind = chance.choice(["error", "unreadable", "fine"])
    b.trace.errors_logged = chance.uniform(5, 110) if kind == "error" else None
    b.trace.logs_unreadable = kind == "unreadable"
    return b.traffic(chance.uniform(30, 60)).done()


def burst(b: Builder, chance: random.Random) -> Trace:
    """Failures in a second or two, too few for the windows: what one look brought is beyond doubt, or not."""
    start, length = chance.uniform(20, 90), chance.uniform(0.5, 2.5)
    return b.traffic(
        chance.uniform(50, 100),
        errors=between(start, start + length, chance.choice([0.08, 0.12, 0.2, 0.3]), 0.003),
    ).done()


def slow_burst(b: Builder, chance: random.Random) -> Trace:
    start, length = chance.uniform(20, 90), chance.uniform(0.5, 2.5)
    share = chance.choice([0.08, 0.15, 0.3, 1.0])
    return b.traffic(chance.choice([3, 20, 60]), slow=between(start, start + length, share, 0.003)).done()


def handful(b: Builder, chance: random.Random) -> Trace:
    """Fewer failures than count, in an interval that holds little else; or fewer requests than the rule's."""
    least = chance.choice([None, 60])
    b.rules(triggers=Triggers(down_seconds=30, error_rate=Rule(limit=0.05, min_requests=least)))
    start = chance.uniform(20, 90)
    return b.traffic(
        chance.choice([4, 8, 20, 40]), errors=between(start, start + chance.uniform(0.3, 1.5), 1.0)
    ).done()


def unread_burst(b: Builder, chance: random.Random) -> Trace:
    """A pod fails for a moment, just before or while looks do not show it; the others fail a moment later."""
    start, how = chance.randrange(20, 90, 2), chance.choice(["unread", "hidden"])
    blind_from, blind_for = chance.choice([start, start + 2, start + 2]), chance.choice([2, 4, 6, 30])
    counts = chance.choice([(8, 8), (8, 8), (9, 12), (12, 4)])
    b.traffic(chance.uniform(20, 40))
    for process, at, count in ((b.served[0], start, counts[0]), (b.served[1], start + 2, counts[1])):
        process.requests += [(at + 0.05 + n * 0.1, 500, 0.05) for n in range(count)]
    b.served[2].requests += [(-5.0 - n / 1000, 500, 0.05) for n in range(900)]
    late = chance.random() < 0.5
    if b.trace.seed % 4 == 0:  # gone for longer than a window: what it counted long ago is no growth
        blind_from, blind_for, late = 40, 30, True
    pods = frozenset({"pod-0", "pod-2"} if late else {"pod-0"})
    return b.looks(
        lambda look: replace(look, **{how: pods}) if blind_from < look.at <= blind_from + blind_for else look
    ).done()


def stalled_burst(b: Builder, chance: random.Random) -> Trace:
    """No look succeeds for a while; what grew meanwhile is no newest interval when it took too long."""
    start, length = chance.randrange(20, 80, 2), chance.choice([2, 4, 6, 8, 10, 14])
    b.traffic(chance.uniform(50, 90), errors=between(start, start + length, 0.5 / max(1, length / 2), 0.003))
    return b.looks(lambda look: replace(look, out=start < look.at <= start + length)).done()


def scraped_burst(b: Builder, chance: random.Random) -> Trace:
    """Bursts as Prometheus shows them, with some scrapes that fail; pods may share a scrape's moment or not."""
    scrape = chance.choice([4, 6])
    b.trace.rules = SloRules(source="prometheus", metrics=Metrics(scrape_seconds=scrape), triggers=DOWN)
    start, missed = chance.uniform(20, 90), chance.choice([0, 0, 1, 2, 3])
    last = start // scrape * scrape
    b.traffic(chance.uniform(50, 90), errors=between(start, start + 2.5, chance.choice([0.15, 0.3, 0.6]), 0.003))

    def shown(look: Look) -> Look:
        at = float(look.at // scrape * scrape)
        at = float(last) if last < at <= last + missed * scrape else at
        return replace(look, sample_at=at, told_at=at)

    return b.looks(shown, source="prometheus").done()


def born_burst(b: Builder, chance: random.Random) -> Trace:
    """A pod is replaced, or restarts, and the new process fails for its first second."""
    at, restart = chance.randrange(20, 90, 2) + 1.0, b.trace.seed % 2 == 0
    b.traffic(chance.uniform(45, 60))
    old = b.served[0]
    new = b.ending(old, at, restart=restart)
    moved = [request for request in old.requests if request[0] >= at]
    old.requests = [request for request in old.requests if request[0] < at]
    count = chance.choice([8, 14, 22])
    new.requests = moved + [(at + 0.05 + n * 0.04, 500, 0.05) for n in range(count)]
    return b.done()


def busy_burst(b: Builder, chance: random.Random) -> Trace:
    """So many requests that a single interval would do for health: it never does."""
    start = chance.uniform(20, 90)
    return b.traffic(150, errors=between(start, start + chance.uniform(1, 3), 0.09)).done()


def two_at_once(b: Builder, chance: random.Random) -> Trace:
    b.traffic(chance.uniform(30, 60), errors=0.5, slow=0.5)
    return b.probes(lambda at: "failed" if at > 20 else "ok").done()


FAMILIES: Mapping[str, Callable[[Builder, random.Random], Trace]] = {
    make.__name__.replace("_", "-"): make
    for make in (
        *(healthy, degraded, failing, spiky, thin, thin_failing, silent, only_health_checks, slow, sluggish),
        *(
            restarted,
            replaced,
            born_at_cutover,
            blind,
            never_seen,
            unread,
            ends_blind,
            short_lived,
            no_numbers,
            scraped,
            skewed,
            outage,
        ),
        *(flapping_outage, unusable_probe, by_query, patient, own_requests, at_the_limit, streams, resources),
        *(pods, crash_loop, logs, two_at_once),
        *(burst, slow_burst, handful, unread_burst, stalled_burst, scraped_burst, born_burst, busy_burst),
    )
}
