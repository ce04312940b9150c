"""Whatever admission takes, Envoy takes: values at the limits of every field of a route, through the whole product."""

import itertools
from collections.abc import Iterator
from typing import Any

from ads_harness import free_port
from live_harness import Client, Live, gateway, live, manifest, named_backend, served, to

Rule = dict[str, Any]
VALUES = ("%", "%%", "%START_TIME%", "%REQ(x)%", "%foo%", "a" * 4000, "é", "日本", '"', "{}", "$1", "x;y,z")
NAMES = (
    "Host", ":path", ":authority", "content-length", "Transfer-Encoding", "Connection", "x-envoy-retry-on", "x-forwarded-for", "upgrade",
    "x-flota-scope", "set-cookie", "!#$%&'*+-.^_`|~", "a" * 250, "grpc-timeout", "x-request-id",
)  # fmt: skip
PATHS = ("/", "/%", "/%2F", "/a?b", "/é", "//", "/a/../b", "/" + "a" * 1023, "/a\\b", "/$1", "/{x}", "/*", "/a%00")
PATTERNS = (
    "", ".*", "/(a|b)+", "/[[:alpha:]]+", "/(?i)a", "/a{1000}", "/(a{100}){10}", "/" + "(a|b)" * 200, "\\pL+", "^/a$", "/\\x{10FFFF}",
    "\\C", "/a\nb", "(.*){50}", "(((((a{1,1000})))))", "é", "/(a",
)  # fmt: skip
NEW_PATHS = ("", "/", "x", "/a b", "/%", "/\\1", "/$1", "/é", "/a?b=c", "/" + "a" * 1000, "//", "/{a}", "\\", "/\\9")
DURATIONS = ("0s", "1ms", "99999h", "99999h59999m", "1h1m1s1ms", "0ms")
ATTEMPTS = (1, 100, 2**31, 2**32, 2**63 - 1)
FRACTIONS = ((0, 1), (1, 3), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1))
CODES = ([400], [599], list(range(400, 600)))


def headers() -> Iterator[Rule]:
    for kind, verb in itertools.product(("request", "response"), ("set", "add")):
        for name, value in (*((name, "v") for name in NAMES), *(("x-a", value) for value in VALUES)):
            yield {"filters": [changes(kind, {verb: [{"name": name, "value": value}]})]}
    for name in (*NAMES, "", "a b", "é"):
        yield {"filters": [changes("request", {"remove": [name]})]}
        yield {"matches": [{"headers": [{"name": name, "value": "v"}]}]}
        yield {"matches": [{"queryParams": [{"name": name, "value": "v"}]}]}


def changes(kind: str, what: Rule) -> Rule:
    return {"type": f"{kind.title()}HeaderModifier", f"{kind}HeaderModifier": what}


def paths() -> Iterator[Rule]:
    for kind, path in itertools.product(("Exact", "PathPrefix"), PATHS):
        yield {"matches": [{"path": {"type": kind, "value": path}}]}
    for pattern in PATTERNS:
        yield {"matches": [{"path": {"type": "RegularExpression", "value": pattern}}]}
        for what in ("headers", "queryParams"):
            yield {"matches": [{what: [{"name": "x", "type": "RegularExpression", "value": pattern}]}]}
    for prefix, path, field in itertools.product(("/", "/p"), NEW_PATHS, ("replaceFullPath", "replacePrefixMatch")):
        kind = "ReplaceFullPath" if field == "replaceFullPath" else "ReplacePrefixMatch"
        new = {"matches": [{"path": {"type": "PathPrefix", "value": prefix}}]}
        yield {**new, "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": kind, field: path}}}]}
        yield {
            **new,
            "backendRefs": [],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {"path": {"type": kind, field: path}}}],
        }


def numbers() -> Iterator[Rule]:
    for duration in DURATIONS:
        yield {"timeouts": {"request": duration}}
        yield {"timeouts": {"backendRequest": duration}}
        yield {"retry": {"attempts": 1, "backoff": duration, "codes": [500]}}
        yield {"sessionPersistence": {"absoluteTimeout": duration, "cookieConfig": {"lifetimeType": "Permanent"}}}
    for attempts in ATTEMPTS:
        yield {"retry": {"attempts": attempts, "codes": [503]}}
    for codes in CODES:
        yield {"retry": {"codes": codes}}
    for weight in (0, 1, 1_000_000):
        yield {"backendRefs": [to("one", weight=weight)] * 16}
        yield {"backendRefs": [to("one", weight=weight), to("nope")]}
    for above, below in FRACTIONS:
        mirror = {"backendRef": to("one"), "fraction": {"numerator": above, "denominator": below}}
        yield {"filters": [{"type": "RequestMirror", "requestMirror": mirror}]}


def told_of(fleet: Live) -> set[str]:
    """Routes that are planned, and those that are refused."""
    planned = fleet.engine.planned
    assert planned is not None
    return {name for _, name in planned.clusters["us"].http_routes} | {each.name for each in fleet.engine.source.problems.get()}


async def test_what_admission_takes_the_proxy_takes() -> None:
    rules = [*headers(), *paths(), *numbers()]
    specs = [{"parentRefs": [{"name": "web"}], "hostnames": [f"h{at}.test"], "rules": [{"backendRefs": [to("one")]} | rule]}
             for at, rule in enumerate(rules)]  # fmt: skip
    routes = {f"r{at}": manifest("HTTPRoute", f"r{at}", spec) for at, spec in enumerate(specs)}
    routes["plain"] = manifest("HTTPRoute", "plain", {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [to("one")]}]})
    port = free_port()
    async with named_backend("one") as one:
        us = [gateway("web", {"name": "http", "port": port, "protocol": "HTTP"}), *served("one", one)]
        async with live(us) as fleet:
            fleet.write("us/routes.yaml", routes.values())
            await fleet.until(lambda: routes.keys() <= told_of(fleet), 60)
            await fleet.settled(60)
            assert {each.name: each.message for each in fleet.engine.trials.problems()} == {}
            client = Client(port)
            assert (await client.send("plain.test"))[0] == 200
            client.close()
