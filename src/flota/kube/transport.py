"""Bytes to and from one API server over HTTP/1.1: who we are is renewed here, and what fails is told as a value."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from msgspec import Struct

from flota.kube.credentials import Credentials, Identity
from flota.kube.errors import ApiError, from_answer
from flota.kube.kubeconfig import Access
from flota.kube.timing import Clock
from flota.kube.tls import tls_context

CONNECT_S = 10.0
"""Until a connection stands."""
FIRST_BYTE_S = 60.0
"""Until a stream's answer begins; the API server holds a watch back while it catches up."""
DEAD_S = 30
"""A connection whose other end does not acknowledge for so long is dead: a machine that is gone sends no goodbye."""
MAX_BODY = 64 << 20
"""Bytes of one answer; the API server's own limit for an object is 3 MiB."""
_MAX_ERROR = 64 << 10
Query = Mapping[str, str]


class Answer(Struct, frozen=True):
    """An answer whose status is below 400."""

    code: int
    headers: Mapping[str, str]
    body: bytes


_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What aiohttp raises for a network, a server or a URL that is not as it should be."""


class _Session(Struct, eq=False):
    """Connections that one identity may use; closed when a newer identity is there and nobody uses them any more."""

    http: aiohttp.ClientSession
    identity: Identity
    users: int = 0
    retired: bool = False


class Transport:
    """`async with Transport(…)`: requests and streams to one API server. Raises nothing that a network can cause."""

    def __init__(self, access: Access, clock: Clock, *, agent: str, compress: bool = False) -> None:
        self.access = access
        self.credentials = Credentials(access, clock)
        self._headers = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "gzip" if compress else "identity"}
        self._session: _Session | None = None
        self._retired: set[_Session] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        sessions = [*self._retired, *([self._session] if self._session else [])]
        self._session = None
        for session in sessions:
            await session.http.close()
        for _ in range(2):  # rounds of the event loop until aborted connections have closed their sockets
            await asyncio.sleep(0)

    async def request(
        self, method: str, path: str, query: Query | None = None, body: bytes | None = None, *, kind: str, accept: str = "", within: float
    ) -> Answer | ApiError:
        """One exchange within so many seconds. `kind`: content type of the body; `accept`: of the answer, JSON by default."""
        headers = {"Content-Type": kind} if body is not None else {}
        if accept:
            headers["Accept"] = accept
        async with self._lend() as session:
            if isinstance(session, ApiError):
                return session
            limits = aiohttp.ClientTimeout(total=within, sock_connect=CONNECT_S)
            try:
                async with self._send(session, method, path, query, headers, body, limits) as response:
                    return await self._read(response)
            except _FAILURES as error:
                return self._unreachable(error)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, query: Query, *, accept: str = "") -> AsyncIterator["Stream | ApiError"]:
        """An answer that goes on; the connection is given back when the context ends."""
        async with self._lend() as session:
            if isinstance(session, ApiError):
                yield session
                return
            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
            headers = {"Accept": accept} if accept else {}
            async with contextlib.AsyncExitStack() as stack:
                given: Stream | ApiError
                try:
                    async with asyncio.timeout(FIRST_BYTE_S):
                        response = await stack.enter_async_context(self._send(session, "GET", path, query, headers, None, limits))
                    stack.callback(_abort, response)
                    given = await self._error(response) if response.status >= 300 else Stream(response, self._unreachable)
                except _FAILURES as error:
                    given = self._unreachable(error)
                yield given

    async def _read(self, response: aiohttp.ClientResponse) -> Answer | ApiError:
        if response.status >= 300:
            return await self._error(response)
        body = await _body(response, MAX_BODY)
        if body is None:
            return ApiError(response.status, "TooLarge", f"an answer of more than {MAX_BODY >> 20} MiB")
        return Answer(response.status, response.headers, body)

    async def _error(self, response: aiohttp.ClientResponse) -> ApiError:
        if response.status == 401:
            self.credentials.refused()
        body = await _body(response, _MAX_ERROR)
        error = from_answer(response.status, response.headers, body or b"")
        if response.status < 400:
            return ApiError(response.status, "BadAnswer", f"{self.access.server} sends elsewhere: {response.headers.get('Location', '')}")
        return error

    def _unreachable(self, error: Exception) -> ApiError:
        server = self.access.server
        if isinstance(error, TimeoutError):
            return ApiError(0, "TimedOut", f"{server} did not answer in time")
        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            self.credentials.refused()  # the CA or our certificate may have been exchanged
            return ApiError(0, "Untrusted", f"{server}: {error}")
        return ApiError(0, "Unreachable", f"{server}: {error or type(error).__name__}")

    def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Query | None,
        headers: Mapping[str, str],
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> "aiohttp.client._RequestContextManager":
        identity = session.identity
        return session.http.request(
            method,
            f"{self.access.server}{path}",
            params=query,
            data=body,
            headers={**headers, "Authorization": identity.authorization} if identity.authorization else headers,
            timeout=limits,
            proxy=self.access.proxy,
            server_hostname=self.access.tls_server_name,
            allow_redirects=False,
        )

    @contextlib.asynccontextmanager
    async def _lend(self) -> AsyncIterator[_Session | ApiError]:
        session = await self._newest()
        if isinstance(session, ApiError):
            yield session
            return
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if session.retired and not session.users:
                self._retired.discard(session)
                await session.http.close()

    async def _newest(self) -> _Session | ApiError:
        """The session of the identity that counts now."""
        identity = await self.credentials.current()
        if isinstance(identity, ApiError):
            return identity
        old = self._session
        if old is not None and old.identity is identity:
            return old
        try:
            context = tls_context(identity, insecure=self.access.insecure) if self.access.server.startswith("https") else True
        except (ssl.SSLError, ValueError, OSError) as error:
            # A certificate and its key that do not fit: perhaps one of two files was exchanged so far.
            return old or ApiError(0, "NoCredentials", f"certificate, key or CA of {self.access.server}: {error}")
        connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=60, socket_factory=_socket)
        self._session = _Session(aiohttp.ClientSession(connector=connector, headers=self._headers, auto_decompress=True), identity)
        if old is not None:
            old.retired = True
            if old.users:
                self._retired.add(old)
            else:
                await old.http.close()
        return self._session


class Stream:
    """The bytes of an answer as they come."""

    def __init__(self, response: aiohttp.ClientResponse, explain: Callable[[Exception], ApiError]) -> None:
        self._response = response
        self._explain = explain

    async def chunk(self, silence: float) -> bytes | ApiError:
        """What came meanwhile, at least a byte; nothing = the server ended it in good order. Waits `silence` seconds at most."""
        try:
            async with asyncio.timeout(silence):
                return await self._response.content.readany()
        except _FAILURES as error:
            return self._explain(error)


def _abort(response: aiohttp.ClientResponse) -> None:
    """End a stream that goes on, at once, without waiting for the other end's goodbye. One that is over has given its connection back."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body; None where it is longer than `limit`."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that finds out when the other end is gone: quiet ones are probed after 10 s, every 5 s."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", DEAD_S * 1000)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
