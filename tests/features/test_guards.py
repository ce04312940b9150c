"""CORS, external authorisation, sessions and filters of single backends: files in, real Envoy, real requests out."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ads_harness import free_port
from fleet_harness import BACKEND
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from live_harness import Client, Clients, Live, Manifest, gateway, live, manifest, named_backend, served, to, to_import
from plan_harness import Seen, call, echo, process
from test_encode_protocols import Raw

from flota.envoy.protos import load
from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request

ORIGIN, METHOD, HEADERS = "origin", "access-control-request-method", "access-control-request-headers"
ALLOW = "access-control-allow-"


def web(port: int) -> Manifest:
    """The Gateway of all tests here."""
    return gateway("web", {"name": "http", "port": port, "protocol": "HTTP"})


def route(*rules: dict[str, Any], kind: str = "HTTPRoute", name: str = "web") -> Manifest:
    """A route of the Gateway."""
    return manifest(kind, name, {"parentRefs": [{"name": "web"}], "rules": list(rules)})


def at(path: str, *refs: dict[str, Any], **rule: Any) -> dict[str, Any]:
    """A rule for paths below it."""
    return {"matches": [{"path": {"value": path}}], "backendRefs": list(refs), **rule}


def cors(**fields: Any) -> dict[str, Any]:
    return {"type": "CORS", "cors": fields}


async def explained(fleet: Live, port: int, path: str, method: str = "GET", headers: tuple[str, ...] = ()) -> RequestExplanation:
    """What `flota explain request` says."""
    view = await fleet.reports.view(observed=False)
    found = explain_request(view, AskedRequest(f"http://a.test:{port}{path}", "us", method=method, headers=headers))
    assert isinstance(found, RequestExplanation), found
    return found


async def test_cors_answers_preflights_and_says_who_may_use_the_answers() -> None:
    port, seen = free_port(), Seen()
    listed = cors(allowOrigins=["https://www.foo.test", "https://*.bar.test"], allowMethods=["GET", "OPTIONS"], allowHeaders=["x-1", "x-2"],
                  exposeHeaders=["x-3"], allowCredentials=True, maxAge=3600)
    wild = {"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "exposeHeaders": ["*"]}
    async with echo("one", seen) as one, live([web(port), *served("one", one), route(
        at("/listed", to("one"), filters=[listed]), at("/wild", to("one"), filters=[cors(**wild)]),
        at("/credentials", to("one"), filters=[cors(**wild, allowCredentials=True)]),
        {**at("/put", to("one"), filters=[cors(allowOrigins=["http://a.test"], allowMethods=["PUT"])]),
         "matches": [{"path": {"value": "/put"}, "method": "PUT"}]},
    )]) as fleet:
        async def preflight(path: str, origin: str, method: str = "GET", headers: str = "x-1, x-2") -> tuple[int, dict[str, str]]:
            status, got, _ = await call(port, path, method="OPTIONS", headers={ORIGIN: origin, METHOD: method, HEADERS: headers})
            return status, {name.removeprefix("access-control-"): value for name, value in got.items() if "access-control" in name}

        told = {"allow-methods": "GET, OPTIONS", "allow-headers": "x-1, x-2", "max-age": "3600", "allow-credentials": "true"}
        for origin in ("https://www.foo.test", "https://www.foo.test:443", "https://a.bar.test", "https://a.b.bar.test"):
            assert await preflight("/listed", origin) == (200, {**told, "allow-origin": origin, "expose-headers": "x-3"})
        for origin in ("http://www.foo.test", "https://www.foo.test:8443", "https://bar.test", "https://foo.test.evil"):
            status, got = await preflight("/listed", origin)
            assert (status, got.get("allow-origin")) == (200, None)
        everything = {"allow-origin": "http://x.test", "max-age": "5"}
        assert await preflight("/wild", "http://x.test", "PATCH") == (
            200, {**everything, "allow-methods": "PATCH", "allow-headers": "x-1, x-2", "expose-headers": "*"})
        assert await preflight("/credentials", "http://x.test", "PATCH") == (
            200, {**everything, "allow-methods": "PATCH", "allow-headers": "x-1, x-2", "allow-credentials": "true"})
        _, got, _ = await call(port, "/credentials", method="OPTIONS", headers={ORIGIN: "http://x.test", METHOD: "GET"})
        assert (got[ALLOW + "methods"], got.get(ALLOW + "headers", "")) == ("GET", ""), "* would be no wildcard"
        only = {"allow-origin": "http://a.test", "max-age": "5", "allow-methods": "PUT"}
        assert await preflight("/put", "http://a.test", "PUT") == (200, only)
        assert seen.requests == []
        assert (await preflight("/put", "http://a.test", "GET"))[0] == 404
        status, got, _ = await call(port, "/listed", headers={ORIGIN: "https://a.bar.test"})
        assert (status, got[ALLOW + "origin"], got["access-control-expose-headers"]) == (200, "https://a.bar.test", "x-3")
        assert ALLOW + "origin" not in (await call(port, "/listed", headers={ORIGIN: "https://evil.test"}))[1]
        asked = (f"{ORIGIN}: https://a.bar.test", f"{METHOD}: GET")
        assert (await explained(fleet, port, "/listed", "OPTIONS", asked)).status == 200
        assert (await explained(fleet, port, "/listed", "OPTIONS")).status is None
        assert await fleet.problems() == ()


def auth(protocol: str, name: str = "guard", **more: Any) -> dict[str, Any]:
    """An ExternalAuth filter that asks a Service."""
    return {"type": "ExternalAuth", "externalAuth": {"protocol": protocol, "backendRef": to(name), protocol.lower(): {}, **more}}


async def test_external_authorisation_over_http() -> None:
    port, asked, seen = free_port(), Seen(), Seen()
    full = auth("HTTP", http={"path": "/check", "allowedHeaders": ["X-User"], "allowedResponseHeaders": ["X-Backend"]})
    rules = [
        at("/full", to("one"), filters=[full, cors(allowOrigins=["*"])]),
        at("/refused", to("one"), filters=[auth("HTTP", "refuser")]),
        at("/lost", to("one"), filters=[auth("HTTP", "lost")]),
        at("/nobody", to("one"), filters=[auth("HTTP", "nobody")]),
        at("/body", to("one"), filters=[auth("HTTP", forwardBody={"maxSize": 10})]),
        at("/two", to("one"), filters=[auth("HTTP"), auth("HTTP", "refuser")]),
    ]
    async with echo("one", seen) as one, echo("guard", asked) as guard, echo("refuser", status=401) as refuser, live([
        web(port), *served("one", one), *served("guard", guard), *served("refuser", refuser), *served("lost", free_port()), route(*rules),
    ]) as fleet:
        assert {each.reason for each in await fleet.problems()} == {"BackendNotFound"}
        status, _, got = await call(port, "/full/x?y=1", headers={"x-user": "ann", "x-other": "1", "authorization": "Basic x"})
        assert (status, got["path"]) == (200, "/full/x?y=1")
        assert dict(got["headers"])["x-backend"] == "guard", "what its answer says goes to the backend"
        assert "date" not in dict(got["headers"])
        question = asked.requests[-1]
        assert (question["path"], question["host"]) == ("/check/full/x?y=1", "a.test")
        names = {name for name, _ in question["headers"]}
        assert {"x-user", "authorization"} <= names
        assert "x-other" not in names
        before = len(seen.requests)
        for path, expected in (("/refused", 401), ("/lost", 503), ("/nobody", 500), ("/two", 401)):
            assert (await call(port, path))[0] == expected, path
        assert len(seen.requests) == before, "nothing got past a guard"
        preflight = {ORIGIN: "http://x.test", METHOD: "GET"}
        questions = len(asked.requests)
        assert (await call(port, "/full", method="OPTIONS", headers=preflight))[0] == 200
        assert len(asked.requests) == questions, "a browser's preflight has no credentials to show"
        assert (await call(port, "/body", method="POST", body=b"0123456789"))[0] == 200
        assert asked.requests[-1]["body"] == "0123456789"
        assert (await call(port, "/body", method="POST", body=b"0123456789a"))[0] == 413
        said = await explained(fleet, port, "/full")
        assert said.status is None
        assert any("is asked first, over HTTP" in each for each in said.filters)


async def test_a_redirect_is_guarded_and_may_be_read_by_other_origins() -> None:
    port = free_port()
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "new.test"}}
    listed = cors(allowOrigins=["http://a.test"], allowCredentials=True, exposeHeaders=["x-1", "*"])
    rules = [at("/crossing", filters=[moved, listed]), at("/refused", filters=[moved, auth("HTTP", "refuser")])]
    for each in rules:
        del each["backendRefs"]
    async with echo("refuser", status=401) as refuser, live([web(port), *served("refuser", refuser), route(*rules)]) as fleet:
        assert await fleet.problems() == ()
        status, got, _ = await call(port, "/refused")
        assert (status, got.get("location")) == (401, None), "not even where it leads is told"
        status, got, _ = await call(port, "/crossing", headers={ORIGIN: "http://a.test"})
        told = {name: value for name, value in got.items() if "access-control" in name}
        assert status == 302
        assert told == {ALLOW + "origin": "http://a.test", ALLOW + "credentials": "true", "access-control-expose-headers": "x-1"}
        status, got, _ = await call(port, "/crossing", headers={ORIGIN: "http://evil.test"})
        assert (status, [name for name in got if "access-control" in name]) == (302, [])
        for origin, answered in (("http://a.test", "http://a.test"), ("http://evil.test", None)):
            status, got, _ = await call(port, "/crossing", method="OPTIONS", headers={ORIGIN: origin, METHOD: "GET"})
            assert (status, got.get(ALLOW + "origin")) == (200, answered)


async def test_a_new_guard_holds_on_open_connections_and_changes_no_listener() -> None:
    port = free_port()
    async with named_backend("app") as app, echo("refuser", status=401) as refuser:
        around = [web(port), *served("app", app), *served("refuser", refuser)]
        async with live([*around, route(at("/", to("app")))]) as fleet:
            before = fleet.engine.plan.get().proxies["us"].listeners
            clients, client = Clients(port), Client(port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(clients.ask("status", lambda answer: (answer[0],), "a.test"), name="client")
                await clients.more("status", 20)
                assert (await client.send("a.test"))[0] == 200
                connection = client.connection
                for filters, expected in (([auth("HTTP", "refuser")], 401), ([], 200), ([auth("HTTP", "refuser")], 401)):
                    fleet.write("us/main.yaml", [*around, route(at("/", to("app"), filters=filters))])
                    await fleet.settled()
                    await clients.more("status", 1)
                    counted = dict(clients.answers["status"])
                    await clients.more("status", 20)
                    now = {status: number - counted.get(status, 0) for status, number in clients.answers["status"].items()}
                    assert {status for status, number in now.items() if number} == {(expected,)}
                    assert (await client.send("a.test"))[0] == expected
                clients.stop()
            assert client.connection is connection, "no connection was ended for it"
            client.close()
            assert fleet.engine.plan.get().proxies["us"].listeners is before
            assert clients.answers["status"].keys() == {(200,), (401,)}


@pytest.mark.parametrize("way", ["kill", "hang"])
async def test_a_guard_that_is_lost_is_asked_elsewhere(way: str) -> None:
    port, near, app = free_port(), free_port(), Seen()
    export = manifest("ServiceExport", "guard")
    asks = {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": to_import("guard"), "http": {}}}
    async with echo("app", app) as one, named_backend("eu") as far, process("-c", BACKEND, str(near), "us") as guard:
        await listening(near)
        here = [web(port), *served("app", one), *served("guard", near), export, route(at("/", to("app"), filters=[asks]))]
        async with live(here, [*served("guard", far), export]) as fleet:
            assert await fleet.problems() == ()
            assert (await call(port))[0] == 200
            guard.send_signal(signal.SIGSTOP if way == "hang" else signal.SIGKILL)
            answers = await asyncio.gather(*(asyncio.create_task(call(port), name=f"client {each}") for each in range(20)))
            assert Counter(each[0] for each in answers) == {200: 20}
            names = {name for name, _ in app.requests[-1]["headers"]}
            assert not {each for each in names if each.startswith("x-envoy")}
            if way == "hang":
                guard.send_signal(signal.SIGCONT)


class Judge:
    """Envoy's authorisation service: lets in who says a word."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self._protos = load()

    async def check(self, stream: Stream[Any, bytes]) -> None:
        """One question, one answer."""
        request = self._protos.message("envoy.service.auth.v3.CheckRequest").FromString(await stream.recv_message())
        headers = dict(request.attributes.request.http.headers)
        self.headers.append(headers)
        answer = self._protos.message("envoy.service.auth.v3.CheckResponse")
        if headers.get("x-word") == "friend":
            ok = {"headers": [{"header": {"key": "x-judged", "value": "yes"}}]}
            await stream.send_message(answer(status={"code": 0}, ok_response=ok).SerializeToString())
        else:
            await stream.send_message(answer(status={"code": 7}, denied_response={"status": {"code": "Forbidden"}}).SerializeToString())

    def __mapping__(self) -> dict[str, Handler]:
        return {"/envoy.service.auth.v3.Authorization/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


@contextlib.asynccontextmanager
async def judge(of: Judge) -> AsyncIterator[int]:
    """A gRPC server with it; the port it has."""
    port, server = free_port(), Server([of], codec=Raw())
    await server.start("127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


async def test_external_authorisation_over_grpc() -> None:
    port, of = free_port(), Judge()
    rules = [at("/all", to("one"), filters=[auth("GRPC")]),
             at("/some", to("one"), filters=[auth("GRPC", grpc={"allowedHeaders": ["X-Word"]})])]  # fmt: skip
    async with echo("one") as one, judge(of) as asked, live([web(port), *served("one", one), *served("guard", asked), route(*rules)]):
        word = {"x-word": "friend", "x-other": "1"}
        status, _, got = await call(port, "/all", headers=word)
        assert (status, dict(got["headers"])["x-judged"]) == (200, "yes")
        assert of.headers[-1]["x-other"] == "1"
        assert (await call(port, "/some", headers=word))[0] == 200
        assert "x-other" not in of.headers[-1]
        assert (await call(port, "/all"))[0] == 403


def cookie(got: dict[str, str]) -> str:
    """The cookie that an answer sets, as it is sent back."""
    return got["set-cookie"].partition(";")[0]


async def test_sessions_stay_where_they_began() -> None:
    port = free_port()
    several = {"sessionPersistence": {"sessionName": "s", "absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}}}
    rules = [
        at("/cookie", to("all"), sessionPersistence={}),
        at("/header", to("all"), sessionPersistence={"type": "Header", "sessionName": "X-Session"}),
        at("/weights", to("one"), to("two"), to("retired", weight=0), **several),
    ]
    async with contextlib.AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(echo(name)) for name in ("one", "two", "retired")}
        files = [each for name, where in ports.items() for each in served(name, where)]
        slices = [manifest("Service", "all", {"ports": [{"name": "main", "port": 80}]})]
        for name, where in ports.items():
            piece = served("all", where)[1]
            slices.append({**piece, "metadata": {**piece["metadata"], "name": f"all-{name}"}})
        fleet = await stack.enter_async_context(live([web(port), *files, *slices, route(*rules)]))
        assert await fleet.problems() == ()

        async def who(path: str, **headers: str) -> str:
            return str((await call(port, path, headers={name.replace("_", "-"): value for name, value in headers.items()}))[2]["backend"])

        _, got, body = await call(port, "/cookie")
        assert got["set-cookie"].startswith("flota-")
        assert "Path=/cookie" in got["set-cookie"]
        assert {await who("/cookie", cookie=cookie(got)) for _ in range(12)} == {body["backend"]}
        assert len({await who("/cookie") for _ in range(40)}) == 3
        _, got, body = await call(port, "/header")
        assert {await who("/header", x_session=got["x-session"]) for _ in range(12)} == {body["backend"]}
        held: dict[str, str] = {}
        while len(held) < 2:
            _, got, body = await call(port, "/weights")
            assert "Max-Age=3600" in got["set-cookie"]
            held[body["backend"]] = cookie(got)
        assert held.keys() == {"one", "two"}, "a backend of weight 0 gets no new session"
        for name, value in held.items():
            assert {await who("/weights", cookie=f"a=b; {value}") for _ in range(12)} == {name}
        said = await explained(fleet, port, "/weights", headers=(f"cookie: {held['two']}",))
        assert [each.backend for each in said.backends] == ["service/default/two/80"]


async def test_a_session_cookie_tells_no_age_and_ends_in_time() -> None:
    port = free_port()
    short = {"sessionName": "s", "absoluteTimeout": "1s"}
    rules = [at("/prefix", to("one"), sessionPersistence=short),
             {"matches": [{"path": {"type": "RegularExpression", "value": "/re/x/.*"}}, {"path": {"type": "Exact", "value": "/exact"}}],
              "backendRefs": [to("one")], "sessionPersistence": {"sessionName": "r"}}]  # fmt: skip
    async with echo("one") as one, live([web(port), *served("one", one), route(*rules)]) as fleet:
        assert await fleet.problems() == ()
        began = asyncio.get_running_loop().time()
        _, got, _ = await call(port, "/prefix/x")
        assert got["set-cookie"].partition("; ")[2] == "Path=/prefix; HttpOnly"
        mine = {"cookie": cookie(got)}
        while "set-cookie" not in (await call(port, "/prefix/x", headers=mine))[1]:
            assert asyncio.get_running_loop().time() < began + 10, "it never ends"
            await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() > began + 0.9
        for path, expected in (("/re/x/y", "/re/x"), ("/exact", "/exact")):
            assert f"Path={expected};" in (await call(port, path))[1]["set-cookie"]


async def test_a_session_outlives_the_loss_of_its_region() -> None:
    port, near = free_port(), free_port()
    export = manifest("ServiceExport", "shop")
    rule = at("/", to_import("shop"), sessionPersistence={"sessionName": "s"})
    async with contextlib.AsyncExitStack() as stack:
        eu = await stack.enter_async_context(named_backend("eu"))
        async with process("-c", BACKEND, str(near), "us"):
            await listening(near)
            here = [web(port), *served("shop", near), export, route(rule)]
            fleet = await stack.enter_async_context(live(here, [*served("shop", eu), export]))
            assert await fleet.problems() == ()
            _, got, body = await call(port)
            assert body == "us"
            mine = cookie(got)
        answers = Counter[Any]()
        for _ in range(20):
            status, got, body = await call(port, headers={"cookie": mine})
            answers[status, body] += 1
            mine = cookie(got) if "set-cookie" in got else mine
        assert answers == {(200, "eu"): 20}, "no request of the session is lost"
        async with process("-c", BACKEND, str(near), "us"):
            deadline = asyncio.get_running_loop().time() + 20
            while (await call(port))[2] != "us":
                assert asyncio.get_running_loop().time() < deadline
            assert (await call(port, headers={"cookie": mine}))[2] == "eu", "the session stays where it is"


async def test_a_session_outlives_a_region_that_hangs() -> None:
    port, near = free_port(), free_port()
    export = manifest("ServiceExport", "shop")
    rule = at("/", to_import("shop"), sessionPersistence={"sessionName": "s"})
    async with named_backend("eu") as eu, process("-c", BACKEND, str(near), "us") as pod:
        await listening(near)
        async with live([web(port), *served("shop", near), export, route(rule)], [*served("shop", eu), export]):
            _, got, body = await call(port)
            assert body == "us"
            mine = {"cookie": cookie(got)}
            pod.send_signal(signal.SIGSTOP)
            waits = [asyncio.create_task(call(port, headers=mine), name=f"client {each}") for each in range(5)]
            answers = await asyncio.gather(*waits)
            assert {(status, body) for status, _, body in answers} == {(200, "eu")}, "what was under way is rescued"
            moved = {"cookie": cookie(answers[0][1])}
            assert (await call(port, headers=moved))[2] == "eu", "the session has moved"
            pod.send_signal(signal.SIGCONT)


async def listening(port: int) -> None:
    """Until somebody does."""
    deadline = asyncio.get_running_loop().time() + 10
    while True:
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_filters_of_one_backend_are_for_its_share_only() -> None:
    port, copies = free_port(), Seen()
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"}
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "v2.test", "path": path}}
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "new.test", "statusCode": 308}}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("copy")}}
    refs = [to("one", filters=[rewrite]), to("two", filters=[moved]), to("three", filters=[mirror], weight=2),
            to("two", filters=[auth("HTTP", "nobody")])]  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(echo(name)) for name in ("one", "two", "three")}
        ports["copy"] = await stack.enter_async_context(echo("copy", copies))
        files = [each for name, where in ports.items() for each in served(name, where)]
        fleet = await stack.enter_async_context(live([web(port), *files, route(at("/a", *refs))]))
        counts = Counter[Any]()
        for _ in range(200):
            status, got, body = await call(port, "/a/x")
            counts[status, body.get("backend") if status == 200 else got.get("location"), body.get("path") if status == 200 else ""] += 1
        target = f"http://new.test:{port}/a/x"
        expected = {(200, "one", "/v2/x"): 40, (308, target, ""): 40, (200, "three", "/a/x"): 80, (500, None, ""): 40}
        assert counts.keys() == expected.keys()
        assert all(abs(counts[each] - number) < 35 for each, number in expected.items()), counts
        await fleet.until(lambda: len(copies.requests) == counts[200, "three", "/a/x"])
        said = await explained(fleet, port, "/a/x")
        assert [round(each.share, 2) for each in said.backends] == [0.2, 0.2, 0.4, 0.2]
        assert f"20% of the requests, those for service/default/two/80, are redirected to {target}" in said.why
