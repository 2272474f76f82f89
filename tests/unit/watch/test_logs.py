"""Which log lines are the same trouble, and which of them only the new version has."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.errors import ClusterRefused
from include.watch.logs import Seen, compared, normalised, signature, signatures
from include.watch.reading import LogComparison
from tests.unit.watch.worlds import CUTOVER, Erp, environment


def line(level: str, message: str, **more: str) -> str:
    return json.dumps(
        {"time": "2030-01-01T12:00:00.123Z", "level": level, "logger": "erp", "message": message, **more}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line("error", "order 4711 failed"), ("error", "erp: order <number> failed")),
        (line("CRITICAL", "down"), ("error", "erp: down")),
        (line("warning", "slow: 1.5 s"), ("warning", "erp: slow: <number> s")),
        (line("info", "no error so far"), None),
        (line("error", "oops", exception="Traceback …\n\nKeyError: x"), ("error", "erp: oops: KeyError: x")),
        ('{"severity": "FATAL", "msg": "out of memory"}', ("error", "out of memory")),
        ("2030-01-01 12:00:00,123 ERROR pool exhausted", ("error", "<time> ERROR pool exhausted")),
        ("WARN  cache is cold", ("warning", "WARN cache is cold")),
        ("12:00:00 [error] 17#17: timed out", ("error", "<time> [error] <number>#<number>: timed out")),
        ("ValueError: not a number", ("error", "ValueError: not a number")),
        ("panic: runtime error", ("error", "panic: runtime error")),
        ("GET /errors 200", None),
        ("", None),
        ("{not json, but an ERROR all the same", ("error", "{not json, but an ERROR all the same")),
        ("[1, 2]", None),
    ],
)  # fmt: skip
def test_the_signature_of_a_line(text: str, expected: tuple[str, str] | None) -> None:
    assert signature(text) == expected


def test_what_differs_each_time_is_taken_out() -> None:
    one = "5f0c9f0e-3f1c-4a6f-9b1e-2f9d6d1f7c11 of 10.244.1.17:50123 at 12:00:00.5 took 1,234 ms, id 0xdeadbeef01"
    two = "0a1b2c3d-3f1c-4a6f-9b1e-2f9d6d1f7c11 of 10.244.9.1:2 at 23:59:59.9 took 7 ms, id 0x0123456789"
    assert normalised(one) == normalised(two) == "<uuid> of <address> at <time> took <number> ms, id <id>"


def test_a_word_that_looks_like_hex_stays() -> None:
    assert normalised("deadbeef facade") == "deadbeef facade"


def test_signatures_are_short_and_few() -> None:
    assert len(normalised("x" * 10_000)) == 200
    seen = Seen({})
    for number in range(3):
        seen = seen.adding({("error", f"kind {chr(65 + n)}{number}"): n + 1 for n in range(26)}, most=30)
    assert len(seen.counts) == 30


def test_only_what_the_old_version_lacks_is_new_errors_first_and_the_frequent_first() -> None:
    watched = signatures(
        "\n".join([line("error", "a")] * 2 + [line("error", "b")] * 5 + [line("warning", "w")] * 9)
    )
    sample = compared(watched, [("error", "erp: a")], 7.0)
    assert [(one.text, one.level, one.count) for one in sample.new] == [
        ("erp: b", "error", 5),
        ("erp: w", "warning", 9),
    ]
    assert sample.at == 7.0


def comparison(cluster: Cluster) -> LogComparison:
    return LogComparison(cluster, environment(), watched="green", left="blue", since=CUTOVER)


async def test_both_slots_are_read_and_what_was_seen_is_not_forgotten() -> None:
    erp = Erp(logs={"blue": line("error", "old trouble"), "green": line("error", "old trouble")})
    looking = comparison(erp)
    assert (await looking.look(CUTOVER + 10)).new == ()
    erp.logs["green"] = line("error", "new trouble")
    assert [one.text for one in (await looking.look(CUTOVER + 40)).new] == ["erp: new trouble"]
    erp.logs["green"] = ""
    assert [one.text for one in (await looking.look(CUTOVER + 70)).new] == ["erp: new trouble"]


async def test_only_new_lines_are_asked_for() -> None:
    asked: list[tuple[str, datetime | None]] = []

    class Noting(Erp):
        async def log_tail(self, pod: str, **options: Any) -> str:
            asked.append((pod, options["since"]))
            return ""

    looking = comparison(Noting())
    await looking.look(CUTOVER + 10)
    await looking.look(CUTOVER + 40)
    times = {
        pod: [since and since.timestamp() - CUTOVER for name, since in asked if name == pod] for pod, _ in asked
    }
    assert times["green-0"] == [0, 10], "of the new slot everything since the cutover"
    assert times["blue-0"] == [None, 10], "of the old one what it said before"


async def test_the_last_words_of_a_crashed_container_are_read_once() -> None:
    asked: list[bool] = []

    class Crashed(Erp):
        async def log_tail(self, pod: str, **options: Any) -> str:
            asked.append(options["previous"])
            return line("error", "fault: crash") if options["previous"] else ""

    looking = comparison(Crashed(restarts=1))
    sample = await looking.look(CUTOVER + 10)
    assert [(one.text, one.count) for one in sample.new] == [("erp: fault: crash", 3)]
    await looking.look(CUTOVER + 40)
    assert sum(asked) == 3


async def test_logs_that_cannot_be_read_are_no_clean_logs() -> None:
    class Refusing(Erp):
        async def log_tail(self, pod: str, **_: Any) -> str:
            raise ClusterRefused("pods/log is forbidden", seen="403")

    sample = await comparison(Refusing()).look(CUTOVER + 10)
    assert "forbidden" in sample.problem


async def test_a_pod_that_went_away_meanwhile_is_no_problem() -> None:
    class Going(Erp):
        async def pods(self, labels: Any) -> tuple[PodState, ...]:
            started = datetime.fromtimestamp(CUTOVER, UTC)
            return (PodState("going", "uid", labels, "Running", ready=False, started_at=started),)

        async def log_tail(self, pod: str, **_: Any) -> str:
            raise ClusterRefused("no such pod", seen="404")

    assert (await comparison(Going()).look(CUTOVER + 10)).problem == ""


def test_every_line_of_a_log_is_found_whatever_is_around_it() -> None:
    text = "fine\nİçten ERROR one\r\nfine, with an err in it\n\nWARN two\nlast Exception: no\nValueError"
    assert dict(signatures(text)) == {
        ("error", "İçten ERROR one"): 1,
        ("warning", "WARN two"): 1,
        ("error", "ValueError"): 1,
    }
