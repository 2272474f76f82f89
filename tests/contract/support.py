"""What the contract tests have in common: kubectl, helm, manifests and a load that counts what is lost."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.sandbox.processes import wait_until

HERE = Path(__file__).parent
APP = HERE / "app"
CHART = HERE / "chart"
IMAGE = "contract-app:1"
NEXT_IMAGE = "contract-app:2"
MISSING_IMAGE = "contract-app:missing"

Document = dict[str, Any]


def run(argv: Sequence[str | Path], *, stdin: str | None = None, ok: bool = True, timeout: float = 120) -> str:
    """Standard output of a command (and its errors where it may fail); its failure is a test failure."""
    done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0 or not ok, f"{argv} → {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode != 0 or ok, f"{argv} should have failed\n{done.stdout}"
    return done.stdout if ok else done.stdout + done.stderr


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace."""

    binary: Path
    kubeconfig: Path
    namespace: str

    def argv(self, *arguments: str) -> list[str]:
        return [str(self.binary), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, ok: bool = True, timeout: float = 120) -> str:
        return run(self.argv(*arguments), stdin=stdin, ok=ok, timeout=timeout)

    def apply(self, *documents: Mapping[str, Any]) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def get(self, *what: str) -> Document:
        document: Document = json.loads(self("get", *what, "-o", "json"))
        return document

    def items(self, *what: str) -> list[Document]:
        found: list[Document] = self.get(*what)["items"]
        return found

    def pods(self, app: str) -> list[Document]:
        return self.items("pods", "-l", f"app={app}")

    def ready_pods(self, app: str) -> list[Document]:
        return [pod for pod in self.pods(app) if is_ready(pod)]

    def events(self, name: str) -> list[Document]:
        return [event for event in self.items("events") if event["involvedObject"]["name"] == name]

    def raw(self, path: str) -> str:
        return self("get", "--raw", path)

    def node_port(self, service: str) -> int:
        port: int = self.get("service", service)["spec"]["ports"][0]["nodePort"]
        return port

    def endpoints(self, service: str) -> list[Document]:
        slices = self.items("endpointslices", "-l", f"kubernetes.io/service-name={service}")
        return [endpoint for one in slices for endpoint in one["endpoints"] or []]

    def until(self, predicate: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait, and say what the namespace looks like when it was in vain."""
        try:
            wait_until(predicate, deadline_seconds=seconds, what=what, poll_seconds=0.2)
        except Exception as error:
            error.add_note(self("get", "pods,events,services,endpointslices", "-o", "wide"))
            raise


@dataclass(frozen=True)
class HelmCommand:
    """helm of one major version in one namespace."""

    binary: Path
    major: int
    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str, ok: bool = True) -> str:
        place = ["--kubeconfig", str(self.kubeconfig), "-n", self.namespace]
        return run([self.binary, *arguments, *place], ok=ok, timeout=180)

    @property
    def rollback_flag(self) -> str:
        return "--rollback-on-failure" if self.major >= 4 else "--atomic"

    def history(self, release: str) -> list[Document]:
        found: list[Document] = json.loads(self("history", release, "-o", "json"))
        return found


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def container_status(pod: Mapping[str, Any], index: int = 0) -> Document:
    statuses = pod["status"].get("containerStatuses") or [{}]
    found: Document = statuses[index]
    return found


def waiting_reason(pod: Mapping[str, Any]) -> str:
    return str(container_status(pod).get("state", {}).get("waiting", {}).get("reason", ""))


def container(**more: Any) -> Document:
    """The application's container; `env` is a plain mapping."""
    env = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    env += [{"name": name, "value": value} for name, value in more.pop("env", {}).items()]
    ports = [{"name": "http", "containerPort": 8080}]
    base = {"name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "env": env, "ports": ports}
    return {**base, **more}


def http_probe(path: str, **more: Any) -> Document:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 1, **more}


def pod(name: str, *containers: Document, **spec: Any) -> Document:
    """A pod labelled `app: <name>`."""
    spec = {"terminationGracePeriodSeconds": 10, **spec, "containers": list(containers) or [container()]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": spec,
    }


def deployment(name: str, *containers: Document, replicas: int = 2, **spec: Any) -> Document:
    """A Deployment whose pods are labelled `app: <name>`."""
    template = pod(name, *(containers or (container(readinessProbe=http_probe("/readyz")),)), **spec)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }


def service(name: str, selector: Mapping[str, str], **spec: Any) -> Document:
    """A NodePort Service."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"type": "NodePort", "selector": dict(selector), "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _connect(url: str, timeout: float) -> HTTPConnection:
    place = urlsplit(url)
    assert place.hostname
    return HTTPConnection(place.hostname, place.port, timeout=timeout)


def _ask(connection: HTTPConnection, url: str) -> Document:
    place = urlsplit(url)
    connection.request("GET", f"{place.path}?{place.query}")
    response = connection.getresponse()
    body = response.read()
    if response.status != HTTPStatus.OK:
        raise HTTPException(f"status {response.status}")
    answer: Document = json.loads(body)
    return answer


def fetch(url: str, *, timeout: float = 5) -> Document:
    """The application's answer, over a connection of its own."""
    connection = _connect(url, timeout)
    try:
        return _ask(connection, url)
    finally:
        connection.close()


@dataclass
class Load:
    """What became of the requests of `load`."""

    sent: int = 0
    lost: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, answer: Mapping[str, Any] | None, problem: str = "") -> None:
        with self._lock:
            self.sent += 1
            if answer is None:
                self.lost.append(f"{time.time():.3f} {problem}")
                return
            self.versions[answer["version"]] += 1
            self.pods[answer["pod"]] += 1
            self.last[answer["version"]] = time.monotonic()


@contextmanager
def load(url: str, *, workers: int = 8, pause: float = 0.05, keep_alive: bool = False) -> Iterator[Load]:
    """Requests without retries from some workers, over fresh or kept connections; the counts afterwards."""
    result, end = Load(), threading.Event()

    def work() -> None:
        connection = _connect(url, 10)
        while not end.wait(pause):
            try:
                result.count(_ask(connection, url))
            except (OSError, HTTPException) as error:
                result.count(None, repr(error))
                connection.close()
            if not keep_alive:
                connection.close()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        end.set()
        for thread in threads:
            thread.join()
