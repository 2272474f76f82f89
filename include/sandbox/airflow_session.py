"""One user's HTTP session with Airflow's REST API: login, errors, pages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from include.errors import SandboxError

_PAGE = 100
_TIMEOUT_SECONDS = 30.0
_DEADLOCKS = 3
_DEADLOCK_PAUSE_SECONDS = 0.5


class AirflowRefused(SandboxError):
    """Airflow's API answered with an error.

    :param status: HTTP status code
    :param detail: what the answer said
    """

    def __init__(self, what: str, *, status: int, detail: object) -> None:
        super().__init__(what, seen=f"{status}: {detail}")
        self.status = status
        self.detail = detail


class AirflowSession:
    """One user's session.

    :param url: the web server, without a path
    :raises AirflowRefused: on use, when Airflow does not accept user and password
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.user = user
        self._credentials = {"username": user, "password": password}
        self._token = ""
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Any call below ``/api/v2/``; the decoded answer, None when it is empty.

        :raises AirflowRefused: an error status
        :raises SandboxError: no answer
        """
        if not self._token:
            self._token = self._log_in()
        refused = f"{self.user} was refused {method} {path}"
        for _ in range(_DEADLOCKS):
            try:
                return _decoded(self._send(method, path, json=json, params=params), refused)
            except AirflowRefused as error:
                # The scheduler locks the same rows in another order: PostgreSQL undid the whole change.
                if method == "POST" or error.status != 500 or "Database error" not in str(error):
                    raise
                time.sleep(_DEADLOCK_PAUSE_SECONDS)
        return _decoded(self._send(method, path, json=json, params=params), refused)

    def _send(
        self, method: str, path: str, *, json: Mapping[str, Any] | None, params: Mapping[str, Any] | None
    ) -> httpx.Response:
        try:
            return self._http.request(
                method,
                f"/api/v2/{path}",
                json=json,
                params=params,
                headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
            )
        except httpx.HTTPError as error:
            raise SandboxError(f"no answer from Airflow to {method} {path}", seen=repr(error)) from error

    def _log_in(self) -> str:
        try:
            answer = self._http.post("/auth/token", json=self._credentials)
        except httpx.HTTPError as error:
            raise SandboxError("no answer from Airflow to a login", seen=repr(error)) from error
        return str(_decoded(answer, f"{self.user} cannot log in")["access_token"])

    def pages(self, path: str, key: str, **params: object) -> Iterator[dict[str, Any]]:
        """Every entry of a list, read page by page."""
        offset = 0
        while True:
            page = self.request("GET", path, params={**params, "limit": _PAGE, "offset": offset})
            yield from page[key]
            offset += _PAGE
            if offset >= page["total_entries"]:
                return


def _decoded(answer: httpx.Response, refused: str) -> Any:
    if not answer.content:
        content = None
    else:
        try:
            content = answer.json()
        except ValueError:
            content = answer.text
    if answer.is_error:
        detail = content.get("detail", content) if isinstance(content, dict) else content
        raise AirflowRefused(refused, status=answer.status_code, detail=detail)
    return content
