"""The running account of a watch: what the slot did since the cutover, whoever watched, whichever pods it had.

Made of plain values only, so that it travels as JSON: a checkpoint of it and the counters the pods hold now are
all that is needed to go on. Counters are added up sample by sample; what was added is never looked at again, so a
pod that restarts, is replaced or cannot be read for a while neither takes anything away nor counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from include.plan.rules import SourceName, Watch
from include.slo.evidence import quantile
from include.slo.looks import sparse
from include.slo.pods import restarts
from include.slo.samples import Observed, ProbeSample, SlotSample, Snapshot
from include.slo.source_account import SourceAccount
from include.slo.tally import Tally
from include.slo.timeline import Point, extended
from include.slo.verdict import Verdict
from include.slo.window import WindowStats, monotone


@dataclass(frozen=True)
class Account:
    """Everything a watch has to remember.

    :param began_at: beginning of the window, seconds since the epoch
    :param source: whose numbers the points show
    :param sources: by name
    :param tally: how the polls went
    :param points: the timeline, in the order of time
    :param restarts: container restarts since the beginning, by pod uid
    :param restarts_before: those that the pods of the first look had behind them
    :param cpu_cores: what pods may use, by name, as far as it was ever told
    :param probed_at: newest round of the prober that is in the account
    :param probes: the newest rounds of the prober, and
    :param slot: the newest looks at the slot, in the order of time: what has been so for minutes has been so,
        whoever goes on with the watch
    """

    began_at: float
    source: SourceName
    sources: Mapping[SourceName, SourceAccount] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    points: tuple[Point, ...] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)
    restarts_before: Mapping[str, int] | None = None
    cpu_cores: Mapping[str, float] = field(default_factory=dict)
    probed_at: float | None = None
    probes: tuple[ProbeSample, ...] = ()
    slot: tuple[SlotSample, ...] = ()

    @classmethod
    def begin(cls, baselines: Mapping[SourceName, Snapshot], *, at: float, source: SourceName) -> Account:
        """An account that counts from the baselines on.

        :param baselines: what each source showed just before the cutover; one that showed nothing may be left out
        :param at: of the cutover, seconds since the epoch
        :param source: where the plan's rules read by default
        """
        accounts = {name: SourceAccount().add(snapshot, at) for name, snapshot in baselines.items()}
        return cls(began_at=at, source=source, sources=accounts)

    def add(self, observed: Observed, verdict: Verdict, now: float) -> Account:
        """The account after one more poll.

        :param observed: what the verdict was made from; what is in the account already is not counted again
        :param now: when the verdict was made, seconds since the epoch
        """
        before = self.totals()
        counted = {name: self._source(name, observed, now) for name in observed.metrics}
        account = replace(self, sources={**self.sources, **counted}, tally=self.tally.count(verdict, now))
        return _with_point(_with_slot(account, observed, now), before, observed, verdict, now)

    def handed_on(self, observed: Observed, *, gap_seconds: float) -> Account:
        """The account with the newest looks, for whichever process goes on with the watch.

        :param observed: what the newest verdict was made from
        :param gap_seconds: see :func:`include.slo.moment.gap_seconds`
        """
        apart = gap_seconds / 2  # the next look may come a poll later, and the time between still has to count
        return replace(
            self,
            probes=sparse(observed.probes, apart_seconds=apart),
            slot=sparse(observed.slot, apart_seconds=apart),
        )

    def dump(self) -> dict[str, Any]:
        """Plain JSON values; infinity, a histogram's last bound, is a string."""
        # By way of text: only there infinity becomes a string.
        values: dict[str, Any] = json.loads(_Json(account=self).model_dump_json())["account"]
        return values

    @classmethod
    def load(cls, values: Any) -> Account:
        """Read what :meth:`dump` wrote.

        :raises pydantic.ValidationError: it is something else
        """
        return _Json.model_validate({"account": values}).account

    def stats(self, source: SourceName) -> WindowStats:
        """What a source counted over the whole window."""
        return self.sources.get(source, SourceAccount()).stats(self.began_at)

    def page(self, verdict: Verdict, watch: Watch, now: float) -> str:
        """Why a human has to know now, one sentence; empty when nobody has to.

        Nothing has been known, or a criterion has been missed, for ``page_after_seconds``.
        """
        if verdict.page:
            return verdict.page
        since = self.tally.since
        if self.tally.state == "DEGRADED" and since is not None and now - since >= watch.page_after_seconds:
            return f"DEGRADED for {now - since:.0f} s: {verdict.sentence}"
        return ""

    def _source(self, name: SourceName, observed: Observed, now: float) -> SourceAccount:
        account = self.sources.get(name, SourceAccount())
        for snapshot in sorted(observed.metrics[name], key=lambda s: s.taken_at):
            newer = account.counted_at is None or snapshot.taken_at > account.counted_at
            if newer and snapshot.taken_at <= now:
                account = account.add(snapshot, self.began_at)
        return account

    def totals(self) -> SourceAccount:
        """What the source showed whose numbers the points show."""
        return self.sources.get(self.source, SourceAccount())


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    account: Account


def _with_slot(account: Account, observed: Observed, now: float) -> Account:
    samples = sorted((s for s in observed.slot if s.at <= now and not s.problem), key=lambda s: s.at)
    if not samples:
        return account
    before = samples[0].restarts if account.restarts_before is None else account.restarts_before
    first = replace(samples[0], restarts=before)
    seen = restarts([first, *samples])
    grown = {uid: max(count, account.restarts.get(uid, 0)) for uid, count in seen.items()}
    cores = {pod: value for sample in samples for pod, value in sample.cpu_cores.items()}
    return replace(
        account,
        restarts={**account.restarts, **grown},
        restarts_before=dict(before),
        cpu_cores={**account.cpu_cores, **cores},
    )


def _with_point(
    account: Account, before: SourceAccount, observed: Observed, verdict: Verdict, now: float
) -> Account:
    after = account.totals()
    rounds = [p for p in observed.probes if p.at <= now and p.at > (account.probed_at or 0.0)]
    told = [p.state == "ok" for p in rounds if p.state != "unusable"]
    known = dict(before.latency)
    step = [(bound, count - known.get(bound, 0.0)) for bound, count in after.latency]
    p95 = None if after.mixed else quantile(tuple(monotone(dict(step))), 0.95)
    point = Point(
        at=now,
        seconds=1.0,
        requests=sum(after.requests.values()) - sum(before.requests.values()),
        errors=_errors(after) - _errors(before),
        p95_seconds=p95.seconds if p95 else None,
        state=verdict.state,
        probe_ok=all(told) if told else None,
    )
    return replace(
        account,
        points=extended(account.points, point, began_at=account.began_at),
        probed_at=max((p.at for p in rounds), default=account.probed_at),
    )


def _errors(account: SourceAccount) -> float:
    return sum(count for status, count in account.requests.items() if status.startswith("5"))
