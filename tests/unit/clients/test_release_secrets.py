"""A Helm release is put aside and brought back as it was, whoever else works on it; its content is never said."""

from __future__ import annotations

import json
import logging
from copy import deepcopy
from urllib.parse import unquote

import pytest

from include.clients.kubernetes.release_secrets import KEPT_FROM, ReleaseSecrets
from include.clients.kubernetes.requests import METADATA_ONLY, Request
from include.clients.kubernetes.transport import Transport
from include.errors import AdoptionRefused, ClusterRefused, PatchRefused

STATUS = json.dumps({"kind": "Status", "message": "because"})


class Store(Transport):
    """The Secrets of a namespace, as the API server keeps them."""

    def __init__(self):
        self.items, self.clock, self.deletions, self.before_delete = {}, 0, [], None

    def put(self, name, labels, data, *, kind="helm.sh/release.v1", annotations=None):
        self.clock += 1
        metadata = {"name": name, "labels": labels, "uid": f"u{self.clock}", "resourceVersion": str(self.clock)}
        self.items[name] = {"metadata": {**metadata, "annotations": annotations or {}}, "type": kind, "data": data}

    def revision(self, number, *, status="superseded", data="aHVudGVyMg=="):
        labels = {"owner": "helm", "name": "erp", "status": status, "version": str(number)}
        self.put(f"sh.helm.release.v1.erp.v{number}", labels, {"release": data})

    async def answer(self, request: Request):
        name = unquote(request.path.rpartition("/")[2])
        match request.method:
            case "GET" if request.query:
                return 200, json.dumps({"items": [{"metadata": m} for m in self.selected(request)]})
            case "GET":
                return (200, json.dumps(self.items[name])) if name in self.items else (404, STATUS)
            case "POST":
                body = deepcopy(dict(request.body))
                self.put(
                    body["metadata"]["name"],
                    body["metadata"]["labels"],
                    body["data"],
                    kind=body["type"],
                    annotations=body["metadata"]["annotations"],
                )
                return 201, json.dumps(self.items[body["metadata"]["name"]])
            case "DELETE":
                return self.remove(name, request.body["preconditions"])
        raise AssertionError(request)

    def selected(self, request):
        assert request.accept == METADATA_ONLY, "a list would hold the content of all"
        wanted = dict(pair.split("=") for pair in dict(request.query)["labelSelector"].split(","))
        heads = [item["metadata"] for item in self.items.values()]
        return [head for head in heads if wanted.items() <= head["labels"].items()]

    def remove(self, name, preconditions):
        if self.before_delete:
            meanwhile, self.before_delete = self.before_delete, None
            meanwhile()
        if name not in self.items:
            return 404, STATUS
        metadata = self.items[name]["metadata"]
        if preconditions != {key: metadata[key] for key in ("uid", "resourceVersion")}:
            return 409, STATUS
        self.deletions.append(name)
        del self.items[name]
        return 200, "{}"

    def content(self):
        """Everything but what the server itself writes."""
        return {
            name: (item["metadata"]["labels"], item["type"], item["data"]) for name, item in self.items.items()
        }


@pytest.fixture
def store():
    store = Store()
    store.revision(1)
    store.revision(2, status="deployed")
    store.put("another", {"owner": "helm", "name": "shop", "status": "deployed"}, {"release": "eA=="})
    return store


@pytest.fixture
def secrets(store):
    return ReleaseSecrets(store, "production")


async def test_there_and_back_it_is_what_it_was_and_nothing_of_it_is_said(store, secrets, caplog):
    caplog.set_level(logging.DEBUG)
    before = store.content()
    assert await secrets.states("erp") == ("deployed", "superseded")
    assert await secrets.put_aside("erp") == 2
    assert await secrets.states("erp") == ()
    assert await secrets.states("shop") == ("deployed",)
    assert {name for name, (labels, _, _) in store.content().items() if labels.get(KEPT_FROM) == "erp"} == {
        "stellwerk.sh.helm.release.v1.erp.v1",
        "stellwerk.sh.helm.release.v1.erp.v2",
    }
    assert await secrets.put_aside("erp") == 2
    assert await secrets.bring_back("erp") == 2
    assert store.content() == before
    assert await secrets.bring_back("erp") == 2
    assert "aHVudGVyMg" not in caplog.text


async def test_a_revision_that_helm_changed_after_it_was_copied_is_copied_again(store, secrets):
    name = "sh.helm.release.v1.erp.v2"
    uid = store.items[name]["metadata"]["uid"]

    def helm_upgrades():
        store.items[name]["data"] = {"release": "bmV3"}
        store.items[name]["metadata"]["resourceVersion"] = "99"
        store.revision(3, status="deployed")

    await secrets._move(store.items["sh.helm.release.v1.erp.v1"], _kept(store, 1))
    store.before_delete = helm_upgrades
    with pytest.raises(PatchRefused, match="changed while it was being moved"):
        await secrets.put_aside("erp")
    assert store.items[name]["metadata"]["uid"] == uid
    assert await secrets.put_aside("erp") == 3
    assert store.items[f"stellwerk.{name}"]["data"] == {"release": "bmV3"}


def _kept(store, number):
    from include.clients.kubernetes.release_secrets import kept_form

    return kept_form(store.items[f"sh.helm.release.v1.erp.v{number}"], "erp")


async def test_a_revision_of_another_installation_is_never_overwritten(store, secrets):
    await secrets.put_aside("erp")
    store.revision(1, data="ZWxzZQ==")
    with pytest.raises(AdoptionRefused, match="another revision"):
        await secrets.put_aside("erp")
    with pytest.raises(AdoptionRefused, match="another revision"):
        await secrets.bring_back("erp")
    assert "sh.helm.release.v1.erp.v1" in store.items
    assert store.items["stellwerk.sh.helm.release.v1.erp.v1"]["data"] == {"release": "aHVudGVyMg=="}


async def test_what_was_not_stored_as_sent_costs_no_original(store, secrets):
    put = store.put

    def webhook(name, labels, data, **more):
        put(name, labels, {"release": "***"} if KEPT_FROM in labels else data, **more)

    store.put = webhook
    with pytest.raises(ClusterRefused, match="not stored as it was sent"):
        await secrets.put_aside("erp")
    assert store.deletions == []


async def test_revisions_that_come_and_come_are_somebody_elses_work(store, secrets):
    numbers = iter(range(10, 100))
    remove = store.remove

    def busy(name, preconditions):
        store.revision(next(numbers))
        return remove(name, preconditions)

    store.remove = busy
    with pytest.raises(PatchRefused, match="gets new revisions"):
        await secrets.put_aside("erp")


async def test_forgotten_is_what_was_kept_and_nothing_else(store, secrets):
    await secrets.put_aside("erp")
    assert await secrets.forget("erp") == 2
    assert set(store.items) == {"another"}
    assert await secrets.forget("erp") == 0
