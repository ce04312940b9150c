"""Which listeners a route attaches to, and with which hostnames (ParentReference, AllowedRoutes, Route hostnames)."""

from collections.abc import Mapping

from msgspec import Struct

from flota.fleet.core import Namespace
from flota.fleet.meta import Key
from flota.fleet.references import ParentReference
from flota.routing.fronts import Front, ParentFront
from flota.routing.hostnames import ANY, intersect
from flota.routing.listeners import Fault

NAME_LABEL = "kubernetes.io/metadata.name"
"""Label that every namespace has."""


class Attachment(Struct, frozen=True):
    """A listener with the hostnames of the route that it shares; `*` alone for a route without any."""

    front: Front
    hostnames: tuple[str, ...]


def attach(
    parent: ParentReference,
    to: ParentFront,
    kind: str,
    namespace: str,
    hostnames: tuple[str, ...],
    namespaces: Mapping[Key, Namespace],
) -> tuple[tuple[Attachment, ...], Fault | None]:
    """The listeners of `to` that take a route of `kind` and `namespace`; none, and the reason of Accepted=False.

    A listener's own state does not count: a route can be attached to one that is not served (ListenerStatus.attachedRoutes).
    """
    named = [
        front
        for front in to.fronts
        if parent.section_name in (None, front.id.listener) and parent.port in (None, front.port)
    ]
    where = to.title
    if not to.fronts:
        return (), Fault("NoMatchingParent", f"{where} is not attached to its Gateway")
    if not named:
        asked = " and ".join(
            text
            for text in (
                f"name {parent.section_name}" if parent.section_name else "",
                f"port {parent.port}" if parent.port else "",
            )
            if text
        )
        return (), Fault("NoMatchingParent", f"{where} has no listener with {asked}")
    allowed = [front for front in named if kind in front.kinds and admits(front, to.ref.namespace, namespace, namespaces)]
    if not allowed:
        text = f"no listener of {where} that is referred to takes {kind}s of namespace {namespace}"
        return (), Fault("NotAllowedByListeners", text)
    attached = tuple(
        Attachment(front, shared) for front in allowed if (shared := _shared(front.hostname, hostnames))
    )
    if not attached:
        text = f"none of its hostnames is one of the listeners of {where}"
        return (), Fault("NoMatchingListenerHostname", text)
    return attached, None


def admits(front: Front, own: str, namespace: str, namespaces: Mapping[Key, Namespace]) -> bool:
    """Whether routes of that namespace may attach to the listener, which is of the namespace `own`."""
    if front.namespaces.from_ == "All":
        return True
    if front.namespaces.from_ == "Same":
        return namespace == own
    selector = front.namespaces.selector
    return selector is not None and selector.matches(labels(namespace, namespaces))


def labels(namespace: str, namespaces: Mapping[Key, Namespace]) -> dict[str, str]:
    """Labels of a namespace, also of one that no object describes."""
    found = namespaces.get(("", namespace))
    return {**(found.metadata.labels if found else {}), NAME_LABEL: namespace}


def _shared(listener: str, hostnames: tuple[str, ...]) -> tuple[str, ...]:
    """Hostnames of the route that the listener takes requests for."""
    if not hostnames:
        return (ANY,)
    return tuple(dict.fromkeys(each for each in hostnames if intersect(listener, each) is not None))
