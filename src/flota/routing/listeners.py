"""One listener by itself: its hostname, which kinds of routes it takes, what of it cannot be served (Gateway API, Listener)."""

from collections.abc import Iterable

from msgspec import Struct

from flota.fleet.gateway import Listener
from flota.fleet.references import GATEWAY_GROUP
from flota.routing.hostnames import ANY, covers

HTTP_KINDS = ("HTTPRoute", "GRPCRoute")


class Fault(Struct, frozen=True):
    """Why not: the reason of a condition and its message."""

    reason: str
    message: str


def hostname(listener: Listener) -> str:
    """Its hostname in lower case; `*` when it has none or the protocol knows none."""
    return (listener.hostname or ANY).lower() if listener.protocol in ("HTTP", "HTTPS", "TLS") else ANY


def ends_tls(listener: Listener) -> bool:
    """Whether TLS ends at the listener."""
    return listener.protocol in ("HTTPS", "TLS") and not (listener.tls and listener.tls.mode == "Passthrough")


def implied_kinds(listener: Listener) -> tuple[str, ...]:
    """Kinds of routes that the protocol can carry. A TLS listener that ends TLS also takes TCPRoutes."""
    if listener.protocol in ("HTTP", "HTTPS"):
        return HTTP_KINDS
    if listener.protocol == "TLS":
        return ("TLSRoute", "TCPRoute") if ends_tls(listener) else ("TLSRoute",)
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
    text = f"a {listener.protocol} listener takes {listed(implied) or 'no routes'}, not {listed(wrong)}"
    return good, Fault("InvalidRouteKinds", text)


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


def unsupported(listener: Listener) -> Fault | None:
    """What the listener asks for that cannot be served; None if nothing."""
    if not implied_kinds(listener):
        return Fault("UnsupportedProtocol", f"{listener.protocol} is not one of HTTP, HTTPS, TLS, TCP, UDP")
    if listener.protocol == "HTTPS" and not ends_tls(listener):
        return Fault("UnsupportedValue", "an HTTPS listener ends TLS: use protocol TLS for tls.mode Passthrough")
    return None


def ignored(listener: Listener) -> tuple[str, ...]:
    """What it asks for that has no effect, each with why."""
    options = listener.tls.options if listener.tls else {}
    return (f"tls.options has no option that Flota knows: {listed(sorted(options))}",) if options else ()


def listed(names: Iterable[str]) -> str:
    """Names as a message has them."""
    return ", ".join(names)
