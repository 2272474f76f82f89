"""What images tell of the version that a slot runs: this one, another one, or nothing."""

from __future__ import annotations

import pytest

from include.bluegreen.live_version import application_tag, judged


@pytest.mark.parametrize(
    ("images", "tag"),
    [
        (("erp:2.9.0",), "2.9.0"),
        (("registry:5000/erp:2.9.0",), "2.9.0"),
        (("registry:5000/another-erp:2.9.0",), ""),
        (("erp:2.9.0@sha256:ab",), "2.9.0"),
        (("erp@sha256:ab",), ""),
        (("erp:2.9.0", "nginx:1.27.0"), "2.9.0"),
        (("erp@sha256:ab", "nginx:1.27.0"), ""),
        (("erp:2.9.0", "erp:2.9.1"), ""),
        ((), ""),
    ],
)
def test_only_the_applications_image_tells(images: tuple[str, ...], tag: str) -> None:
    assert application_tag(images, "erp") == tag


def test_a_registry_with_a_port_is_part_of_the_name() -> None:
    assert application_tag(("registry:5000/erp:2.9.0",), "registry:5000/erp") == "2.9.0"
    assert application_tag(("registry:5000/erp",), "registry:5000/erp") == ""


@pytest.mark.parametrize(
    ("tag", "judgement"),
    [
        *((tag, "previous") for tag in ("2.9.0", "v2.9.0", "release-2.9.0")),
        *((tag, "own") for tag in ("3.0.0", "v3.0.0")),
        *((tag, "other") for tag in ("2.9.1", "v2.8.0", "12.9.0", "4.0.0-rc.1", "2.9.1-20260101")),
        *((tag, "unknown") for tag in ("", "main", "4f2a91c", "20260101", "20261126.5", "node20.11-4f2a")),
        *((tag, "unknown") for tag in ("2.9", "2.9.0.1", "2.9.0-rc.1", "3.0.0-20260101")),
    ],
)
def test_a_tag_is_judged_by_the_version_in_it(tag: str, judgement: str) -> None:
    assert judged(tag, version="3.0.0", previous="2.9.0") == judgement
