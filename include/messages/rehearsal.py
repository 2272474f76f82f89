"""What the rehearsal of a release has shown, as the announcement tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Finding:
    """Something that was found; ``severity`` in the words of who found it."""

    severity: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """Where more is to be read."""

    title: str
    url: str


@dataclass(frozen=True)
class RehearsalOutcome:
    """How the rehearsal ended, what was found, and where that is written.

    :param fingerprint: of the evidence
    """

    result: Literal["passed", "failed"]
    findings: tuple[Finding, ...] = ()
    links: tuple[Evidence, ...] = ()
    fingerprint: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        """For the ledger entry."""
        return {
            "result": self.result,
            "findings": [asdict(one) for one in self.findings],
            "links": [asdict(one) for one in self.links],
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """What a ledger entry tells; whatever else stands in it is left out.

        :raises ValueError: it does not say how the rehearsal ended
        """
        result = payload.get("result")
        if result not in ("passed", "failed"):
            raise ValueError(f"result is {result!r}, neither passed nor failed")
        findings = _mappings(payload, "findings", "text")
        links = _mappings(payload, "links", "title", "url")
        return cls(
            result,
            tuple(Finding(str(one.get("severity", "")), str(one["text"])) for one in findings),
            tuple(Evidence(str(one["title"]), str(one["url"])) for one in links),
            str(payload.get("fingerprint") or ""),
        )


def _mappings(payload: Mapping[str, Any], name: str, *needed: str) -> list[Mapping[str, Any]]:
    found = payload.get(name)
    some = found if isinstance(found, list) else []
    return [one for one in some if isinstance(one, Mapping) and all(one.get(part) for part in needed)]
