"""Proxies that the environment names (``HTTPS_PROXY``, ``NO_PROXY``)."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit


def proxy_for(url: str) -> str | None:
    """The proxy that stands between this process and an address, None when there is none."""
    address = urlsplit(url)
    proxy = urllib.request.getproxies().get(address.scheme)
    if not proxy or urllib.request.proxy_bypass(str(address.hostname or "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
