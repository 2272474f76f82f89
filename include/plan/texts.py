"""What texts in a plan may look like: versions, URLs, names, addresses."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?")


def _version(text: str) -> str:
    if not VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is not a version like 3.0.0 or 3.1.0-rc.1")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http(s) URL like https://erp.example.com")
    if parts.username or parts.password:
        raise ValueError("a URL in a plan must not hold credentials")
    if parts.query or parts.fragment:
        raise ValueError(f"{text!r} must not have a query or a fragment: paths are appended to it")
    return text.rstrip("/")


def _dns_label(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError(f"{text!r} is not a Kubernetes name (lower-case letters, digits and '-', at most 63)")
    return text


def _mail_address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", text):
        raise ValueError(f"{text!r} is not a mail address like release@example.com")
    return text


def _channel(text: str) -> str:
    if not re.fullmatch(r"#?[^\s#]+", text):
        raise ValueError(f"{text!r} is not a Slack channel like #erp-status (in YAML a channel needs quotes)")
    return text


Version = Annotated[str, AfterValidator(_version)]
Url = Annotated[str, AfterValidator(_url)]
Name = Annotated[str, AfterValidator(_dns_label)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Channel = Annotated[str, AfterValidator(_channel)]
