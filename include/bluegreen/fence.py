"""The annotations on the traffic Service: whose release it is, and which switch was the last.

The release id is the fence: a run whose id is no longer there moves nothing. The last switch is the memory that
outlives every process: it says that a release has been cut over already, and it changes with every switch, so a
patch that tests it cannot mistake "there and back again" for "nothing happened".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from include.bluegreen.slots import Slot
from include.bluegreen.state import ServiceState

RELEASE_ID: Final = "stellwerk.io/release-id"
LAST_SWITCH: Final = "stellwerk.io/last-switch"

Direction = Literal["forward", "back"]


@dataclass(frozen=True)
class LastSwitch:
    """What the ``last-switch`` annotation tells; ``by`` is a person or a process, ``release`` a release id."""

    to: Slot
    by: str
    reason: str
    at: datetime
    release: str
    direction: Direction

    def encode(self) -> str:
        """The annotation's value."""
        content = {
            "to": self.to,
            "by": self.by,
            "reason": self.reason,
            "at": self.at.astimezone(UTC).isoformat(),
            "release": self.release,
            "direction": self.direction,
        }
        return annotation_text(content)


def annotation_text(content: Mapping[str, Any]) -> str:
    """JSON for an annotation, in characters that every encoder writes alike.

    The API server's ``test`` compares the *encoded* strings: what one encoder escapes and another does not
    (``<``, ``>``, ``&``, anything beyond ASCII) would make a patch fail against the very value that was read.
    """
    text = json.dumps(content, ensure_ascii=True, sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def annotation_path(key: str) -> str:
    """Where a JSON patch finds an annotation."""
    return "/metadata/annotations/" + escaped(key)


def escaped(key: str) -> str:
    """A key as a step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def release_id(service: ServiceState) -> str | None:
    """The release that holds the Service; None when it has never been claimed."""
    return service.annotations.get(RELEASE_ID)


def last_switch(service: ServiceState) -> LastSwitch | None:
    """The last switch Stellwerk made; None when there was none, or when the annotation cannot be read."""
    try:
        content = json.loads(service.annotations.get(LAST_SWITCH, ""))
        return _decoded(content)
    except (ValueError, KeyError, TypeError):
        return None


def _decoded(content: Mapping[str, str]) -> LastSwitch:
    to, direction = content["to"], content["direction"]
    if to not in ("blue", "green") or direction not in ("forward", "back"):
        raise ValueError("not written by Stellwerk")
    at = datetime.fromisoformat(content["at"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return LastSwitch(
        to=to,  # type: ignore[arg-type]  # checked above
        by=str(content["by"]),
        reason=str(content["reason"]),
        at=at,
        release=str(content["release"]),
        direction=direction,  # type: ignore[arg-type]  # checked above
    )
