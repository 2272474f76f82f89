"""Argo Rollouts: blue-green with post-promotion analysis, as its documentation recommends."""

from __future__ import annotations

import math
import time
from typing import Any, Final

from benchmarks.peers.contender import Outcome, Promotion, Result, Settings
from benchmarks.peers.controller import Controller
from benchmarks.peers.kube import Document, Kube, manifests
from benchmarks.peers.place import OLD_TAG, Place
from benchmarks.peers.programs import ARGO_ROLLOUTS, HERE, module_sources, peer_program
from include.sandbox.processes import free_port, wait_until

GROUP: Final = "argoproj.io"
VERSION: Final = "v1alpha1"
MANIFESTS: Final = HERE / "argo-rollouts" / "manifests"
HASH: Final = "rollouts-pod-template-hash"
NAME: Final = "valeo-erp"
READY_SECONDS: Final = 90.0
CONDITIONS: Final = {
    # "Handling Metric Results": with both conditions, what meets neither is inconclusive, and a human is asked.
    False: ("len(result) > 0 && result[0] >= 0.95", "len(result) > 0 && result[0] < 0.95"),
    # The same page's example for empty answers, and its one for NaN.
    True: ("len(result) == 0 || isNaN(result[0]) || result[0] >= 0.95", "len(result) > 0 && result[0] < 0.95"),
}
SCALE_DOWN_SECONDS: Final = 10.0  # beyond the analysis
INCONCLUSIVE_SECONDS: Final = 12.0  # Prometheus finds new pods within 5 s, and a rate needs two scrapes


class ArgoRollouts:
    """The controller, a Rollout and its analysis in a namespace of their own."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.settings = settings
        self._place = place
        self._kube = Kube(place.kubeconfig, place.namespace)
        self._old_hash = ""
        ports = ["--metricsPort", str(free_port()), "--healthzPort", str(free_port())]
        flags = ["--kubeconfig", str(place.kubeconfig), "--namespace", place.namespace, "--namespaced"]
        argv = [str(peer_program("rollouts-controller")), *flags, *ports, "--leader-elect=false"]
        self._controller = Controller("argo-rollouts", argv, place.logs / f"{settings.name}.log")

    @property
    def public_url(self) -> str:
        """The active Service's NodePort."""
        return f"http://127.0.0.1:{self._kube.service('erp-active').ports[0].node_port}"

    def prepare(self) -> None:
        """Install the CRDs of the very version, the Services and the Rollout; start the controller."""
        self._kube.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "-k",
            str(module_sources(ARGO_ROLLOUTS) / "manifests/crds"),
        )
        self._place.create()
        self._kube.apply(manifests(MANIFESTS / "services.yaml", {}))
        self._controller.start()

    def reset(self, promotion: Promotion) -> None:
        """Delete the Rollout with its pods and bring the old version up anew."""
        self._kube.kubectl("delete", "rollout", NAME, "--ignore-not-found", "--cascade=foreground", "--wait")
        self._kube.kubectl("delete", "analysisrun", "--all", "--wait")
        self._kube.apply([*self._analysis(promotion), *self._rollout(promotion)])
        wait_until(
            lambda: self._status().get("phase") == "Healthy" and self._on_stable(),
            deadline_seconds=READY_SECONDS,
            what="the old version serves under Argo Rollouts",
            poll_seconds=0.3,
        )
        self._old_hash = self._hash()

    def promote(self, promotion: Promotion) -> None:
        """Change the image."""
        image = self._place.image(promotion.tag)
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
        self._kube.json_patch("rollout", NAME, patch)

    def analysing(self) -> bool:
        """From the switch on."""
        return self.on_new()

    def on_new(self) -> bool:
        """The active Service selects other pods than at the beginning."""
        return self._hash() != self._old_hash

    def outcome(self) -> Outcome | None:
        """Read the Rollout's own status."""
        status = self._status()
        result = told(status, active=self._hash(), old=self._old_hash, analysed=bool(self._runs()))
        if result is None:
            return None
        says = [f"{status.get('phase')} {status.get('message', '')}".strip(), *map(_analysis_told, self._runs())]
        return Outcome(result, time.time(), "; ".join(says))

    def kill_controller(self, part: str = "") -> None:
        """SIGKILL the controller; it is back at once, as a Deployment's would be."""
        self._controller.kill_and_restart()

    def leave(self) -> None:
        """Delete the Rollout with its pods."""
        self._kube.kubectl("delete", "rollout", NAME, "--ignore-not-found", "--cascade=foreground", "--wait")

    def close(self) -> None:
        """End the controller."""
        self._controller.stop()
        self._kube.close()

    def _analysis(self, promotion: Promotion) -> list[Document]:
        success, failure = CONDITIONS[self.settings.lenient]
        values = {
            "INTERVAL": f"{self.settings.poll_seconds:g}",
            "COUNT": str(math.ceil(promotion.watch_seconds / self.settings.poll_seconds)),
            "SUCCESS": success,
            "FAILURE": failure,
            "INCONCLUSIVE": str(math.ceil(INCONCLUSIVE_SECONDS / self.settings.poll_seconds)),
            "PROMETHEUS": self._place.prometheus_url,
            "NAMESPACE": self._place.namespace,
        }
        return manifests(MANIFESTS / "analysis.yaml", values)

    def _rollout(self, promotion: Promotion) -> list[Document]:
        others, deployment = self._place.application(NAME, OLD_TAG)
        delay = f"{promotion.watch_seconds + SCALE_DOWN_SECONDS:.0f}"
        (rollout,) = manifests(MANIFESTS / "rollout.yaml", {"SCALE_DOWN_SECONDS": delay})
        rollout["spec"] |= {key: deployment["spec"][key] for key in ("selector", "template")}
        return [*others, rollout]

    def _status(self) -> dict[str, Any]:
        status = self._kube.custom(GROUP, VERSION, "rollouts", NAME).get("status")
        return dict(status or {})

    def _hash(self) -> str:
        return self._kube.selector("erp-active").get(HASH, "")

    def _on_stable(self) -> bool:
        return self._status().get("stableRS") == self._hash() != ""

    def _runs(self) -> list[Document]:
        return self._kube.customs(GROUP, VERSION, "analysisruns")


def told(status: Document, *, active: str, old: str, analysed: bool) -> Result | None:
    """What a Rollout's status says; None while it is under way.

    :param active: hash of the pods that have the traffic
    :param old: hash of those that had it before the promotion
    :param analysed: whether there was a post-promotion analysis, that is, whether the traffic had moved
    """
    on_new = active != old
    if status.get("abort"):
        # Aborted is not switched back yet.
        return None if on_new else "switched-back" if analysed else "refused"
    reasons = {one.get("reason") for one in status.get("pauseConditions") or ()}
    if "InconclusiveAnalysisRun" in reasons:
        return "held"
    return "promoted" if on_new and status.get("phase") == "Healthy" and status.get("stableRS") == active else None


def _analysis_told(run: Document) -> str:
    status = run.get("status") or {}
    return f"analysis {status.get('phase')} {status.get('message', '')}".strip()
