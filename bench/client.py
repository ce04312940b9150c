"""A client on one kept connection, as simple as it can be: it must not be what is measured."""

import socket
import time
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Client:
    """One connection to a gateway. Raises OSError when it is lost."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.create_connection((address, port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, host: str) -> Answer:
        """GET / of a host. Raises ConnectionError when the connection ends."""
        self._socket.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self._more()
        return Answer(int(head.split()[1]), body)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection was ended")
        return data


def wait_for(address: str, port: int, host: str, timeout: float) -> None:
    """Until the host is served. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            client = Client(address, port)
            status = client.get(host).status
            client.close()
            if status == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"{host} is not served after {timeout:.0f} s")
