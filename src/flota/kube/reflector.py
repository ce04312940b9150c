"""One kind of one API server, kept in step: list, then watch from there, for ever.

Source: Kubernetes API concepts (efficient detection of changes, streaming lists KEP-3157, comparable resource versions KEP-5504).
What can go wrong, and what is done:

- the stream ends in good order: go on from the last resource version, at once;
- no connection, a stream that is cut or silent: wait (longer each time), then ask how far the server is. One that is behind us was restored
  from a backup: list again and believe nothing that is known;
- 410, or a version that goes back within a stream: list again. A list replaces nothing before it is over, so there is no gap;
- a line that is no event, or too long: what it meant is unknown, so list again. One that comes again in the list is left out and told;
- an object that can't be decoded: the last good version stays, and the fault is told;
- 401, 403, 429, anything else: told in `state`, tried again. What is known stays.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Generic, TypeVar

from msgspec import Struct, structs

from flota.kube.cache import Cache, Decode
from flota.kube.client import METADATA, METADATA_LIST, Client
from flota.kube.errors import ApiError
from flota.kube.events import Bookmark, Changed, Deleted, Garbage, Key, event_of, item_of, older
from flota.kube.lines import Lines
from flota.kube.pace import Pace
from flota.kube.resource import Resource
from flota.kube.timing import Clock, Jitter, Sleep, backoff
from flota.kube.transport import Query, Stream

T = TypeVar("T")
PAGE = 250
"""Objects of the first page of a list; later ones as many as fill `PAGE_BYTES`."""
PAGE_BYTES = 1 << 20
WATCH_S = 300
"""A watch is asked to last so many seconds at least, twice as many at most (as client-go)."""
SILENCE_S = 150.0
"""A stream without an event or bookmark for so long is given up; bookmarks come every minute."""
FIRST_SILENCE_S = 20.0
"""The same while a list is streamed."""
VERIFY_S = 1800.0
"""Seconds after which everything is listed and decoded anew: finds what no stream can tell (a store restored behind our back)."""
FIRST_WAIT_S, LONGEST_WAIT_S, LONGEST_RESUME_S = 0.25, 30.0, 10.0
"""Between attempts: the first pause, the longest before a new list, the longest before going on from where we were."""
STEADY_S = 10.0
"""A stream that lasted so long was a success: what fails next starts with short pauses again."""


class ReflectorState(Struct, frozen=True):
    """How well a kind is known."""

    synced: bool = False
    """Everything has been listed once; from then on the cache is whole."""
    live: bool = False
    """It is being watched at this moment, so what is known is what is."""
    trouble: ApiError | None = None
    """Why not; the last one stays until it is live again."""
    odd: str = ""
    """What in the last list made no sense and was left out."""
    blind_since: float | None = None
    """Monotonic seconds since which it has not been live; None while it is."""


class Counts(Struct):
    """For metrics, since the start."""

    events: int = 0
    lists: int = 0
    streams: int = 0
    restored: int = 0
    """Times that resource versions went back."""


class Reflector(Generic[T]):
    """Follows the objects of `resource` that match. `notify` is called after changes of `cache` or `state`, between two turns."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        decode: Decode[T],
        *,
        clock: Clock,
        jitter: Jitter,
        pace: Pace,
        notify: Callable[[], None],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.resource = resource
        self.cache: Cache[T] = Cache(decode)
        self.state = ReflectorState(blind_since=clock.monotonic())
        self.counts = Counts()
        self._client, self._clock, self._jitter, self._pace, self._sleep = client, clock, jitter, pace, sleep
        self._notify = notify
        self._path = resource.path(namespace)
        self._namespace = namespace
        self._select = {"labels": labels, "fields": fields}
        self._query = {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        self._accept = (METADATA_LIST, METADATA) if metadata_only else ("", "")
        """Media types of a list and of a stream."""
        self._position = ""
        """Resource version up to which all is known; empty = nothing is."""
        self._trust = True
        """Whether an object whose version is known needs no decoding."""
        self._streams = True
        """Whether the server is believed to stream lists."""
        self._doubt = False
        """Whether the server was out of sight: it may not be the one that it was."""
        self._failures = 0
        self._live_at: float | None = None
        self._page = PAGE
        self._verified = clock.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            error = await self._once()
            if self._live_at is not None and self._clock.monotonic() - self._live_at >= STEADY_S:
                self._failures = 0
            self._live_at = None
            if error is None:
                continue
            self._failures += 1
            self._blind(error)
            longest = LONGEST_RESUME_S if self._position else LONGEST_WAIT_S
            wait = backoff(self._failures, self._jitter(), base=FIRST_WAIT_S, cap=longest)
            await self._sleep(max(wait, min(error.retry_after or 0.0, LONGEST_WAIT_S)))
            self._doubt = self._doubt or error.code == 0

    async def _once(self) -> ApiError | None:
        """List if need be, and watch until the stream ends; None = in good order."""
        if self._clock.monotonic() - self._verified >= VERIFY_S * (1 + 0.2 * self._jitter()):
            self._forget(trust=False)
        if self._position and self._doubt:
            error = await self._check()
            if error is not None:
                return error
        if self._position:
            return await self._follow({"resourceVersion": self._position}, None)
        if self._streams:
            error = await self._follow({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, set())
            if self._streams:
                return error
        async with self._pace.listing():
            return await self._list()

    def _forget(self, *, trust: bool) -> None:
        """List again; without trust everything is decoded again, whatever its version."""
        self._position = ""
        self._trust = self._trust and trust

    async def _check(self) -> ApiError | None:
        """After a silence: a server whose store is behind what we know has been restored from a backup."""
        page = await self._client.list(self.resource, limit=1, repeat=False)
        if isinstance(page, ApiError):
            return page
        self._doubt = False
        return self._went_back(page.resource_version) if older(page.resource_version, self._position) else None

    def _went_back(self, version: str) -> ApiError:
        self.counts.restored += 1
        said = f"resource versions of {self.resource} went back from {self._position} to {version}: restored from a backup?"
        self._forget(trust=False)
        return ApiError(200, "WentBack", said)

    async def _list(self) -> ApiError | None:
        """Page by page. An error leaves everything as it was, but for newer versions of what it told."""
        self.counts.lists += 1
        self._set(odd="")
        seen: set[Key] = set()
        page = ""
        while True:
            found = await self._client.list(
                self.resource, self._namespace, **self._select, limit=self._page, page=page, accept=self._accept[0], repeat=False
            )
            if isinstance(found, ApiError):
                self._page = max(1, self._page // 2) if found.reason == "TooLarge" else self._page
                return found
            await self._pace.each(found.items, lambda raw: self._listed(item_of(raw), seen))
            self._tell_changes()
            if found.items:
                self._page = min(5_000, max(1, PAGE_BYTES * len(found.items) // max(found.size, 1)))
            if not found.resource_version or (page and page == found.next_page):
                return ApiError(200, "BadAnswer", f"a list of {self.resource} without a version, or without an end")
            page = found.next_page
            if not page:
                self._complete(found.resource_version, seen)
                return None

    def _listed(self, item: Changed | Garbage, seen: set[Key]) -> bool:
        if isinstance(item, Garbage):
            self._set(odd=item.message)
        else:
            seen.add(item.key)
            self.cache.put(item, trust=self._trust)
        return False

    def _complete(self, version: str, seen: set[Key]) -> None:
        """A list is over: what it did not tell of is gone."""
        self.cache.keep_only(seen)
        self._position = version
        self._trust, self._doubt = True, False
        self._verified = self._clock.monotonic()
        self._set(synced=True)
        self._tell_changes()

    async def _follow(self, query: Query, seen: set[Key] | None) -> ApiError | None:
        """One stream until it ends. With `seen` it starts with everything there is; these keys are collected there."""
        self.counts.streams += 1
        seconds = int(WATCH_S * (1 + self._jitter()))
        whole = {**self._query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds), **query}
        following = Following(seen)
        async with AsyncExitStack() as slot:
            if seen is not None:
                self.counts.lists += 1
                self._set(odd="")
                await slot.enter_async_context(self._pace.listing())
            async with self._client.transport.stream(self._path, whole, accept=self._accept[1]) as stream:
                if isinstance(stream, ApiError):
                    return self._not_opened(stream, following)
                if seen is None:
                    self._live()
                return await self._read(stream, following, slot)

    async def _read(self, stream: Stream, following: "Following", slot: AsyncExitStack) -> ApiError | None:
        lines = Lines()
        began = self._clock.monotonic()
        while True:
            chunk = await stream.chunk(FIRST_SILENCE_S if following.listing else SILENCE_S)
            if isinstance(chunk, ApiError) or not chunk:
                return self._stream_over(chunk or None, following, began)
            await self._pace.each(lines.feed(chunk), lambda line: self._line(line, following))
            self._tell_changes()
            if following.end is not None:
                return following.end
            if not following.listing:
                await slot.aclose()

    def _not_opened(self, error: ApiError, following: "Following") -> ApiError:
        if error.gone or error.too_new:
            self._forget(trust=not error.too_new)
        elif following.listing and error.code in (400, 422):
            self._streams = False  # KEP-3157 is not served here
        return error

    def _stream_over(self, error: ApiError | None, following: "Following", began: float) -> ApiError | None:
        """The stream has ended: by itself (None), or because nothing came any more."""
        if following.listing and (error is None or error.reason == "TimedOut"):
            self._streams = False  # it started, as if we had not asked for what there is
            return error or ApiError(200, "BadAnswer", f"a list of {self.resource} that ended before it was over")
        if error is None and not following.lines and self._clock.monotonic() - began < 1.0:
            return ApiError(200, "BadAnswer", f"a watch of {self.resource} that ended at once")
        return error

    def _line(self, line: bytes | None, following: "Following") -> bool:
        """Take in a line; whether the stream is of no more use."""
        following.lines += 1
        event = event_of(line) if line is not None else Garbage("a line that is too long")
        self.counts.events += 1
        match event:
            case ApiError():
                following.end = event
                if event.gone or event.too_new:
                    self._forget(trust=not event.too_new)
            case Garbage() if following.listing:
                self._set(odd=event.message)
            case Garbage():
                self._forget(trust=True)
                following.end = ApiError(200, "BadAnswer", event.message)
            case Changed() | Deleted() | Bookmark() if following.listing:
                self._initial(event, following)
            case Changed() | Deleted() | Bookmark():
                self._later(event, following)
        return following.end is not None

    def _initial(self, event: Changed | Deleted | Bookmark, following: "Following") -> None:
        """Before the mark: what there is, in any order of versions."""
        seen = following.seen
        if isinstance(event, Changed):
            seen.add(event.key)
            self.cache.put(event, trust=self._trust)
        elif isinstance(event, Deleted):
            seen.discard(event.key)
        elif event.initial:
            following.listing = False
            self._complete(event.version, seen)
            self._live()

    def _later(self, event: Changed | Deleted | Bookmark, following: "Following") -> None:
        """What happened since, in the order of versions."""
        if older(event.version, self._position):
            following.end = self._went_back(event.version)
            return
        self._position = event.version or self._position
        if isinstance(event, Changed):
            self.cache.put(event, trust=True)
        elif isinstance(event, Deleted):
            self.cache.drop(event.key)

    def _tell_changes(self) -> None:
        if self.cache.dirty:
            self._notify()

    def _live(self) -> None:
        self._live_at = self._clock.monotonic()
        self._set(live=True, trouble=None, blind_since=None)

    def _blind(self, error: ApiError) -> None:
        since = self._clock.monotonic() if self.state.live else self.state.blind_since
        self._set(live=False, trouble=error, blind_since=since)

    def _set(self, **changes: object) -> None:
        state = structs.replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self._notify()


class Following:
    """Where one stream is. `seen`: the keys that it told before the mark that all is told; None = it did not start with them."""

    def __init__(self, seen: set[Key] | None) -> None:
        self.seen = seen if seen is not None else set()
        self.listing = seen is not None
        self.lines = 0
        self.end: ApiError | None = None
        """Why it must not be read any further."""
