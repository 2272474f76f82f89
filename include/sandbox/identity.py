"""A stand-in for the demo's identity provider: it answers with an OpenID discovery document, as Keycloak does.

Nobody can log in here. The application of the demo has no users; what is tried is that a deployment asks its
identity provider.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from aiohttp import web

REALM: Final = "valeo"
DISCOVERY: Final = f"/realms/{REALM}/.well-known/openid-configuration"


def application() -> web.Application:
    """The routes: the discovery document, and the way to the login page as Keycloak sends it."""
    app = web.Application()
    app.router.add_get("/", _root)
    app.router.add_get(DISCOVERY, _discovery)
    return app


async def _root(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"/realms/{REALM}/account/")


async def _discovery(request: web.Request) -> web.StreamResponse:
    realm = f"{request.scheme}://{request.host}/realms/{REALM}"
    protocol = f"{realm}/protocol/openid-connect"
    return web.json_response(
        {
            "issuer": realm,
            "authorization_endpoint": f"{protocol}/auth",
            "token_endpoint": f"{protocol}/token",
            "userinfo_endpoint": f"{protocol}/userinfo",
            "jwks_uri": f"{protocol}/certs",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.identity", description="identity stand-in")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    web.run_app(
        application(), host=options.host, port=options.port, shutdown_timeout=1, access_log=None, print=print
    )


if __name__ == "__main__":
    main()
