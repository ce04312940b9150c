"""A small client of the rig's own API servers, for what the rig itself does: apply, read, watch."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

Object = dict[str, Any]
"""A Kubernetes object, as JSON gives it."""


class RefusedError(Exception):
    """The API server said no. `status` is the HTTP status, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Resource(NamedTuple):
    """Where objects of a kind are."""

    prefix: str
    """Such as /api/v1 or /apis/apps/v1."""
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Of an object, a collection of a namespace, or (without namespace) of all namespaces."""
        parts = [self.prefix, *(["namespaces", namespace] if self.namespaced and namespace else []), self.plural]
        return "/".join([*parts, *([name] if name else []), *([sub] if sub else [])])


class Api:
    """One API server, over a few HTTP/1.1 connections. Use as an async context manager."""

    def __init__(self, server: str, authority: str, certificate: str, key: str) -> None:
        """`authority`, `certificate` and `key` are paths of PEM files."""
        self._server = server
        self._tls = ssl.create_default_context(cafile=authority)
        self._tls.load_cert_chain(certificate, key)
        self._session: aiohttp.ClientSession | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    async def __aenter__(self) -> Self:
        # Watches hold a connection each, so there is no limit on their number.
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(self._server, connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, body: object = None, content: str = "application/json", seconds: float = 30) -> Object:
        """One request, JSON in and out. Raises RefusedError, aiohttp.ClientError, TimeoutError."""
        data = None if body is None else json.dumps(body).encode()
        async with asyncio.timeout(seconds), self._open.request(method, path, data=data, headers={"content-type": content}) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RefusedError(answer.status, _message(text))
            return dict(json.loads(text)) if text.startswith("{") else {"text": text}

    async def apply(self, document: Object, manager: str = "rig") -> Object:
        """Server-side apply, forced."""
        meta = document["metadata"]
        resource = await self.resource(document["apiVersion"], document["kind"])
        namespace = meta.get("namespace", "default") if resource.namespaced else ""
        path = f"{resource.path(namespace, meta['name'])}?fieldManager={manager}&force=true"
        return await self.call("PATCH", path, document, "application/apply-patch+yaml")

    async def resource(self, version: str, kind: str) -> Resource:
        """Where a kind is served; asked once."""
        if (version, kind) not in self._resources:
            prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for each in (await self.call("GET", prefix))["resources"]:
                if "/" not in each["name"]:
                    self._resources[version, each["kind"]] = Resource(prefix, each["name"], each["namespaced"])
        if (version, kind) not in self._resources:
            raise RefusedError(404, f"{version} {kind} is not served")
        return self._resources[version, kind]

    async def watch(self, path: str, selector: str = "") -> AsyncIterator[tuple[str, Object]]:
        """(event, object) from the list on, then what changes; event ADDED, MODIFIED, DELETED or SYNCED after the list.

        Lists again when the server forgets where we were, with the gone objects not told: a reader that cares compares at SYNCED.
        """
        query = f"&{selector}" if selector else ""
        while True:
            listed = await self.call("GET", f"{path}?limit=0{query}")
            for item in listed["items"]:
                yield "ADDED", item
            yield "SYNCED", listed["metadata"]
            version = listed["metadata"]["resourceVersion"]
            async for line in self.lines(f"{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}{query}"):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    break
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of an answer as they come; none when it is refused."""
        async with self._open.get(path) as answer:
            if answer.status >= 400:
                return
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use `async with`")
        return self._session


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]
