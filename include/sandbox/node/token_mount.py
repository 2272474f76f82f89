"""Owns the service account's token inside a pod: written before the first container starts, renewed in time."""

from __future__ import annotations

import logging
from typing import Final

from include.errors import ClusterError
from include.sandbox.node.env import ConfigProblem
from include.sandbox.node.sources import TokenVolume, token_volume, write_token
from include.sandbox.node.tools import PodScope, Tools

_log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 0.2
_RENEW_RETRY_SECONDS: Final = 10.0
_RENEW_AFTER: Final = 0.8  # of its life, as kubelet does


async def mount(tools: Tools, scope: PodScope) -> TokenVolume | None:
    """Write the token's files and tell the scope where; None when the pod wants none or has to stop."""
    volume = token_volume(scope.pod)
    if volume is None:
        return None
    folder = scope.folder / "serviceaccount"
    while not scope.stopping.is_set():
        try:
            await write_token(tools.api, scope.pod, volume, folder)
        except (ClusterError, ConfigProblem) as problem:
            message = f'MountVolume.SetUp failed for volume "kube-api-access": {problem}'
            tools.recorder.warning(scope.pod, "FailedMount", message)
            await scope.pause(_RETRY_SECONDS)
        else:
            scope.token_folder = folder
            return volume
    return None


async def renew(tools: Tools, scope: PodScope, volume: TokenVolume) -> None:
    """Replace the token before it expires, until the pod has to stop."""
    pause = volume.seconds * _RENEW_AFTER
    while True:
        await scope.pause(pause)
        if scope.stopping.is_set() or scope.token_folder is None:
            return
        try:
            await write_token(tools.api, scope.pod, volume, scope.token_folder)
            pause = volume.seconds * _RENEW_AFTER
        except (ClusterError, ConfigProblem) as problem:
            _log.warning("token of pod %s: %s", scope.name, problem)
            pause = _RENEW_RETRY_SECONDS
