"""One HTTP request over a connected socket, with nothing but the standard library."""

import http.client
import socket


def exchange(connection: socket.socket, method: str, target: str, body: bytes | None) -> tuple[int, bytes] | str:
    """Status and body; or why there was no answer. Closes the connection."""
    over = http.client.HTTPConnection("flota", timeout=connection.gettimeout())
    over.sock = connection
    try:
        over.request(method, target, body, {"content-type": "application/json"} if body is not None else {})
        response = over.getresponse()
        return response.status, response.read()
    except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
        return str(error) or type(error).__name__
    finally:
        over.close()
