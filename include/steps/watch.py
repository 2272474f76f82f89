"""The watch after cutover: evaluate, and when a trigger fires, switch back in the same breath (DESIGN, section 6).

All times a watch is made of are absolute and travel in :class:`WatchConfig`, so whichever process goes on with it
goes on with the same window. The judgement of the whole window comes from counters read at its two ends, not from
the memory of a process that may have been killed in between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.lease import Terms
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.clients.openmetrics import snapshot
from include.clients.prober import check
from include.clients.traffic import switch
from include.errors import (
    ClusterError,
    RollbackBlocked,
    RolledBack,
    StellwerkError,
    TrafficError,
    WatchHeld,
)
from include.ledger.store import Ledger
from include.plan.models import Environment, SloRules
from include.slo.account import Account
from include.slo.evaluate import evaluate, retention_seconds
from include.slo.samples import Observed, ProbeSample, SlotSample, Snapshot
from include.slo.summary import summarise
from include.slo.verdict import Verdict
from include.steps.lease import renewed_beside
from include.steps.record import (
    CUT_OVER,
    SWITCHED_BACK,
    WATCH_ENDED,
    WATCH_PASSED,
    WATCH_STARTED,
    record,
    recorded,
    require,
    slots_of,
)
from include.steps.run import ReleaseRun, lease_terms

log = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 15.0

Result = Literal["PASSED", "ROLLED_BACK", "ROLLED_BACK_BY_HAND", "ROLLBACK_BLOCKED", "HELD", "FENCED"]


class _Portable(BaseModel):
    """Travels as plain JSON through Airflow's database."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    def dump(self) -> dict[str, Any]:
        """Return plain JSON values."""
        # By way of text: only there infinity (a histogram's last bucket) becomes a string.
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    @classmethod
    def load(cls, value: Any) -> Self:
        """Read what :meth:`dump` wrote."""
        return cls.model_validate(value)


class WatchConfig(_Portable):
    """Everything a watch needs; no credentials.

    :param source: slot the traffic came from, and goes back to
    :param target: slot that is watched
    :param started_at: seconds since the epoch
    :param deadline: seconds since the epoch
    :param baseline: counters of the watched pods when the watch began
    :param may_switch_back: whether the watch may act by itself, decided before the cutover
    :param number: 0 for the first window of the run; a watch that was held may be run again
    :param started_by: the user who started the run
    """

    release_id: str
    version: str
    environment: Environment
    source: Slot
    target: Slot
    started_at: float
    deadline: float
    baseline: Snapshot
    may_switch_back: bool
    number: int = 0
    started_by: str | None = None

    @property
    def lease_terms(self) -> Terms:
        """Under what the release holds the environment."""
        return lease_terms(self.environment, self.release_id, self.started_by)

    @property
    def connection(self) -> str:
        """Id of the Airflow connection to the cluster."""
        return self.environment.connections.kubernetes

    @property
    def namespace(self) -> str:
        """Namespace of the application."""
        return self.environment.namespace

    @property
    def deadline_text(self) -> str:
        """The deadline for humans."""
        return datetime.fromtimestamp(self.deadline, UTC).isoformat(timespec="seconds")


class WatchOutcome(_Portable):
    """How a watch ended.

    :param at: seconds since the epoch
    :param detected_at: when the verdict was ROLLBACK first, None when it never was
    :param measures: figures of the whole window, as far as they could be read
    """

    result: Result
    sentence: str
    at: float
    detected_at: float | None = None
    measures: dict[str, float | int | str | None] = {}
    number: int = 0


