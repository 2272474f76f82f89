"""Every address of staging is asked; what does not answer is named with the remedy."""

from __future__ import annotations

import pytest

from include.clients.urls import UrlResult
from include.errors import VerificationFailed
from include.plan.staging import UrlCheck
from include.steps.staging import urls
from include.steps.staging.entries import URLS_VERIFIED
from include.steps.staging.urls import addresses, verify_urls
from tests.unit.steps.staging.rehearsals import a_ledger, a_run


def test_the_backend_is_asked_beside_what_the_plan_names() -> None:
    found = addresses(a_run().environment)
    assert list(found) == ["backend", "frontend", "keycloak"]
    assert (found["backend"].url, found["backend"].path) == ("http://localhost:8001", "/healthz")


class Web:
    """Answers, and which of them comes at the how-manyth time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *broken: str, until: int = 1000) -> None:
        self.broken, self.until, self.asked = set(broken), until, 0
        monkeypatch.setattr(urls, "ask", self.ask)
        monkeypatch.setattr(urls, "_AGAIN_SECONDS", 0.0)

    async def ask(self, name: str, check: UrlCheck) -> UrlResult:
        self.asked += name == "backend"
        problem = "no connection" if name in self.broken and self.asked < self.until else ""
        return UrlResult(name, check.url, None if problem else 200, check.url, 0.1, problem)


async def test_all_of_them_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    Web(monkeypatch)
    ledger = a_ledger()
    found = await verify_urls(a_run(), ledger)
    [entry] = ledger.entries(kinds=(URLS_VERIFIED,))
    assert entry.payload == found
    assert (found["ok"], len(found["results"]), found["failed"]) == (True, 3, [])


async def test_what_does_not_answer_is_named_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Web(monkeypatch, "keycloak", "frontend")
    ledger = a_ledger()
    with pytest.raises(VerificationFailed, match=r"2 of 3 addresses of staging .*: frontend, keycloak") as failed:
        await verify_urls(a_run(), ledger, patience_seconds=0.0)
    assert "clear this task alone" in failed.value.remedy
    web.broken.clear()
    assert (await verify_urls(a_run(), ledger))["ok"]
    first = ledger.entries(kinds=(URLS_VERIFIED,))[0].payload
    assert [told.split(":")[0] for told in first["failed"]] == ["frontend", "keycloak"]
    assert [entry.payload["ok"] for entry in ledger.entries(kinds=(URLS_VERIFIED,))] == [False, True]


async def test_it_is_patient_with_what_is_only_late(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Web(monkeypatch, "keycloak", until=3)
    assert (await verify_urls(a_run(), a_ledger()))["ok"]
    assert web.asked == 3
