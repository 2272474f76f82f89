"""The benchmark against peers: what is judged, what is falsified, what is kept, and that all of it is pinned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient, TestServer

from benchmarks.peers.argo import CONDITIONS, MANIFESTS, told
from benchmarks.peers.contender import CONTENDERS
from benchmarks.peers.floor import evidence_seconds, floor_seconds
from benchmarks.peers.kube import manifests
from benchmarks.peers.load import judge, wait_for_fault
from benchmarks.peers.metrics_proxy import MetricsProxy, falsified
from benchmarks.peers.place import faults_of, tag_of
from benchmarks.peers.programs import PEERS
from benchmarks.peers.results import Results, measures
from benchmarks.peers.scenarios import PHASES, SCENARIOS
from include.plan.models import Release
from include.report.evidence import Evidence
from include.sandbox.erp.app.faults import Faults
from include.sandbox.load.records import Recording, RequestRecord


def request(at: float, status: int | None = 200, version: str = "old", kind: Any = "fresh") -> RequestRecord:
    error = None if status else "reset"
    return RequestRecord(kind, "GET", "/", at, at, at, status, error, "blue", version if status else "", "pod")


def recording(*requests: RequestRecord) -> list[Recording]:
    """Of two that sent load at the same time."""
    return [Recording(part, (), len(part), finished=True) for part in (requests[::2], requests[1::2])]


def test_the_fault_begins_with_the_first_answer_the_new_version_failed_to_give() -> None:
    seen = judge(
        recording(
            request(1, 500, "old"),
            request(2, 200, "new"),
            request(3, 500, "new"),
            request(4, None),
            request(5.5, 200, "new"),
            request(9, 200, "new", "keep-alive"),
            request(12, 200, "old"),
        ),
        "new",
    )
    assert seen.fault_at == 3
    assert seen.switch == 2.5  # a good answer of the bad version is still one of the bad version
    assert seen.drained == 6
    assert (seen.failed, seen.bad_answers, seen.lost) == (2, 2, 1)
    assert not seen.still


def test_without_a_bad_answer_there_is_no_fault_to_measure_from() -> None:
    seen = judge(recording(request(1), request(2, 200, "new")), "new")
    assert (seen.fault_at, seen.switch, seen.drained) == (None, None, None)


def test_a_bad_version_that_answers_to_the_end_is_said_to_answer_still() -> None:
    assert judge(recording(request(1, 500, "new"), request(60, 500, "new")), "new").still


def test_the_fault_is_found_in_records_that_are_still_being_written(tmp_path: Path) -> None:
    file = tmp_path / "load.ndjson"
    file.write_text('{"record":"request","status":200}\n{"record":"request","status":503}\n{"record":"req')
    assert wait_for_fault(file, 1)
    file.write_text('{"record":"request","status":200}\n{"record":"request","status":null}\n')
    assert not wait_for_fault(file, 0.05)


def vector(*values: str) -> bytes:
    series = [{"metric": {"pod": str(n)}, "value": [10.0, value]} for n, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()


def test_an_answer_is_emptied_or_loses_its_numbers_and_keeps_its_shape() -> None:
    assert json.loads(falsified(vector("1", "2"), "empty"))["data"] == {"resultType": "vector", "result": []}
    changed = json.loads(falsified(vector("1", "2"), "nan"))["data"]["result"]
    assert [one["value"] for one in changed] == [[10.0, "NaN"], [10.0, "NaN"]]
    matrix = {"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "5"], [2, "6"]]}]}}
    assert json.loads(falsified(json.dumps(matrix).encode(), "nan"))["data"]["result"][0]["values"] == [
        [1, "NaN"],
        [2, "NaN"],
    ]
    assert falsified(b'{"status":"error"}', "empty") == b'{"status":"error"}'


async def test_the_proxy_passes_on_falsifies_and_hangs_up() -> None:
    async def query(incoming: web.Request) -> web.Response:
        form = await incoming.post()
        assert (incoming.query.get("query") or form.get("query")) == 'up{a="b"}'
        return web.Response(body=vector("1"), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/api/v1/query", query)
    async with TestServer(app) as upstream, TestClient(TestServer(MetricsProxy().application())) as client:
        await client.put("/-/upstream", params={"url": str(upstream.make_url(""))})
        arguments = {"query": 'up{a="b"}'}
        assert json.loads(await (await client.post("/api/v1/query", data=arguments)).read()) == json.loads(
            vector("1")
        )
        await client.put("/-/answers/empty")
        answer = await (await client.get("/api/v1/query", params=arguments)).json()
        assert answer["data"]["result"] == []
        await client.put("/-/answers/gone")
        with pytest.raises(ClientError, match="disconnected"):
            await client.get("/api/v1/query", params=arguments)
        assert (await client.put("/-/answers/nonsense")).status == 400


def test_the_evidence_for_a_fault_needs_longer_in_a_longer_interval() -> None:
    known = {"rate": 100.0, "error_ratio": 0.3, "limit": 0.05}
    short, long = (evidence_seconds(interval_seconds=seconds, **known) for seconds in (1, 5))
    assert (short, long) == (0.5, 1.5)
    assert floor_seconds(scrape_seconds=5, poll_seconds=5, evidence=long) == 11.5


def test_evidence_takes_ten_errors_and_a_share_above_the_limit() -> None:
    assert evidence_seconds(rate=11, error_ratio=1, limit=0.05, interval_seconds=1) == 0.95
    for rate, ratio in ((100, 0.05), (9, 1.0)):
        with pytest.raises(ValueError, match="never show"):
            evidence_seconds(rate=rate, error_ratio=ratio, limit=0.05, interval_seconds=1)


def test_argos_analysis_is_filled_in_and_asks_about_the_new_pods_only() -> None:
    values = dict.fromkeys(("INTERVAL", "COUNT", "INCONCLUSIVE"), "5") | {"PROMETHEUS": "http://127.0.0.1:9"}
    success, failure = CONDITIONS[False]
    (template,) = manifests(
        MANIFESTS / "analysis.yaml", {**values, "NAMESPACE": "argo", "SUCCESS": success, "FAILURE": failure}
    )
    (metric,) = template["spec"]["metrics"]
    assert metric["interval"] == "5s"
    assert metric["successCondition"] == success
    query = metric["provider"]["prometheus"]["query"]
    assert query.count('rollouts_pod_template_hash="{{args.hash}}"') == 2
    assert "isNaN" in CONDITIONS[True][0]


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_pinned_by_its_own_module(name: str) -> None:
    module, package = PEERS[name]
    assert f"tool {package}\n" in (module.folder / "go.mod").read_text()
    assert module.version.startswith("v1.")
    assert (module.folder / "go.sum").stat().st_size > 0


def test_every_image_of_a_round_has_a_name_a_plan_accepts_and_faults_the_application_knows() -> None:
    tags = set()
    for scenario in SCENARIOS:
        for number in range(scenario.rounds):
            tag = tag_of(scenario.build, number)
            faults = faults_of(scenario.build, number)
            Faults.parse(json.dumps(faults))
            assert bool(faults) == scenario.faulty
            tags.add((tag, json.dumps(faults)))
            document = {"version": tag, "previous": "2.9.0", "date": "2030-01-15"}
            Release.model_validate({**document, "image": {"repository": "valeo-erp", "tag": tag}})
    assert len({tag for tag, _ in tags}) == len(tags)
    assert len(set(PHASES)) == max(scenario.rounds for scenario in SCENARIOS)


@pytest.mark.parametrize(
    ("status", "active", "analysed", "expected"),
    [
        ({"phase": "Progressing"}, "old", False, None),
        ({"phase": "Progressing", "stableRS": "old"}, "new", True, None),
        ({"phase": "Degraded", "abort": True}, "new", True, None),
        ({"phase": "Degraded", "abort": True}, "old", True, "switched-back"),
        ({"phase": "Degraded", "abort": True}, "old", False, "refused"),
        ({"phase": "Paused", "pauseConditions": [{"reason": "InconclusiveAnalysisRun"}]}, "new", True, "held"),
        ({"phase": "Paused", "pauseConditions": [{"reason": "BlueGreenPause"}]}, "old", False, None),
        ({"phase": "Healthy", "stableRS": "new"}, "new", True, "promoted"),
        ({"phase": "Healthy", "stableRS": "old"}, "old", False, None),
    ],
)
def test_argos_outcome_is_what_its_status_and_its_service_say(
    status: dict[str, Any], active: str, analysed: Any, expected: str | None
) -> None:
    assert told(status, active=active, old="old", analysed=analysed) == expected


def test_every_row_names_contenders_that_exist() -> None:
    known = {settings.name for settings in CONTENDERS}
    assert all(set(scenario.only) <= known and scenario.only for scenario in SCENARIOS)


def record(contender: str, scenario: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    seen = {"sent": 10, "lost": 0, "failed": 5, "switch": 3.0, "drained": 6.0, "still": False}
    plain = {"result": "switched-back", "says": "", "wrong_success": False, "wrong_rollback": False}
    return {"contender": contender, "scenario": scenario, "round": number, "seen": seen, **plain, **changes}


def test_rounds_are_kept_one_by_one_and_a_repeated_one_replaces_the_first(tmp_path: Path) -> None:
    results = Results(tmp_path / "folder" / "rounds.ndjson")
    assert results.read() == []
    results.add(record("flagger", "healthy"))
    results.add(record("flagger", "healthy", result="promoted"))
    with results.file.open("a") as out:
        out.write('{"contender": "killed while wri')
    assert [one["result"] for one in results.read()] == ["promoted"]
    assert results.has("flagger", "healthy", 0)
    assert not results.has("flagger", "healthy", 1)


def test_stellwerk_misses_its_goal_when_argo_was_faster_or_a_success_was_wrong() -> None:
    argo, ours = "argo-rollouts-1s", "stellwerk-prometheus-1s"
    slow = {"sent": 1, "lost": 1, "failed": 1, "switch": 9.0, "drained": 9.0, "still": False}
    found = measures(
        [
            record(argo, "fault"),
            record(ours, "fault", seen=slow),
            record(ours, "metrics-nan", result="promoted", wrong_success=True),
            record(argo, "metrics-nan", result="promoted", wrong_success=True),
        ]
    )
    assert {one.name for one in found if not one.ok} == {
        f"fault.{ours}.switch_seconds",
        f"fault.{ours}.switch_seconds_beside_argo",
        f"fault.{ours}.requests_lost",
        f"metrics-nan.{ours}.wrong_success",
    }
    assert Evidence.of("peers", found)


def test_stellwerks_settings_are_committed_as_yaml_with_placeholders() -> None:
    text = (Path(str(MANIFESTS)).parents[1] / "stellwerk" / "environment.yaml").read_text()
    assert set(yaml.safe_load(text)) == {"slo", "watch"}
