"""One run of helm: never left behind, never killed while it could still end cleanly.

SIGTERM lets helm mark its release ``failed``; SIGKILL leaves it ``pending`` and in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from include.clients import child
from include.clients.child import Finished, signal_group
from include.errors import HelmUnusable

__all__ = ["Finished", "run", "signal_group"]


async def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes | None = None,
    grace_seconds: float = 20.0,
    started: Callable[[int], None] = lambda _: None,
) -> Finished:
    """Run helm as :func:`include.clients.child.run` does.

    :raises HelmUnusable: the binary cannot be started
    """
    try:
        return await child.run(
            argv, environment=environment, stdin=stdin, grace_seconds=grace_seconds, started=started
        )
    except OSError as error:
        raise HelmUnusable(
            f"{argv[0]} cannot be started",
            expected="an executable helm 3 or 4",
            seen=str(error),
            remedy="install helm on this worker, or correct the path",
        ) from error
