"""A real S3 server (versitygw) that runs beside whoever needs one."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Any

import httpx
from upath import UPath

from include.backup.store import Store
from include.sandbox.processes import Process, free_port
from include.sandbox.programs import program

BUCKET, ACCESS = "backups", "stellwerk"


class Server:
    """An S3 server of one's own, with one bucket.

    :raises ProgramMissing: it is not there and cannot be built
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = secrets.token_urlsafe(24)
        self.host = f"127.0.0.1:{free_port()}"
        (folder / "data" / BUCKET).mkdir(parents=True)
        (folder / "metadata").mkdir()
        argv = [program("versitygw"), "--port", self.host, "--quiet"]
        argv += ["posix", "--sidecar", folder / "metadata", folder / "data"]
        environment = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": self.secret}
        self.process = Process("versitygw", argv, env=environment, cwd=folder, log=folder / "versitygw.log")

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://{self.host}/", trust_env=False).status_code == 403
        return False

    def store(self, *, secret: str | None = None, bucket: str = BUCKET) -> Store:
        """A place for backups in it."""
        return Store(UPath(f"s3://{bucket}/erp", **self.options(secret=secret)))

    def options(self, *, secret: str | None = None) -> dict[str, Any]:
        """What a file system of it needs to know."""
        return {
            "key": ACCESS,
            "secret": secret or self.secret,
            "client_kwargs": {"endpoint_url": f"http://{self.host}", "region_name": "us-east-1"},
            "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 2},
            "skip_instance_cache": True,
        }
