"""What a tag means right now, asked of the registry that the image comes from.

Source of the protocol: OCI Distribution Specification 1.1, and Docker's token authentication for registries.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

from include.errors import RegistryRefused, RegistryUnreachable, TagMissing
from include.plan.models import ImageRef

_MANIFESTS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_LONGEST_BYTES: Final = 4 << 20  # what the specification obliges registries to accept
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


@dataclass(frozen=True)
class Registry:
    """Access to one registry; nothing is ever sent to another.

    :param host: as image names spell it, with the port: ``registry.example.com``, ``docker.io``
    :param scheme: ``https``, or ``http`` for a registry without TLS (a password is then sent to loopback only)
    """

    host: str
    scheme: str = "https"
    login: str = ""
    password: str = field(default="", repr=False)
    timeout_seconds: float = 10.0

    async def digest(self, image: ImageRef, *, transport: httpx.AsyncBaseTransport | None = None) -> str:
        """Return ``sha256:…`` of what the image's tag means now, computed over the manifest itself.

        :raises TagMissing: the registry knows no such tag
        :raises RegistryRefused: it is another registry's image, or this one does not let us look
        :raises RegistryUnreachable: no answer, or none that can be used (a retry can help)
        """
        host, name = split(image.repository)
        if host != self.host:
            raise RegistryRefused(
                f"the image {image.reference} does not come from the registry {self.host}",
                expected=f"a connection for {host}",
                seen=f"one for {self.host}",
                remedy="correct `connections.registry` of the environment, or pin image.digest in the release",
            )
        if self.password and self.scheme != "https" and not _LOOPBACK.fullmatch(self.host):
            raise RegistryRefused(
                f"a password would cross the network in the clear to {self.host}",
                expected="https",
                seen=self.scheme,
                remedy="use https, or a connection without a password",
            )
        api = _DOCKER_HUB_API if host == _DOCKER_HUB else host
        url = f"{self.scheme}://{api}/v2/{name}/manifests/{image.tag}"
        try:
            # No proxy and no netrc of the environment: what is asked is asked of this registry.
            async with httpx.AsyncClient(
                timeout=self.timeout_seconds, transport=transport, trust_env=False
            ) as client:
                answer = await self._asked(client, url, name)
        except httpx.HTTPError as error:
            raise self._unusable(image, f"{type(error).__name__}: {error}") from error
        return self._read(image, answer)

    async def _asked(self, client: httpx.AsyncClient, url: str, name: str) -> httpx.Response:
        headers = {"Accept": _MANIFESTS}
        answer = await client.get(url, headers=headers)
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            return answer
        challenge = answer.headers.get("WWW-Authenticate", "")
        kind = challenge.partition(" ")[0].lower()
        if kind == "basic" and self.password:
            return await client.get(url, headers=headers, auth=(self.login, self.password))
        if kind == "bearer" and (token := await self._token(client, challenge, name)):
            return await client.get(url, headers={**headers, "Authorization": f"Bearer {token}"})
        return answer

    async def _token(self, client: httpx.AsyncClient, challenge: str, name: str) -> str:
        """A token from where the registry sends us; asked for this repository and for pulling, nothing else."""
        fields = dict(_CHALLENGE.findall(challenge))
        realm = fields.get("realm", "")
        place = urlsplit(realm)
        if place.scheme != "https" and not _LOOPBACK.fullmatch(place.netloc):
            return ""
        wanted = {"scope": f"repository:{name}:pull"}
        if service := fields.get("service"):
            wanted["service"] = service
        auth = (self.login, self.password) if self.password else None
        answer = await client.get(realm, params=wanted, auth=auth)
        if answer.status_code != httpx.codes.OK:
            return ""
        try:
            body = answer.json()
        except ValueError:
            return ""
        token = body.get("token") or body.get("access_token") if isinstance(body, dict) else None
        return token if isinstance(token, str) else ""

    def _read(self, image: ImageRef, answer: httpx.Response) -> str:
        status = answer.status_code
        if status == httpx.codes.NOT_FOUND:
            raise TagMissing(
                f"the registry {self.host} has no image {image.repository}:{image.tag}",
                expected="the image of the release",
                seen="404",
                remedy="push the image, or correct repository and tag of the release file",
            )
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._unusable(image, f"HTTP {status}")
        if status != httpx.codes.OK:
            raise RegistryRefused(
                f"the registry {self.host} does not show {image.repository}:{image.tag}",
                expected="200",
                seen=f"HTTP {status}",
                remedy="give the connection named by `connections.registry` a login that may pull the image",
            )
        if len(answer.content) > _LONGEST_BYTES:
            raise self._unusable(image, f"a manifest of {len(answer.content)} bytes")
        digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        said = answer.headers.get("Docker-Content-Digest", digest)
        if said != digest:
            raise self._unusable(image, f"{said} said, {digest} sent")
        return digest

    def _unusable(self, image: ImageRef, seen: str) -> RegistryUnreachable:
        return RegistryUnreachable(
            f"the registry {self.host} does not say what {image.repository}:{image.tag} is",
            expected="the image's manifest",
            seen=seen,
            remedy="retry; or pin image.digest in the release file, then nobody has to be asked",
        )


def split(repository: str) -> tuple[str, str]:
    """Split a repository into registry and name as container runtimes do; without a host it is Docker Hub's."""
    first, slash, rest = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, name = first, rest
    else:
        host, name = _DOCKER_HUB, repository
    if host == _DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    return host, name
