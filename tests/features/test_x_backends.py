"""XBackend behind every route kind, and what an XBackendTrafficPolicy asks: files in, real Envoy, real requests out."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from ads_harness import free_port
from certificates import Authority
from grpclib.client import Channel
from grpclib.const import Cardinality
from live_harness import Live, Manifest, gateway, live, manifest, served, to
from plan_harness import Seen, call, echo
from test_encode_protocols import Raw, banner, datagram, greeter, port_of, tcp_server, udp_server
from test_guards import at, cookie, route, web
from test_protocols import server_context

X = "gateway.networking.x-k8s.io"
AUTHORITY = Authority()


def outside(name: str, port: int, **more: Any) -> Manifest:
    """An XBackend on this machine."""
    spec = {"type": "ExternalHostname", "port": {"port": port}, "externalHostname": {"hostname": "localhost"}}
    return manifest("XBackend", name, {**spec, **more})


def to_x(name: str, **more: Any) -> dict[str, Any]:
    """A reference to it."""
    return {"group": X, "kind": "XBackend", "name": name, **more}


def roots() -> Manifest:
    """A ConfigMap with our authority."""
    return manifest("ConfigMap", "roots", data={"ca.crt": AUTHORITY.roots.decode()})


def validation(hostname: str) -> dict[str, Any]:
    return {"hostname": hostname, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "roots"}]}


async def problems(fleet: Live) -> set[tuple[str, str]]:
    return {(each.kind or "", each.reason) for each in await fleet.problems()}


async def test_an_external_host_takes_http_and_mirrors_and_says_what_it_lacks() -> None:
    port, copies = free_port(), Seen()
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "api.test"}}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to_x("copy")}}
    rules = [
        at("/plain", to_x("plain")),
        at("/share", to_x("plain", filters=[rewrite]), filters=[mirror]),
        at("/missing", to_x("none")),
        at("/tcp", to_x("bytes")),
    ]
    async with echo("one") as one, echo("copy", copies) as copy, live([
        web(port), outside("plain", one), outside("copy", copy), outside("bytes", one, protocol="TCP"), route(*rules),
    ]) as fleet:  # fmt: skip
        status, _, got = await call(port, "/plain/x")
        assert (status, got["backend"], got["host"], got["path"]) == (200, "one", "a.test", "/plain/x")
        status, _, got = await call(port, "/share/x")
        assert (status, got["host"]) == (200, "api.test")
        await fleet.until(lambda: copies.paths == {"/share/x": 1})
        assert (await call(port, "/missing"))[0] == 500
        assert (await call(port, "/tcp"))[0] == 500
        assert await problems(fleet) == {("HTTPRoute", "BackendNotFound")}
        messages = " ".join(each.message for each in await fleet.problems())
        assert "protocol TCP" in messages
        assert "XBackend default/none does not exist" in messages


@contextlib.asynccontextmanager
async def guarded_server(name: str, *, wants: bool) -> AsyncIterator[int]:
    """An HTTPS server of localhost that may want a certificate of its clients."""
    with server_context(AUTHORITY.sign("localhost")) as context:
        if wants:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=AUTHORITY.roots.decode())
        async with echo(name, ssl_context=context) as port:
            yield port


async def test_tls_to_an_external_host() -> None:
    port, own = free_port(), AUTHORITY.sign("proxy.test")
    data = {"tls.crt": base64.b64encode(own.certificate).decode(), "tls.key": base64.b64encode(own.key).decode()}
    secret = manifest("Secret", "own", type="kubernetes.io/tls", data=data)
    mutual = {"mode": "ClientAndServer", "clientCertificateRef": {"name": "own"}, "validation": validation("localhost")}
    names = ("server", "other", "system", "mutual", "missing")
    async with guarded_server("server", wants=False) as server, guarded_server("mutual", wants=True) as strict, live([
        web(port), roots(), secret,
        outside("server", server, tls={"mode": "ServerOnly", "validation": validation("localhost")}),
        outside("other", server, tls={"mode": "ServerOnly", "validation": validation("other.test")}),
        outside("system", server, tls={"mode": "ServerOnly"}),
        outside("mutual", strict, tls=mutual),
        outside("missing", strict, tls={**mutual, "clientCertificateRef": {"name": "none"}}),
        route(*(at(f"/{name}", to_x(name)) for name in names)),
    ]) as fleet:  # fmt: skip
        answers = {name: (await call(port, f"/{name}"))[0] for name in names}
        assert answers == {"server": 200, "other": 503, "system": 503, "mutual": 200, "missing": 500}
        assert await problems(fleet) == {("XBackend", "InvalidClientCertificateRef"), ("HTTPRoute", "InvalidBackendTLS")}
        await _until_mended(fleet, port, strict, [web(port), roots(), secret], names)


async def _until_mended(fleet: Live, port: int, strict: int, around: list[Manifest], names: tuple[str, ...]) -> None:
    """A Secret of another namespace needs a grant."""
    own = {"name": "own", "namespace": "default"}
    trusted = {"hostname": "localhost", "wellKnownCACertificates": "System"}
    tls = {"mode": "ClientAndServer", "clientCertificateRef": own, "validation": trusted}
    far = outside("far", strict, tls=tls) | {"metadata": {"name": "far", "namespace": "elsewhere"}}
    grant = manifest("ReferenceGrant", "far", {"from": [{"group": X, "kind": "XBackend", "namespace": "elsewhere"}],
                                               "to": [{"group": "", "kind": "Secret"}]})  # fmt: skip
    grant["apiVersion"] = "gateway.networking.k8s.io/v1"
    fleet.write("us/main.yaml", [*around, far])
    await fleet.settled()
    assert await problems(fleet) == {("XBackend", "RefNotPermitted")}
    fleet.write("us/main.yaml", [*around, far, grant])
    await fleet.settled()
    assert await problems(fleet) == set()


async def test_grpc_bytes_and_datagrams_to_an_external_host() -> None:
    ports = {name: free_port() for name in ("grpc", "tcp", "udp")}
    listeners = [{"name": "grpc", "port": ports["grpc"], "protocol": "HTTP"}, {"name": "tcp", "port": ports["tcp"], "protocol": "TCP"},
                 {"name": "udp", "port": ports["udp"], "protocol": "UDP"}]  # fmt: skip
    l4 = [manifest(kind, kind.lower(), {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [to_x(name)]}]})
          for kind, name in (("TCPRoute", "bytes"), ("UDPRoute", "datagrams"))]  # fmt: skip
    async with greeter("far") as calls, tcp_server("far") as stream, udp_server("far") as packets, live([
        gateway("web", *listeners), outside("calls", calls, protocol="H2C"), outside("bytes", port_of(stream)),
        outside("datagrams", packets),
        route({"backendRefs": [to_x("calls")]}, kind="GRPCRoute"), *l4,
    ]) as fleet:  # fmt: skip
        assert await problems(fleet) == set()
        async with (
            Channel("127.0.0.1", ports["grpc"], codec=Raw()) as channel,
            channel.request("/demo.Greeter/Hello", Cardinality.UNARY_UNARY, bytes, bytes) as one,
        ):
            await one.send_message(b"x", end=True)
            assert await one.recv_message() == b"far"
        assert await banner(ports["tcp"]) == "far"
        assert await asyncio.to_thread(datagram, ports["udp"]) == "far:x"


async def test_sessions_and_budgets_of_a_backend() -> None:
    port = free_port()
    policy = {"targetRefs": [{"group": "", "kind": "Service", "name": "all"}], "sessionPersistence": {"sessionName": "mine"},
              "retryConstraint": {"budget": {"percent": 50, "interval": "5s"}}}  # fmt: skip
    later = {**policy, "sessionPersistence": {"sessionName": "later"}}
    rules = [at("/one", to("all")), at("/two", to("all")), at("/own", to("all"), sessionPersistence={"sessionName": "own"})]
    second = {"name": "more", "labels": {"kubernetes.io/service-name": "all"}}
    async with echo("a") as one, echo("b") as two, live([
        web(port), *served("all", one), {**served("all", two)[1], "metadata": second},
        manifest("XBackendTrafficPolicy", "first", policy), manifest("XBackendTrafficPolicy", "second", later), route(*rules),
    ]) as fleet:  # fmt: skip
        assert await problems(fleet) == {("XBackendTrafficPolicy", "Conflicted")}
        _, got, body = await call(port, "/one")
        assert cookie(got).startswith("mine-")
        mine = {"cookie": cookie(got)}
        assert {(await call(port, "/one", headers=mine))[2]["backend"] for _ in range(12)} == {body["backend"]}
        _, other, _ = await call(port, "/two", headers=mine)
        assert cookie(other).partition("=")[0] != cookie(got).partition("=")[0], "rules don't share sessions"
        assert cookie((await call(port, "/own"))[1]).startswith("own=")
        (backend,) = fleet.engine.plan.get().proxies["us"].backends.values()
        assert backend.retry_budget is not None
        assert (backend.retry_budget.percent, backend.retry_budget.interval_ms, backend.retry_budget.least) == (50, 5000, 10)

