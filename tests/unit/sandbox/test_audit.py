"""Which rights a line of the audit log stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.sandbox.audit import Access, read

USER = "system:serviceaccount:production:stellwerk"


def event(verb: str, code: int, *, user: str = USER, **object_ref: str) -> dict[str, Any]:
    return {
        "verb": verb,
        "user": {"username": user},
        "requestURI": "/x",
        "objectRef": object_ref,
        "responseStatus": {"code": code},
    }


def needs(tmp_path: Path, *events: dict[str, Any]) -> list[tuple[Access, ...]]:
    log = tmp_path / "audit.log"
    log.write_text("".join(f"{json.dumps(one)}\n" for one in events))
    return [one.needs for one in read(log, USER)]


def test_the_words_are_those_of_a_role(tmp_path: Path) -> None:
    scale = event("patch", 200, apiGroup="apps", resource="deployments", subresource="scale", namespace="n")
    core = event("list", 200, resource="pods", namespace="n")
    assert needs(tmp_path, scale, core) == [
        (Access("apps", "deployments/scale", "patch"),),
        (Access("", "pods", "list"),),
    ]


def test_a_patch_that_creates_took_both_rights(tmp_path: Path) -> None:
    (found,) = needs(tmp_path, event("patch", 201, resource="services", namespace="n"))
    assert [one.verb for one in found] == ["patch", "create"]


def test_others_and_discovery_are_left_out(tmp_path: Path) -> None:
    discovery = {"verb": "get", "user": {"username": USER}, "requestURI": "/apis"}
    assert needs(tmp_path, discovery, event("get", 200, user="somebody", resource="pods")) == []


def test_a_refusal_is_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text("".join(f"{json.dumps(event('get', code, resource='pods'))}\n" for code in (200, 403, 404)))
    assert [one.refused for one in read(log, USER)] == [False, True, False]
