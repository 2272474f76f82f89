"""What the sandbox tells its Prometheus, and that an environment without one is whole, too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from include.sandbox.addresses import local_address, pod_addresses
from include.sandbox.prometheus import Scraping, account_objects, configured


def job(*, embedded: bool) -> dict[str, object]:
    found = configured(Scraping("shop", seconds=0.5), Path("/state/kubeconfig"), embedded=embedded)
    assert json.loads(json.dumps(found)) == found
    assert found["global"] == {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    (only,) = found["scrape_configs"]
    return only


def test_only_pods_of_the_namespace_are_discovered():
    (discovery,) = job(embedded=False)["kubernetes_sd_configs"]
    assert discovery == {
        "role": "pod",
        "kubeconfig_file": "/state/kubeconfig",
        "namespaces": {"names": ["shop"]},
    }


@pytest.mark.parametrize("address", pod_addresses(7)[:3])
def test_pods_of_the_embedded_cluster_are_reached_where_they_really_are(address):
    rule = next(one for one in job(embedded=True)["relabel_configs"] if one.get("target_label") == "__address__")
    found = re.fullmatch(rule["regex"], f"{address}:8080")
    assert rule["replacement"].replace("$1", found[1]) == f"{local_address(address)}:8080"
    assert not re.fullmatch(rule["regex"], "192.168.1.4:8080")


def test_pods_of_another_cluster_are_reached_at_their_own_addresses():
    assert not [one for one in job(embedded=False)["relabel_configs"] if one.get("target_label") == "__address__"]


def test_its_account_may_read_pods_and_nothing_else():
    account, role, binding = account_objects("prometheus-1", "shop")
    assert {one["metadata"]["namespace"] for one in (account, role, binding)} == {"shop"}
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
