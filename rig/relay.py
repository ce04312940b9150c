"""From a listener of the host's network to a port in the room's: so a kubeconfig is good on both sides."""

import asyncio
import contextlib
import socket


async def relay(listener: socket.socket, port: int) -> None:
    """Until cancelled: each connection to `listener` is led to 127.0.0.1:`port` of our own network."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, back), name="to the room")
            group.create_task(_copy(there, writer), name="from the room")

    server = await asyncio.start_server(lead, sock=listener)
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the end of one direction, which is told on; a broken connection ends both."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
