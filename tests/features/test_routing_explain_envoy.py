"""`explain request` against a real Envoy: generated routes that overlap, generated requests, every answer compared."""

import asyncio
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from ads_harness import free_port
from plan_harness import echo, running_proxy

from flota.plan import ProxyPlan
from flota.routing.explain import Request, explain_request

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))
from routing_fleets import plan_of, service

HOSTS = ("a.example.com", "b.example.com", "x.a.example.com", "*.example.com", "*.a.example.com", "*.com", "c.org")
AUTHORITIES = (
    "a.example.com", "A.Example.COM:8080", "b.example.com:", "x.a.example.com", "y.x.a.example.com", "example.com", ".example.com",
    "c.org:80", "C.ORG", "d.net", "[::1]:80", "[::1]", "a.example.com.", "A.example.com.:8080", "a.example.com..",
    "a.example.com.:", "a.example.com:1:2", "*.example.com",
)  # fmt: skip
PATHS = (
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "//a", "/a//b", "/a/../c", "/a/./b", "/%61", "/a%2Fb", "/a%2fb", "/A", "/c;x", "/a/b/",
    "/..", "/a/%2e%2e/c", "/a/b/..", "/%C3%A9", "/a%20b",
)  # fmt: skip
QUERIES = ("", "?x=1", "?x=2&x=1", "?x=", "?x", "?X=1", "?x=%31", "?y=12&x=1", "?&x=1", "?x=1&", "?x=1=1", "?x=a+b", "?y=a/b")
HEADERS: tuple[dict[str, str], ...] = (
    {}, {"x": "1"}, {"X": "1", "y": "2"}, {"x": "1", "X": "2"}, {"x": "2", "X": "1"}, {"x": ""}, {"y": "12"}, {"x": "1, 2"},
    {"content-type": "application/grpc"}, {"content-type": "application/grpc+proto"}, {"content-type": "application/grpc-web"},
)  # fmt: skip


def a_match(dice: Random) -> dict[str, Any]:
    """A match that overlaps with others."""
    kind = dice.choice(["Exact", "PathPrefix", "PathPrefix", "RegularExpression"])
    value = dice.choice(["/a.*", "/[a-c]", "/a/(b|c)"]) if kind[0] == "R" else dice.choice(["/", "/a", "/a/", "/a/b", "/c", "/a%2Fb"])
    match: dict[str, Any] = {"path": {"type": kind, "value": value}}
    if dice.random() < 0.3:
        match["method"] = dice.choice(["GET", "POST"])
    if dice.random() < 0.3:
        match["headers"] = [{"name": "X", "value": dice.choice(["1", "1,2"])}]
    elif dice.random() < 0.2:
        match["headers"] = [{"name": "y", "value": dice.choice(["1.", ".*"]), "type": "RegularExpression"}]
    if dice.random() < 0.3:
        value, kind = dice.choice(["1", "1.*", "a b", "a/b"]), dice.choice(["Exact", "RegularExpression"])
        match["queryParams"] = [{"name": dice.choice("xy"), "value": value, "type": kind}]
    return match


def a_redirect(dice: Random) -> dict[str, Any]:
    """A redirect that changes some of the location. Its prefix needs exactly one prefix match."""
    asked: dict[str, Any] = {"statusCode": dice.choice([301, 302, 303, 307, 308])}
    if dice.random() < 0.5:
        asked["scheme"] = "https"
    if dice.random() < 0.3:
        asked["hostname"] = "new.org"
    if dice.random() < 0.3:
        asked["port"] = dice.choice([80, 443, 8443])
    new = dice.choice(["", "/", "/new", "/new/"])
    if dice.random() < 0.6:
        asked["path"] = {"type": "ReplacePrefixMatch", "replacePrefixMatch": new}
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": dice.choice(["/", "/a", "/a/b"])}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": asked}],
    }


