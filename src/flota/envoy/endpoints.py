"""Plan endpoints as Envoy load assignments: tiers become priorities, places become localities, states become health."""

from typing import Any

from flota.envoy.protos import Protos
from flota.envoy.values import Fields, socket_address, wrapped
from flota.envoy.wire import EDS, Resource, field, resource
from flota.plan import Backend, Endpoint, Endpoints, Locality

_HEALTH = {"Draining": "DRAINING", "Dead": "UNHEALTHY"}
"""Suspect is used like healthy: a silent control plane is no reason to take out what answers."""


class EndpointsBuilder:
    """Endpoints → load assignments. Several backends may share one Endpoints: its bytes are made once."""

    def __init__(self, protos: Protos) -> None:
        self._class = protos.message("envoy.config.endpoint.v3.ClusterLoadAssignment")

    def resource(self, backend: Backend, endpoints: Endpoints) -> Resource:
        """The load assignment of a backend, named like its cluster."""
        check_port = backend.health.port if backend.health is not None else None
        # cluster_name is field 1; everything else is the same for all that share the endpoints.
        body = field(1, backend.name.encode()) + self.assignment(endpoints, check_port).SerializeToString(deterministic=True)
        return resource(EDS, backend.name, body)

    def assignment(self, endpoints: Endpoints, check_port: int | None = None) -> Any:
        """envoy.config.endpoint.v3.ClusterLoadAssignment without a name. A tier without endpoints takes no priority."""
        tiers = [tier for tier in endpoints.tiers if any(locality.endpoints for locality in tier.localities)]
        return self._class(
            endpoints=[
                _locality(locality, priority, check_port)
                for priority, tier in enumerate(tiers)
                for locality in tier.localities
                if locality.endpoints
            ],
            policy={"overprovisioning_factor": wrapped(endpoints.overprovisioning)},
        )


def _locality(locality: Locality, priority: int, check_port: int | None) -> Fields:
    fields: Fields = {
        "locality": {"region": locality.region, "zone": locality.zone, "sub_zone": locality.cluster},
        "priority": priority,
        "lb_endpoints": [_endpoint(endpoint, locality, check_port) for endpoint in locality.endpoints],
    }
    if locality.weight:  # none at all = no traffic where weights decide
        fields["load_balancing_weight"] = wrapped(locality.weight)
    return fields


def _endpoint(endpoint: Endpoint, locality: Locality, check_port: int | None) -> Fields:
    address: Fields = {"address": socket_address(endpoint.address, endpoint.port)}
    if check_port is not None and check_port != endpoint.port:
        address["health_check_config"] = {"port_value": check_port}
    return {
        "endpoint": address,
        "health_status": _HEALTH.get(endpoint.state, "HEALTHY"),
        # Access logs tell with it where a request went. Envoy keeps equal metadata once.
        "metadata": {"filter_metadata": {"flota": {"fields": {
            "cluster": {"string_value": locality.cluster},
            "region": {"string_value": locality.region},
        }}}},
    }
