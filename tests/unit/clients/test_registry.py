"""What a registry is asked, what is never sent to it, and what its answers mean."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import httpx
import pytest

from include.clients.registry import Registry, split
from include.errors import RegistryRefused, RegistryUnreachable, StellwerkError, TagMissing
from include.plan.models import ImageRef

MANIFEST = b'{"schemaVersion":2}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
IMAGE = ImageRef(repository="registry.example.com/team/erp", tag="3.0.0")
REGISTRY = Registry("registry.example.com", login="puller", password="secret")

Answer = Callable[[httpx.Request], httpx.Response]


def ask(answer: Answer, registry: Registry = REGISTRY, image: ImageRef = IMAGE) -> str:
    return asyncio.run(registry.digest(image, transport=httpx.MockTransport(answer)))


def shown(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=MANIFEST)


@pytest.mark.parametrize(
    ("repository", "host", "name"),
    [
        ("erp", "docker.io", "library/erp"),
        ("valeo/erp", "docker.io", "valeo/erp"),
        ("docker.io/erp", "docker.io", "library/erp"),
        ("localhost/erp", "localhost", "erp"),
        ("127.0.0.1:5000/erp", "127.0.0.1:5000", "erp"),
        ("registry.example.com/team/erp", "registry.example.com", "team/erp"),
    ],
)
def test_a_repository_names_its_registry_as_for_container_runtimes(repository: str, host: str, name: str) -> None:
    assert split(repository) == (host, name)


def test_docker_hub_is_asked_where_its_api_is() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return shown(request)

    assert ask(answer, Registry("docker.io"), ImageRef(repository="valeo/erp", tag="1")) == DIGEST
    assert asked == ["https://registry-1.docker.io/v2/valeo/erp/manifests/1"]


def test_no_password_is_sent_unasked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers
        assert "application/vnd.oci.image.index.v1+json" in request.headers["Accept"]
        return shown(request)

    assert ask(answer) == DIGEST


def test_basic_authentication_when_the_registry_wants_it() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="registry"'})
        assert request.headers["Authorization"] == "Basic cHVsbGVyOnNlY3JldA=="
        return shown(request)

    assert ask(answer) == DIGEST


def test_a_token_for_this_repository_and_for_pulling_only() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example.com":
            assert dict(request.url.params) == {"service": "reg", "scope": "repository:team/erp:pull"}
            assert request.headers["Authorization"].startswith("Basic ")
            return httpx.Response(200, json={"access_token": "t0"})
        if request.headers.get("Authorization") == "Bearer t0":
            return shown(request)
        realm = 'Bearer realm="https://auth.example.com/token",service="reg",scope="repository:*:*"'
        return httpx.Response(401, headers={"WWW-Authenticate": realm})

    assert ask(answer) == DIGEST


@pytest.mark.parametrize(
    "token", [httpx.Response(403), httpx.Response(200, content=b"<"), httpx.Response(200, json=[])]
)
def test_no_token_is_a_refusal(token: httpx.Response) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example.com":
            return token
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token"'})

    with pytest.raises(RegistryRefused, match="HTTP 401"):
        ask(answer)


def test_a_password_is_not_carried_to_a_token_server_in_the_clear() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "registry.example.com"
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="http://auth.example.com/token"'})

    with pytest.raises(RegistryRefused):
        ask(answer)


def test_nor_to_a_registry() -> None:
    plain = Registry("registry.example.com", "http", "puller", "secret")
    with pytest.raises(RegistryRefused, match="in the clear"):
        ask(shown, plain)
    assert ask(shown, Registry("registry.example.com", "http")) == DIGEST
    here = ImageRef(repository="127.0.0.1:5000/erp", tag="1")
    assert ask(shown, Registry("127.0.0.1:5000", "http", "puller", "secret"), here) == DIGEST


def test_another_registrys_image_is_not_asked_for() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError("asked")

    with pytest.raises(RegistryRefused, match=r"docker\.io") as refused:
        ask(answer, image=ImageRef(repository="valeo/erp", tag="1"))
    assert "secret" not in str(refused.value) + repr(REGISTRY)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(404), TagMissing),
        (httpx.Response(403), RegistryRefused),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), RegistryRefused),
        (httpx.Response(429), RegistryUnreachable),
        (httpx.Response(503), RegistryUnreachable),
        (
            httpx.Response(200, content=MANIFEST, headers={"Docker-Content-Digest": "sha256:0"}),
            RegistryUnreachable,
        ),
        (httpx.Response(200, content=b"x" * ((4 << 20) + 1)), RegistryUnreachable),
    ],
)
def test_what_other_answers_mean(answer: httpx.Response, error: type[StellwerkError]) -> None:
    with pytest.raises(error) as raised:
        ask(lambda _: answer)
    assert raised.value.retryable == (error is RegistryUnreachable)
    assert raised.value.remedy


def test_no_answer_can_be_retried() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("too slow")

    with pytest.raises(RegistryUnreachable, match="too slow"):
        ask(answer)
