"""Owns what has to be known before a container can start: image, environment, command line, folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from include.sandbox.addresses import local_address
from include.sandbox.images import Image
from include.sandbox.node.env import ConfigProblem
from include.sandbox.node.quantities import quantity

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotRunnable(Exception):
    """The image has no such program or folder (CreateContainerError)."""


def search_path() -> str:
    """PATH inside a pod: first the folder of the Python that runs the sandbox, without its packages."""
    base = Path(sys.base_prefix, "bin")
    python = base if (base / "python3").exists() else Path(sys.executable).parent
    return f"{python}:{_SYSTEM_PATH}"


def base_environment(
    pod: Mapping[str, Any],
    image: Image,
    *,
    pod_ip: str,
    folder: Path,
    server: str,
    links: Mapping[str, str],
    token_folder: Path | None,
) -> dict[str, str]:
    """What every container finds in its environment before its own ``env`` is applied.

    Two variables replace what a mount and a network namespace would give: ``BIND_ADDRESS``, the only address a pod
    may listen on, and ``SERVICE_ACCOUNT_FOLDER``, where the files of /var/run/secrets/kubernetes.io/serviceaccount
    are.
    """
    address = urlsplit(server)
    result = {
        "PATH": search_path(),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "HOSTNAME": str(pod["metadata"]["name"]),
        **links,
        "KUBERNETES_SERVICE_HOST": address.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(address.port or 443),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(address.port or 443),
        "BIND_ADDRESS": local_address(pod_ip),
        **image.env,
    }
    if image.env.get("PATH"):
        result["PATH"] = f"{search_path()}:{image.env['PATH']}"
    if token_folder is not None:
        result["SERVICE_ACCOUNT_FOLDER"] = str(token_folder)
    return result


def inside(image: Image, path: str) -> Path:
    """Where a container's absolute path is in the image's folder."""
    return image.root / path.lstrip("/")


def arguments(image: Image, command: Sequence[str], path: str) -> list[str]:
    """The command line with the image's files at their real places.

    A file of the image is found by its absolute path, as program or as argument; a bare name on PATH.

    :raises NotRunnable: there is no such program
    """
    if not command:
        raise NotRunnable("no command specified")
    mapped = [
        str(inside(image, part)) if part.startswith("/") and inside(image, part).is_file() else part
        for part in command
    ]
    program = shutil.which(mapped[0], path=path)
    if program is None:
        raise NotRunnable(f'exec: "{command[0]}": executable file not found in the image or in $PATH')
    return [program, *mapped[1:]]


def working_folder(image: Image, container: Mapping[str, Any]) -> str:
    """The container's working directory, the image's root by default.

    :raises NotRunnable: the image has no such folder
    """
    wanted = inside(image, container.get("workingDir") or "/")
    if not wanted.is_dir():
        raise NotRunnable(f"workingDir {container['workingDir']} is not in the image")
    return str(wanted)


def memory_limit(container: Mapping[str, Any]) -> int | None:
    """Bytes the container may use, None without a limit."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else int(quantity(limit))


def check_not_root(pod: Mapping[str, Any], container: Mapping[str, Any]) -> None:
    """Refuse what kubelet refuses too: ``runAsNonRoot`` together with ``runAsUser: 0``.

    :raises ConfigProblem: in kubelet's words
    """
    context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    if context.get("runAsNonRoot") and context.get("runAsUser") == 0:
        raise ConfigProblem("container's runAsUser breaks non-root policy")
