"""Retries that a rule asks for, and those that come by themselves: how often a backend is asked, and what the client gets."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from ads_harness import free_port
from live_harness import live, served, to
from plan_harness import call
from test_guards import at, route, web

_ANSWER = "HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n"


class Failing:
    """Of each request, told apart by `id`, the first `fails` attempts are answered with `status`, or not at all where it is 0."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).decode().split()[1]
                asked = {name: values[0] for name, values in parse_qs(urlsplit(line).query).items()}
                self.attempts[asked["id"]] += 1
                failed = self.attempts[asked["id"]] <= int(asked["fails"])
                if failed and asked["status"] == "0":
                    continue
                writer.write(_ANSWER.format(asked["status"] if failed else 200).encode())
        writer.close()


@contextlib.asynccontextmanager
async def failing(of: Failing) -> AsyncIterator[int]:
    """The port it listens on."""
    port = free_port()
    server = await asyncio.start_server(of.serve, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()


async def test_codes_and_attempts_are_what_the_rule_says() -> None:
    port, of = free_port(), Failing()
    limit = {"timeouts": {"request": "5s", "backendRequest": "200ms"}}
    rules = [
        at("/500", to("app"), retry={"codes": [500], "attempts": 3, "backoff": "5ms"}),
        at("/all", to("app"), retry={"codes": [500, 502, 503, 504], "attempts": 2, "backoff": "5ms"}),
        at("/slow", to("app"), retry={"attempts": 2, "backoff": "5ms"}, **limit),
        at("/once", to("app"), **limit),
        at("/plain", to("app")),
    ]
    cases = [  # path, method, status, fails → what the client gets, attempts
        ("/500", "GET", 500, 2, 200, 3), ("/500", "GET", 500, 4, 500, 4), ("/500", "GET", 503, 2, 503, 1),
        ("/500", "POST", 500, 2, 200, 3),
        *(("/all", "GET", status, fails, *told) for status in (500, 502, 503, 504) for fails, told in ((1, (200, 2)), (3, (status, 3)))),
        ("/plain", "GET", 503, 1, 200, 2), ("/plain", "GET", 503, 2, 503, 2), ("/plain", "GET", 500, 1, 500, 1),
        ("/plain", "POST", 503, 1, 503, 1), ("/plain", "PUT", 503, 1, 200, 2),
        ("/slow", "GET", 0, 2, 200, 3), ("/slow", "GET", 0, 3, 504, 3), ("/slow", "POST", 0, 1, 504, 1), ("/once", "POST", 0, 1, 504, 1),
    ]  # fmt: skip
    async with failing(of) as app, live([web(port), *served("app", app), route(*rules)]) as fleet:
        assert await fleet.problems() == ()
        for number, (path, method, status, fails, got, attempts) in enumerate(cases):
            answer = await call(port, f"{path}?id={number}&status={status}&fails={fails}", method=method)
            assert (answer[0], of.attempts[str(number)]) == (got, attempts), (path, method, status, fails)


async def test_a_backend_that_refuses_connections_is_tried_again_elsewhere() -> None:
    port, of = free_port(), Failing()
    async with failing(of) as good:
        dead = free_port()
        pieces = served("app", good)
        pieces.append({**served("app", dead)[1], "metadata": {"name": "dead", "labels": {"kubernetes.io/service-name": "app"}}})
        async with live([web(port), *pieces, route(at("/", to("app"), retry={"codes": [500], "attempts": 2, "backoff": "5ms"}))]):
            for number in range(10):
                for method in ("GET", "POST"):
                    assert (await call(port, f"/?id={number}&status=200&fails=0", method=method))[0] == 200
            assert set(of.attempts.values()) == {2}, "each of the ten ids once by GET and once by POST"
