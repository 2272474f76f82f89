"""What the load generator writes down: one line of JSON for every request, every stream, and the run itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any, Literal, TextIO

from include.errors import SandboxError

Kind = Literal["fresh", "keep-alive"]
StreamEnd = Literal["clean", "cut", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. Times are seconds since the epoch; ``status`` is None when there was no answer.

    :param planned_at: when the arrival rate wanted it; latency is counted from here
    :param done_at: when the answer was complete, or when it was given up
    :param error: why there was no answer: ``timeout``, ``refused``, ``reset``, ``closed``, ``malformed``, …
    """

    kind: Kind
    method: str
    path: str
    planned_at: float
    sent_at: float
    done_at: float
    status: int | None
    error: str | None
    slot: str
    version: str
    pod: str


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One event stream from its opening to its end.

    :param end: ``clean`` (ended by the server as HTTP says), ``cut`` (without an end), ``refused`` (never
        opened), ``stopped`` (by the generator, at the end of the run)
    """

    client: int
    opened_at: float
    ended_at: float
    status: int | None
    end: StreamEnd
    error: str | None
    events: int
    slot: str
    version: str


@dataclass(frozen=True)
class Recording:
    """A run read back; ``finished`` is False when its last line is missing."""

    requests: tuple[RequestRecord, ...]
    streams: tuple[StreamRecord, ...]
    planned: int
    finished: bool


class Recorder:
    """Writes records; buffered, so that writing costs the run little."""

    def __init__(self, out: TextIO | TextIOBase) -> None:
        self._out = out
        self._lines: list[str] = []

    def begin(self, settings: Mapping[str, object]) -> None:
        """The first line: what the run was told."""
        self._add({"record": "begin", **settings})

    def request(self, record: RequestRecord) -> None:
        """Note a request."""
        self._add({"record": "request", **_rounded(asdict(record))})

    def stream(self, record: StreamRecord) -> None:
        """Note a stream that has ended."""
        self._add({"record": "stream", **_rounded(asdict(record))})

    def end(self, planned: int) -> None:
        """The last line, which proves that nothing before it is missing; writes everything."""
        self._add({"record": "end", "planned": planned})
        self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        if self._lines:
            self._out.write("\n".join(self._lines) + "\n")
            self._lines.clear()
        self._out.flush()

    def _add(self, document: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(document, separators=(",", ":")))


def read(path: Path) -> Recording:
    """Read a run's file; of a run that still writes, what is there so far.

    :raises SandboxError: not such a file
    """
    requests: list[RequestRecord] = []
    streams: list[StreamRecord] = []
    planned, finished = 0, False
    if not path.is_file():
        raise SandboxError(f"no record of a load run at {path}")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                break  # being written at this moment
            try:
                document = json.loads(line)
                kind = document.pop("record")
                if kind == "request":
                    requests.append(RequestRecord(**document))
                elif kind == "stream":
                    streams.append(StreamRecord(**document))
                elif kind == "end":
                    planned, finished = int(document["planned"]), True
            except (ValueError, TypeError, KeyError, AttributeError):
                raise SandboxError(f"{path} line {number} is no record of a load run", seen=line[:200]) from None
    return Recording(tuple(requests), tuple(streams), planned, finished)


def _rounded(document: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in document.items()}
