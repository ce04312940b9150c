"""TLS towards an API server."""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator

from flota.kube.credentials import Identity


def tls_context(identity: Identity, *, insecure: bool) -> ssl.SSLContext:
    """Trusts the identity's CA (the system's where it has none) and shows its certificate. Raises ssl.SSLError, ValueError."""
    context = ssl.create_default_context(cadata=identity.ca.decode("ascii") if identity.ca else None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity.certificate and identity.key:
        with _file(identity.certificate + b"\n" + identity.key) as path:
            context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path at which the content can be read: in memory, as OpenSSL's loader wants a path and keys don't belong on a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("flota")
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as named:
        named.write(content)
        named.flush()
        yield named.name
