"""The running Flota's own HTTP interface: reports on a unix socket for the commands, `/metrics` and `/readyz` on TCP.

Every handler makes one `View`, calls one pure report function and encodes what it returns.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from flota.app.metrics import render_metrics
from flota.app.reports import Reports
from flota.report.explain_request import AskedRequest
from flota.report.failed import Failed
from flota.report.named import Asked

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """Serves until cancelled. `stop` is set by POST /v1/stop."""

    def __init__(self, reports: Reports, socket: Path, metrics_address: str) -> None:
        self._reports = reports
        self._engine = reports.engine
        self._socket = socket
        self._metrics_address = metrics_address
        self.stop = asyncio.Event()

    async def serve(self) -> None:
        """Listen on both; raises OSError when the unix socket can't be had. A taken metrics port is a problem that is told."""
        local, outside = web.AppRunner(self._local(), access_log=None), web.AppRunner(self._outside(), access_log=None)
        try:
            await local.setup()
            self._socket.unlink(missing_ok=True)
            await web.UnixSite(local, str(self._socket)).start()
            self._socket.chmod(0o600)
            await outside.setup()
            await self._listen_outside(outside)
            await asyncio.get_running_loop().create_future()
        finally:
            await local.cleanup()
            await outside.cleanup()

    async def _listen_outside(self, runner: web.AppRunner) -> None:
        host, _, port = self._metrics_address.rpartition(":")
        try:
            site = web.TCPSite(runner, host.strip("[]"), int(port))
            await site.start()
        except OverflowError:  # what asyncio says of a port above 65535
            self._reports.metrics_failed(self._metrics_address, OSError(errno.EINVAL, "there is no such port"))
            return
        except OSError as error:
            self._reports.metrics_failed(self._metrics_address, error)
            return
        address = runner.addresses[0]
        self._reports.metrics_url = f"http://{address[0]}:{address[1]}"

    def _local(self) -> web.Application:
        app = web.Application(middlewares=[self._once_planned])
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/explain/request", self._explain_request)
        app.router.add_get("/v1/explain/object", self._explain_object)
        app.router.add_get("/v1/whatif", self._whatif)
        app.router.add_post("/v1/drain", self._drain)
        app.router.add_post("/v1/undrain", self._undrain)
        app.router.add_post("/v1/stop", self._stop)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/readyz", self._readyz)
        return app

    def _outside(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/readyz", self._readyz)
        return app

    @web.middleware
    async def _once_planned(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before the first plan there is nothing true to report; asking again soon is right."""
        ready, why = self._reports.ready()
        if not ready and request.path.startswith("/v1/") and request.path != "/v1/stop":
            return web.json_response({"message": f"Flota is starting: {why}; try again"}, status=503)
        return await handler(request)

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._reports.status())

    async def _explain_request(self, request: web.Request) -> web.Response:
        given = request.query
        asked = AskedRequest(
            given.get("url", ""), given.get("from", ""), given.get("gateway"), given.get("method", "GET"), given.getall("header", [])
        )
        return _json(await self._reports.explain_request(asked))

    async def _explain_object(self, request: web.Request) -> web.Response:
        given = request.query
        asked = Asked(given.get("kind", ""), given.get("name", ""), given.get("namespace") or "default", given.get("cluster"))
        return _json(await self._reports.explain_object(asked))

    async def _whatif(self, request: web.Request) -> web.Response:
        return _json(await self._reports.whatif(request.query.getall("lose", []), request.query.getall("drain", [])))

    async def _drain(self, request: web.Request) -> web.Response:
        asked = await _body(request, DrainRequest)
        until = self._engine.drains.now() + timedelta(seconds=asked.for_s)
        return _json(await self._reports.drain(asked.target, until, dry_run=asked.dry_run, force=asked.force))

    async def _undrain(self, request: web.Request) -> web.Response:
        return _json(await self._reports.undrain((await _body(request, UndrainRequest)).target))

    async def _stop(self, _: web.Request) -> web.Response:
        self.stop.set()
        return web.Response(status=202)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=render_metrics(self._engine), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _readyz(self, _: web.Request) -> web.Response:
        ready, why = self._reports.ready()
        return web.Response(status=200 if ready else 503, text=why + "\n")


class DrainRequest(msgspec.Struct, frozen=True, rename="camel"):
    """POST /v1/drain."""

    target: str
    for_s: float
    dry_run: bool = False
    force: bool = False


class UndrainRequest(msgspec.Struct, frozen=True):
    """POST /v1/undrain."""

    target: str


async def _body(request: web.Request, type_: type[T]) -> T:
    """Raises HTTPBadRequest with what is wrong."""
    try:
        return msgspec.json.decode(await request.read(), type=type_)
    except msgspec.DecodeError as error:
        said = msgspec.json.encode({"message": str(error)})
        raise web.HTTPBadRequest(body=said, content_type="application/json") from error


def _json(value: object) -> web.Response:
    status = 200 if not isinstance(value, Failed) else 400 if value.code == 2 else 404
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
