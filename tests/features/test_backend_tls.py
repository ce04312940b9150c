"""TLS towards backends, from the policy to what the backend's certificate has to say: for every kind of route, mirrors and guards."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from ads_harness import free_port
from certificates import Authority
from grpclib.client import Channel
from live_harness import Manifest, gateway, live, manifest, served, to
from plan_harness import Seen, call, echo
from test_encode_protocols import Raw, greeter, port_of
from test_guards import at, auth, route, web
from test_protocols import AUTHORITY as FRONT
from test_protocols import hello, secret, server_context, terminating, tls_answer

AUTHORITY = Authority()
CERTIFICATE = ("inner.test", "a.wild.test", "spiffe://trust/ns/app")


def roots(name: str, of: Authority | None) -> Manifest:
    """A ConfigMap with an authority, or with what is none."""
    return manifest("ConfigMap", name, data={"ca.crt": of.roots.decode() if of else "nonsense"})


def policy(service: str, *authorities: str, hostname: str = "inner.test", **validation: Any) -> Manifest:
    """A BackendTLSPolicy of the Service's own name."""
    refs = [{"group": "", "kind": "ConfigMap", "name": name} for name in authorities or ("ours",)]
    spec = {"targetRefs": [{"group": "", "kind": "Service", "name": service}],
            "validation": {"hostname": hostname, "caCertificateRefs": refs, **validation}}  # fmt: skip
    return manifest("BackendTLSPolicy", service, spec)


def san(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, kind.lower() if kind == "URI" else "hostname": value}


async def test_names_of_the_certificate_and_several_authorities() -> None:
    port = free_port()
    cases = {
        "hostname": ({}, 200),
        "other": ({"hostname": "other.test"}, 503),
        "dns": ({"hostname": "other.test", "subjectAltNames": [san("Hostname", "inner.test")]}, 200),
        "wild": ({"hostname": "other.test", "subjectAltNames": [san("Hostname", "*.wild.test")]}, 200),
        "deep": ({"subjectAltNames": [san("Hostname", "*.test.wild.test")]}, 503),
        "uri": ({"subjectAltNames": [san("URI", "spiffe://trust/ns/app")]}, 200),
        "foreign": ({"subjectAltNames": [san("URI", "spiffe://trust/ns/other")]}, 503),
        "any": ({"subjectAltNames": [san("Hostname", "none.test"), san("URI", "spiffe://trust/ns/app")]}, 200),
        "none": ({"subjectAltNames": [san("Hostname", "none.test"), san("URI", "spiffe://none")]}, 503),
    }
    policies = [policy(name, **asked) for name, (asked, _) in cases.items()]
    policies += [policy("several", "others", "ours"), policy("partly", "bad", "ours"), policy("wrong", "others")]
    expected = {name: status for name, (_, status) in cases.items()} | {"several": 200, "partly": 200, "wrong": 503}
    with server_context(AUTHORITY.sign(*CERTIFICATE)) as context:
        async with echo("one", ssl_context=context) as one, live([
            web(port), roots("ours", AUTHORITY), roots("others", Authority("others")), roots("bad", None), *policies,
            *(each for name in expected for each in served(name, one)),
            *(route(at(f"/{name}", to(name)), name=name) for name in expected),
        ]) as fleet:  # fmt: skip
            assert {name: (await call(port, f"/{name}"))[0] for name in expected} == expected
            assert {(each.kind, each.name, each.reason) for each in await fleet.problems()} == {
                ("BackendTLSPolicy", "partly", "InvalidCACertificateRef")}


@contextlib.asynccontextmanager
async def secure_bytes(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A TLS server that answers one line with its echo."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"told " + await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield port_of(server)
    finally:
        server.close()


async def test_policies_hold_for_every_kind_of_route_and_for_mirrors_and_guards() -> None:
    ports = {name: free_port() for name in ("http", "grpc", "tcp", "tls")}
    copies, asked = Seen(), Seen()
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("copy")}}
    listeners = [{"name": "http", "port": ports["http"], "protocol": "HTTP"}, {"name": "grpc", "port": ports["grpc"], "protocol": "HTTP"},
                 {"name": "tcp", "port": ports["tcp"], "protocol": "TCP"}, terminating(ports["tls"], "front", protocol="TLS")]  # fmt: skip
    names = ("app", "copy", "guard", "calls", "bytes")

    def l4(kind: str, section: str, name: str, **more: Any) -> Manifest:
        spec = {"parentRefs": [{"name": "web", "sectionName": section}], "rules": [{"backendRefs": [to(name)]}]}
        return manifest(kind, section, {**spec, **more})

    with server_context(AUTHORITY.sign("inner.test")) as context, server_context(AUTHORITY.sign("inner.test")) as h2:
        h2.set_alpn_protocols(["h2"])
        async with (
            echo("app", ssl_context=context) as app, echo("copy", copies, ssl_context=context) as copy,
            echo("guard", asked, ssl_context=context) as guard, greeter("calls", ssl=h2) as calls, secure_bytes(context) as stream,
        ):  # fmt: skip
            behind = dict(zip(names, (app, copy, guard, calls, stream), strict=True))
            async with live([
                gateway("web", *listeners), secret("front", FRONT.sign("front.test")), roots("ours", AUTHORITY),
                *(each for name, where in behind.items() for each in (*served(name, where), policy(name))),
                route(at("/", to("app"), filters=[mirror, auth("HTTP")])),
                l4("GRPCRoute", "grpc", "calls"), l4("TCPRoute", "tcp", "bytes"), l4("TLSRoute", "tls", "app", hostnames=["front.test"]),
            ]) as fleet:  # fmt: skip
                assert await fleet.problems() == ()
                assert (await call(ports["http"], "/x"))[0] == 200
                await fleet.until(lambda: copies.paths == {"/x": 1})
                assert asked.paths == {"/x": 1}
                async with Channel("127.0.0.1", ports["grpc"], codec=Raw()) as channel:
                    assert await hello(channel) == b"calls"
                reader, writer = await asyncio.open_connection("127.0.0.1", ports["tcp"])
                writer.write(b"hello\n")
                assert await reader.readline() == b"told hello\n"
                writer.close()
                body, _ = await tls_answer(ports["tls"], "front.test")
                assert '"backend": "app"' in body
