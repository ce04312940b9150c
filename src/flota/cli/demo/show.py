"""The demo as it is seen: a live table in a terminal, plain lines elsewhere."""

import asyncio
import time
from collections.abc import Iterable, Sequence

from flota.cli.demo.figures import figures
from flota.cli.demo.load import Load, Sample
from flota.cli.live import Screen
from flota.cli.output import table

_LIVE_S, _PLAIN_S = 0.25, 2.0


class Show:
    """Shows the figures of the last moment, and what was said."""

    def __init__(self, load: Load, rate: float) -> None:
        self._load = load
        self._rate = rate
        self._screen = Screen()
        self._start = time.monotonic()
        self._said: list[str] = []
        self._next = 0
        self._window: list[Sample] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_LIVE_S if self._screen.live else _PLAIN_S)
            self._take()
            self._screen.show(self._live() if self._screen.live else self._line())

    def phase(self, title: str) -> None:
        """Something happens now."""
        self._say(f"[{time.monotonic() - self._start:5.1f} s] {title}")

    def why(self, sentences: Iterable[str]) -> None:
        """What Flota says about it."""
        for each in sentences:
            self._say(f"          why: {each}")

    def last(self) -> None:
        """The figures of the whole demo."""
        rows = [_row(client, samples) for client, samples in _by_client(self._load.samples).items()]
        self._screen.finish()
        print(table(_HEADER, rows), flush=True)

    def _say(self, line: str) -> None:
        self._said.append(line)
        if not self._screen.live:
            self._screen.show(line)

    def _take(self) -> None:
        """Keep the requests of the last two seconds."""
        fresh, now = self._load.samples[self._next :], time.monotonic()
        self._next += len(fresh)
        self._window = [each for each in (*self._window, *fresh) if each.sent + each.took > now - _PLAIN_S]

    def _line(self) -> str:
        parts = []
        for client, samples in _by_client(self._window).items():
            it = figures(samples)
            parts.append(
                f"near {client}: {it.total / _PLAIN_S:.0f}/s, {it.failed} failed, p50 {it.median * 1000:.0f} ms, "
                f"p99 {it.p99 * 1000:.0f} ms, served by {_served(it.served_by)}"
            )
        return f"[{time.monotonic() - self._start:5.1f} s]   " + " | ".join(parts)

    def _live(self) -> str:
        rows = [_row(client, samples) for client, samples in _by_client(self._window).items()]
        total = figures(self._load.samples)
        head = f"{time.monotonic() - self._start:.0f} s: {total.total} requests, {total.failed} failed. The last two seconds:"
        return "\n".join([head, "", table(_HEADER, rows), "", *self._said[-14:]])


_HEADER = ("CLIENTS NEAR", "REQUESTS", "FAILED", "P50 MS", "P99 MS", "WORST MS", "SERVED BY")


def _row(client: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    it = figures(samples)
    times = (f"{seconds * 1000:.1f}" for seconds in (it.median, it.p99, it.worst))
    return (client, str(it.total), str(it.failed), *times, _served(it.served_by))


def _served(by: dict[str, int]) -> str:
    total = sum(by.values()) or 1
    return ", ".join(f"{region} {number / total:.0%}" for region, number in by.items()) or "nobody"


def _by_client(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for each in samples:
        found.setdefault(each.client, []).append(each)
    return dict(sorted(found.items()))
