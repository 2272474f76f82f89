"""What Locust runs: the users that the plan describes. It lives in a process of its own and knows nothing else.

Locust replaces the standard library's sockets and threads by gevent's when it is imported: nothing of Stellwerk
may import this file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust import HttpUser, constant

_LOAD: dict[str, Any] = json.loads(Path(os.environ["STELLWERK_LOAD"]).read_text())


def _task(request: dict[str, Any]) -> Callable[[HttpUser], None]:
    def ask(user: HttpUser) -> None:
        # A redirect leads away from where the load may go, so it is an answer like any other.
        with user.client.request(
            request["method"],
            request["path"],
            name=request["title"],
            json=request["body"],
            allow_redirects=False,
            catch_response=True,
            timeout=_LOAD["request_seconds"],
        ) as answer:
            if answer.status_code != request["status"]:
                answer.failure(f"status {answer.status_code}, expected {request['status']}")
            else:
                answer.success()

    return ask


def _user(kind: dict[str, Any]) -> type[HttpUser]:
    members = {
        "weight": kind["weight"],
        "wait_time": constant(kind["pause_seconds"]),
        "tasks": {_task(request): request["weight"] for request in kind["requests"]},
        "__module__": __name__,
    }
    return type(kind["name"].title().replace("-", ""), (HttpUser,), members)


# Locust takes every class of users that it finds in the file's namespace.
globals().update({kind.__name__: kind for kind in map(_user, _LOAD["kinds"])})
