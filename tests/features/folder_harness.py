"""A fleet's folder on disk, followed by a FolderSource."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from flota.clock import SystemClock
from flota.sources.memory import SourceMemory
from flota.sources.source import FolderSource

FLEET = """apiVersion: flota.dev/v1alpha1
kind: ClusterSet
metadata: {name: shop}
spec:
  clusters:
  - {name: us, region: us-east}
  - {name: eu, region: eu-west}
"""


def service(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"


def make(root: Path) -> Path:
    """A fleet of two empty clusters."""
    root.mkdir(exist_ok=True)
    (root / "fleet.yaml").write_text(FLEET)
    for cluster in ("us", "eu"):
        (root / cluster).mkdir()
    return root


class Followed:
    """What the source makes of the folder."""

    def __init__(self, source: FolderSource) -> None:
        self.source = source

    def services(self, cluster: str = "us") -> dict[str, Any]:
        found = self.source.fleet.get().clusters
        return {name: each for (_, name), each in found[cluster].services.items()} if cluster in found else {}

    def ports(self, cluster: str = "us") -> dict[str, int]:
        return {name: each.spec.ports[0].port for name, each in self.services(cluster).items()}

    def problems(self) -> list[tuple[str, str | None]]:
        return [(problem.reason, problem.file) for problem in self.source.problems.get()]

    async def until(self, holds: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for what must come to hold."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not holds():
            assert loop.time() < end, (self.ports("us"), self.ports("eu"), self.source.problems.get())
            await asyncio.sleep(0.002)

    async def always(self, holds: Callable[[], bool], meanwhile: float) -> None:
        """See that something holds at every moment for a while."""
        loop = asyncio.get_running_loop()
        end = loop.time() + meanwhile
        while loop.time() < end:
            assert holds(), (self.ports("us"), self.ports("eu"), self.source.problems.get())
            await asyncio.sleep(0.001)


@asynccontextmanager
async def following(root: Path, memory: SourceMemory | None = None) -> AsyncIterator[Followed]:
    """A source that has read the folder, stopped in the end."""
    source = FolderSource(root, memory or SourceMemory(), SystemClock())
    task = asyncio.create_task(source.run())
    followed = Followed(source)
    try:
        await followed.until(lambda: source.ready.get() or task.done())
        yield followed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
