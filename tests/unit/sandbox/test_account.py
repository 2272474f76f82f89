"""The shipped Role: what it must never hold, and how it comes into a namespace."""

from __future__ import annotations

import re

import pytest

from include.sandbox.account import RBAC_FILE, documents, role, user_name


def rules() -> list[dict[str, list[str]]]:
    return list(role(documents("production"))["rules"])


def test_every_object_and_the_binding_name_the_namespace() -> None:
    objects = documents("elsewhere")
    assert [one["kind"] for one in objects] == ["ServiceAccount", "Role", "RoleBinding"]
    assert {one["metadata"]["namespace"] for one in objects} == {"elsewhere"}
    (subject,) = objects[2]["subjects"]
    assert user_name("elsewhere") == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    assert objects[2]["roleRef"]["name"] == objects[1]["metadata"]["name"]


@pytest.mark.parametrize("part", ["apiGroups", "resources", "verbs"])
def test_there_are_no_wildcards(part: str) -> None:
    assert all(rule[part] and "*" not in "".join(rule[part]) for rule in rules())


def test_no_right_is_written_twice_and_none_leads_to_more_rights() -> None:
    kinds = [(group, kind) for rule in rules() for group in rule["apiGroups"] for kind in rule["resources"]]
    assert len(kinds) == len(set(kinds))
    verbs = {verb for rule in rules() for verb in rule["verbs"]}
    assert verbs <= {"get", "list", "watch", "create", "update", "patch", "delete"}
    resources = {kind for _, kind in kinds}
    assert not resources & {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"}
    assert "rbac.authorization.k8s.io" not in {group for group, _ in kinds}


def test_every_rule_says_who_needs_it() -> None:
    said = re.findall(r"((?:^  # .*\n)*)^  - apiGroups:", RBAC_FILE.read_text(), flags=re.MULTILINE)
    assert len(said) == len(rules())
    assert [comment for comment in said if not re.search(r"# (Stellwerk|Helm): ", comment)] == []