async def begin_watch(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> WatchConfig:
    """Take the baseline and fix the deadline, once; a later call returns the same watch.

    After a watch has ended (held, say) the next call begins another window: running the task again extends it.

    :raises TrafficError: this run has not cut over
    """
    cut = require(ledger, run, CUT_OVER, before="the watch")
    source, target = slots_of(ledger, run)
    started, ended = recorded(ledger, run, WATCH_STARTED), recorded(ledger, run, WATCH_ENDED)
    number = int(ended.payload["number"]) + 1 if ended else 0
    if started and started.payload["config"]["number"] == number:
        return WatchConfig.load(started.payload["config"])
    now = time.time()
    config = WatchConfig(
        release_id=run.release_id,
        version=run.release.version,
        environment=run.environment,
        source=source,
        target=target,
        started_at=now,
        deadline=now + run.environment.watch.seconds,
        baseline=await snapshot(cluster, run.environment.traffic, target, now=now),
        may_switch_back=bool(cut.payload.get("automatic_switch_back")),
        number=number,
        started_by=run.triggered_by,
    )
    entry = record(ledger, run, WATCH_STARTED, {"config": config.dump()}, number=number)
    return WatchConfig.load(entry.payload["config"])


async def watch(config: WatchConfig, cluster: Cluster) -> WatchOutcome:
    """Watch one window, see :func:`_watch`; the Lease is renewed beside it and has no say in it."""
    async with renewed_beside(config.lease_terms, cluster):
        outcome = await _watch(config, cluster)
    return outcome.model_copy(update={"number": config.number})


async def _watch(config: WatchConfig, cluster: Cluster) -> WatchOutcome:
    """Poll and evaluate until the window ends, a trigger fires, or somebody else moves the traffic.

    A cluster that does not answer makes the verdict UNKNOWN; it never ends the watch and is never a success.
    """
    rules, settings = _rules(config), config.environment.watch
    observed = Observed({rules.source: [config.baseline]})
    account = Account.begin({rules.source: config.baseline}, at=config.started_at, source=rules.source)
    said, said_at = "", 0.0
    detected_at: float | None = None
    while True:
        now = time.time()
        if ended := await _moved_by_others(config, cluster):
            return ended
        observed = await _observe(config, cluster, observed, now)
        now = time.time()
        verdict = evaluate(rules, settings, observed, now, cutover_at=config.started_at)
        account = account.add(observed, verdict, now)
        if verdict.state != said or now - said_at >= PROGRESS_SECONDS:
            log.info("%s, %.0f s left: %s", verdict.state, config.deadline - now, verdict.sentence)
            said, said_at = verdict.state, now
        if verdict.state == "ROLLBACK":
            detected_at = detected_at or now
            if outcome := await _roll_back(config, cluster, verdict, detected_at):
                return outcome
        if now >= config.deadline:
            return _conclusion(config, account, observed, now)
        await asyncio.sleep(max(0.05, min(now + settings.poll_seconds, config.deadline + 0.01) - time.time()))


def _rules(config: WatchConfig) -> SloRules:
    """The plan's rules without what this loop does not read."""
    rules = config.environment.slo
    return rules.model_copy(update={"criteria": rules.criteria.model_copy(update={"logs": False})})


async def _observe(config: WatchConfig, cluster: Cluster, observed: Observed, now: float) -> Observed:
    """Look at pods and public URL once more, and forget what is too old to be judged."""
    rules = _rules(config)
    keep = now - retention_seconds(rules, config.environment.watch)
    seen, probed = await asyncio.gather(_look(config, cluster, now), _probe(config))
    at, endpoints = time.time(), seen.ready_endpoints
    slot = SlotSample(at, ready_endpoints=endpoints, ready=None if endpoints is None else len(seen.pods))
    return Observed(
        metrics={rules.source: [*(s for s in observed.metrics[rules.source] if s.taken_at >= keep), seen]},
        probes=[*(p for p in observed.probes if p.at >= keep), probed],
        slot=[*(s for s in observed.slot if s.at >= keep), slot],
    )


async def _probe(config: WatchConfig) -> ProbeSample:
    result = await check(config.environment.traffic.public_url, config.environment.smoke[0])
    unusable = result.status is None and "certificate" in result.sentence
    state: Literal["ok", "failed", "unusable"] = "ok" if result.ok else "unusable" if unusable else "failed"
    return ProbeSample(time.time(), state, "" if result.ok else result.sentence)


async def _look(config: WatchConfig, cluster: Cluster, now: float) -> Snapshot:
    try:
        return await snapshot(cluster, config.environment.traffic, config.target, now=now)
    except StellwerkError as error:
        return Snapshot(taken_at=now, slot=config.target, errors=(str(error),))


async def _moved_by_others(config: WatchConfig, cluster: Cluster) -> WatchOutcome | None:
    """Notice that the traffic is no longer on the watched slot, or the Service no longer this release's."""
    traffic = config.environment.traffic
    try:
        service = await cluster.service(traffic.service)
        slot = active_slot(service, traffic)
    except ClusterError as error:
        log.warning("the traffic Service cannot be read: %s", error)
        return None
    except TrafficError as error:
        return WatchOutcome(result="FENCED", sentence=str(error), at=time.time())
    assert service is not None, "active_slot refuses a missing Service"
    holder = release_id(service)
    if holder != config.release_id:
        sentence = f"Service {service.name} belongs to {holder or 'no release'} by now"
        return WatchOutcome(result="FENCED", sentence=sentence, at=time.time())
    return None if slot == config.target else _left(config, service)


def _left(config: WatchConfig, service: ServiceState) -> WatchOutcome:
    moved = last_switch(service)
    if moved is None or moved.release != config.release_id or moved.direction != "back":
        sentence = f"the selector of {service.name} was changed by hand; traffic is on {config.source}"
        return WatchOutcome(result="ROLLED_BACK_BY_HAND", sentence=sentence, at=time.time())
    # The other one of two triggerers that both run this watch, or this very trigger before it was killed.
    mine = moved.by == "watch"
    how = "switched back by the watch" if mine else f"rolled back by hand ({moved.by})"
    return WatchOutcome(
        result="ROLLED_BACK" if mine else "ROLLED_BACK_BY_HAND",
        sentence=f"{how}: {moved.reason}",
        at=moved.at.timestamp(),
    )


async def _roll_back(
    config: WatchConfig, cluster: Cluster, verdict: Verdict, detected_at: float
) -> WatchOutcome | None:
    """Switch back; None when the cluster gives no answer and it has to be tried again."""

    def outcome(result: Result, sentence: str) -> WatchOutcome:
        return WatchOutcome(result=result, sentence=sentence, at=time.time(), detected_at=detected_at)

    if not config.may_switch_back:
        return outcome("ROLLBACK_BLOCKED", f"{verdict.sentence}; switching back by itself was not permitted")
    try:
        done = await switch(
            cluster,
            config.environment.traffic,
            target=config.source,
            release_id=config.release_id,
            by="watch",
            reason=verdict.sentence,
            now=datetime.now(UTC),
            back=True,
            required=config.environment.replicas,
        )
    except ClusterError as error:
        log.warning("switching back: %s; trying again", error)
        return None
    except TrafficError as error:
        return outcome("ROLLBACK_BLOCKED", f"{verdict.sentence}; {error}")
    log.warning("switched back to %s: %s", config.source, verdict.sentence)
    ended = outcome("ROLLED_BACK", verdict.sentence)
    await drain_after_back(config.environment, cluster, config.target, done.at)
    return ended


async def drain_after_back(environment: Environment, cluster: Cluster, slot: Slot, at: datetime) -> None:
    """Restart the slot that was left, so that nobody stays on it; a failure is logged, users are safe already."""
    from include.bluegreen.switch import SETTLE_SECONDS

    if environment.drain == "leave":
        return
    await asyncio.sleep(max(0.0, SETTLE_SECONDS - (datetime.now(UTC) - at).total_seconds()))
    try:
        await cluster.restart_deployment(environment.slot_release(slot), at)
    except StellwerkError as error:
        log.warning("%s could not be restarted, open connections stay on it: %s", slot, error)


def _conclusion(config: WatchConfig, account: Account, observed: Observed, now: float) -> WatchOutcome:
    summary = summarise(
        _rules(config), config.environment.watch, account, observed, now=now, cutover_at=config.started_at
    )
    measures = dict(summary.measures)
    result: Result = "PASSED" if summary.state == "PASSED" else "HELD"
    return WatchOutcome(result=result, sentence=summary.sentence, at=now, measures=measures)


def conclude_watch(run: ReleaseRun, ledger: Ledger, outcome: WatchOutcome) -> dict[str, Any]:
    """Record how the watch ended.

    :return: the outcome, when it passed
    :raises RolledBack: the old version is in traffic again
    :raises RollbackBlocked: it should be and is not: act now
    :raises WatchHeld: no proof of health; traffic stays on the new version
    """
    record(ledger, run, WATCH_ENDED, outcome.dump(), number=outcome.number)
    if outcome.result == "PASSED":
        return dict(record(ledger, run, WATCH_PASSED, outcome.dump()).payload)
    if outcome.result == "ROLLED_BACK":
        record(ledger, run, SWITCHED_BACK, {"by": "watch", "reason": outcome.sentence, "at": outcome.at})
        raise RolledBack("the watch switched back", seen=outcome.sentence, remedy="read the run of DAG rollback")
    if outcome.result == "ROLLED_BACK_BY_HAND":
        raise RolledBack("rolled back by hand", seen=outcome.sentence, remedy="nothing: this release is over")
    if outcome.result == "ROLLBACK_BLOCKED":
        raise RollbackBlocked(
            "a rollback is due and was not possible",
            expected="the traffic on the old slot",
            seen=outcome.sentence,
            remedy="act now: bring the old slot up, then trigger DAG rollback",
        )
    raise WatchHeld(
        "the watch ended without proof of health" if outcome.result == "HELD" else "the watch lost the Service",
        expected="every success criterion held over the whole window",
        seen=outcome.sentence,
        remedy="decide: clear this task to watch for another window, or trigger DAG rollback",
    )
