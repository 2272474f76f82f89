"""Asking a Prometheus: what each answer means, what is never followed, sent or repeated."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
import pickle
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from aiohttp import web

from include.clients.prometheus import Access, Answer, Prometheus, shared
from include.errors import MetricsError, MetricsRefused, MetricsUnreachable, MetricsUnusable
from tests.unit.clients.api_server import close, serving
from tests.unit.clients.certificates import self_signed

URL = "https://prometheus.example.com/base"
SECRET = "s3cret-w0rd"
Handler = Callable[[httpx.Request], httpx.Response]


def answer(result: Any, kind: str = "vector", **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": result}, **more})


def sample(value: str, at: float = 5.0, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [at, value]}


def client(handler: Handler, **more: Any) -> Prometheus:
    return Prometheus(Access(URL, **{"secret": SECRET, **more}), transport=httpx.MockTransport(handler))


def ask(handler: Handler, **more: Any) -> Answer:
    return asyncio.run(client(handler).query("up", **more))


def test_a_vector_a_matrix_and_a_scalar_become_numbers():
    found = ask(lambda _: answer([sample("1.5", pod="a"), sample("NaN", pod="b"), sample("+Inf")]))
    assert (found.series[0].labels, found.series[0].samples) == ({"pod": "a"}, ((5.0, 1.5),))
    assert str(found.series[1].samples[0][1]) == "nan"
    assert found.series[2].samples[0][1] == float("inf")
    matrix = ask(lambda _: answer([{"metric": {"pod": "a"}, "values": [[1.5, "1"], [2.5, "2"]]}], "matrix"))
    assert matrix.series[0].samples == ((1.5, 1.0), (2.5, 2.0))
    assert ask(lambda _: answer([7, "3"], "scalar")).series[0].samples == ((7.0, 3.0),)
    assert ask(lambda _: answer([7, "text"], "string")).series == ()
    assert ask(lambda _: answer([])).series == ()


def matrix(*series: Any) -> Handler:
    return lambda _: answer(list(series), "matrix", warnings=["a part is missing"])


def test_the_newest_alone_is_what_the_whole_answer_ends_with():
    one = {"metric": {"pod": "a", "path": "/[1"}, "values": [[1.5, "1"], [2.5, "NaN"], [3.5, "+Inf"]]}
    two = {"metric": {}, "values": []}
    whole, newest = ask(matrix(one, two)), ask(matrix(one, two), newest=True)
    assert newest.series[0].samples == whole.series[0].samples[-1:] == ((3.5, float("inf")),)
    assert (newest.kind, newest.series[1].samples, newest.warnings) == ("matrix", (), ("a part is missing",))
    assert newest.series[0].labels == {"pod": "a", "path": "/[1"}
    assert ask(lambda _: answer([sample("1")]), newest=True).kind == "vector", "not what was asked for"


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (matrix({"metric": {}, "values": [[1, "many"]]}), "many"),
        (matrix({"metric": {}, "values": [[1]]}), "ValueError"),
        (lambda _: answer([{"metric": {}, "values": [[1, "2"]]}] * 4, "matrix"), "at most 3"),
        (lambda _: httpx.Response(200, text="<html>Sign in</html>"), "Sign in"),
        (lambda _: httpx.Response(200, json={"status": "error", "error": "no"}), "seen: no"),
    ],
)
def test_a_newest_that_cannot_be_read_says_why(handler: Handler, words: str) -> None:
    with pytest.raises(MetricsUnusable, match=words):
        ask(handler, newest=True, most_series=3)


async def test_questions_given_up_on_their_way_leave_every_connection_of_use() -> None:
    slow = True

    async def slowly(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"status":"success",', b" " * 50_000, b'"data":{"resultType":"vector","result":[]}}'):
            with contextlib.suppress(ConnectionError):
                await response.write(piece)
            await asyncio.sleep(0.01 if slow else 0)
        return response

    async with serving(slowly) as url:
        prometheus = Prometheus(Access(url))
        given_up = 0
        for number in range(120):
            try:
                await asyncio.gather(
                    *(prometheus.query("up", timeout_seconds=0.002 * (number % 20) + 0.001) for _ in range(8))
                )
            except MetricsUnreachable:
                given_up += 1
        slow = False
        answers = await asyncio.gather(*(prometheus.query("up", timeout_seconds=5) for _ in range(60)))
        await prometheus.close()
    assert given_up > 50
    assert [one.series for one in answers] == [()] * 60


async def problem_of(url: str) -> str:
    prometheus = Prometheus(Access(url, timeout_seconds=3))
    try:
        with pytest.raises(MetricsUnreachable) as unreachable:
            await prometheus.query("up")
    finally:
        await prometheus.close()
    return str(unreachable.value)


async def test_why_nobody_answers_is_said_as_it_is(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    distrusted = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with distrusted:
        port = distrusted.sockets[0].getsockname()[1]
        assert "certificate not accepted: self-signed certificate" in await problem_of(f"https://127.0.0.1:{port}")
    async with serving(close) as url:
        assert "no HTTP answer" in await problem_of(url)
        assert "TLS failed" in await problem_of(url.replace("http", "https"))
    assert "no connection" in await problem_of(f"http://127.0.0.1:{port}")
    assert "no connection" in await problem_of("http://prometheus.invalid")
    assert "Prometheus does not answer" in await problem_of("http://a..b")


def test_a_question_is_a_form_with_the_time_it_may_take():
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append((request, {n: v[0] for n, v in parse_qs(request.content.decode()).items()}))
        return answer([])

    async def questions() -> None:
        prometheus = client(handler)
        await prometheus.query('up{a="b&c"}', at=12.5, timeout_seconds=2, most_series=7)
        await prometheus.query_range("up", since=1, until=2.5, step_seconds=0.25)

    asyncio.run(questions())
    (one, fields), (_, span) = asked
    assert (one.method, str(one.url)) == ("POST", f"{URL}/api/v1/query")
    assert fields == {"query": 'up{a="b&c"}', "time": "12.500", "timeout": "2000ms", "limit": "8"}
    assert one.headers["Authorization"] == f"Bearer {SECRET}"
    assert (span["start"], span["end"], span["step"]) == ("1.000", "2.500", "0.250")


def test_a_login_makes_it_basic_authentication():
    assert Access(URL, "anna", "x").headers["Authorization"] == "Basic YW5uYTp4"
    assert Access(URL).headers == {}


def failing(status: int, error: str = "", kind: str = "bad_data") -> Handler:
    body = {"status": "error", "errorType": kind, "error": error}
    return lambda _: httpx.Response(status, json=body) if error else httpx.Response(status)


def told(error: type[Exception]) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("it failed", request=request)  # type: ignore[call-arg]

    return handler


@pytest.mark.parametrize(
    ("handler", "kind", "words"),
    [
        (failing(400, "1:4: parse error"), MetricsRefused, "bad_data: 1:4: parse error"),
        (failing(401), MetricsRefused, "credentials"),
        (failing(403, f"token {SECRET} unknown"), MetricsRefused, "HTTP 403"),
        (lambda r: httpx.Response(500, text=r.headers["Authorization"]), MetricsUnreachable, r"Bearer \*\*\*"),
        (failing(404), MetricsRefused, "no Prometheus at this address"),
        (failing(422, "many-to-many matching", "execution"), MetricsUnusable, "many-to-many"),
        (failing(429), MetricsUnreachable, "HTTP 429"),
        (failing(500), MetricsUnreachable, "HTTP 500"),
        (failing(503, "query timed out", "timeout"), MetricsUnreachable, "timeout: query timed out"),
        (lambda _: httpx.Response(200, text="<html>Sign in</html>"), MetricsUnusable, "Sign in"),
        (lambda _: httpx.Response(200, text='{"status":"succ'), MetricsUnusable, "succ"),
        (lambda _: httpx.Response(200, text="[" * 9000), MetricsUnusable, r"\[\["),
        (lambda _: httpx.Response(200, json=[1]), MetricsUnusable, "none of Prometheus"),
        (lambda _: httpx.Response(200, json={"status": "error", "error": "no"}), MetricsUnusable, "seen: no"),
        (lambda _: httpx.Response(200, json={"status": "success"}), MetricsUnusable, "KeyError"),
        (lambda _: answer([], "surprise"), MetricsUnusable, "surprise"),
        (lambda _: answer([{"metric": {}, "value": [1]}]), MetricsUnusable, "ValueError"),
        (lambda _: answer([sample("many")]), MetricsUnusable, "many"),
        (lambda _: answer([sample("1")] * 4), MetricsUnusable, "at most 3"),
        (lambda _: answer([], warnings=["results truncated due to limit"]), MetricsUnusable, "too many series"),
        (lambda _: httpx.Response(200, content=b" " * (17 << 20)), MetricsUnusable, "at most 16 MiB"),
        (told(httpx.ConnectError), MetricsUnreachable, "no connection"),
        (told(httpx.ReadTimeout), MetricsUnreachable, "no answer in time"),
        (told(httpx.RemoteProtocolError), MetricsUnreachable, "no HTTP answer"),
        (told(httpx.PoolTimeout), MetricsUnreachable, "no answer in time"),
    ],
)
def test_what_is_no_answer(handler: Handler, kind: type[MetricsError], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        ask(handler, most_series=3)
    assert type(raised.value) is kind
    assert SECRET not in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_redirect_is_not_followed_and_told_without_its_query():
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(302, headers={"Location": "https://login.example.com/sign?token=abc"})

    with pytest.raises(MetricsRefused, match=r"HTTP 302 to https://login\.example\.com/sign;"):
        ask(handler)
    assert len(asked) == 1


def test_a_slow_answer_ends_in_time_even_when_it_drips():
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" "
                await asyncio.sleep(0.02)

    with pytest.raises(MetricsUnreachable, match=r"within 0\.1 s"):
        ask(lambda _: httpx.Response(200, stream=Drip()), timeout_seconds=0.1)


def test_warnings_are_passed_on():
    found = ask(lambda _: answer([sample("1")], warnings=["part of the data is missing"], infos=["a hint"]))
    assert found.warnings == ("part of the data is missing",)


@pytest.mark.parametrize(("ahead", "least", "most"), [(30, 28, 31), (-30, -31, -28), (0, 0, 0)])
def test_the_clocks_are_compared(ahead: float, least: float, most: float) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        response = answer([])
        response.headers["Date"] = email.utils.formatdate(time.time() + ahead, usegmt=True)
        return response

    prometheus = client(handler)
    asyncio.run(prometheus.query("up"))
    assert prometheus.skew_seconds is not None
    assert least <= prometheus.skew_seconds <= most


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://prometheus", "no http"),
        ("prometheus:9090", "no http"),
        ("http://[", "no URL"),
        ("http://h:99999", "no URL"),
        (f"https://anna:{SECRET}@prometheus", "credentials in the URL"),
        (f"https://prometheus?token={SECRET}", "a query"),
        ("http://prometheus:9090", "in the clear"),
    ],
)
def test_an_address_that_would_give_the_secret_away_is_refused(url: str, words: str) -> None:
    with pytest.raises(MetricsRefused, match=words) as refused:
        Access(url, secret=SECRET)
    assert SECRET not in str(refused.value)


def test_a_secret_goes_to_this_machine_without_tls_and_is_in_no_description():
    access = Access("http://127.0.0.1:9090", secret=SECRET)
    assert SECRET not in repr(access)
    with pytest.raises(MetricsRefused, match="control character"):
        Access(URL, secret="two\nlines")


def test_nothing_is_logged_for_a_question(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ask(lambda _: answer([]))
    assert caplog.records == []


def test_certificates_that_cannot_be_read_are_an_error_of_the_connection(tmp_path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(MetricsRefused, match="ca_file"):
            Prometheus(Access(URL, ca_file=str(file)))


async def test_equal_accesses_share_one_client_until_the_last_user_is_done():
    access = Access("http://127.0.0.1:9", secret=SECRET)
    async with shared(access) as one:
        async with shared(Access("http://127.0.0.1:9", secret=SECRET)) as two:
            assert one is two
        async with shared(Access("http://127.0.0.1:9", secret="another")) as other:
            assert other is not one
        with pytest.raises(MetricsUnreachable):
            await one.query("up")
    async with shared(access) as again:
        assert again is not one


def test_an_answer_in_json_with_other_numbers_than_texts_is_read_all_the_same():
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [sample("1")]}})
    found = ask(lambda _: httpx.Response(200, text=body.replace('"1"', "1")))
    assert found.series[0].samples == ((5.0, 1.0),)
