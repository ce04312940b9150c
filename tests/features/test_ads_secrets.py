"""Secrets over the same stream as everything else, with a real Envoy."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ads_harness import ADS, TYPE, Maker, backend, free_port, running_envoy, running_server, short_folder, snapshot, until
from certificates import Authority, Pair

from flota.envoy.events import Ack, Event, Refusal
from flota.envoy.protos import load
from flota.envoy.wire import LDS, SDS, Resource

NAMES = ("a", "b")


@pytest.fixture(scope="module")
def make() -> Maker:
    return Maker(load())


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield Path(path)


def secret(make: Maker, name: str, pair: Pair) -> Resource:
    chain, key = ({"inline_string": each.decode()} for each in (pair.certificate, pair.key))
    return make.make(SDS, {"name": name, "tls_certificate": {"certificate_chain": chain, "private_key": key}})


def listener(make: Maker, name: str, port: int) -> Resource:
    """TLS with the secret of the same name, HTTP behind it."""
    common = {"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": ADS}]}
    tls = {"@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common}
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]
    manager: dict[str, Any] = {
        "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": hosts},
        "http_filters": [router],
    }
    chain = {"transport_socket": {"name": "tls", "typed_config": tls}, "filters": [{"name": "hcm", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return make.make(LDS, {"name": name, "address": address, "filter_chains": [chain]}, [(SDS, name)])


class Connection:
    """One TLS connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, authority: Authority) -> "Connection":
        trusted = ssl.create_default_context(cadata=authority.roots.decode())
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname="a.test"))

    @property
    def serial(self) -> str:
        """Of the certificate that was shown."""
        return str(self._writer.get_extra_info("peercert")["serialNumber"])

    async def ask(self) -> str:
        self._writer.write(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return (await self._reader.readexactly(3)).decode()

    def close(self) -> None:
        self._writer.close()


async def test_a_rotated_certificate_is_the_only_push_and_connections_go_on(folder: Path, make: Maker) -> None:
    authority, events = Authority(), list[Event]()
    ports = {name: free_port() for name in NAMES}
    pairs = {name: authority.sign("a.test") for name in NAMES}
    async with backend("one") as port, running_server(folder, events.append) as server, running_envoy(folder):
        rest = [make.cluster("c"), make.endpoints("c", port), *(listener(make, name, ports[name]) for name in NAMES)]
        server.publish("us", snapshot(*rest, *(secret(make, name, pairs[name]) for name in NAMES)))
        assert await server.wait_settled("us", 10) == set()
        held = {name: await Connection.open(ports[name], authority) for name in NAMES}
        assert [await each.ask() for each in held.values()] == ["one", "one"]
        del events[:]
        server.publish("us", snapshot(*rest, secret(make, "a", authority.sign("a.test")), secret(make, "b", pairs["b"])))
        assert await server.wait_settled("us", 10) == set()
        assert [(event.type_url, set(event.versions)) for event in events if isinstance(event, Ack)] == [(SDS, {"a"})]
        fresh = {name: await Connection.open(ports[name], authority) for name in NAMES}
        assert fresh["a"].serial != held["a"].serial, "new connections see the new certificate"
        assert fresh["b"].serial == held["b"].serial
        for each in (*held.values(), *fresh.values()):
            assert await each.ask() == "one", "connections of before go on"
            each.close()


async def test_a_secret_that_is_no_certificate_keeps_the_one_of_before(folder: Path, make: Maker) -> None:
    authority, events = Authority(), list[Event]()
    ports = {name: free_port() for name in NAMES}
    pairs = {name: authority.sign("a.test") for name in NAMES}
    async with backend("one") as port, running_server(folder, events.append) as server, running_envoy(folder):
        rest = [make.cluster("c"), make.endpoints("c", port), *(listener(make, name, ports[name]) for name in NAMES)]
        server.publish("us", snapshot(*rest, *(secret(make, name, pairs[name]) for name in NAMES)))
        assert await server.wait_settled("us", 10) == set()
        before = await Connection.open(ports["a"], authority)
        broken = Pair(pairs["a"].certificate, b"no key")
        server.publish("us", snapshot(*rest, secret(make, "a", broken), secret(make, "b", authority.sign("a.test"))))
        await until(lambda: server.refused("us"))
        assert await server.wait_settled("us", 10) == set()
        assert [(event.type_url, event.name) for event in events if isinstance(event, Refusal)] == [(SDS, "a")]
        after = await Connection.open(ports["a"], authority)
        assert after.serial == before.serial
        assert await after.ask() == await before.ask() == "one"
        other = await Connection.open(ports["b"], authority)
        assert await other.ask() == "one"
        for each in (before, after, other):
            each.close()
