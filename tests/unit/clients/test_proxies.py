"""Proxies of the environment: who is asked through one, and that nobody looks for it at every request."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration

from include.clients.kubernetes import Cluster
from include.clients.kubernetes.transport import settle_proxy
from include.clients.proxies import proxy_for
from tests.unit.clients.api_server import serving

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_proxy_stands_before_what_its_scheme_and_exceptions_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://erp.example.com") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,.intern")
    assert proxy_for("https://erp.example.com/login") == "http://proxy.example.com:3128"
    assert proxy_for("http://erp.example.com") is None
    assert proxy_for("https://api.intern:6443") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    assert proxy_for("https://erp.example.com") == "http://proxy.example.com:3128"


def test_an_exception_may_name_a_port_and_all_proxy_is_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example.com:3128")
    assert proxy_for("https://erp.example.com") is None
    assert proxy_for("https://erp.example.com", any_scheme=True) == "http://proxy.example.com:3128"
    monkeypatch.setenv("NO_PROXY", "erp.example.com:8443")
    assert proxy_for("https://erp.example.com:8443", any_scheme=True) is None
    assert proxy_for("https://erp.example.com:9443", any_scheme=True)
    assert proxy_for("https://[::1", any_scheme=True) is None, "no address at all"


async def test_the_api_server_is_asked_with_the_token_whatever_a_netrc_file_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response({"gitVersion": "v1.34.4"})

    async with serving(answer) as url:
        configuration = Configuration(host=url)
        configuration.api_key = {"BearerToken": "Bearer of-the-kubeconfig"}
        async with ApiClient(configuration) as api:
            settle_proxy(api)
            assert not api.rest_client.pool_manager.trust_env
            assert await Cluster(api, "production").server_version() == "v1.34.4"
    assert seen == ["Bearer of-the-kubeconfig"]


async def test_an_api_server_behind_a_proxy_is_asked_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def proxy(request: web.Request) -> web.StreamResponse:
        return web.json_response({"gitVersion": f"of {request.host}"})

    async with serving(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        async with ApiClient(Configuration(host="http://api.example.com")) as api:
            settle_proxy(api)
            assert await Cluster(api, "production").server_version() == "of api.example.com"
