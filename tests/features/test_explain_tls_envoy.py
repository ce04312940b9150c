"""`flota explain request` of TLS against the whole product: certificates by server name, passthrough beside termination, 421.

`FLOTA_TEST_WORLDS` (default 6) folders of 120 requests each, from `FLOTA_TEST_SEED` (default 1) on. A failure names its seed.
"""

import asyncio
import base64
import contextlib
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from ads_harness import free_port
from certificates import Authority, Pair
from live_harness import Client, Live, Manifest, gateway, live, manifest, named_backend, served, to

from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.view import View

WORLDS = int(os.environ.get("FLOTA_TEST_WORLDS", "6"))
SEED = int(os.environ.get("FLOTA_TEST_SEED", "1"))
REQUESTS = 120
AUTHORITY = Authority()
PATTERNS = ("a.example.com", "b.example.com", "*.example.com", "*.a.example.com", "*.com", "c.org", None)
NAMES = ("a.example.com", "b.example.com", "x.a.example.com", "y.x.a.example.com", "example.com", "c.org", "d.net", "A.Example.com")
AUTHORITIES = (*NAMES, "a.example.com.", "b.example.com:8443")


class Ports(NamedTuple):
    """Two with TLS, one without."""

    tls: int
    other: int
    plain: int


def listeners(dice: Random, ports: Ports) -> list[dict[str, Any]]:
    """Some of each port; those that terminate and those that pass through have hostnames of their own on a port."""
    found: list[dict[str, Any]] = [{"name": "plain", "port": ports.plain, "protocol": "HTTP"}]
    for port in (ports.tls, ports.other):
        for number, host in enumerate(dice.sample(PATTERNS, dice.randint(1, 5))):
            sort = dice.choice(["HTTPS", "HTTPS", "HTTPS", "TLS", "pass"])
            tls: dict[str, Any] = {"mode": "Passthrough"} if sort == "pass" else {"certificateRefs": [{"name": "pair"}]}
            base = {"name": f"l{port}-{number}", "port": port, "protocol": "HTTPS" if sort == "HTTPS" else "TLS", "tls": tls}
            found.append(base | ({"hostname": host} if host else {}))
    return found


def routes(dice: Random, found: list[dict[str, Any]]) -> Iterator[Manifest]:
    """HTTPRoutes and TLSRoutes, most of them for one listener."""
    for at in range(dice.randint(4, 12)):
        of = dice.choice(found)
        kind = "TLSRoute" if of["protocol"] == "TLS" else "HTTPRoute"
        # Of TLSRoutes by name: a backend that speaks TLS itself goes with passing through, another one with ending it.
        by_port = kind == "HTTPRoute" and dice.random() < 0.3
        parent = {"name": "web", **({"port": of["port"]} if by_port else {"sectionName": of["name"]})}
        hosts = dice.sample([each for each in PATTERNS if each], dice.randint(kind == "TLSRoute", 2))
        passing = of.get("tls", {}).get("mode") == "Passthrough"
        rule: dict[str, Any] = {"backendRefs": [to("secret" if passing else dice.choice(["one", "two", "none"]))]}
        if kind == "HTTPRoute":
            mark = {"set": [{"name": "x-rule", "value": f"r{at}/0"}]}
            rule["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": mark}]
            if dice.random() < 0.15:
                rule = {"filters": [*rule["filters"], {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "port": 8443}}]}
        yield manifest(kind, f"r{at}", {"parentRefs": [parent], "hostnames": hosts, "rules": [rule]})


def secret(name: str, pair: Pair) -> Manifest:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    held = {field: base64.b64encode(text).decode() for field, text in data.items()}
    return manifest("Secret", name, type="kubernetes.io/tls", data=held)


@contextlib.contextmanager
def server_context(pair: Pair) -> Iterator[ssl.SSLContext]:
    """TLS of a backend that a listener passes through to."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file.name)
        yield context


async def sent(port: int, scheme: str, name: str | None, authority: str) -> dict[str, Any]:
    """What a client sees."""
    more: dict[str, Any] = {}
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        more = {"ssl": context, "server_hostname": name or ""}
    client = Client(port, **more)
    try:
        status, headers, body = await client.send(authority)
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        return {"status": "closed"}
    finally:
        client.close()
    backend = headers.get("x-backend")
    return {"status": None if backend else status, "rule": headers.get("x-rule"), "backend": backend and body.decode(),
            "location": headers.get("location")}  # fmt: skip


def promised(said: RequestExplanation) -> dict[str, Any]:
    """What explain says, in the same words. A route that carries bytes marks nothing."""
    if said.status is None and said.backend is None:
        return {"status": "closed"}
    marks = said.route is not None and said.route.kind == "HTTPRoute"
    return {
        "status": said.status,
        "rule": f"{said.route.name}/{said.rule}" if marks and said.route else None,
        "backend": said.backend.split("/")[2] if said.backend and said.status is None else None,
        "location": said.location,
    }


async def one_world(fleet: Live, world: int, ports: Ports, base: list[Manifest]) -> tuple[list[str], Counter[Any]]:
    dice = Random(world)
    found = listeners(dice, ports)
    fleet.write("us/main.yaml", [*base, gateway("web", *found), *routes(dice, found), manifest("ConfigMap", f"world-{world}")])
    await fleet.until(lambda: ("default", f"world-{world}") in fleet.engine.source.fleet.get().clusters["us"].config_maps)
    await fleet.settled()
    view: View = await fleet.reports.view(observed=False)
    wrong, seen = [], Counter[Any]()
    for _ in range(REQUESTS):
        port = dice.choice([ports.tls, ports.tls, ports.tls, ports.other, ports.plain])
        scheme = ("http" if port == ports.plain else "https") if dice.random() < 0.95 else ("https" if port == ports.plain else "http")
        name = dice.choice(NAMES)
        authority = name if dice.random() < 0.4 else dice.choice(AUTHORITIES)
        question = AskedRequest(f"{scheme}://{name}:{port}/", "us", headers=[f"host: {authority}"])
        said = explain_request(view, question)
        assert isinstance(said, RequestExplanation), said
        expected = promised(said)
        got = await sent(port, scheme, name, authority)
        for _ in range(50):  # acknowledged is a moment before the workers have it
            if got == expected:
                break
            await asyncio.sleep(0.02)
            got = await sent(port, scheme, name, authority)
        seen[got["status"]] += 1
        if got != expected:
            wrong.append(f"{question}\n  explain {expected}\n  envoy   {got}\n  {said.why}")
            if len(wrong) == 6:
                break
    return wrong, seen


async def test_explain_says_what_envoy_does_with_tls() -> None:
    ports, seen = Ports(free_port(), free_port(), free_port()), Counter[Any]()
    pair = AUTHORITY.sign("a.example.com", "*.example.com")
    with server_context(AUTHORITY.sign("secret.test")) as context:
        async with named_backend("one") as one, named_backend("two") as two, named_backend("secret", ssl=context) as passed:
            base = [secret("pair", pair), *served("one", one), *served("two", two), *served("secret", passed)]
            async with live(base) as fleet:
                for world in range(SEED, SEED + WORLDS):
                    wrong, counts = await one_world(fleet, world, ports, base)
                    again = f"{len(wrong)} differ; FLOTA_TEST_SEED={world} FLOTA_TEST_WORLDS=1"
                    assert not wrong, "\n".join([again, *wrong])
                    seen += counts
    assert WORLDS < 6 or {None, "closed", 404, 421, 500} <= seen.keys(), seen
