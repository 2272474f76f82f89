"""Why a slot is not ready yet, and whether waiting for it still makes sense."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from include.bluegreen.state import DeploymentState, PodState
from include.errors import ImageMissing, SlotNotReady

# ErrImageNeverPull and InvalidImageName never heal by waiting; the other two are what a wrong tag looks like.
IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
TEMPLATE_HASH: Final = "pod-template-hash"
CRASH_REASON: Final = "CrashLoopBackOff"
# A node may be refused a ConfigMap or Secret for a moment after a pod came to it; kubelet tries again after 10 s.
HEAL_SECONDS: Final = 15.0
# Two looks of the wait: the same pods, ready and not started again in between.
STEADY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class SlotVerdict:
    """``ready``, ``progressing`` (wait) or ``failed`` (waiting is pointless), with a sentence that says why.

    :param may_heal: what failed is tried again by the node and may succeed then; see :class:`Course`
    :param pods: uid and restarts of the pods it was said of
    """

    state: Literal["ready", "progressing", "failed"]
    sentence: str
    kind: type[SlotNotReady] = SlotNotReady
    remedy: str = ""
    may_heal: bool = False
    pods: frozenset[tuple[str, int]] = frozenset()

    def error(self) -> SlotNotReady:
        """The verdict as an exception."""
        return self.kind(self.sentence, expected="a slot whose pods are all ready", remedy=self.remedy)


@dataclass
class Course:
    """The verdicts of one wait: a trouble that may heal counts once it has lasted, and so does readiness.

    A pod that crashes soon after its start is ready for an instant, as often as it is started again.
    """

    since: float | None = None
    ready_since: float | None = None
    ready_pods: frozenset[tuple[str, int]] = frozenset()

    def judged(self, verdict: SlotVerdict, now: float) -> SlotVerdict:
        """The verdict, or that it is too early for it.

        :param now: of any clock, in seconds; the same one each time
        """
        if verdict.state == "ready":
            return self._steady(verdict, now)
        self.ready_since = None
        if not verdict.may_heal:
            self.since = None
            return verdict
        self.since = now if self.since is None else self.since
        if now - self.since >= HEAL_SECONDS:
            return verdict
        return SlotVerdict("progressing", verdict.sentence)

    def _steady(self, verdict: SlotVerdict, now: float) -> SlotVerdict:
        self.since = None
        if self.ready_since is None or verdict.pods != self.ready_pods:
            self.ready_since, self.ready_pods = now, verdict.pods
        if now - self.ready_since >= STEADY_SECONDS:
            return verdict
        return SlotVerdict("progressing", verdict.sentence)


def diagnose(
    pods: Iterable[PodState],
    deployment: DeploymentState | None,
    *,
    waited_seconds: float = 0.0,
    limit_seconds: float | None = None,
    crash_restarts: int = 2,
    ignore: Collection[str] = (),
    template: str | None = None,
) -> SlotVerdict:
    """Judge a slot while its Deployment rolls out.

    :param limit_seconds: after waiting so long, "not ready" is a failure; None means that the caller keeps time
    :param crash_restarts: a crash loop counts as one from so many restarts of a pod on
    :param ignore: uids of pods that were there before the deployment; their troubles are the previous ones'
    :param template: ``pod-template-hash`` of today's template; None when it is not known. While a rollout goes on,
        the controller still makes pods of the former one (as many as a changed size asks for)
    """
    present = [pod for pod in pods if not pod.deleting and pod.phase not in ("Succeeded", "Failed")]
    counted = [pod for pod in present if pod.uid not in ignore and _of_template(pod, template)]
    # The Deployment's ready count includes pods of its former template; the pods themselves tell them apart.
    if deployment is not None and _rolled_out(deployment) and all(pod.ready for pod in present):
        return SlotVerdict(
            "ready",
            f"{deployment.ready} of {deployment.replicas} pods of {deployment.name} are ready",
            pods=frozenset((pod.uid, pod.restarts) for pod in present),
        )
    for examine in (_image, _configuration):
        for pod in counted:
            if verdict := examine(pod):
                return verdict
    for pod in counted:
        if verdict := _crash(pod, crash_restarts):
            return verdict
    sentence = _progress(counted, deployment)
    if limit_seconds is not None and waited_seconds >= limit_seconds:
        return SlotVerdict(
            "failed",
            f"not ready after {waited_seconds:.0f} s: {sentence}",
            remedy="read the pods' events and logs; raise deploy_timeout_seconds if the application starts slowly",
        )
    return SlotVerdict("progressing", sentence)


def _of_template(pod: PodState, template: str | None) -> bool:
    return template is None or pod.labels.get(TEMPLATE_HASH, template) == template


def _rolled_out(deployment: DeploymentState) -> bool:
    return (
        deployment.replicas > 0
        and deployment.observed_generation >= deployment.generation
        and deployment.updated >= deployment.replicas
        and not deployment.outdated
        and deployment.ready >= deployment.replicas
    )


def _image(pod: PodState) -> SlotVerdict | None:
    if pod.waiting_reason not in IMAGE_REASONS:
        return None
    return SlotVerdict(
        "failed",
        f"image {pod.image or '(unnamed)'} of pod {pod.name} cannot be had: {_waiting(pod)}",
        ImageMissing,
        "push the image under this name, or correct repository, tag or digest in the release's YAML",
    )


def _configuration(pod: PodState) -> SlotVerdict | None:
    if pod.waiting_reason not in CONFIG_REASONS:
        return None
    return SlotVerdict(
        "failed",
        f"the container of pod {pod.name} cannot be started: {_waiting(pod)}",
        remedy="mend the chart or its values: a ConfigMap, Secret, key or command is missing",
        may_heal=True,
    )


def _crash(pod: PodState, crash_restarts: int) -> SlotVerdict | None:
    if pod.waiting_reason != CRASH_REASON or pod.restarts < crash_restarts:
        return None
    ended = f", last end: {pod.terminated_reason}" if pod.terminated_reason else ""
    return SlotVerdict(
        "failed",
        f"pod {pod.name} crashes again and again: {pod.restarts} restarts{ended}",
        remedy=f"read `kubectl logs --previous {pod.name}`; the new version does not start in this environment",
    )


def _waiting(pod: PodState) -> str:
    return f"{pod.waiting_reason} ({pod.waiting_message})" if pod.waiting_message else str(pod.waiting_reason)


def _progress(pods: list[PodState], deployment: DeploymentState | None) -> str:
    if deployment is None:
        return "the Deployment does not exist yet"
    ready = f"{deployment.ready} of {deployment.replicas} pods of {deployment.name} are ready"
    if deployment.replicas == 0:
        return f"{deployment.name} is scaled to zero"
    if deployment.outdated:
        ready = f"{ready}, {deployment.outdated} of an earlier template have not gone yet"
    states = sorted({pod.waiting_reason or pod.phase for pod in pods if not pod.ready})
    return f"{ready}; the others: {', '.join(states)}" if states else ready
