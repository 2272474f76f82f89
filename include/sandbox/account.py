"""The account Stellwerk acts under: ``deploy/rbac.yaml`` in an application's namespace, and a kubeconfig of it.

Demo and tests give Airflow this one, never the administrator's: what the account lacks fails here first.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes import client, config, utils

from include.sandbox.processes import wait_until

RBAC_FILE: Final = Path(__file__).resolve().parents[2] / "deploy" / "rbac.yaml"
ACCOUNT: Final = "stellwerk"
TOKEN_SECONDS: Final = 24 * 3600
_WRITTEN_FOR: Final = "namespace: production"
_EFFECTIVE_SECONDS: Final = 30.0

Document = dict[str, Any]


def documents(namespace: str) -> list[Document]:
    """The objects of ``deploy/rbac.yaml`` for a namespace."""
    text = RBAC_FILE.read_text().replace(_WRITTEN_FOR, f"namespace: {namespace}")
    return list(yaml.safe_load_all(text))


def role(objects: Sequence[Document]) -> Document:
    """The Role among them."""
    (only,) = (one for one in objects if one["kind"] == "Role")
    return only


def user_name(namespace: str) -> str:
    """What the API server calls the account."""
    return f"system:serviceaccount:{namespace}:{ACCOUNT}"


def create_account(
    admin: Path, namespace: str, target: Path, *, objects: Sequence[Document] | None = None
) -> Path:
    """Create the account in a namespace that has none, and write a kubeconfig with a token of it.

    The token ends after a day.

    :param admin: kubeconfig of an administrator
    :param target: file to write, readable by this user alone
    :param objects: instead of those of ``deploy/rbac.yaml``
    :return: ``target``
    :raises SandboxError: the cluster does not honour the Role in time
    """
    objects = documents(namespace) if objects is None else objects
    with config.new_client_from_config(config_file=str(admin)) as api:
        for one in objects:
            utils.create_from_dict(api, one)
        request = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
        name = objects[0]["metadata"]["name"]
        answer = client.CoreV1Api(api).create_namespaced_service_account_token(name, namespace, request)
        token, settings = answer.status.token, api.configuration
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        target.write_text(yaml.safe_dump(_kubeconfig(settings, namespace, token)))
    rules = role(objects)["rules"]
    wait_until(
        lambda: _may(target, namespace, rules[0]), deadline_seconds=_EFFECTIVE_SECONDS, what="the Role counts"
    )
    return target


def _kubeconfig(settings: Any, namespace: str, token: str) -> Document:
    cluster: Document = {"server": settings.host}
    if settings.ssl_ca_cert:
        authority = Path(settings.ssl_ca_cert).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    if not settings.verify_ssl:
        cluster["insecure-skip-tls-verify"] = True
    context = {"cluster": "cluster", "user": ACCOUNT, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": ACCOUNT, "context": context}],
        "current-context": ACCOUNT,
    }


def _may(kubeconfig: Path, namespace: str, rule: Document) -> bool:
    attributes = {
        "namespace": namespace,
        "group": rule["apiGroups"][0],
        "resource": rule["resources"][0],
        "verb": rule["verbs"][0],
    }
    review = {"spec": {"resourceAttributes": attributes}}
    with config.new_client_from_config(config_file=str(kubeconfig)) as api:
        return bool(client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed)
