"""Which node a pod may run on: node selector, the names of daemon sets, and turns. Pure."""

from collections.abc import Mapping, Sequence

from rig.api import Object


def choose(spec: Object, nodes: Mapping[str, Mapping[str, str]], turn: int) -> str | None:
    """The name of a node that takes a pod, None when none does. Whose turn it is decides among several."""
    fit = [name for name, labels in nodes.items() if _fits(spec, name, labels)]
    return fit[turn % len(fit)] if fit else None


def _fits(spec: Object, name: str, labels: Mapping[str, str]) -> bool:
    known = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}
    if any(known.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term(term, name, known) for term in required["nodeSelectorTerms"])


def _term(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    fields: Sequence[Object] = term.get("matchFields", ())
    return all(_holds(each, labels) for each in term.get("matchExpressions", ())) and all(
        _holds(each, {"metadata.name": name}) for each in fields
    )


def _holds(expression: Object, values: Mapping[str, str]) -> bool:
    """core/v1 NodeSelectorRequirement; the comparing operators are for numbers."""
    held, wanted = values.get(expression["key"]), expression.get("values", ())
    match expression["operator"]:
        case "In":
            return held in wanted
        case "NotIn":
            return held not in wanted
        case "Exists":
            return held is not None
        case "DoesNotExist":
            return held is None
        case "Gt":
            return held is not None and int(held) > int(wanted[0])
        case _:
            return held is not None and int(held) < int(wanted[0])
