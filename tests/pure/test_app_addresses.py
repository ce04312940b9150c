"""Which addresses that Gateways name nothing can listen on."""

import errno
import socket
from typing import Any

import pytest
from routing_fleets import cluster, fleet

from flota.app.addresses import GatewayAddresses, leaves_open
from flota.local.addresses import Addresses
from flota.local.state import StateFolder

GATEWAY = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: %s
  listeners: [{name: http, port: 80, protocol: HTTP}]
"""


def unusable(tmp_path: Any, addresses: str) -> dict[tuple[str, str], str]:
    """What is found of a Gateway with these addresses."""
    state = StateFolder(tmp_path, tmp_path, "id", tmp_path)
    return dict(GatewayAddresses(Addresses(state)).unusable(fleet(cluster(GATEWAY % addresses))))


def test_addresses_of_others_are_told(tmp_path: Any) -> None:
    found = unusable(tmp_path, "[{value: 127.0.0.1}, {value: 192.0.2.1}, {type: Hostname, value: a.org}, {type: IPAddress}]")
    assert list(found) == [("us", "192.0.2.1")]
    assert "192.0.2.1 is not an address of this machine" in found["us", "192.0.2.1"]


def test_a_kernel_without_a_family_is_no_reason_to_fail(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    assert "Address family not supported" in unusable(tmp_path, '[{value: "::1"}]')["us", "::1"]


@pytest.mark.parametrize(
    ("addresses", "is_open"),
    [("[]", True), ("[{value: 127.0.0.1}]", False), ("[{value: 127.0.0.1}, {type: IPAddress}]", True), ("[{type: Hostname}]", False)],
)
def test_who_leaves_an_address_open(addresses: str, is_open: bool) -> None:
    gateway = next(iter(cluster(GATEWAY % addresses).gateways.values()))
    assert leaves_open(gateway) is is_open
