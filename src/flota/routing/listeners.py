"""One listener of a Gateway: is it distinct, what may attach, are its certificates good (Gateway API, Listener and its conditions)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from flota.fleet.core import Secret as KubernetesSecret
from flota.fleet.gateway import Gateway, GatewaySpec, Listener
from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.references import GATEWAY_GROUP, SecretObjectReference
from flota.plan import Secret, ServerTLS
from flota.routing.certificates import CERTIFICATE, KEY, fault
from flota.routing.grants import Reference, permitted
from flota.routing.hostnames import ANY, covers

HTTP_KINDS = ("HTTPRoute", "GRPCRoute")


class Fault(Struct, frozen=True):
    """Why not: the reason of a condition and its message."""

    reason: str
    message: str


def hostname(listener: Listener) -> str:
    """Its hostname in lower case; `*` when it has none or the protocol knows none."""
    return (listener.hostname or ANY).lower() if listener.protocol in ("HTTP", "HTTPS", "TLS") else ANY


def implied_kinds(listener: Listener) -> tuple[str, ...]:
    """Kinds of routes that the protocol can carry. A TLS listener that ends TLS also takes TCPRoutes."""
    if listener.protocol in ("HTTP", "HTTPS"):
        return HTTP_KINDS
    if listener.protocol == "TLS":
        return ("TLSRoute",) if listener.tls and listener.tls.mode == "Passthrough" else ("TLSRoute", "TCPRoute")
    return {"TCP": ("TCPRoute",), "UDP": ("UDPRoute",)}.get(listener.protocol, ())


def supported_kinds(listener: Listener) -> tuple[tuple[str, ...], Fault | None]:
    """The kinds that may attach, and what is asked for but cannot."""
    implied = implied_kinds(listener)
    asked = listener.allowed_routes.kinds
    if not asked:
        return implied, None
    wrong = [each.kind for each in asked if each.group != GATEWAY_GROUP or each.kind not in implied]
    good = tuple(dict.fromkeys(each.kind for each in asked if each.group == GATEWAY_GROUP and each.kind in implied))
    if not wrong:
        return good, None
    text = f"a {listener.protocol} listener takes {_list(implied) or 'no routes'}, not {_list(wrong)}"
    return good, Fault("InvalidRouteKinds", text)


def conflicts(listeners: Iterable[Listener]) -> dict[str, Fault]:
    """Listeners of one Gateway that a connection or request cannot tell apart, by name. None of them wins."""
    groups: defaultdict[tuple[bool, int], list[Listener]] = defaultdict(list)
    for each in listeners:
        if implied_kinds(each):
            groups[each.protocol == "UDP", each.port].append(each)
    found: dict[str, Fault] = {}
    for (_, port), group in groups.items():
        found |= _conflicts_on(port, group)
    return found


def _conflicts_on(port: int, group: list[Listener]) -> dict[str, Fault]:
    families = {{"HTTPS": "TLS"}.get(each.protocol, each.protocol) for each in group}
    if len(families) > 1 or (families & {"TCP", "UDP"} and len(group) > 1):
        text = f"port {port} can't be shared by {_list(f'{each.name} ({each.protocol})' for each in group)}"
        return {each.name: Fault("ProtocolConflict", text) for each in group}
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    for each in group:
        hosts[hostname(each)].append(each.name)
    return {
        name: Fault("HostnameConflict", f"{_list(names)} all have port {port} and hostname {host}")
        for host, names in hosts.items()
        if len(names) > 1
        for name in names
    }


def overlaps(listener: Listener, listeners: Iterable[Listener]) -> tuple[str, ...]:
    """Other listeners with TLS on its port whose hostname overlaps: a client may re-use a connection for either."""
    if listener.protocol != "HTTPS":
        return ()
    own = hostname(listener)
    return tuple(
        each.name
        for each in listeners
        if each.name != listener.name and (each.protocol, each.port) == ("HTTPS", listener.port)
        if covers(own, hostname(each)) or covers(hostname(each), own)
    )


def unsupported(listener: Listener, spec: GatewaySpec) -> Fault | None:
    """What the listener asks for that cannot be served; None if nothing."""
    if not implied_kinds(listener):
        return Fault("UnsupportedProtocol", f"{listener.protocol} is not one of HTTP, HTTPS, TLS, TCP, UDP")
    if listener.protocol == "HTTPS" and listener.tls and listener.tls.mode == "Passthrough":
        return Fault("UnsupportedValue", "an HTTPS listener ends TLS: use protocol TLS for tls.mode Passthrough")
    if listener.protocol in ("HTTPS", "TLS") and _validates_clients(listener, spec):
        # Serving without the check would let everybody in.
        return Fault("UnsupportedValue", "client certificates (spec.tls.frontend) are not supported yet")
    return None


def ignored(spec: GatewaySpec) -> tuple[str, ...]:
    """Fields of a Gateway that ask for something and have no effect yet, each with why."""
    said = []
    if spec.default_scope == "All":
        said.append("spec.defaultScope is not supported yet: routes have to name the Gateway in parentRefs")
    allowed = spec.allowed_listeners
    if allowed and allowed.namespaces.from_ != "None":
        said.append("spec.allowedListeners is not supported yet: no ListenerSet takes part")
    given = [(each.name, each.tls.options) for each in spec.listeners if each.tls and each.tls.options]
    said += [f"listener {name}: tls.options has no option that Flota knows: {_list(sorted(options))}" for name, options in given]
    return tuple(said)


def _validates_clients(listener: Listener, spec: GatewaySpec) -> bool:
    frontend = spec.tls.frontend if spec.tls else None
    if frontend is None or (listener.tls and listener.tls.mode == "Passthrough"):
        return False
    config = next((each.tls for each in frontend.per_port if each.port == listener.port), frontend.default)
    return config.validation is not None


class Certificates(Struct, frozen=True):
    """The certificates of a listener that are good, and the first thing wrong with the others."""

    tls: ServerTLS | None
    secrets: tuple[Secret, ...]
    fault: Fault | None


def certificates(
    listener: Listener,
    gateway: Gateway,
    secrets: Mapping[Key, KubernetesSecret],
    grants: Mapping[Key, ReferenceGrant],
) -> Certificates:
    """The TLS that the listener ends; `tls` None with no fault when it ends none."""
    if listener.protocol not in ("HTTPS", "TLS") or (listener.tls and listener.tls.mode == "Passthrough"):
        return Certificates(None, (), None)
    refs = listener.tls.certificate_refs if listener.tls else ()
    if not refs:
        return Certificates(None, (), Fault("InvalidCertificateRef", "tls.certificateRefs names no certificate"))
    good: dict[str, Secret] = {}
    first: Fault | None = None
    for ref in refs:
        found = _certificate(ref, gateway, secrets, grants)
        if isinstance(found, Secret):
            good[found.name] = found
        else:
            first = first or found
    alpn = ("h2", "http/1.1") if listener.protocol == "HTTPS" else ()
    return Certificates(ServerTLS(tuple(good), alpn=alpn) if good else None, tuple(good.values()), first)


def _certificate(
    ref: SecretObjectReference,
    gateway: Gateway,
    secrets: Mapping[Key, KubernetesSecret],
    grants: Mapping[Key, ReferenceGrant],
) -> Secret | Fault:
    own = gateway.metadata.namespace
    namespace = ref.namespace or own
    where = f"{ref.kind} {namespace}/{ref.name}"
    if (ref.group, ref.kind) != ("", "Secret"):
        return Fault("InvalidCertificateRef", f"{where}: only a Secret can hold a certificate")
    if not permitted(grants, Reference(GATEWAY_GROUP, "Gateway", own, "", "Secret", namespace, ref.name)):
        text = f"{where} is in another namespace, and no ReferenceGrant there allows Gateways of {own} to use it"
        return Fault("RefNotPermitted", text)
    secret = secrets.get((namespace, ref.name))
    if secret is None:
        return Fault("InvalidCertificateRef", f"{where} does not exist")
    wrong = fault(secret)
    if wrong:
        return Fault("InvalidCertificateRef", f"{where} can't be used: {wrong}")
    return Secret(f"secret/{namespace}/{ref.name}", secret.data[CERTIFICATE], secret.data[KEY])


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
