"""Owns reading what pods refer to: ConfigMaps, Secrets and the service account's token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import ClusterRefused
from include.sandbox.node.api import Api, JsonObject
from include.sandbox.node.env import ConfigProblem, Sources, decode_secret
from include.sandbox.node.refusals import is_token_volume


async def _optional(api: Api, path: str) -> JsonObject | None:
    try:
        return await api.get(path)
    except ClusterRefused as problem:
        if problem.status in (403, 404):  # a node may not read what is not there
            return None
        raise


async def read(api: Api, namespace: str, config_maps: Iterable[str], secrets: Iterable[str]) -> Sources:
    """These objects' data, None for each that does not exist.

    :raises ClusterError: when the API server cannot be asked
    """

    async def one(kind: str, name: str) -> JsonObject | None:
        return await _optional(api, f"/api/v1/namespaces/{namespace}/{kind}/{name}")

    maps, hidden = sorted(config_maps), sorted(secrets)
    found = await asyncio.gather(*(one("configmaps", m) for m in maps), *(one("secrets", s) for s in hidden))
    texts = dict(zip(maps, found, strict=False))
    coded = dict(zip(hidden, found[len(maps) :], strict=True))
    return Sources(
        config_maps={name: None if item is None else dict(item.get("data") or {}) for name, item in texts.items()},
        secrets={name: None if item is None else decode_secret(item) for name, item in coded.items()},
    )


@dataclass(frozen=True)
class TokenVolume:
    """The projected volume of a pod's service account."""

    account: str
    seconds: int
    token_file: str


def token_volume(pod: Mapping[str, Any]) -> TokenVolume | None:
    """What the pod's token volume asks for, None when it has none."""
    for volume in pod["spec"].get("volumes") or []:
        if not is_token_volume(volume):
            continue
        for source in volume["projected"].get("sources") or []:
            if token := source.get("serviceAccountToken"):
                account = pod["spec"].get("serviceAccountName") or "default"
                return TokenVolume(account, int(token.get("expirationSeconds") or 3600), token["path"])
    return None


async def write_token(api: Api, pod: Mapping[str, Any], volume: TokenVolume, folder: Path) -> None:
    """Put token, ca.crt and namespace into ``folder``, each replaced at once.

    :raises ConfigProblem: when the cluster's certificate has not been published yet
    :raises ClusterError: when the API server refuses the token
    """
    metadata = pod["metadata"]
    namespace = metadata["namespace"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": volume.seconds, "boundObjectRef": bound},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{volume.account}/token"
    answer, sources = await asyncio.gather(api.post(path, request), read(api, namespace, ["kube-root-ca.crt"], []))
    authority = sources.config_maps["kube-root-ca.crt"]
    if authority is None:
        raise ConfigProblem('configmap "kube-root-ca.crt" not found')
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = {
        volume.token_file: answer["status"]["token"],
        "ca.crt": authority.get("ca.crt", ""),
        "namespace": namespace,
    }
    for name, text in contents.items():
        draft = folder / f".{name}"
        draft.touch(mode=0o600)
        draft.write_text(text)
        draft.replace(folder / name)
