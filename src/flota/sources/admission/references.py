"""Rules of what every route has: parents, hostnames, backends, named rules (Gateway API v1.6.1)."""

from collections.abc import Sequence
from typing import Protocol

from flota.fleet.references import ParentReference
from flota.sources.admission.fault import Faults, Path, doubled, fault, text
from flota.sources.admission.names import is_ip


class _Backend(Protocol):
    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class _Named(Protocol):
    @property
    def name(self) -> str | None: ...


def parents(refs: Sequence[ParentReference], path: Path = ("spec", "parentRefs")) -> Faults:
    """Two references to one parent must differ in section and port, and set the same ones of the two."""
    first: dict[tuple[str, ...], tuple[int, ParentReference]] = {}
    seen: dict[tuple[object, ...], int] = {}
    for index, ref in enumerate(refs):
        parent = (ref.group, ref.kind, ref.namespace or "", ref.name)
        known = seen.setdefault((*parent, ref.section_name, ref.port), index)
        if known != index:
            said = f"is the same parent as {text((*path, known))}; remove it, or give it another sectionName or port"
            yield fault((*path, index), "Duplicate", said)
            continue
        before, other = first.setdefault(parent, (index, ref))
        if (other.section_name is None) != (ref.section_name is None) or (other.port is None) != (ref.port is None):
            said = f"sectionName and port must both be set or unset as in {text((*path, before))}, which names the same parent"
            yield fault((*path, index), "Invalid", said)


def backend(ref: _Backend, path: Path) -> Faults:
    """A Service needs its port."""
    if ref.port is None and ref.kind == "Service" and not ref.group:
        yield fault((*path, "port"), "Required", "is required for a Service; add the port number of the Service")


def hostnames(names: Sequence[str]) -> Faults:
    """A hostname is no address (its normative text; the CRD's pattern lets IPv4 through)."""
    for index, name in enumerate(names):
        if is_ip(name.removeprefix("*.")):
            yield fault(("spec", "hostnames", index), "Invalid", f'"{name}" is an IP address; a host name is needed')


def rule_names(rules: Sequence[_Named]) -> Faults:
    """Names of rules are unique in their route."""
    named = [rule.name for rule in rules if rule.name is not None]
    if len(named) != len(set(named)):
        keys = [(index,) if rule.name is None else rule.name for index, rule in enumerate(rules)]
        yield from doubled(("spec", "rules"), keys, lambda key: key, "name", "the name of a rule is taken")
