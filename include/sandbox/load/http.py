"""A small HTTP/1.1 client on bare sockets: says exactly how an exchange failed, and costs little.

A library would hide what is to be counted: retries, reconnects, requests lost to a closing connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from include.errors import SandboxError

_LINE_BYTES = 64 * 1024


class Lost(Exception):
    """There was no usable answer; ``reason`` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Target:
        """``http://host[:port]``.

        :raises SandboxError: not such a URL
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"}:
            raise SandboxError(f"cannot send load to {url!r}", expected="http://host:port")
        return cls(parts.hostname, parts.port or 80)


@dataclass(frozen=True)
class Answer:
    """An answer's head and whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One TCP connection, used by one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._kept = True

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect.

        :raises Lost: refused or failed
        """
        try:
            reader, writer = await asyncio.open_connection(target.host, target.port, limit=_LINE_BYTES)
        except ConnectionRefusedError:
            raise Lost("refused") from None
        except OSError as error:
            raise Lost(type(error).__name__) from None
        return cls(reader, writer)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the server neither said it would close nor did."""
        return self._kept and not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its whole answer.

        :raises Lost: no complete answer came
        """
        with _losses():
            self._writer.write(request)
            status, headers = await self._head()
            body = b"".join([part async for part in self._body(status, headers)])
        return Answer(status, headers, body)

    async def stream(self, request: bytes) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        """Send a request and read its head; the body comes in parts and raises ``Lost`` when it is cut.

        :raises Lost: no head came
        """
        with _losses():
            self._writer.write(request)
            status, headers = await self._head()
        return status, headers, self._parts(status, headers)

    def close(self) -> None:
        """Close; does not wait."""
        self._kept = False
        self._writer.close()

    async def _parts(self, status: int, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        with _losses():
            async for part in self._body(status, headers):
                yield part

    async def _head(self) -> tuple[int, dict[str, str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("connection", "").lower() == "close":
            self._kept = False
        return int(first.split(" ", 2)[1]), headers

    async def _body(self, status: int, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        if "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
        elif "chunked" in headers.get("transfer-encoding", ""):
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readuntil(b"\r\n")
        elif status not in {204, 304}:
            self._kept = False
            yield await self._reader.read()


@contextlib.contextmanager
def _losses() -> Iterator[None]:
    try:
        yield
    except asyncio.IncompleteReadError:
        raise Lost("closed") from None
    except ConnectionError:
        raise Lost("reset") from None
    except OSError as error:
        raise Lost(type(error).__name__) from None
    except (ValueError, IndexError, asyncio.LimitOverrunError):
        raise Lost("malformed") from None


def compose(target: Target, method: str, path: str, *, body: bytes = b"", close: bool = False) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.host}:{target.port}", "User-Agent: stellwerk-load"]
    if close:
        lines.append("Connection: close")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
