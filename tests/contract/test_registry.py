"""A real registry (CNCF Distribution, with a login): what a tag means, and what cannot be found out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from include.clients.registry import Registry
from include.errors import ProgramMissing, RegistryRefused, RegistryUnreachable, TagMissing
from include.plan.models import ImageRef
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.programs import program

LOGIN, PASSWORD = "puller", "open sesame"
# bcrypt of the password, as `htpasswd -B` writes it
HTPASSWD = f"{LOGIN}:$2b$08$abcdefghijklmnopqrstuuvbcBqwD0vqGp5cw/xK4wy0Mtx9M8.Zy\n"
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Server:
    """A registry of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        (folder / "htpasswd").write_text(HTPASSWD)
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host},
            "auth": {"htpasswd": {"realm": "contract", "path": str(folder / "htpasswd")}},
        }
        (folder / "config.json").write_text(json.dumps(config))
        argv = [program("registry"), "serve", folder / "config.json"]
        self.process = Process("registry", argv, env={}, log=folder / "registry.log")
        self.http = httpx.Client(base_url=f"http://{self.host}", auth=(LOGIN, PASSWORD), trust_env=False)

    def answers(self) -> bool:
        try:
            return self.http.get("/v2/").status_code == 200
        except httpx.HTTPError:
            return False

    def push(self, name: str, tag: str, content: str) -> str:
        """Push an image of one blob; return the digest of its manifest."""
        blob = json.dumps({"content": content}).encode()
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        started = self.http.post(f"/v2/{name}/blobs/uploads/")
        started.raise_for_status()
        place = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest})
        self.http.put(place, content=blob).raise_for_status()
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(blob)}
        manifest = {"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": described, "layers": []}
        sent = json.dumps(manifest).encode()
        answer = self.http.put(f"/v2/{name}/manifests/{tag}", content=sent, headers={"Content-Type": MEDIA_TYPE})
        answer.raise_for_status()
        return f"sha256:{hashlib.sha256(sent).hexdigest()}"

    def digest(self, tag: str, *, password: str = PASSWORD) -> str:
        image = ImageRef(repository=f"{self.host}/team/erp", tag=tag)
        return asyncio.run(Registry(self.host, "http", LOGIN, password).digest(image))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        server = Server(tmp_path_factory.mktemp("registry"))
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    server.process.start()
    try:
        wait_until(server.answers, deadline_seconds=20, what="the registry answers", process=server.process)
        yield server
    finally:
        server.http.close()
        server.process.stop()


def test_a_tag_is_the_digest_of_its_manifest_and_follows_when_it_moves(server: Server) -> None:
    first = server.push("team/erp", "3.0.0", "one")
    assert server.digest("3.0.0") == first
    moved = server.push("team/erp", "3.0.0", "two")
    assert moved != first
    assert server.digest("3.0.0") == moved


def test_a_tag_that_nobody_pushed(server: Server) -> None:
    with pytest.raises(TagMissing):
        server.digest("0.0.0")


def test_a_wrong_password_is_a_refusal_that_does_not_repeat_it(server: Server) -> None:
    with pytest.raises(RegistryRefused) as refused:
        server.digest("3.0.0", password="wrong-password")
    assert "wrong-password" not in str(refused.value)


def test_nobody_there(server: Server) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(RegistryUnreachable):
        asyncio.run(Registry(nobody, "http").digest(ImageRef(repository=f"{nobody}/erp", tag="1")))
