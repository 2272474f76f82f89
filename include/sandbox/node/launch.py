"""Owns turning one container of a pod into a command for the keeper: reads what it refers to, maps its paths."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.sandbox.images import Image, parse_reference
from include.sandbox.node import preparation, sources
from include.sandbox.node.env import command_line, environment, wanted
from include.sandbox.node.runtime import Command
from include.sandbox.node.tools import PodScope, Tools


@dataclass(frozen=True)
class Attempt:
    """One start of one container."""

    scope: PodScope
    spec: dict[str, Any]
    number: int


def image_id(image: Image) -> str:
    """The image by digest, as container statuses name it."""
    return f"{parse_reference(image.reference).name}@{image.digest}"


def log_path(state: Path, uid: str, container: str, number: int) -> Path:
    """Where the log of one start of a container is."""
    return state / "pods" / uid / container / f"{number}.log"


async def command(tools: Tools, attempt: Attempt, image: Image) -> Command:
    """Everything the keeper needs to start the container.

    :raises ConfigProblem: something the container refers to is missing
    :raises NotRunnable: the image has no such program or folder
    :raises ClusterError: the API server cannot be asked
    """
    scope, spec = attempt.scope, attempt.spec
    preparation.check_not_root(scope.pod, spec)
    maps, secrets = wanted(spec)
    held = await sources.read(tools.api, scope.namespace, maps, secrets)
    linked = scope.pod["spec"].get("enableServiceLinks", True)
    base = preparation.base_environment(
        scope.pod,
        image,
        pod_ip=scope.ip,
        folder=scope.folder,
        server=tools.api.server,
        links=tools.links(scope.namespace) if linked else {},
        token_folder=scope.token_folder,
    )
    env = environment(spec, scope.facts(tools), held, base)
    line = command_line(spec, image.entrypoint, env)
    return Command(
        container=uuid.uuid4().hex,
        argv=preparation.arguments(image, line, env["PATH"]),
        env=env,
        cwd=preparation.working_folder(image, spec),
        log=str(log_path(tools.state, scope.uid, spec["name"], attempt.number)),
        labels={
            "uid": scope.uid,
            "namespace": scope.namespace,
            "pod": scope.name,
            "name": spec["name"],
            "attempt": attempt.number,
            "ip": scope.ip,
            "image_id": image_id(image),
        },
        memory_limit=preparation.memory_limit(spec),
    )
