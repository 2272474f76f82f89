"""Proxies that the environment names (``HTTPS_PROXY``, ``NO_PROXY``)."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit


def proxy_for(url: str, *, any_scheme: bool = False) -> str | None:
    """The proxy that stands between this process and an address, None when there is none (or no such address).

    :param any_scheme: whether ``ALL_PROXY`` counts, too: it does for httpx, it does not for aiohttp
    """
    try:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port
    except ValueError:
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or (proxies.get("all") if any_scheme else None)
    if not proxy or any(urllib.request.proxy_bypass(name) for name in (host, f"{host}:{port}")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
