"""The example's shop: answers every request with the region and pod it runs in.

To play a region that is lost for good: `touch outage.us-east`, then kill the pods of that region. They are restarted, but wait
until the file is gone before they serve.
"""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REGION, ADDRESS = os.environ["REGION"], os.environ["POD_IP"]
ANSWER = f"{REGION} {ADDRESS}\n".encode()


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """The proxy's access log has every request already."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    while Path(f"outage.{REGION}").exists():
        time.sleep(0.05)
    Server((ADDRESS, 8080), Shop).serve_forever()
