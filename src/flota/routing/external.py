"""Backends outside of the clusters: XBackend of type ExternalHostname (GEP-4894)."""

from collections.abc import Mapping

from flota.fleet.backend import XBackend
from flota.fleet.meta import Condition
from flota.fleet.references import X_GROUP
from flota.plan.backends import ClientTLS, Endpoint, Locality
from flota.plan.listeners import Secret
from flota.plan.plan import ObjectRef
from flota.routing import conditions
from flota.routing.backend_tls import Fault, trusting
from flota.routing.keypairs import key_pair
from flota.routing.keys import BackendKey
from flota.routing.ports import Port, Unresolved, called
from flota.routing.protocols import Hint, Protocol
from flota.routing.view import ClusterView

_APP_PROTOCOLS: Mapping[str | None, str | None] = {
    None: None, "HTTP": "http", "HTTP11": "http", "HTTP2": "http2", "H2C": "h2c", "TCP": None, "MCP": "http",
}  # fmt: skip
"""What a Service would say of the same. MCP is carried by HTTP, and what it carries is not looked at."""
Transport = tuple[ClientTLS | None, tuple[Secret, ...]]


def is_external(ref: BackendKey) -> bool:
    """Whether a reference is to an XBackend."""
    return (ref.group, ref.kind) == (X_GROUP, "XBackend")


def hostname(found: XBackend) -> str:
    """The name to ask DNS for; admission sees that there is one."""
    return found.spec.external_hostname.hostname if found.spec.external_hostname else ""


def find_external(view: ClusterView, ref: BackendKey) -> XBackend | Unresolved:
    """The object, if the reference names its port or none."""
    found = view.get("x_backends", (ref.namespace, ref.name))
    if not isinstance(found, XBackend):
        return Unresolved("BackendNotFound", f"{called(ref)} does not exist")
    port = found.spec.port.port
    if ref.port not in (None, port):
        return Unresolved("BackendNotFound", f"{called(ref)} does not exist; its port: {port}")
    return found


def external_port(view: ClusterView, found: XBackend, hint: Hint) -> Port:
    """Its port, with its name as the only endpoint: the proxy resolves it. It belongs to no cluster, so it is near for each.

    Where it names no protocol, the route's holds: then datagrams go there, too.
    """
    port = found.spec.port
    cluster = view.cluster
    why = "outside of the clusters"
    place = Locality(cluster.name, cluster.region, cluster.zone or "", (Endpoint(hostname(found), port.port),), why=why)
    transport = "UDP" if hint == "UDP" and found.spec.protocol is None else "TCP"
    return Port(port.name or "", port.port, transport, _APP_PROTOCOLS[found.spec.protocol], (place,), ())


def speaks(found: XBackend, hint: Hint, spoken: Protocol | str) -> Protocol | str:
    """What is spoken to it: what the route wants, unless it says that it can't."""
    if isinstance(spoken, str):
        return spoken
    said = found.spec.protocol
    if (hint in ("HTTP", "GRPC") and said == "TCP") or (hint == "GRPC" and said in ("HTTP11", "MCP")):
        return f"protocol {said} is not one that a{'n HTTP' if hint == 'HTTP' else ' gRPC'} route can speak"
    return Protocol(spoken.spoken, needs_tls=False)


def external_tls(view: ClusterView, found: XBackend, hint: Hint) -> Transport | Fault:
    """TLS as it asks for itself (no policy can: GEP-4894). What is passed through is already encrypted."""
    asked = found.spec.tls
    if asked is None or asked.mode == "None" or hint in ("TLS", "UDP"):
        return None, ()
    namespace = found.metadata.namespace
    name = f"xbackend/{namespace}/{found.metadata.name}"
    host = hostname(found)
    base = ClientTLS(sni=host, dns_names=(host,)), None
    trusted = trusting(view, namespace, asked.validation, name) if asked.validation else base
    if isinstance(trusted, Fault):
        return trusted
    tls, roots = trusted
    secrets = (roots,) if roots else ()
    if asked.client_certificate_ref is None:
        return tls, secrets
    owner = ObjectRef(view.cluster.name, "XBackend", namespace, found.metadata.name)
    held = (view.cluster.secrets, view.cluster.reference_grants)
    own = key_pair(owner, asked.client_certificate_ref, *held, "InvalidClientCertificateRef", X_GROUP)
    if not isinstance(own, Secret):
        return Fault(own.reason, own.message)
    shown = ClientTLS(tls.sni, tls.ca, tls.dns_names, tls.uris, certificate=own.name)
    return shown, (*secrets, own)


def external_conditions(view: ClusterView, name: tuple[str, str]) -> tuple[Condition, ...]:
    """Conditions of an XBackend: Accepted, and ResolvedRefs for what its TLS names."""
    found = view.cluster.x_backends[name]
    generation = found.metadata.generation
    tls = external_tls(view, found, "HTTP")
    if isinstance(tls, Fault):
        bad = (tls.reason, tls.message)
        return conditions.false("Accepted", generation, *bad), conditions.false("ResolvedRefs", generation, *bad)
    return conditions.true("Accepted", generation), conditions.true("ResolvedRefs", generation)
