"""Key material as Envoy secrets, over the same stream as everything else: a new certificate changes no listener and no cluster."""

from flota.envoy.protos import Protos
from flota.envoy.values import Fields
from flota.envoy.wire import SDS, Resource, resource
from flota.plan import Secret


class SecretBuilder:
    """Secrets → envoy.extensions.transport_sockets.tls.v3.Secret."""

    def __init__(self, protos: Protos) -> None:
        self._class = protos.message("envoy.extensions.transport_sockets.tls.v3.Secret")

    def resource(self, secret: Secret) -> Resource:
        """A certificate with its key where there is one, else trusted roots."""
        content: Fields
        if secret.key:
            content = {"tls_certificate": {"certificate_chain": {"inline_bytes": secret.certificate},
                                           "private_key": {"inline_bytes": secret.key}}}
        else:
            content = {"validation_context": {"trusted_ca": {"inline_bytes": secret.roots}}}
        return resource(SDS, secret.name, self._class(name=secret.name, **content))