def a_rule(dice: Random, label: str) -> dict[str, Any]:
    """A rule that marks its answers with `label`."""
    if dice.random() < 0.15:
        rule = a_redirect(dice)
    else:
        ref = dice.choice([{"name": "one"}, {"name": "two"}, {"name": "one"}, {"name": "two"}, {"name": "none"}, {"name": "empty"}])
        rule = {"matches": [a_match(dice) for _ in range(dice.randint(1, 2))], "backendRefs": [{**ref, "port": 8080}]}
    mark = {"set": [{"name": "x-rule", "value": label}]}
    rule.setdefault("filters", []).append({"type": "ResponseHeaderModifier", "responseHeaderModifier": mark})
    return rule


def routes(dice: Random) -> list[dict[str, Any]]:
    """HTTPRoutes for the listeners."""
    found = []
    for at in range(dice.randint(4, 10)):
        section = dice.choice([{}, {"sectionName": "any"}, {"sectionName": "wild"}])
        spec = {
            "parentRefs": [{"name": "gw", **section}],
            "hostnames": dice.sample(HOSTS, dice.randint(0, 3)),
            "rules": [a_rule(dice, f"r{at}/{rule}") for rule in range(dice.randint(1, 3))],
        }
        found.append({"kind": "HTTPRoute", "metadata": {"name": f"r{at}"}, "spec": spec})
    return found


def a_proxy_plan(dice: Random, port: int, one: int, two: int) -> ProxyPlan:
    """A Gateway with two listeners on one port, two backends that serve and two that don't."""
    listener = {"port": port, "protocol": "HTTP"}
    listeners = [{"name": "any", **listener}, {"name": "wild", "hostname": "*.example.com", **listener}]
    gateway = {
        "kind": "Gateway",
        "metadata": {"name": "gw"},
        "spec": {"gatewayClassName": "flota", "addresses": [{"value": "127.0.0.1"}], "listeners": listeners},
    }
    slices = [
        service("one", addresses=("127.0.0.1",)),
        service("two", addresses=("127.0.0.1",)),
        service("empty", addresses=()),
    ]
    manifests = [gateway, *(each for text in slices for each in yaml.safe_load_all(text)), *routes(dice)]
    for each in manifests:
        if each["kind"] == "EndpointSlice":
            each["ports"] = [{"port": {"one-1": one, "two-1": two}.get(each["metadata"]["name"], 1)}]
    return plan_of(more=manifests).proxies["us"]


class Client:
    """Requests exactly as they are, one after the other on one connection as long as the proxy keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {request.authority}", "content-length: 0"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(5):
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            await self.close()
        return int(first.split()[1]), headers, body

    async def close(self) -> None:
        """Let the connection go."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()
            self._streams = None


@pytest.mark.parametrize("seed", range(6))
async def test_explain_says_what_envoy_does(seed: int) -> None:
    dice = Random(seed)
    wrong: list[str] = []
    answered: set[int | None] = set()
    async with running_proxy() as proxy, echo("one") as one, echo("two") as two:
        port = free_port()
        client = Client(port)
        for _ in range(4):
            plan = a_proxy_plan(dice, port, one, two)
            await proxy.serve(plan)
            for _ in range(150):
                request = Request(
                    authority=dice.choice(AUTHORITIES),
                    path=dice.choice(PATHS) + dice.choice(QUERIES),
                    method=dice.choice(["GET", "POST"]),
                    headers=tuple(dice.choice(HEADERS).items()),
                    address="127.0.0.1",
                    port=port,
                )
                said = explain_request(plan, request)
                status, headers, body = await client.send(request)
                source = said.source
                expected = (
                    said.status or 200,
                    f"{source.name}/{source.rule}" if source else None,
                    said.candidates[0].label.split("/")[2] if said.status is None else None,
                    said.location,
                )
                backend = json.loads(body)["backend"] if headers.get("x-backend") else None
                got = (status, headers.get("x-rule"), backend, headers.get("location"))
                answered.add(said.status)
                if got != expected:
                    wrong.append(f"{request}\n  explain {expected}\n  envoy   {got}\n  {said.why}")
        await client.close()
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:8]])
    assert {None, 404, 500} <= answered
