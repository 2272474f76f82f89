"""Kills a task's process where nobody expects it: between any two calls to the outside world.

Wrapped, once they are imported: requests to the Kubernetes API, runs of helm, the ledger and its heads, Slack
and mail. What happens between two such calls stays inside the process, so the moment after one call is the moment
before the next: one kill point. Reads that repeat without a write in between (polls) are one kill point, too.

The folder ``$STELLWERK_FAULTS`` holds all state, since the processes that know it are killed: ``orders.json``
(what to kill, written by the suite), ``done/`` (a file for each point where somebody was killed), ``log.ndjson``
(every point that was reached, with whether it killed).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

TRIGGER = "watch (trigger)"
# What leaves the outside world as it is. Renewing a Lease only says "still there", and comes whenever it likes.
READS = (
    "GET",
    "DRY RUN",
    "PUT leases",
    "helm history",
    "helm version",
    "helm template",
    "helm get",
    "ledger read",
)


@dataclass
class Process:
    """What this process has done so far.

    :param epoch: the last change of the outside world; between two of them only reads happen
    """

    pid: int = field(default_factory=os.getpid)
    epoch: str = "the start"
    writes: Counter[str] = field(default_factory=Counter)
    after_a_call: bool = False
    helm: int | None = None
    seen: set[str] = field(default_factory=set)


_process = Process()


def _here() -> Process:
    global _process
    if _process.pid != os.getpid():  # forked: tasks are
        _process = Process()
    return _process


@contextlib.contextmanager
def call(name: str) -> Iterator[None]:
    """One call to the outside, with the kill points around it."""
    before(name)
    yield
    after(name)


def before(name: str) -> None:
    """About to call; a point of its own only where no call has just ended."""
    here = _here()
    if not here.after_a_call:
        _point(f"before {name}")
    here.after_a_call = False


def after(name: str) -> None:
    """The call has been answered."""
    here = _here()
    if not name.startswith(READS):
        here.writes[name] += 1
        here.epoch = f"{name} #{here.writes[name]}"
    here.after_a_call = True
    _point(f"after {name}")


def _point(moment: str) -> None:
    who = _who()
    if who is None:
        return
    task, attempt, run = who
    here = _here()
    point = f"{task}: {moment}, since {here.epoch}"
    ways = [point]
    if here.helm is not None:
        ways = [f"{point}, helm running", f"{point}, helm killed too"]
    for way in ways:
        if _is_ordered(task, attempt, way):
            _log(run, task, attempt, way, killed=True)
            if way.endswith("killed too") and here.helm is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(here.helm, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
    if point not in here.seen:
        here.seen.add(point)
        _log(run, task, attempt, point, killed=False)


def _who() -> tuple[str, int, str] | None:
    """Task, attempt and run of this process; None where no task runs."""
    if "triggerer" in sys.argv:
        return TRIGGER, 1, ""
    from airflow.sdk.definitions.context import get_current_context

    try:
        ti = get_current_context()["ti"]
    except RuntimeError:
        return None
    return ti.task_id, ti.try_number, ti.run_id


def _folder() -> Path:
    return Path(os.environ["STELLWERK_FAULTS"])


def _is_ordered(task: str, attempt: int, point: str) -> bool:
    """Whether to kill here; says so once for each point."""
    try:
        orders = json.loads((_folder() / "orders.json").read_text())
    except FileNotFoundError:
        return False
    if attempt > orders["kills_per_task"] or not any(re.search(one, point) for one in orders["points"]):
        return False
    if _marker(point).exists():
        return False
    # A triggerer takes its time to come back: once in a round.
    return (task != TRIGGER or _claim(f"{TRIGGER} in round {orders['round']}")) and _claim(point)


def _claim(what: str) -> bool:
    """Whether nobody has been here before."""
    marker = _marker(what)
    marker.parent.mkdir(exist_ok=True)
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _marker(point: str) -> Path:
    return _folder() / "done" / hashlib.sha256(point.encode()).hexdigest()[:24]


def _log(run: str, task: str, attempt: int, point: str, *, killed: bool) -> None:
    line = json.dumps({"run": run, "task": task, "attempt": attempt, "point": point, "killed": killed}) + "\n"
    file = os.open(_folder() / "log.ndjson", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())  # one write: other processes append, too
    finally:
        os.close(file)


# -- what is wrapped -----------------------------------------------------------------------------------------


def _kubernetes(module: Any) -> None:
    once = module.Transport._once

    @wraps(once)
    async def wrapped(self: Any, request: Any) -> Any:
        with call(_request(request)):
            return await once(self, request)

    module.Transport._once = wrapped


def _request(request: Any) -> str:
    """The request without what differs from run to run."""
    dry = ("dryRun", "All") in request.query or request.path.endswith("accessreviews")
    method = "DRY RUN" if dry else request.method
    if "/namespaces/" not in request.path:
        return f"{method} {'/version' if request.path == '/version' else 'discovery'}"
    kind, name, rest = ([*request.path.partition("/namespaces/")[2].split("/")[1:], "", "", ""])[:3]
    if kind == "pods" and name:
        name = "*"
    name = re.sub(r"-(blue|green)\b", "-slot", name)
    return " ".join(filter(None, [method, kind, name, rest]))


def _helm(module: Any) -> None:
    run = module.run

    @wraps(run)
    async def wrapped(argv: Any, *, started: Callable[[int], None] = lambda _: None, **options: Any) -> Any:
        name = f"helm {argv[1]}"

        def noted(pid: int) -> None:
            started(pid)
            _here().helm = pid
            _point(f"in {name}")

        before(name)
        try:
            finished = await run(argv, started=noted, **options)
        finally:
            _here().helm = None
        after(name)
        return finished

    module.run = wrapped


def _ledger(module: Any) -> None:
    def wrap(method: str, name: Callable[[tuple[Any, ...]], str]) -> None:
        inner = getattr(module.Ledger, method)

        @wraps(inner)
        def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
            with call(name(arguments)):
                return inner(self, *arguments, **options)

        setattr(module.Ledger, method, wrapped)

    wrap("append", lambda arguments: f"ledger append {arguments[0].kind}")
    for method in ("entries", "find", "head"):
        wrap(method, lambda _: "ledger read")


def _function(name: str, called: str) -> Callable[[Any], None]:
    def patch(module: Any) -> None:
        inner = getattr(module, name)

        @wraps(inner)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            with call(called):
                return inner(*arguments, **options)

        setattr(module, name, wrapped)

    return patch


def _messages(module: Any) -> None:
    _function("send_slack", "send slack")(module)
    _function("send_mail", "send mail")(module)


PATCHES: dict[str, Callable[[Any], None]] = {
    "include.clients.kubernetes.transport": _kubernetes,
    "include.clients.helm.process": _helm,
    "include.ledger.store": _ledger,
    "include.ledger.heads": _function("note_head", "note head"),
    "stellwerk.notifiers.transport": _messages,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Patches the modules above the moment they have been imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        found = (one.find_spec(name, path, target) for one in sys.meta_path if one is not self)
        spec = next((one for one in found if one is not None), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            PATCHES[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Wrap from now on."""
    sys.meta_path.insert(0, _Finder())
