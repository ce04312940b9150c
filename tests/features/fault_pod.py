"""A backend that can be killed, hung (SIGSTOP) and made to answer 503 (SIGUSR1 toggles). Run as a process: PORT FILE.

Notes the `x-id` of every request it gets in FILE, before it answers.
"""

import asyncio
import re
import signal
import sys

WELL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SICK = b"HTTP/1.1 503 Sick\r\ncontent-length: 0\r\n\r\n"


class Pod:
    def __init__(self, path: str) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115, PTH123  (open as long as the process lives)
        self._sick = False

    def toggle(self) -> None:
        self._sick = not self._sick

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._file.write(re.search(rb"x-id: (\S+)", head)[1] + b"\n")  # type: ignore[index]
                size = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(size[1]) if size else 0)
                await asyncio.sleep(0.003)
                writer.write(SICK if self._sick else WELL)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    pod = Pod(sys.argv[2])
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, pod.toggle)
    server = await asyncio.start_server(pod.serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
