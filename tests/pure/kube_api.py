"""An API server's list and watch in memory, that can be made to fail, lie and forget; and a transport to it without a network."""

import asyncio
import contextlib
import itertools
import json

from flota.kube.errors import ApiError
from flota.kube.transport import Answer


class FakeApi:
    """Objects of one kind with a history, as etcd and the watch cache have them."""

    def __init__(self, streaming=True):
        self.streaming = streaming
        self.objects = {}
        self.version = 10
        self.history = []
        self.horizon = 10
        self.backups = []
        self.streams = set()
        self.answers = []
        """Errors for the next requests (of any kind), in order; None = a good answer."""
        self.requests = []
        self.chunk = None
        """Bytes per chunk; None = a line."""

    def put(self, name, value, namespace="n", **more):
        self.version += 1
        known = name in self.objects
        meta = {"name": name, "namespace": namespace, "resourceVersion": str(self.version), "managedFields": [{"manager": "x"}]}
        thing = {"metadata": meta, "value": value, **more}
        self.objects[name] = thing
        self._tell("MODIFIED" if known else "ADDED", thing)

    def delete(self, name):
        if name in self.objects:
            self.version += 1
            gone = self.objects.pop(name)
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self._tell("DELETED", gone)

    def _tell(self, kind, thing):
        self.history.append((self.version, kind, json.dumps(thing)))
        for stream in self.streams:
            stream.wake()

    def bookmark(self):
        for stream in self.streams:
            stream.mark()

    def compact(self):
        self.horizon, self.history = self.version, []

    def backup(self):
        self.backups.append((self.version, dict(self.objects), list(self.history), self.horizon))

    def restore(self):
        if self.backups:
            self.version, objects, history, self.horizon = self.backups[-1]
            self.objects, self.history = dict(objects), list(history)
            self.cut()

    def each_stream(self, do):
        for stream in list(self.streams):
            do(stream)

    def cut(self, *, middle=False):
        """All connections break, in the middle of a line if asked."""
        self.each_stream(lambda s: s.say(b'{"type":"MODIFIED","object":{"metad', end=ApiError(0, "Unreachable", "cut")) if middle
                         else s.say(b"", end=ApiError(0, "Unreachable", "cut")))  # fmt: skip

    def finish(self):
        self.each_stream(lambda s: s.say(b"", end=b""))

    def hang(self):
        """All connections go silent: half open."""
        self.each_stream(lambda s: s.say(b"", end=ApiError(0, "TimedOut", "silent")))

    def garbage(self, line):
        self.each_stream(lambda s: s.say(line + b"\n"))

    # what the transport asks

    def respond(self, path, query):
        """(status, body) of a request that is no watch."""
        limit, start = int(query.get("limit") or 0), int(query.get("continue") or 0)
        names = sorted(self.objects)
        chosen = names[start : start + limit] if limit else names
        more = limit and start + limit < len(names)
        meta = {"resourceVersion": str(self.version), **({"continue": str(start + limit)} if more else {})}
        return 200, json.dumps({"metadata": meta, "items": [self.objects[name] for name in chosen]}).encode()

    def refuse(self, query):
        """Why a watch is not opened."""
        if "sendInitialEvents" in query:
            return None if self.streaming else ApiError(422, "Invalid", "sendInitialEvents is forbidden")
        return None


class FakeStream:
    """One watch."""

    def __init__(self, api, query):
        self.api = api
        self.lines = []
        self.end = None
        self.woken = asyncio.Event()
        self.at = int(query.get("resourceVersion") or 0)
        if "sendInitialEvents" in query:
            self.at = api.version
            self.lines = [event("ADDED", json.dumps(api.objects[name])) for name in sorted(api.objects)]
            self.lines.append(mark(api.version, initial=True))
        elif self.at < api.horizon:
            self.lines.append(event("ERROR", json.dumps({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})))
            self.end = b""
        elif "resourceVersion" not in query:
            self.at = 0

    def wake(self):
        self.woken.set()

    def mark(self):
        self.collect()
        if self.at <= self.api.version:
            self.lines.append(mark(self.api.version))
        self.wake()

    def say(self, line, end=None):
        self.collect()
        if line:
            self.lines.append(line)
        self.end = self.end if end is None else end
        if end is not None:
            self.api.streams.discard(self)
        self.wake()

    def collect(self):
        if self.end is None:
            for version, kind, thing in self.api.history:
                if version > self.at:
                    self.lines.append(event(kind, thing))
                    self.at = version

    async def chunk(self, silence):
        while True:
            self.collect()
            if self.lines:
                if self.api.chunk is None:
                    line, self.lines = b"".join(self.lines), []
                    return line
                whole = b"".join(self.lines)
                part, rest = whole[: self.api.chunk], whole[self.api.chunk :]
                self.lines = [rest] if rest else []
                await asyncio.sleep(0)
                return part
            if self.end is not None:
                return self.end
            self.woken.clear()
            await self.woken.wait()


class FakeTransport:
    """What a Client and a Reflector need of a Transport."""

    def __init__(self, api):
        self.api = api

    async def request(self, method, path, query=None, body=None, *, kind="", accept="", within=0):
        await asyncio.sleep(0)
        self.api.requests.append((method, path, query))
        error = self.api.answers.pop(0) if self.api.answers else None
        if error is not None:
            return error
        status, answer = self.api.respond(path, query or {})
        return Answer(status, {}, answer)

    @contextlib.asynccontextmanager
    async def stream(self, path, query, *, accept=""):
        await asyncio.sleep(0)
        self.api.requests.append(("WATCH", path, query))
        error = self.api.answers.pop(0) if self.api.answers else None
        error = error or self.api.refuse(query)
        if error is not None:
            yield error
            return
        stream = FakeStream(self.api, query)
        if stream.end is None:
            self.api.streams.add(stream)
        try:
            yield stream
        finally:
            self.api.streams.discard(stream)


def event(kind, thing):
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), thing.encode())


def mark(version, initial=False):
    meta = {"resourceVersion": str(version), **({"annotations": {"k8s.io/initial-events-end": "true"}} if initial else {})}
    return event("BOOKMARK", json.dumps({"kind": "X", "metadata": meta}))


class FakeClock:
    """Stands still unless told."""

    def __init__(self):
        self.time = 1000.0
        self.ticks = itertools.count()

    def monotonic(self):
        return self.time
