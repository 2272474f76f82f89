"""The stand-in of an identity provider answers what a deployment asks one."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from include.sandbox.identity import DISCOVERY, application


async def test_it_answers_with_a_discovery_document_about_itself() -> None:
    async with TestClient(TestServer(application())) as client:
        answer = await client.get(DISCOVERY)
        document = await answer.json()
        realm = str(client.make_url("/realms/valeo"))
    assert answer.status == 200
    assert document["issuer"] == realm
    assert document["token_endpoint"].startswith(realm)


async def test_its_front_door_leads_to_the_account_page_as_keycloaks_does() -> None:
    async with TestClient(TestServer(application())) as client:
        answer = await client.get("/", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/realms/valeo/account/")
