"""Flagger with its Kubernetes provider: Blue/Green, analysed before the promotion."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.peers.contender import Outcome, Promotion, Settings
from benchmarks.peers.controller import Controller
from benchmarks.peers.kube import Kube, manifests
from benchmarks.peers.load import load
from benchmarks.peers.place import OLD_TAG, Place
from benchmarks.peers.programs import FLAGGER, HERE, module_sources, peer_program
from include.sandbox.addresses import local_address
from include.sandbox.processes import free_port, wait_until

GROUP: Final = "flagger.app"
VERSION: Final = "v1beta1"
NAME: Final = "valeo-erp"
CANARY: Final = HERE / "flagger" / "manifests" / "canary.yaml"
READY_SECONDS: Final = 120.0
TEST_RATE: Final = 5.0  # what its load-test webhook would send to the new version during the analysis
PROMOTING: Final = ("Promoting", "Finalising", "Succeeded")


class Flagger:
    """The controller, a Deployment and its Canary in a namespace of their own."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.settings = settings
        self._place = place
        self._kube = Kube(place.kubeconfig, place.namespace)
        self._test = ExitStack()
        flags = {
            "kubeconfig": str(place.kubeconfig),
            "namespace": place.namespace,
            "mesh-provider": "kubernetes",
            "metrics-server": place.prometheus_url,
            "control-loop-interval": "1s",
            "port": str(free_port()),
            "log-level": "info",
        }
        argv = [str(peer_program("flagger")), *(f"-{name}={value}" for name, value in flags.items())]
        self._controller = Controller("flagger", argv, place.logs / f"{settings.name}.log")

    @property
    def public_url(self) -> str:
        """The Service that Flagger makes for the version in production."""
        return self._url("erp")

    def prepare(self) -> None:
        """Install the CRDs of the very version and start the controller."""
        crds = module_sources(FLAGGER) / "artifacts/flagger/crd.yaml"
        self._kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
        self._place.create()
        self._controller.start()

    def reset(self, promotion: Promotion) -> None:
        """Delete the Canary with everything it made, and have it begin with the old version."""
        self._end_test()
        self._remove()
        # Its client of Kubernetes 1.27 loses a preStop of the kind "sleep" and then cannot create the copy.
        others, deployment = self._place.application(NAME, OLD_TAG, drain={"preStopSeconds": 0})
        interval = self.settings.poll_seconds
        values = {
            "PROMETHEUS": self._place.prometheus_url,
            "INTERVAL": f"{interval:g}",
            "ITERATIONS": str(math.ceil(promotion.watch_seconds / interval)),
            "WINDOW": f"{4 * interval:g}",
        }
        self._kube.apply([*others, deployment, *manifests(CANARY, values)])
        wait_until(
            lambda: self._status().get("phase") == "Initialized",
            deadline_seconds=READY_SECONDS,
            what="the old version serves under Flagger",
            poll_seconds=0.5,
        )

    def promote(self, promotion: Promotion) -> None:
        """Change the image, and send the new version what a load-test webhook would."""
        image = self._place.image(promotion.tag)
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
        self._kube.json_patch("deployment", NAME, patch)
        self._test = ExitStack()
        if promotion.traffic:
            out = self._place.logs.parent / "flagger-test.ndjson"
            self._test.enter_context(load(self._url("erp-canary"), TEST_RATE, 0, out))

    def analysing(self) -> bool:
        """From the first iteration on."""
        return self._status().get("phase") in ("Progressing", *PROMOTING)

    def on_new(self) -> bool:
        """The version in production is being replaced, or has been."""
        return self._status().get("phase") in PROMOTING

    def outcome(self) -> Outcome | None:
        """Read the Canary's own status."""
        status = self._status()
        phase = status.get("phase")
        conditions = status.get("conditions") or [{}]
        says = f"{phase}: {conditions[-1].get('message', '')}"
        if phase == "Succeeded":
            self._end_test()
            return Outcome("promoted", time.time(), says)
        if phase == "Failed":
            self._end_test()
            return Outcome("refused", time.time(), says)
        return None

    def kill_controller(self, part: str = "") -> None:
        """SIGKILL the controller; it is back at once."""
        self._controller.kill_and_restart()

    def leave(self) -> None:
        """Delete the Canary and the Deployments."""
        self._end_test()
        self._remove()

    def close(self) -> None:
        """End the controller and the load of an analysis."""
        self._end_test()
        self._controller.stop()
        self._kube.close()

    def _end_test(self) -> None:
        self._test.close()

    def _remove(self) -> None:
        for kind, name in (("canary", NAME), ("deployment", NAME), ("deployment", f"{NAME}-primary")):
            self._kube.kubectl("delete", kind, name, "--ignore-not-found", "--cascade=foreground", "--wait")

    def _status(self) -> dict[str, Any]:
        status = self._kube.custom(GROUP, VERSION, "canaries", NAME).get("status")
        return dict(status or {})

    def _url(self, service: str) -> str:
        return f"http://{local_address(self._kube.service(service).cluster_ip)}:80"
