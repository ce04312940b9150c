"""Objects of other controllers → as if they were Flota's, without what only their own controllers understand. Pure.

Gone are: the controller of a GatewayClass, parameters (`parametersRef`), addresses that are asked for (a status tells which a Gateway
has), and ExtensionRef filters. What is left means the same to everybody.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, structs

from flota.fleet.gateway import Gateway, GatewayClass
from flota.fleet.meta import Key
from flota.fleet.routes import GRPCRoute, HTTPRoute
from flota.sources.assemble import CONTROLLER_NAME

Objects = Mapping[Key, Struct]


class Foreign:
    """Remembers what it made of a mapping, to hand out the identical one again."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Objects, Objects]] = {}

    def as_ours(self, cluster: str, collection: str, objects: Objects) -> Objects:
        """The objects of a collection of `Cluster`."""
        change = _CHANGES.get(collection)
        if change is None:
            return objects
        held = self._made.get((cluster, collection))
        if held is None or held[0] is not objects:
            held = self._made[cluster, collection] = objects, {key: change(each) for key, each in objects.items()}
        return held[1]


def _gateway_class(each: GatewayClass) -> GatewayClass:
    return structs.replace(each, spec=structs.replace(each.spec, controller_name=CONTROLLER_NAME, parameters_ref=None))


def _gateway(each: Gateway) -> Gateway:
    infrastructure = each.spec.infrastructure
    if infrastructure is not None:
        infrastructure = structs.replace(infrastructure, parameters_ref=None)
    return structs.replace(each, spec=structs.replace(each.spec, addresses=(), infrastructure=infrastructure))


def _route(each: Any) -> Any:
    """An HTTPRoute or GRPCRoute."""
    rules = tuple(_rule(rule) for rule in each.spec.rules)
    return each if rules == each.spec.rules else structs.replace(each, spec=structs.replace(each.spec, rules=rules))


def _rule(rule: Any) -> Any:
    backends = tuple(structs.replace(each, filters=_known(each.filters)) for each in rule.backend_refs)
    return structs.replace(rule, filters=_known(rule.filters), backend_refs=backends)


def _known(filters: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each for each in filters if each.type != "ExtensionRef")


_CHANGES: Mapping[str, Callable[[Any], GatewayClass | Gateway | HTTPRoute | GRPCRoute]] = {
    "gateway_classes": _gateway_class,
    "gateways": _gateway,
    "http_routes": _route,
    "grpc_routes": _route,
}
