"""Where a Prometheus is and who asks it."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import httpx

from include.errors import MetricsRefused

_LOOPBACK: Final = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


@dataclass(frozen=True)
class Access:
    """Address and credentials; equal ones share one client.

    :param url: ``https://prometheus.example.com``, with the path it is served under if there is one
    :param login: of basic authentication; empty with a ``secret`` makes that a bearer token
    :param secret: password or token; it is sent over https or to this machine, and is in no message
    :param ca_file: certificates that are trusted instead of the machine's
    :param verify: False accepts every certificate, which whoever sets up the connection has to ask for
    :param timeout_seconds: what one question may take in all, waiting for its turn included
    :param together: how many questions are asked at a time by one process; Prometheus computes 20 together by
        default, those behind a slow store want more
    """

    url: str
    login: str = ""
    secret: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True
    timeout_seconds: float = 5.0
    together: int = 20

    def __post_init__(self) -> None:
        """:raises MetricsRefused: an address that cannot be asked, or one that would give the secret away"""
        problem = self._problem()
        if problem:
            raise MetricsRefused(
                "the Prometheus connection cannot be used",
                expected="an address like https://prometheus.example.com without credentials in it",
                seen=problem,
                remedy="correct the connection that connections.prometheus of the environment names",
            )

    def _problem(self) -> str:
        try:
            place = urlsplit(self.url)
            _ = place.port
        except ValueError:
            return "no URL"
        if place.scheme not in ("http", "https") or not place.hostname:
            return "no http(s) URL"
        if place.username or place.password:
            return "credentials in the URL, where every log would show them"
        if place.query or place.fragment:
            return "a URL with a query or a fragment"
        if self.secret and place.scheme != "https" and not _LOOPBACK.fullmatch(place.hostname):
            return "credentials that would cross the network in the clear: use https"
        if not (self.secret + self.login).isprintable():
            return "credentials with a line break or another control character in them"
        return ""

    @property
    def headers(self) -> Mapping[str, str]:
        """What proves who asks."""
        if not self.secret:
            return {}
        if not self.login:
            return {"Authorization": f"Bearer {self.secret}"}
        pair = base64.b64encode(f"{self.login}:{self.secret}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def hidden(self, body: bytes) -> bytes:
        """A text without the credentials."""
        proof = self.headers.get("Authorization", "").partition(" ")[2]
        for secret in filter(None, (self.secret, proof)):
            body = body.replace(secret.encode(), b"***")
        return body

    def trust(self) -> ssl.SSLContext | bool:
        """What the server's certificate is checked against.

        :raises MetricsRefused: the file of certificates cannot be read
        """
        if not self.url.startswith("https"):
            return False
        try:
            return _trust(self.ca_file, verify=self.verify)
        except (OSError, ssl.SSLError) as error:
            raise MetricsRefused(
                "the certificates for Prometheus cannot be read",
                expected=f"PEM certificates in {self.ca_file}",
                seen=f"{type(error).__name__}: {error}",
                remedy="correct ca_file in the connection's extras",
            ) from error


@lru_cache(maxsize=32)
def _trust(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """Loading certificates takes longer than many questions; they are loaded once."""
    if ca_file and verify:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(verify=verify)
