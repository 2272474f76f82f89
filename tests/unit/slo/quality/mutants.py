"""Evaluators that are broken on purpose, each in one respect that the trace set has to notice."""

from __future__ import annotations

from tests.unit.slo.quality.mutation import Mutant


def _mutant(name: str, module: str, *changes: tuple[str, str], families: str = "") -> Mutant:
    return Mutant(name, f"include.{module}", changes, tuple(families.split()))


MUTANTS = (
    _mutant(
        "a criterion may be reached",
        "slo.criteria",
        ("if rate is not None and rate < rule.limit:", "if rate is not None and rate <= rule.limit:"),
        families="at-the-limit",
    ),
    _mutant(
        "one request too few is enough",
        "slo.criteria",
        (
            "stats.requests < needed:\n        if",
            "stats.requests < needed - 1:\n        if",
        ),
        (
            "view.short.requests >= needed_requests",
            "view.short.requests >= -1 + needed_requests",
        ),
        families="at-the-limit thin own-requests",
    ),
    _mutant(
        "the interval is ignored",
        "slo.triggers",
        ("wilson(stats.errors, stats.requests, z).low > rule.limit", "(stats.error_rate or 0.0) > rule.limit"),
        families="spiky thin-failing",
    ),
    _mutant(
        "the interval's upper end decides",
        "slo.triggers",
        ("stats.requests, z).low > rule.limit", "stats.requests, z).high > rule.limit"),
        families="spiky thin-failing",
    ),
    _mutant(
        "the interval of slow requests is ignored",
        "slo.triggers",
        ("interval.low > 0.05", "slow / total > 0.05"),
        families="slow",
    ),
    _mutant(
        "a handful of errors is enough",
        "slo.triggers",
        ("stats.errors >= moment.watch.min_errors", "stats.errors >= 1"),
        families="thin-failing",
    ),
    _mutant(
        "only the short window can fire",
        "slo.triggers",
        ("(view.short, Z_WINDOW), (view.long, Z_WINDOW)", "(view.short, Z_WINDOW), (view.short, Z_WINDOW)"),
        families="thin-failing",
    ),
    _mutant(
        "the newest interval cannot fire",
        "slo.triggers",
        ("(view.newest, Z_NEWEST)", "(view.short, Z_WINDOW)"),
        families="burst",
    ),
    _mutant(
        "the newest interval's bound is not stricter",
        "slo.triggers",
        ("(view.newest, Z_NEWEST)", "(view.newest, Z_WINDOW)"),
        families="burst",
    ),
    _mutant(
        "every span takes the strict bound",
        "slo.triggers",
        ("(view.short, Z_WINDOW), (view.long, Z_WINDOW)", "(view.short, Z_NEWEST), (view.long, Z_NEWEST)"),
        families="thin-failing",
    ),
    _mutant(
        "a handful of errors in the newest interval is enough",
        "slo.triggers",
        (
            "enough = _enough(rule, stats) and stats.errors >= moment.watch.min_errors",
            "enough = stats is view.newest or _enough(rule, stats) and stats.errors >= moment.watch.min_errors",
        ),
        families="handful",
    ),
    _mutant(
        "a handful of slow requests in the newest interval is enough",
        "slo.triggers",
        (
            "if slow >= moment.watch.min_errors and",
            "if (stats is view.newest or slow >= moment.watch.min_errors) and",
        ),
        families="slow-burst",
    ),
    _mutant(
        "what an unread pod grew before counts again",
        "slo.newest",
        ("if uid in shown and", "if"),
        families="unread-burst",
    ),
    _mutant(
        "a sample that is shown again counts again",
        "slo.newest",
        ("elif sample.taken_at > last.sample.taken_at:", "else:"),
        ("and 0 < one.seconds <=", "and one.seconds <="),
        families="scraped-burst",
    ),
    _mutant(
        "the newest interval may span a stall",
        "slo.newest",
        ("and 0 < one.seconds <= longest_seconds", "and 0 < one.seconds"),
        families="stalled-burst",
    ),
    _mutant(
        "all that a pod ever counted is its newest interval",
        "slo.newest",
        ("_Newest(sample, whole(sample) if born else None, seconds)", "_Newest(sample, whole(sample), 1.0)"),
        families="unread-burst restarted",
    ),
    _mutant(
        "a restart is lost on the newest interval",
        "slo.newest",
        (
            "growth(last.sample, sample),",
            "growth(last.sample, sample) if sample.started_at == last.sample.started_at else None,",
        ),
        families="born-burst",
    ),
    _mutant(
        "pods born since do not count in the newest interval",
        "slo.newest",
        ("whole(sample) if born else None", "None"),
        families="born-burst",
    ),
    _mutant(
        "the newest interval proves health",
        "slo.criteria",
        ("return view.short if view.short.requests >=", "return view.newest if view.newest.requests >="),
        families="busy-burst own-requests",
    ),
    _mutant(
        "NaN is zero",
        "slo.counters",
        ("return not all(", "return False and not all("),
        (
            "return after - before if after >= before else after",
            "return 0.0 if not abs(after) < 1e300 else max(0.0, after - before)",
        ),
        families="no-numbers never-seen",
    ),
    _mutant(
        "nothing is healthy",
        "slo.criteria",
        (
            "stats.requests < needed:\n        if",
            "0 < stats.requests < needed:\n        if",
        ),
        ("if rate is not None and rate < rule.limit:", "if rate is None or rate < rule.limit:"),
        ("if stats.requests < needed:\n        return", "if 0 < stats.requests < needed:\n        return"),
        ('return Finding(name, "UNKNOWN", f"no latencies', 'return Finding(name, "HEALTHY", f"no latencies'),
        families="silent",
    ),
    _mutant(
        "a source that is out is no matter",
        "slo.evaluate",
        ("        if view.missing:\n            yield", "        if False:\n            yield"),
        families="blind",
    ),
    _mutant(
        "resets are ignored",
        "slo.counters",
        (
            "    return any(later.get(",
            "    return False and any(later.get(",
        ),
        ("return moved > 0", "return False"),
        ("return after - before if after >= before else after", "return after - before"),
        families="restarted",
    ),
    _mutant(
        "a restart is not noticed",
        "slo.counters",
        ("return moved > 0", "return False"),
        families="restarted",
    ),
    _mutant(
        "pods born since the cutover do not count",
        "slo.window",
        ("                total.add(whole(sample))", "                pass"),
        families="born-at-cutover",
    ),
    _mutant(
        "pods born since the cutover are not in the account",
        "slo.source_account",
        ("            grown = whole(sample)", "            pass"),
        families="short-lived born-at-cutover",
    ),
    _mutant(
        "pods born since the cutover bring their past",
        "slo.window",
        ("sample.started_at >= ordered[0].taken_at", "sample.started_at > -9e9"),
        families="unread no-numbers blind",
    ),
    _mutant(
        "health checks are traffic",
        "clients.openmetrics",
        ("if sample.labels.get(names.path_label) not in health_paths:", "if True:"),
        families="only-health-checks",
    ),
    _mutant(
        "old samples are as good as new ones",
        "slo.window",
        ("    if age > stale_seconds:", "    if False:"),
        families="scraped skewed",
    ),
    _mutant(
        "old looks are as good as new ones",
        "slo.moment",
        ("        if age > self.allowed_age:", "        if False:"),
        ("for at in (snapshot.taken_at, now)", "for at in (snapshot.taken_at,)"),
        families="blind",
    ),
    _mutant(
        "samples may come from the future",
        "slo.window",
        ("    if -age > stale_seconds:", "    if False:"),
        families="skewed",
    ),
    _mutant(
        "a scrape interval counts as staleness",
        "slo.moment",
        ('rules.metrics.scrape_seconds if source == "prometheus" else 0.0', "0.0"),
        families="scraped",
    ),
    _mutant(
        "a pod that cannot be read is left out",
        "slo.moment",
        ("        if snapshot.errors:", "        if False:"),
        ("        if len(snapshot.pods) < self.expected:", "        if False:"),
        families="unread",
    ),
    _mutant(
        "a pod that is silently missing is no matter",
        "slo.moment",
        ("        if len(snapshot.pods) < self.expected:", "        if False:"),
        families="unread",
    ),
    _mutant(
        "min_requests is ignored",
        "slo.criteria",
        ("return watch.min_requests if rule.min_requests is None else rule.min_requests", "return 1"),
        families="thin",
    ),
    _mutant(
        "a rule's own min_requests is ignored",
        "slo.criteria",
        (
            "return watch.min_requests if rule.min_requests is None else rule.min_requests",
            "return watch.min_requests",
        ),
        families="own-requests",
    ),
    _mutant(
        "a trigger's own min_requests is ignored",
        "slo.triggers",
        ("return stats.requests >= (rule.min_requests or 0)", "return True"),
        families="own-requests",
    ),
    _mutant(
        "down never ends",
        "slo.lasting",
        ("        if not seen:\n            break", "        if not seen:\n            continue"),
        families="flapping-outage",
    ),
    _mutant(
        "not knowing ends an outage",
        "slo.lasting",
        ("        if seen is None:\n            continue", "        if seen is None:\n            break"),
        families="flapping-outage",
    ),
    _mutant(
        "not knowing proves an outage",
        "slo.lasting",
        ("min(earliest - at, gap_seconds)", "(earliest - at)"),
        families="flapping-outage",
    ),
    _mutant(
        "down is broken at once",
        "slo.triggers",
        ("elif run.seconds >= limit:", "elif run.seconds >= 0:"),
        families="outage",
    ),
    _mutant(
        "a duration has to be exceeded",
        "slo.triggers",
        ("elif run.seconds >= limit:", "elif run.seconds > limit:"),
        families="outage flapping-outage",
    ),
    _mutant(
        "an unusable probe has failed",
        "slo.triggers",
        ('None if p.state == "unusable" else p.state == "failed"', 'p.state != "ok"'),
        families="unusable-probe",
    ),
    _mutant(
        "an unusable probe is fine",
        "slo.pods",
        ('    if last.state == "unusable":', "    if False:"),
        families="unusable-probe",
    ),
    _mutant(
        "for_seconds is ignored",
        "slo.moment",
        ("if finding.state != broken or rule.for_seconds == 0:", "if True:"),
        families="patient",
    ),
    _mutant(
        "for_seconds of a query is ignored",
        "slo.readings",
        ("    if lasted < rule.for_seconds:", "    if False:"),
        families="by-query",
    ),
    _mutant(
        "a query without answer is not crossed",
        "slo.readings",
        ("        return _Look(None, problem=why)", '        return _Look(False, "", why)'),
        families="by-query",
    ),
    _mutant(
        "unknown polls are not limited",
        "slo.summary",
        ("    elif unknown > limit:", "    elif False:"),
        families="blind unread no-numbers",
    ),
    _mutant(
        "polls are not needed",
        "slo.tally",
        ('name = "gathering" if verdict.gathering else', 'name = "gathering" if verdict.state == "UNKNOWN" else'),
        families="blind unread",
    ),
    _mutant(
        "the window's end need not be seen",
        "slo.summary",
        ("    if missing := moment.view(source).missing:", "    if missing := '':"),
        families="ends-blind",
    ),
    _mutant(
        "moments that missed a criterion pass",
        "slo.summary",
        ("    if tally.degraded:\n        return Finding(rule", "    if False:\n        return Finding(rule"),
        families="streams resources logs by-query",
    ),
    _mutant(
        "a trigger that fired is forgotten",
        "slo.summary",
        ("    if fired := account.tally.rollback:", "    if fired := 0:"),
        families="spiky",
    ),
    _mutant(
        "restarts pass",
        "slo.summary",
        ("    if restarted or account.restarts:", "    if False:"),
        families="restarted pods",
    ),
    _mutant(
        "streams on the other slot do not count",
        "slo.streams",
        ("if beside else 0", "if False else 0"),
        families="streams",
    ),
    _mutant(
        "streams are judged at once",
        "slo.criteria",
        ("return moment.now - moment.cutover_at < moment.watch.sse_grace_seconds", "return False"),
        families="streams",
    ),
    _mutant(
        "waves are not seen",
        "slo.streams",
        ("    if share > rule.limit:", "    if False:"),
        families="streams",
    ),
    _mutant(
        "the warm-up is judged",
        "slo.resources",
        ("WARM_UP_SHARE: Final = 0.2", "WARM_UP_SHARE: Final = 0.0"),
        ("return trend(warm) * seconds", "return max(y for _, y in warm) - min(y for _, y in warm)"),
        families="resources",
    ),
    _mutant(
        "errors in the logs are no matter",
        "slo.pods",
        ("    if errors:", "    if False:"),
        families="logs",
    ),
    _mutant(
        "a degraded moment outweighs a rollback",
        "slo.verdict",
        ('"DEGRADED": 2, "ROLLBACK": 3', '"DEGRADED": 3, "ROLLBACK": 2'),
        families="failing",
    ),
    _mutant(
        "unknown outweighs what is known to be bad",
        "slo.verdict",
        ('"UNKNOWN": 1, "DEGRADED": 2', '"UNKNOWN": 2, "DEGRADED": 1'),
        families="outage",
    ),
)
