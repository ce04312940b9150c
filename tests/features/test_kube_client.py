"""Requests over real HTTP and TLS: credentials that change, answers that are errors, what is repeated and what is not."""

import asyncio
import json
import random
import stat
import subprocess

import pytest
from aiohttp import web

from flota.clock import SystemClock
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.kubeconfig import Access, EnvVar, Exec
from flota.kube.resource import Resource
from flota.kube.transport import Transport

SERVICES = Resource("", "v1", "services", "Service")
ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")


class Server:
    """Answers with what the test put in `answers`, the last one for ever; keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.answers = [web.json_response({"ok": True})]

    async def __call__(self, request):
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) else web.Response(status=answer.status, body=answer.body, headers=answer.headers)


@pytest.fixture
async def server():
    handler = Server()
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    handler.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield handler
    await runner.cleanup()


def client(access, waits=None, **options):
    async def sleep(seconds):
        if waits is not None:
            waits.append(seconds)

    return Client(Transport(access, SystemClock(), agent="flota/test"), jitter=random.Random(1).random, sleep=sleep, **options)


def status(code, reason="", **more):
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": "no", **more}, status=code)


async def test_paths_and_verbs(server):
    async with client(Access(server=server.url)) as api:
        await api.get(ROUTES, "a", "shop")
        await api.apply(ROUTES, "a", {"x": 1}, "shop", subresource="status")
        await api.merge(SERVICES, "b", {}, "shop")
        await api.delete(SERVICES, "b", "shop", uid="u1")
        await api.create(SERVICES, b"{}", "shop")
    asked = [(method, path) for method, path, _, _ in server.asked]
    routes = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a"
    assert asked == [
        ("GET", routes),
        ("PATCH", f"{routes}/status?fieldManager=flota&force=true"),
        ("PATCH", "/api/v1/namespaces/shop/services/b?fieldManager=flota"),
        ("DELETE", "/api/v1/namespaces/shop/services/b"),
        ("POST", "/api/v1/namespaces/shop/services?fieldManager=flota"),
    ]
    assert server.asked[1][2]["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(server.asked[3][3])["preconditions"] == {"uid": "u1"}


async def test_errors_are_values(server):
    async with client(Access(server=server.url), attempts=1) as api:
        server.answers = [status(422, "Invalid", details={"causes": [{"field": "spec.x", "message": "too long"}]})]
        error = await api.create(SERVICES, {}, "a")
        assert isinstance(error, ApiError)
        assert (error.code, error.reason, error.field_causes) == (422, "Invalid", ("spec.x: too long",))
        server.answers = [web.Response(status=502, text="<html>proxy</html>")]
        error = await api.get(SERVICES, "a", "b")
        assert (error.code, error.reason, error.message) == (502, "BadAnswer", "<html>proxy</html>")
        server.answers = [web.Response(text="<html>captive portal</html>")]
        assert (await api.list(SERVICES)).reason == "BadAnswer"
        server.answers = [web.Response(status=302, headers={"Location": "http://elsewhere"})]
        assert (await api.list(SERVICES)).reason == "BadAnswer"
    async with client(Access(server="http://127.0.0.1:9"), attempts=1) as api:
        assert (await api.list(SERVICES)).reason == "Unreachable"


async def test_what_is_repeated(server):
    waits = []
    async with client(Access(server=server.url), waits) as api:
        throttled = web.Response(status=429, headers={"Retry-After": "3"}, body=status(429, "TooManyRequests").body)
        server.answers = [throttled, throttled, web.json_response({})]
        assert await api.create(SERVICES, {}, "a") == b"{}"
        assert len(waits) == 2
        assert all(3 < wait < 9 for wait in waits)
        server.asked.clear()
        server.answers = [status(503, "ServiceUnavailable"), web.json_response({})]
        assert (await api.create(SERVICES, {}, "a")).code == 503, "a create may have been done"
        assert len(server.asked) == 1
        server.answers = [status(503, "ServiceUnavailable"), web.json_response({})]
        assert await api.apply(SERVICES, "a", {}, "a") == b"{}"
        server.answers = [status(503)]
        server.asked.clear()
        assert (await api.get(SERVICES, "a", "a")).code == 503
        assert len(server.asked) == 5, "not for ever"
        server.answers = [web.Response(status=429, headers={"Retry-After": "3600"})]
        server.asked.clear()
        assert (await api.get(SERVICES, "a", "a")).code == 429
        assert len(server.asked) == 1, "an hour is told, not waited"


async def test_a_token_file_that_is_exchanged(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("old\n")
    async with client(Access(server=server.url, token_file=token)) as api:
        await api.get(SERVICES, "a", "b")
        token.write_text("new\n")

        def by_token(request):
            return web.json_response({}) if request.headers["Authorization"] == "Bearer new" else web.Response(status=401)

        server.answers = [by_token]
        assert await api.get(SERVICES, "a", "b") == b"{}"
        assert [asked[2]["Authorization"] for asked in server.asked] == ["Bearer old", "Bearer old", "Bearer new"]
        token.write_text("wrong")
        server.answers = [web.Response(status=401)]
        assert (await api.get(SERVICES, "a", "b")).reason == "Unauthorized"


def script(tmp_path, text):
    path = tmp_path / "give"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return "./give"


async def test_a_command_gives_credentials(server, tmp_path):
    counter = tmp_path / "count"
    credential = '{"status": {"token": "%s-\'$(wc -l < $COUNT | tr -d " ")\'", "expirationTimestamp": "%s"}}'
    lines = f"echo x >> $COUNT\necho '{credential % ('t', '2020-01-01T00:00:00Z')}'"
    given = Exec(command=script(tmp_path, lines), folder=str(tmp_path), env=(EnvVar("COUNT", str(counter)),))
    async with client(Access(server=server.url, exec=given)) as api:
        await api.get(SERVICES, "a", "b")
        await api.get(SERVICES, "a", "b")
    assert [asked[2]["Authorization"] for asked in server.asked] == ["Bearer t-1", "Bearer t-2"], "each had expired"


@pytest.mark.parametrize(
    ("text", "said"),
    [("exit 3", "ended with 3"), ("echo nonsense", "did not print an ExecCredential"), ("echo '{\"status\": {}}'", "neither a token")],
)
async def test_a_command_that_gives_none(server, tmp_path, text, said):
    given = Exec(command=script(tmp_path, text), folder=str(tmp_path))
    async with client(Access(server=server.url, exec=given), attempts=1) as api:
        error = await api.get(SERVICES, "a", "b")
    assert isinstance(error, ApiError)
    assert error.reason == "NoCredentials"
    assert said in error.message
    assert server.asked == []


def certificate(folder, name):
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
         "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_certificates_that_are_exchanged(tmp_path, monkeypatch):
    import shutil
    import ssl

    monkeypatch.setattr("flota.kube.credentials.REREAD_S", 0.0)
    names = []

    async def answer(request):
        found = request.transport.get_extra_info("peercert")
        names.append(found["subject"][0][0][1])
        return web.json_response({})

    ours = {name: certificate(tmp_path, name) for name in ("one", "two")}
    server_cert, server_key = certificate(tmp_path, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_cert, server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    for cert, _ in ours.values():
        context.load_verify_locations(cert)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    live_cert, live_key = tmp_path / "live.crt", tmp_path / "live.key"
    url = f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    access = Access(server=url, ca_file=server_cert, certificate_file=live_cert, key_file=live_key)
    async with client(access, attempts=1) as api:
        missing = await api.get(SERVICES, "a", "b")
        assert missing.reason == "NoCredentials"
        for name in ("one", "two"):
            shutil.copy(ours[name][0], live_cert)
            if name == "two":
                assert await api.get(SERVICES, "a", "b") == b"{}", "certificate and key do not fit for a moment: the old ones go on"
            shutil.copy(ours[name][1], live_key)
            assert await api.get(SERVICES, "a", "b") == b"{}"
        assert names == ["one", "one", "two"]
    async with client(Access(server=url, insecure=False), attempts=1) as api:
        assert (await api.get(SERVICES, "a", "b")).reason == "Untrusted"
    await runner.cleanup()


async def test_at_most_so_many_at_a_time(server):
    busy, most = 0, 0

    class Slow(Server):
        async def __call__(self, request):
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.01)
            busy -= 1
            return web.json_response({})

    slow = Slow()
    runner = web.ServerRunner(web.Server(slow))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with client(Access(server=f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"), parallel=3) as api:
        await asyncio.gather(*(api.get(SERVICES, "a", "b") for _ in range(20)))
    assert most == 3
    await runner.cleanup()
