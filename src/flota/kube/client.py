"""Requests to one API server: objects as raw JSON, errors as values, repeated where that is safe.

What is repeated: reads, applies and merge patches after anything that may pass; everything after 429, where the server says that it did
nothing (API Priority and Fairness), as late as it asks. A 401 is repeated once with fresh credentials.
"""

import asyncio
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Raw, Struct

from flota.kube.errors import ApiError
from flota.kube.resource import Resource
from flota.kube.timing import Jitter, Sleep, backoff
from flota.kube.transport import Answer, Query, Transport

TIMEOUT_S = 30.0
"""Seconds for one request."""
PATIENCE_S = 30.0
"""A server that asks to come back later than this is told of instead."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Media type: of each object only its metadata (of a list, too)."""
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
Body = bytes | object
"""JSON as bytes, or a value that msgspec can encode."""


class Listing(Struct, frozen=True):
    """A page of a list. `next_page`: token for the next one, empty on the last."""

    resource_version: str
    items: tuple[Raw, ...]
    next_page: str = ""
    size: int = 0
    """Bytes of the page."""


class _ListMeta(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(Struct):
    metadata: _ListMeta
    items: tuple[Raw, ...] | None = None


class Client:
    """One API server. `field_manager` is who our writes are by. At most `parallel` requests at a time; streams do not count."""

    def __init__(
        self,
        transport: Transport,
        *,
        jitter: Jitter,
        field_manager: str = "flota",
        sleep: Sleep = asyncio.sleep,
        attempts: int = 5,
        parallel: int = 8,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.transport = transport
        self.field_manager = field_manager
        self._jitter = jitter
        self._sleep = sleep
        self._attempts = attempts
        self._slots = asyncio.Semaphore(parallel)
        self._timeout = timeout
        self.requests = 0
        """Sent so far, repetitions included."""

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.transport.__aexit__(kind, error, trace)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | ApiError:
        """An object."""
        return await self._send("GET", resource.path(namespace, name), repeat=True)

    async def read(self, path: str, *, accept: str = "") -> bytes | ApiError:
        """Whatever is at a path (discovery, version)."""
        return await self._send("GET", path, accept=accept, repeat=True)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        page: str = "",
        accept: str = "",
        repeat: bool = True,
    ) -> Listing | ApiError:
        """A page of objects as they are now (all of them without `limit`). `accept`: another media type, such as `METADATA_LIST`."""
        wanted = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit or ""), "continue": page}
        query = {name: value for name, value in wanted.items() if value}
        body = await self._send("GET", resource.path(namespace), query, accept=accept, repeat=repeat)
        if isinstance(body, ApiError):
            return body
        try:
            found = msgspec.json.decode(body, type=_List)
        except msgspec.DecodeError as error:
            return ApiError(200, "BadAnswer", f"a list of {resource} that is none: {error}")
        meta = found.metadata
        return Listing(meta.resource_version, found.items or (), meta.continue_, len(body))

    async def create(self, resource: Resource, body: Body, namespace: str = "") -> bytes | ApiError:
        """A new object (409 AlreadyExists if there is one); as the server has it then."""
        query = {"fieldManager": self.field_manager}
        return await self._send("POST", resource.path(namespace), query, _encoded(body), "application/json")

    async def replace(self, resource: Resource, name: str, body: Body, namespace: str = "") -> bytes | ApiError:
        """PUT; with a `resourceVersion` in the body, 409 Conflict when the object has changed since."""
        query = {"fieldManager": self.field_manager}
        return await self._send("PUT", resource.path(namespace, name), query, _encoded(body), "application/json")

    async def apply(
        self, resource: Resource, name: str, body: Body, namespace: str = "", *, subresource: str = "", force: bool = True
    ) -> bytes | ApiError:
        """Server-side apply: the fields in `body` become ours (with `force` also those of other managers), those we no longer name go."""
        query = {"fieldManager": self.field_manager, "force": "true" if force else "false"}
        return await self._send("PATCH", resource.path(namespace, name, subresource), query, _encoded(body), APPLY, repeat=True)

    async def merge(self, resource: Resource, name: str, body: Body, namespace: str = "", *, subresource: str = "") -> bytes | ApiError:
        """JSON merge patch (RFC 7396); lists are replaced whole. With `metadata.resourceVersion` in it, 409 when the object has changed."""
        query = {"fieldManager": self.field_manager}
        return await self._send("PATCH", resource.path(namespace, name, subresource), query, _encoded(body), MERGE, repeat=True)

    async def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> bytes | ApiError:
        """Delete an object; with `uid` only that very one (409 Conflict otherwise)."""
        options: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self._send("DELETE", resource.path(namespace, name), None, _encoded(options), "application/json")

    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | None = None,
        kind: str = "application/json",
        *,
        accept: str = "",
        repeat: bool = False,
    ) -> bytes | ApiError:
        refused = False
        attempt = 1
        while True:
            async with self._slots:
                self.requests += 1
                answer = await self.transport.request(method, path, query, body, kind=kind, accept=accept, within=self._timeout)
            if isinstance(answer, Answer):
                return answer.body
            if answer.code == 401 and not refused:
                refused = True
                continue
            wait = self._wait(answer, attempt, repeat=repeat)
            if wait is None:
                return answer
            await self._sleep(wait)
            attempt += 1

    def _wait(self, error: ApiError, attempt: int, *, repeat: bool) -> float | None:
        """Seconds until the next attempt; None = it is not made."""
        if attempt >= self._attempts or not (error.not_done or (repeat and error.may_pass)):
            return None
        wait = backoff(attempt, self._jitter(), base=0.1, cap=5.0)
        if error.retry_after is None:
            return wait
        return error.retry_after + wait if error.retry_after <= PATIENCE_S else None


def _encoded(body: Body) -> bytes:
    return body if isinstance(body, bytes) else msgspec.json.encode(body)
