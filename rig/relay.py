"""From listeners of the host's network to places in the room's: so a kubeconfig, and a load-balancer address, is good on both sides."""

import asyncio
import socket
from collections.abc import Collection
from functools import partial

from rig.build import Say
from rig.space import HostNetwork

Place = tuple[str, int]
"""(address, port)."""


async def relay(listener: socket.socket, port: int) -> None:
    """Until cancelled: each connection to `listener` is led to 127.0.0.1:`port` of our own network."""
    server = await asyncio.start_server(partial(_lead, ("127.0.0.1", port)), sock=listener)
    async with server:
        await server.serve_forever()


class Publisher:
    """Shows TCP ports of load-balancer addresses to the host, at the same address and port."""

    def __init__(self, host: HostNetwork, say: Say) -> None:
        self._host = host
        self._say = say
        self._servers: dict[Place, asyncio.Server | None] = {}
        """None where the host would not have it; that is said once."""

    async def show(self, places: Collection[Place]) -> None:
        """These and no others."""
        for gone in self._servers.keys() - set(places):
            if server := self._servers.pop(gone):
                server.close()
        for place in sorted(set(places) - self._servers.keys()):
            self._servers[place] = await self._served(place)

    async def _served(self, place: Place) -> asyncio.Server | None:
        try:
            listener = self._host.listener(*place)
        except OSError as error:
            self._say(f"{place[0]}:{place[1]} is not shown to the host: {error.strerror}")
            return None
        return await asyncio.start_server(partial(_lead, place), sock=listener)


async def _lead(place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection(*place)
    except OSError:
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, back), name="to the room")
            group.create_task(_copy(there, writer), name="from the room")
    except* OSError:
        # One side broke the connection; the other is told by the close.
        pass
    finally:
        writer.close()
        back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the end of one direction, which is told on."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
