"""The mapping between cluster addresses and the loopback addresses that serve them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.addresses import (
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    NotAClusterAddress,
    cluster_address,
    is_cluster_address,
    local_address,
    pod_addresses,
)

cluster = st.one_of(
    st.ip_addresses(v=4, network=str(POD_NETWORK)), st.ip_addresses(v=4, network=str(SERVICE_NETWORK))
).map(str)


@given(cluster)
def test_the_mapping_goes_to_loopback_and_back(address: str) -> None:
    local = local_address(address)
    assert ipaddress.ip_address(local).is_loopback
    assert cluster_address(local) == address


@given(cluster, cluster)
def test_two_addresses_never_share_one_place(one: str, two: str) -> None:
    assert (local_address(one) == local_address(two)) == (one == two)


@given(st.ip_addresses(v=4).map(str))
def test_every_other_address_is_refused(address: str) -> None:
    if is_cluster_address(address):
        assert local_address(address).startswith("127.")
    else:
        with pytest.raises(NotAClusterAddress):
            local_address(address)


@given(st.ip_addresses(v=4).map(str))
def test_only_what_the_mapping_reaches_maps_back(address: str) -> None:
    try:
        back = cluster_address(address)
    except NotAClusterAddress:
        return
    assert local_address(back) == address


@pytest.mark.parametrize("text", ["", "localhost", "10.244.1", "10.244.1.2.3", "::1", "10.244.1.256"])
def test_what_is_no_address_is_named(text: str) -> None:
    assert not is_cluster_address(text)
    with pytest.raises(NotAClusterAddress, match="not an IPv4 address"):
        local_address(text)


def test_examples_of_the_design() -> None:
    assert local_address("10.244.3.7") == "127.244.3.7"
    assert local_address("10.96.0.10") == "127.96.0.10"


def test_sandboxes_have_disjoint_pods_and_none_is_the_node() -> None:
    every = [address for subnet in range(1, 255) for address in pod_addresses(subnet)]
    assert len(every) == len(set(every)) == 254 * 253
    assert NODE_ADDRESS not in every


@pytest.mark.parametrize("subnet", [0, 255, -1])
def test_a_subnet_that_does_not_exist_is_refused(subnet: int) -> None:
    with pytest.raises(NotAClusterAddress):
        pod_addresses(subnet)
