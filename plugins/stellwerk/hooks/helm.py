"""The helm binary of this worker, acting on one namespace through a connection's kubeconfig."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.clients.helm import Helm
from include.errors import HelmUnusable
from stellwerk.hooks.kubernetes import ClusterHook


@contextmanager
def open_helm(hook: ClusterHook, namespace: str) -> Iterator[Helm]:
    """Yield a helm client; the binary is ``$STELLWERK_HELM``, else ``helm`` on PATH.

    :raises HelmUnusable: no helm binary on this worker
    """
    wanted = os.environ.get("STELLWERK_HELM", "helm")
    found = shutil.which(wanted)
    if found is None:
        raise HelmUnusable(
            "no helm binary",
            expected="helm 3 or 4 on PATH, or its path in STELLWERK_HELM",
            seen=f"{wanted!r} cannot be executed",
            remedy="install helm on every Airflow worker, then retry",
        )
    with hook.kubeconfig() as kubeconfig:
        yield Helm(Path(found), kubeconfig, namespace)
